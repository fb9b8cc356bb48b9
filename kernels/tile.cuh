// A 16 x 16 tile of a matrix product C = A B, by a block of 256 threads.
//
// The block stages SLICE of the summed index k at a time in shared memory, and loads the next slice into registers while
// it multiplies this one. A thread adds up a patch of 2 x 2 over a quarter of the k's of a slice; the four sums of an
// element are added at the end, in a fixed order. No atomics anywhere.
#ifndef GPUNET_TILE
#define GPUNET_TILE
#include "network.cuh"

#define THREADS 256
#define TILE 16
#define SLICE 64
#define PITCH (TILE + 1)  // the odd pitch keeps both ways of writing a slice free of conflicts
#define GROUPS 4
#define STAGED (2 * SLICE * PITCH)
// Blocks that a multiprocessor has registers for: 128 a thread for floats, 255 for doubles. Without a say in this the
// assembler aims for more blocks and spills a few registers.
#define BLOCKS (sizeof(ACC) == 4 ? 2 : 1)
#define TILES(length) (((length) + TILE - 1) / TILE)

// A slice of one factor on its way to shared memory. ALONG_K: a row of the factor has the k's of one result; else a row
// is one k.
template <typename Factor, bool ALONG_K> struct Slice {
    typedef typename Factor::Element Element;
    typedef typename Factor::Held Held;
    static const int COUNT = TILE * SLICE / THREADS;
    static const int WIDTH = sizeof(Element) > 4 ? 2 : 4;  // as many as one load of up to 16 bytes brings
    static const int LINE = ALONG_K ? SLICE : TILE;        // length of a row in the slice
    struct __align__(WIDTH * sizeof(Element)) Pack { Element value[WIDTH]; };
    Held held[COUNT];
    int numbers[COUNT];  // of the rows that are fetched next

    static __device__ __forceinline__ int place(int i, bool wide) {
        return wide ? ((i / WIDTH) * THREADS + threadIdx.x) * WIDTH + i % WIDTH : i * THREADS + threadIdx.x;
    }

    // Ask for the numbers of the rows that have results [first, first + TILE) and k's [k0, k0 + SLICE) of a factor of `end`
    // results; none from `end` and from k `depth` on. `wide`: as many elements at a time as a load brings.
    __device__ __forceinline__ void aim(const Factor& factor, int first, int end, int k0, int depth, bool wide) {
        const int row0 = ALONG_K ? first : k0, row_end = ALONG_K ? end : depth;
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int row = row0 + place(i, wide) / LINE;
            if (i % WIDTH == 0 || !wide) numbers[i] = row < row_end ? factor.number(row) : -1;
        }
    }

    // Fetch what was aimed at; zero where there is none.
    __device__ __forceinline__ void fetch(const Factor& factor, int first, int end, int k0, int depth, bool wide) {
        const int line0 = ALONG_K ? k0 : first, line_end = ALONG_K ? depth : end;
        if (wide) {
#pragma unroll
            for (int i = 0; i < COUNT; i += WIDTH) {
                const int at = line0 + place(i, true) % LINE;
                Pack pack = {};
                // A row's length is a multiple of WIDTH, and so is the end of a share of the k's.
                if (numbers[i] >= 0 && at < line_end)
                    pack = *reinterpret_cast<const Pack*>(factor.row(numbers[i]) + at);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) held[i + j] = (Held)pack.value[j];
            }
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; ++i) {
                const int at = line0 + place(i, false) % LINE;
                held[i] = Held(0);
                if (numbers[i] >= 0 && at < line_end) held[i] = factor.fetched(factor.row(numbers[i]), at);
            }
        }
    }

    // Element (t, k) goes to staged[k * PITCH + t].
    __device__ __forceinline__ void put(const Factor& factor, ACC* staged, bool wide) const {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int e = place(i, wide);
            const int t = ALONG_K ? e / LINE : e % LINE, k = ALONG_K ? e % LINE : e / LINE;
            staged[k * PITCH + t] = factor.made(held[i]);
        }
    }
};

// Element (threadIdx.x / TILE, threadIdx.x % TILE) of the tile from (row0, column0) on of the product of A (m results)
// and B (n results, a row is one k), over the k's from `k0` to `depth`. With `sum_columns` also a partial sum over k of
// column threadIdx.x % TILE of B; column_sum() below puts them together.
template <bool A_ALONG_K, typename A>
__device__ __forceinline__ ACC product(const A& a, const Matrix& b, int m, int n, int k0, int depth, int row0,
                                       int column0, ACC* room, bool sum_columns, ACC& partial) {
    ACC* const staged_a = room;
    ACC* const staged_b = room + SLICE * PITCH;
    Slice<A, A_ALONG_K> slice_a;
    Slice<Matrix, false> slice_b;
    const bool wide_a = a.packs(Slice<A, A_ALONG_K>::WIDTH), wide_b = b.packs(Slice<Matrix, false>::WIDTH);
    const int group = threadIdx.x / 64, i0 = threadIdx.x % 64 / 8, j0 = threadIdx.x % 8;
    ACC sums[2][2] = {};
    // The numbers of the rows are a slice ahead of what is in them, and that is a slice ahead of what is multiplied. A row
    // along k is that of all slices.
    slice_a.aim(a, row0, m, k0, depth, wide_a);
    slice_b.aim(b, column0, n, k0, depth, wide_b);
    slice_a.fetch(a, row0, m, k0, depth, wide_a);
    slice_b.fetch(b, column0, n, k0, depth, wide_b);
    if (!A_ALONG_K) slice_a.aim(a, row0, m, k0 + SLICE, depth, wide_a);
    slice_b.aim(b, column0, n, k0 + SLICE, depth, wide_b);
    for (; k0 < depth; k0 += SLICE) {
        slice_a.put(a, staged_a, wide_a);
        slice_b.put(b, staged_b, wide_b);
        __syncthreads();
        if (k0 + SLICE < depth) {
            slice_a.fetch(a, row0, m, k0 + SLICE, depth, wide_a);
            slice_b.fetch(b, column0, n, k0 + SLICE, depth, wide_b);
            if (!A_ALONG_K) slice_a.aim(a, row0, m, k0 + 2 * SLICE, depth, wide_a);
            slice_b.aim(b, column0, n, k0 + 2 * SLICE, depth, wide_b);
        }
#pragma unroll 4
        for (int k = group; k < SLICE; k += GROUPS) {
            const ACC* const left = staged_a + k * PITCH + i0;
            const ACC* const right = staged_b + k * PITCH + j0;
#pragma unroll
            for (int i = 0; i < 2; ++i)
#pragma unroll
                for (int j = 0; j < 2; ++j) sums[i][j] += left[8 * i] * right[8 * j];
        }
        if (sum_columns)
            for (int k = threadIdx.x / TILE; k < SLICE; k += THREADS / TILE)
                partial += staged_b[k * PITCH + threadIdx.x % TILE];
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) room[(group * TILE + i0 + 8 * i) * TILE + j0 + 8 * j] = sums[i][j];
    __syncthreads();
    ACC total = 0;
    for (int g = 0; g < GROUPS; ++g) total += room[g * TILE * TILE + threadIdx.x];
    return total;
}

// The sum over k of column `threadIdx.x` of B, for the first TILE threads.
__device__ __forceinline__ ACC column_sum(ACC partial, ACC* room) {
    __syncthreads();  // the room is in use until here
    room[threadIdx.x] = partial;
    __syncthreads();
    ACC total = 0;
    if (threadIdx.x < TILE)
        for (int i = threadIdx.x; i < THREADS; i += TILE) total += room[i];
    return total;
}

#endif
