// The products of a dense layer, with what surrounds them done on the way out (see gemm.py and dense.py).
//
// A block of 256 threads makes a TILE_M x TILE_N tile of C = A B. It stages SLICE of the summed index k at a time in
// shared memory, and loads the next slice into registers while it multiplies this one. Each thread adds up a
// PATCH_M x PATCH_N patch of the tile. A small tile has fewer patches than there are threads: then GROUPS of threads
// share out the k's of a slice, and their sums are added at the end, in a fixed order. No atomics anywhere.
//
// FUNCTIONS holds the device functions `activate` and `derivative`; DROPOUT says whether the forward pass drops.
#include "common.cuh"
#if DROPOUT
#include "philox.cuh"
#endif

FUNCTIONS

#define THREADS 256
// Blocks that a multiprocessor has registers for: 128 a thread for floats, 255 for doubles. Without a say in this the
// assembler aims for more blocks and spills a few registers.
#define BLOCKS (sizeof(ACC) == 4 ? 2 : 1)
#define PATCHES ((TILE_M / PATCH_M) * (TILE_N / PATCH_N))
#define GROUPS (THREADS / PATCHES)
#define RESULTS (TILE_M * TILE_N / THREADS)
#define STAGED (SLICE * (TILE_M + 1 + TILE_N + 1))
#define GATHERED (GROUPS > 1 ? GROUPS * TILE_M * TILE_N : THREADS)
#define ROOM (STAGED > GATHERED ? STAGED : GATHERED)

// As many elements as one 16-byte load brings.
struct __align__(16) Pack { REAL value[16 / sizeof(REAL)]; };

// A slice of one factor on its way to shared memory. ALONG_K: k is the contiguous index of the factor in memory.
template <int TILE, bool ALONG_K> struct Slice {
    static const int COUNT = TILE * SLICE / THREADS;
    static const int WIDTH = 16 / sizeof(REAL);
    static const int LINE = ALONG_K ? SLICE : TILE;  // length of the contiguous direction in the slice
    ACC held[COUNT];

    static __device__ __forceinline__ int place(int i, bool wide) {
        return wide ? ((i / WIDTH) * THREADS + threadIdx.x) * WIDTH + i % WIDTH : i * THREADS + threadIdx.x;
    }

    // Elements [first, first + TILE) x [k0, k0 + SLICE) of a factor of `end` x `depth`; zero outside of it. `wide`:
    // all rows of the factor start at multiples of 16 bytes.
    __device__ __forceinline__ void fetch(const REAL* __restrict__ factor, int length, int first, int end, int k0,
                                          int depth, bool wide) {
        const int line0 = ALONG_K ? k0 : first, line_end = ALONG_K ? depth : end;
        const int row0 = ALONG_K ? first : k0, row_end = ALONG_K ? end : depth;
        if (wide) {
#pragma unroll
            for (int i = 0; i < COUNT; i += WIDTH) {
                const int e = place(i, true), row = row0 + e / LINE, at = line0 + e % LINE;
                Pack pack;
                // The contiguous length is a multiple of WIDTH, so a pack lies inside or outside as a whole.
                const bool inside = row < row_end && at < line_end;
                if (inside) pack = *reinterpret_cast<const Pack*>(factor + (int64)row * length + at);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) held[i + j] = inside ? (ACC)pack.value[j] : ACC(0);
            }
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; ++i) {
                const int e = place(i, false), row = row0 + e / LINE, at = line0 + e % LINE;
                held[i] = row < row_end && at < line_end ? load(factor + (int64)row * length + at) : ACC(0);
            }
        }
    }

    // Element (t, k) goes to staged[k * (TILE + 1) + t]: the odd pitch keeps both ways of writing free of conflicts.
    __device__ __forceinline__ void put(ACC* staged, bool wide) const {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int e = place(i, wide);
            const int t = ALONG_K ? e / LINE : e % LINE, k = ALONG_K ? e % LINE : e / LINE;
            staged[k * (TILE + 1) + t] = held[i];
        }
    }
};

