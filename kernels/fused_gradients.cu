// The gradients of all weights and biases and, with UPDATES, the optimizer (see fused.py): block (tile, network).
//
// A gradient is summed in one place, so whoever has it goes on: adds the penalties, and updates the parameter. RULE is
// the optimizer's, STATES declares the elements s0, s1 … of its vectors, and KEEP writes them back.
#include "tile.cuh"

#define c(k) load(coefficients + (k))

// What becomes of the gradient g of the loss with respect to parameter `at`, a weight if it `decays`. Without a table
// of coefficients it is frozen.
__device__ __forceinline__ void finish(const Network& net, int64 at, ACC g, bool decays, const REAL* table) {
    if (!table) {
        store(net.gradients + at, ACC(0));
        return;
    }
    REAL* const parameter = net.parameters + at;
    if (decays && (net.l2 != 0 || net.l1 != 0)) {
        const ACC w = load(parameter);
        g += (ACC)net.l2 * w + (ACC)net.l1 * ACC((w > ACC(0)) - (w < ACC(0)));
    }
    store(net.gradients + at, g);
#if UPDATES
    const REAL* const coefficients = table + (net.control[STEP] - net.control[BASE]) * net.width;
    ACC p = load(parameter);
    REAL* const state = net.state + at;
    (void)state;
    STATES
    RULE
    store(parameter, p);
    KEEP
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) fused_gradients(
    const Network* __restrict__ networks, const Layer* __restrict__ layers, int depth, int batch) {
    __shared__ ACC room[STAGED];
    const Network& net = networks[blockIdx.y];
    const Layer* layer = layers + blockIdx.y * depth;
    const Layer* const first = layer;
    int block = blockIdx.x;
    for (int tiles; block >= (tiles = TILES(layer->inputs) * TILES(layer->outputs)); ++layer) block -= tiles;
    const int inputs = layer->inputs, outputs = layer->outputs, across = TILES(outputs);
    const int row0 = block / across * TILE, column0 = block % across * TILE;
    const int64 step = net.control[STEP];
    const Matrix delta = {layer->delta, outputs};
    const bool sum_columns = row0 == 0;
    ACC partial = 0, g;
    if (layer == first) {
        const Batch x(net, step, batch);
        g = product<false>(x, delta, inputs, outputs, 0, batch, row0, column0, room, sum_columns, partial);
    } else {
        const Matrix x = {layer[-1].kept, inputs};
        g = product<false>(x, delta, inputs, outputs, 0, batch, row0, column0, room, sum_columns, partial);
    }
    const int row = row0 + threadIdx.x / TILE, column = column0 + threadIdx.x % TILE;
    if (row < inputs && column < outputs)
        finish(net, layer->weights + (int64)row * outputs + column, g, true, layer->weights_table);
    if (sum_columns) {
        const ACC total = column_sum(partial, room);
        if (threadIdx.x < TILE && column0 + threadIdx.x < outputs)
            finish(net, layer->bias + column0 + threadIdx.x, total, false, layer->bias_table);
    }
#if UPDATES
    // Only this thread touches NEXT: no other reads it in this kernel.
    if (blockIdx.x == 0 && threadIdx.x == 0) net.control[NEXT] = step + 1;
#endif
}
