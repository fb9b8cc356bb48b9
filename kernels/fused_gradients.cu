// The gradients of all weights and biases and, with UPDATES, the optimizer (see fused.py): block (tile, network).
//
// A gradient is summed in one place, so whoever has it goes on: adds the penalties, and updates the parameter. RULE is
// the optimizer's, of p, g, the elements s0, s1 … of its vectors, which are declared by STATES, loaded by FETCH and
// written back by KEEP, and COEFFICIENTS coefficients.
#include "tile.cuh"

#define c(k) coefficients[k]

// A parameter, which is a weight if it `decays`, and all that its update needs. It is asked for before the gradient is
// summed, so that nobody waits for it afterwards. Without a table of coefficients it is frozen.
struct Element {
    const Network& net;
    const int64 at;
    const REAL* const table;
    REAL* const state;
    ACC p;
#if UPDATES
    ACC coefficients[COEFFICIENTS];
    STATES
#endif

    __device__ __forceinline__ Element(const Network& net, int64 at, const REAL* table, int64 step)
        : net(net), at(at), table(table), state(net.state + at), p(load(net.parameters + at)) {
#if UPDATES
        if (!table) return;
        const REAL* const now = table + (step - net.control[BASE]) * COEFFICIENTS;
#pragma unroll
        for (int k = 0; k < COEFFICIENTS; ++k) coefficients[k] = load(now + k);
        FETCH
#endif
    }

    // What becomes of it with the gradient g of the loss.
    __device__ __forceinline__ void finish(ACC g, bool decays) {
        if (!table) {
            store(net.gradients + at, ACC(0));
            return;
        }
        if (decays && (net.l2 != 0 || net.l1 != 0))
            g += (ACC)net.l2 * p + (ACC)net.l1 * ACC((p > ACC(0)) - (p < ACC(0)));
        store(net.gradients + at, g);
#if UPDATES
        RULE
        store(net.parameters + at, p);
        KEEP
#endif
    }
};

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
    const int row = row0 + threadIdx.x / TILE, column = column0 + threadIdx.x % TILE;
    const bool inside = row < inputs && column < outputs;
    Element weight(net, layer->weights + (inside ? (int64)row * outputs + column : 0), layer->weights_table, step);
    ACC partial = 0, g;
    if (layer == first) {
        const Batch x(net, step, batch);
        g = product<false>(x, delta, inputs, outputs, 0, batch, row0, column0, room, sum_columns, partial);
    } else {
        const Matrix x = {layer[-1].kept, inputs};
        g = product<false>(x, delta, inputs, outputs, 0, batch, row0, column0, room, sum_columns, partial);
    }
    if (inside) weight.finish(g, true);
    if (sum_columns) {
        const ACC total = column_sum(partial, room);
        if (threadIdx.x < TILE && column0 + threadIdx.x < outputs)
            Element(net, layer->bias + column0 + threadIdx.x, layer->bias_table, step).finish(total, false);
    }
#if UPDATES
    // Only this thread touches NEXT: no other reads it in this kernel.
    if (blockIdx.x == 0 && threadIdx.x == 0) net.control[NEXT] = step + 1;
#endif
}