// Where in the tile result i of this thread lies.
__device__ __forceinline__ int row_of(int i) {
    return GROUPS > 1 ? (i * THREADS + (int)threadIdx.x) / TILE_N
                      : (int)threadIdx.x / (TILE_N / PATCH_N) + i / PATCH_N * (TILE_M / PATCH_M);
}
__device__ __forceinline__ int column_of(int i) {
    return GROUPS > 1 ? (i * THREADS + (int)threadIdx.x) % TILE_N
                      : (int)threadIdx.x % (TILE_N / PATCH_N) + i % PATCH_N * (TILE_N / PATCH_N);
}

// One tile of the product of A (m x depth) and B (depth x n), from (row0, column0) on, as RESULTS numbers a thread.
// With `sum_columns` also the sums of B's columns over k: thread t adds every (THREADS / TILE_N)-th k of column
// t % TILE_N, and column_sum() below puts them together.
template <bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void product(const REAL* a, const REAL* b, int m, int n, int depth, int row0, int column0,
                                        ACC* room, ACC (&results)[RESULTS], bool sum_columns, ACC& partial) {
    ACC* const staged_a = room;
    ACC* const staged_b = room + SLICE * (TILE_M + 1);
    const int length_a = A_ALONG_K ? depth : m, length_b = B_ALONG_K ? depth : n;
    const bool wide_a = Slice<TILE_M, A_ALONG_K>::COUNT % (16 / sizeof(REAL)) == 0 &&
                        length_a % (16 / sizeof(REAL)) == 0 && (unsigned long long)a % 16 == 0;
    const bool wide_b = Slice<TILE_N, B_ALONG_K>::COUNT % (16 / sizeof(REAL)) == 0 &&
                        length_b % (16 / sizeof(REAL)) == 0 && (unsigned long long)b % 16 == 0;
    const int group = threadIdx.x / PATCHES, patch = threadIdx.x % PATCHES;
    const int i0 = patch / (TILE_N / PATCH_N), j0 = patch % (TILE_N / PATCH_N);
    ACC sums[PATCH_M][PATCH_N] = {};
    Slice<TILE_M, A_ALONG_K> slice_a;
    Slice<TILE_N, B_ALONG_K> slice_b;
    slice_a.fetch(a, length_a, row0, m, 0, depth, wide_a);
    slice_b.fetch(b, length_b, column0, n, 0, depth, wide_b);
    for (int k0 = 0; k0 < depth; k0 += SLICE) {
        slice_a.put(staged_a, wide_a);
        slice_b.put(staged_b, wide_b);
        __syncthreads();
        if (k0 + SLICE < depth) {
            slice_a.fetch(a, length_a, row0, m, k0 + SLICE, depth, wide_a);
            slice_b.fetch(b, length_b, column0, n, k0 + SLICE, depth, wide_b);
        }
#pragma unroll 4
        for (int step = 0; step < SLICE / GROUPS; ++step) {
            const int k = step * GROUPS + group;
            ACC left[PATCH_M], right[PATCH_N];
#pragma unroll
            for (int i = 0; i < PATCH_M; ++i) left[i] = staged_a[k * (TILE_M + 1) + i0 + i * (TILE_M / PATCH_M)];
#pragma unroll
            for (int j = 0; j < PATCH_N; ++j) right[j] = staged_b[k * (TILE_N + 1) + j0 + j * (TILE_N / PATCH_N)];
#pragma unroll
            for (int i = 0; i < PATCH_M; ++i)
#pragma unroll
                for (int j = 0; j < PATCH_N; ++j) sums[i][j] += left[i] * right[j];
        }
        if (sum_columns)
            for (int k = threadIdx.x / TILE_N; k < SLICE; k += THREADS / TILE_N)
                partial += staged_b[k * (TILE_N + 1) + threadIdx.x % TILE_N];
        __syncthreads();
    }
#if GROUPS == 1
#pragma unroll
    for (int i = 0; i < RESULTS; ++i) results[i] = sums[i / PATCH_N][i % PATCH_N];
#else
#pragma unroll
    for (int i = 0; i < PATCH_M; ++i)
#pragma unroll
        for (int j = 0; j < PATCH_N; ++j)
            room[(group * TILE_M + i0 + i * (TILE_M / PATCH_M)) * TILE_N + j0 + j * (TILE_N / PATCH_N)] = sums[i][j];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < RESULTS; ++i) {
        ACC total = 0;
        for (int g = 0; g < GROUPS; ++g) total += room[(g * TILE_M + row_of(i)) * TILE_N + column_of(i)];
        results[i] = total;
    }
