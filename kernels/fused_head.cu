// Everything between the first product and the gradients (see fused.py): block (some rows of the batch, network).
//
// A block brings its rows through all layers, the loss and back to the deltas; what it keeps of them in between lies in
// shared memory. In front of this comes the file of a loss (see loss.cuh). FUNCTIONS holds the activations: `activate`
// and `derivative` of number `kind`.
#include "network.cuh"
#include "loss.cuh"
#include "philox.cuh"

FUNCTIONS

#define THREADS 256
// Blocks that a multiprocessor has registers for. Left to itself the assembler aims for more, and spills a few.
#define BLOCKS 2

// out(r, i, sum over k of left[r * depth + k] * weights[i * apart + k * step]) for all r < rows and i < results. As many
// threads that follow each other as there is no other work for share a sum; where they read what lies side by side, eight.
template <typename Out>
__device__ __forceinline__ void products(const ACC* left, const REAL* __restrict__ weights, int rows, int results,
                                         int depth, int apart, int step, Out out) {
    int lanes = step == 1 ? 8 : 1;
    while (lanes < 32 && 2 * lanes * rows * results <= THREADS) lanes *= 2;
    const int lane = threadIdx.x % lanes;
    for (int first = 0; first < rows * results; first += THREADS / lanes) {
        const int pair = first + threadIdx.x / lanes, r = pair / results, i = pair % results;
        const bool inside = pair < rows * results;
        ACC sum = 0;
        if (inside) {
#pragma unroll 4
            for (int k = lane; k < depth; k += lanes)
                sum += left[r * depth + k] * load(weights + (int64)i * apart + (int64)k * step);
        }
        for (int other = lanes / 2; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
        if (inside && lane == 0) out(r, i, sum);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) fused_head(
    const Network* __restrict__ networks, const Layer* __restrict__ layers, int depth, int batch, int rows, int splits) {
    // For each layer the activations behind dropout (of the last, the logits) and their slopes (the deltas, from the
    // last one downwards), each rows x outputs.
    extern __shared__ __align__(16) unsigned char dynamic[];
    __shared__ ACC shared[THREADS / 32];
    const Network& net = networks[blockIdx.y];
    const Layer* const layer = layers + blockIdx.y * depth;
    const int row0 = blockIdx.x * rows, count = min(rows, batch - row0);
    const int64 step = net.control[STEP];
    ACC* kept = (ACC*)dynamic;
    ACC* slope = kept;
    const ACC* below = kept;

    for (int l = 0; l < depth; ++l) {
        const Layer& here = layer[l];
        const int outputs = here.outputs;
        const REAL* const bias = net.parameters + here.bias;
        slope = kept + rows * outputs;
        auto finish = [&](int r, int column, ACC z) {
            const int64 at = (int64)(row0 + r) * outputs + column;
            z += load(bias + column);
            ACC y = z, steep = 0;
            if (l < depth - 1) {
                const int kind = here.kind;
                y = activate(kind, z);
                steep = derivative(kind, z, y);
                if (here.limit >> 32 == 0) {
                    const ACC share = philox(here.seed, here.word, step, here.first + at) < here.limit ? (ACC)here.factor : ACC(0);
                    y *= share;
                    steep *= share;
                }
            }
            kept[r * outputs + column] = y;
            slope[r * outputs + column] = steep;
            if (r < count) store(here.kept + at, y);
        };
        if (l == 0) {
            for (int i = threadIdx.x; i < rows * outputs; i += THREADS) {
                const int r = i / outputs, column = i % outputs;
                ACC sum = 0;
                if (r < count)
                    for (int s = 0; s < splits; ++s)
                        sum += load(net.sums + ((int64)s * batch + row0 + r) * outputs + column);
                finish(r, column, sum);
            }
        } else {
            products(below, net.parameters + here.weights, rows, outputs, here.inputs, 1, outputs, finish);
        }
        __syncthreads();
        below = kept;
        kept = slope + rows * outputs;
    }

    const int outputs = layer[depth - 1].outputs;
    for (int first = 0; first < rows; first += THREADS / GROUP) {
        const int r = first + threadIdx.x / GROUP, row = row0 + r;
        example_loss(r < count ? below + r * outputs : below, net.targets, net.batch_weights, net.total_weight,
                     slope + r * outputs, net.losses, net.control, row, batch, r < count ? outputs : 0, shared);
    }
    __syncthreads();

    for (int l = depth - 1; l >= 0; --l) {
        const Layer& here = layer[l];
        const int size = count * here.outputs;
        for (int i = threadIdx.x; i < size; i += THREADS)
            store(here.delta + (int64)row0 * here.outputs + i, slope[i]);
        if (l == 0) break;
        ACC* const lower = slope - rows * (here.outputs + here.inputs);
        products(slope, net.parameters + here.weights, rows, here.inputs, here.outputs, here.outputs, 1,
                 [=](int r, int i, ACC sum) { lower[r * here.inputs + i] *= sum; });
        __syncthreads();
        slope = lower;
    }
}
