// One feature of a row of a table (see encoding.py).
#ifndef GPUNET_ENCODING
#define GPUNET_ENCODING

template <typename T>
__device__ __forceinline__ T encoded(T v, int kind, T fill, T shift, T factor, T low, T high) {
    const bool absent = v != v;
    if (absent) v = fill;
    const T z = (v - shift) * factor;
    if (kind == 0) return z < low ? low : z > high ? high : z;
    if (kind == 1) return z / sqrt(z * z / T(9) + T(1));
    if (kind == 2) return v == shift ? T(1) : T(0);
    return absent ? T(1) : T(0);
}

#endif