#endif
}

// The sum over k of column `threadIdx.x` of B, for the first TILE_N threads.
__device__ __forceinline__ ACC column_sum(ACC partial, ACC* room) {
    __syncthreads();  // the room is in use until here
    room[threadIdx.x] = partial;
    __syncthreads();
    ACC total = 0;
    if (threadIdx.x < TILE_N)
        for (int i = threadIdx.x; i < THREADS; i += TILE_N) total += room[i];
    return total;
}

// out = f(x W + b), a tile a block; with DROPOUT also mask and kept = out * mask (see dropout.py).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) dense_forward(
    const REAL* __restrict__ x, const REAL* __restrict__ weights, const REAL* __restrict__ bias, REAL* pre, REAL* out,
    int batch, int inputs, int outputs
#if DROPOUT
    , unsigned long long seed, unsigned long long word, unsigned long long limit, double factor, int64 first,
    const int64* __restrict__ control, REAL* mask, REAL* kept
#endif
) {
    __shared__ ACC room[ROOM];
    const int across = (outputs + TILE_N - 1) / TILE_N;
    const int row0 = blockIdx.x / across * TILE_M, column0 = blockIdx.x % across * TILE_N;
    ACC results[RESULTS], unused = 0;
    product<true, false>(x, weights, batch, outputs, inputs, row0, column0, room, results, false, unused);
#pragma unroll
    for (int i = 0; i < RESULTS; ++i) {
        const int row = row0 + row_of(i), column = column0 + column_of(i);
        if (row >= batch || column >= outputs) continue;
        const int64 at = (int64)row * outputs + column;
        ACC value = results[i];
        if (bias) {
            value += load(bias + column);
            if (pre) store(pre + at, value);
            value = activate(value);
        }
        store(out + at, value);
#if DROPOUT
        const ACC share = philox(seed, word, control[STEP], first + at) < limit ? (ACC)factor : ACC(0);
        store(mask + at, share);
        store(kept + at, value * share);
#endif
    }
}

// grad_W = x^T delta and grad_b = the column sums of delta (the first blocks), and the delta of the layer below,
// (delta W^T) * mask * f' (the other blocks; none where `below` is null). Neither part reads what the other writes.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) dense_backward(
    const REAL* __restrict__ delta, const REAL* __restrict__ x, const REAL* __restrict__ weights, REAL* grad_weights,
    REAL* grad_bias, REAL* below, const REAL* __restrict__ saved, const REAL* __restrict__ mask, int batch, int inputs,
    int outputs) {
    __shared__ ACC room[ROOM];
    const int across = (outputs + TILE_N - 1) / TILE_N, weight_blocks = (inputs + TILE_M - 1) / TILE_M * across;
    ACC results[RESULTS], partial = 0;
    if (blockIdx.x < weight_blocks) {
        const int row0 = blockIdx.x / across * TILE_M, column0 = blockIdx.x % across * TILE_N;
        const bool sum_columns = row0 == 0;
        product<false, false>(x, delta, inputs, outputs, batch, row0, column0, room, results, sum_columns, partial);
#pragma unroll
        for (int i = 0; i < RESULTS; ++i) {
            const int row = row0 + row_of(i), column = column0 + column_of(i);
            if (row < inputs && column < outputs) store(grad_weights + (int64)row * outputs + column, results[i]);
        }
        if (sum_columns) {
            const ACC total = column_sum(partial, room);
            const int column = column0 + threadIdx.x;
            if (threadIdx.x < TILE_N && column < outputs) store(grad_bias + column, total);
        }
    } else {
        const int block = blockIdx.x - weight_blocks, wide = (inputs + TILE_N - 1) / TILE_N;
        const int row0 = block / wide * TILE_M, column0 = block % wide * TILE_N;
        product<true, true>(delta, weights, batch, inputs, outputs, row0, column0, room, results, false, partial);
#pragma unroll
        for (int i = 0; i < RESULTS; ++i) {
            const int row = row0 + row_of(i), column = column0 + column_of(i);
            if (row >= batch || column >= inputs) continue;
            const int64 at = (int64)row * inputs + column;
            ACC value = results[i] * derivative(load(saved + at));
            if (mask) value *= load(mask + at);
            store(below + at, value);
        }
    }
}
