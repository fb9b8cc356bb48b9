// The batch and the first layer's product (see fused.py): block (tile and share of k, network).
//
// A block multiplies a share of the features with a tile's part of the weights, straight from the data set, and leaves
// a partial sum; the head adds them up. The first blocks also bring the targets and weights of the batch's examples.
#include "tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) fused_first(
    const Network* __restrict__ networks, const Layer* __restrict__ layers, int depth, int batch, int share) {
    __shared__ ACC room[STAGED];
    const Network& net = networks[blockIdx.y];
    const Layer& layer = layers[blockIdx.y * depth];
    const int inputs = layer.inputs, outputs = layer.outputs, across = TILES(outputs), tiles = TILES(batch) * across;
    const int row0 = blockIdx.x % tiles / across * TILE, column0 = blockIdx.x % across * TILE;
    const int split = blockIdx.x / tiles, k0 = split * share;
    const int64 step = net.control[NEXT];
    const Batch rows(net, step, batch);
    const Matrix weights = {net.parameters + layer.weights, outputs};
    ACC unused = 0;
    const ACC sum = product<true>(rows, weights, batch, outputs, k0, min(k0 + share, inputs), row0, column0, room, false,
                                  unused);
    const int row = row0 + threadIdx.x / TILE, column = column0 + threadIdx.x % TILE;
    if (row < batch && column < outputs) store(net.sums + ((int64)split * batch + row) * outputs + column, sum);
    if (split == 0 && column0 == 0) {
        const int count = min(TILE, batch - row0), labels = net.label_columns;
        for (int i = threadIdx.x; i < count * labels; i += THREADS)
            net.targets[(int64)row0 * labels + i] = net.labels[(int64)rows.number(row0 + i / labels) * labels + i % labels];
        if (net.weights && threadIdx.x < count)
            net.batch_weights[row0 + threadIdx.x] = net.weights[rows.number(row0 + threadIdx.x)];
    }
    if (blockIdx.x == 0) {
        if (net.weights) {  // adds up all weights of the batch by itself, so that their order is fixed
            __shared__ ACC shared[THREADS / 32];
            ACC total = 0;
            for (int r = threadIdx.x; r < batch; r += THREADS) total += load(net.weights + rows.number(r));
            total = group_sum<THREADS>(total, shared);
            if (threadIdx.x == 0) store(net.total_weight, total);
        }
        // No other thread of this kernel reads STEP, so writing it here races with nobody.
        if (threadIdx.x == 0) net.control[STEP] = step;
    }
}
