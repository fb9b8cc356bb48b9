// Everything between the first product and the gradients (see fused.py): block (some rows of the batch, network).
//
// A block brings its rows through all layers, the loss and back to the deltas; what it keeps of them in between lies in
// shared memory. What it reads is asked for at once, as far as that has room there, since each wait for global memory
// costs as much as a layer: the layers' descriptions, the rows' targets and, with HELD, all parameters but the first
// layer's weights. In front of this comes the file of a loss (see loss.cuh). FUNCTIONS holds the activations: `activate`
// and `derivative` of number `kind`.
#include "network.cuh"
#include "loss.cuh"
#include "philox.cuh"

FUNCTIONS

// Blocks that a multiprocessor has registers for. Left to itself the assembler aims for more, and spills a few.
#define BLOCKS (512 / THREADS)
// Factors that a thread asks for before it needs the first.
#define AHEAD (HELD ? 4 : 16)

// out(r, i, sum over k of left[r * depth + k] * weights[i * apart + k * step]) for all r < rows and i < results. As many
// threads that follow each other as there is no other work for share a sum; where they read what lies side by side, eight.
template <typename Out>
__device__ __forceinline__ void products(const ACC* left, const REAL* weights, int rows, int results, int depth, int apart,
                                         int step, Out out) {
    int lanes = step == 1 ? 8 : 1;
    while (lanes < 32 && 2 * lanes * rows * results <= THREADS) lanes *= 2;
    const int lane = threadIdx.x % lanes;
    for (int first = 0; first < rows * results; first += THREADS / lanes) {
        const int pair = first + threadIdx.x / lanes;
        const bool inside = pair < rows * results;
        const int r = inside ? pair / results : 0, i = inside ? pair % results : 0;
        const REAL* const column = weights + (int64)i * apart;
        ACC sum = 0;
        for (int k0 = lane; k0 < depth; k0 += AHEAD * lanes) {
            ACC factor[AHEAD];
#pragma unroll
            for (int j = 0; j < AHEAD; ++j)  // beyond the end the last one: without a condition none waits for another
                factor[j] = load(column + (int64)min(k0 + j * lanes, depth - 1) * step);
#pragma unroll
            for (int j = 0; j < AHEAD; ++j) {
                const int k = k0 + j * lanes;
                sum += k < depth ? left[r * depth + k] * factor[j] : ACC(0);
            }
        }
        for (int other = lanes / 2; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
        if (inside && lane == 0) out(r, i, sum);
    }
}

// `count` elements on their way from global to shared memory: the first ones, EACH of a thread, are asked for at once,
// and put there later, so that other things can be asked for in between.
template <typename T, int EACH> struct Copy {
    T* const to;
    const T* const from;
    const int count;
    T held[EACH];

    __device__ __forceinline__ Copy(T* to, const T* from, int count) : to(to), from(from), count(count) {
#pragma unroll
        for (int j = 0; j < EACH; ++j)
            if (at(j) < count) held[j] = from[at(j)];
    }
    static __device__ __forceinline__ int at(int j) { return j * THREADS + threadIdx.x; }
    __device__ __forceinline__ void put() {
#pragma unroll
        for (int j = 0; j < EACH; ++j)
            if (at(j) < count) to[at(j)] = held[j];
#pragma unroll 4
        for (int i = at(EACH); i < count; i += THREADS) to[i] = from[i];
    }
};

// The sum of an element of the first product over the shares of the features, `apart` from each other.
__device__ __forceinline__ ACC sum_of_splits(const REAL* sums, int64 apart, int splits) {
    ACC sum = 0;
    for (int first = 0; first < splits; first += 8) {
        ACC some[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) some[j] = first + j < splits ? load(sums + (first + j) * apart) : ACC(0);
#pragma unroll
        for (int j = 0; j < 8; ++j) sum += some[j];
    }
    return sum;
}

struct __align__(16) Quad { int value[4]; };

// `held` parameters from `from` on lie in shared memory. That is laid out as fused.py counts it: the layers, the targets,
// the parameters; then of each layer the activations behind dropout (of the last, the logits) and their slopes (the
// deltas, from the last one downwards), each rows x outputs.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) fused_head(
    const Network* __restrict__ networks, const Layer* __restrict__ layers, int depth, int batch, int rows, int splits,
    int64 from, int held) {
    extern __shared__ __align__(16) unsigned char dynamic[];
    __shared__ ACC shared[THREADS / 32];
    const Network& net = networks[blockIdx.y];
    const Layer* const described = layers + blockIdx.y * depth;
    const int row0 = blockIdx.x * rows, count = min(rows, batch - row0);
    const int64 step = net.control[STEP];
    Layer* const layer = (Layer*)dynamic;
    LABEL* const targets = (LABEL*)(layer + depth);
    REAL* const own = (REAL*)((unsigned char*)targets + (rows * net.label_columns * sizeof(LABEL) + 15) / 16 * 16);
    const REAL* const parameters = HELD ? own : net.parameters + from;
    ACC* kept = (ACC*)(own + held);
    ACC* slope = kept;
    const ACC* below = kept;

    Copy<uint64, 1> layers_copy((uint64*)layer, (const uint64*)described, depth * (int)(sizeof(Layer) / sizeof(uint64)));
    Copy<LABEL, 1> targets_copy(targets, net.targets + row0 * net.label_columns, count * (int)net.label_columns);
    Copy<Quad, 4> own_copy((Quad*)own, (const Quad*)(net.parameters + from), held / (int)(sizeof(Quad) / sizeof(REAL)));
    for (int i = threadIdx.x, outputs = described->outputs; i < rows * outputs; i += THREADS)
        kept[i] = i < count * outputs
                      ? sum_of_splits(net.sums + (int64)row0 * outputs + i, (int64)batch * outputs, splits) : ACC(0);
    layers_copy.put();
    targets_copy.put();
    own_copy.put();
    __syncthreads();

    for (int l = 0; l < depth; ++l) {
        const Layer& here = layer[l];
        const int outputs = here.outputs;
        const REAL* const bias = parameters + (here.bias - from);
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
            for (int i = threadIdx.x; i < rows * outputs; i += THREADS) finish(i / outputs, i % outputs, kept[i]);
        } else {
            products(below, parameters + (here.weights - from), rows, outputs, here.inputs, 1, outputs, finish);
        }
        __syncthreads();
        below = kept;
        kept = slope + rows * outputs;
    }

    const int outputs = layer[depth - 1].outputs;
    for (int first = 0; first < rows; first += THREADS / GROUP) {
        const int r = first + threadIdx.x / GROUP, row = row0 + r;
        example_loss(r < count ? below + r * outputs : below, targets + r * net.label_columns, net.batch_weights,
                     net.total_weight, slope + r * outputs, net.losses, net.control, row, batch,
                     r < count ? outputs : 0, shared);
    }
    __syncthreads();

    for (int l = depth - 1; l >= 0; --l) {
        const Layer& here = layer[l];
        const int size = count * here.outputs;
        for (int i = threadIdx.x; i < size; i += THREADS)
            store(here.delta + (int64)row0 * here.outputs + i, slope[i]);
        if (l == 0) break;
        ACC* const lower = slope - rows * (here.outputs + here.inputs);
        products(slope, parameters + (here.weights - from), rows, here.inputs, here.outputs, here.outputs, 1,
                 [=](int r, int i, ACC sum) { lower[r * here.inputs + i] *= sum; });
        __syncthreads();
        slope = lower;
    }
}
