// What every kernel shares: half-precision loads and the places of the control block (see control.py).
// STORED types are read through `load`, computed in ACC and written through `store`.
#ifndef GPUNET_COMMON
#define GPUNET_COMMON

#define NEXT 0
#define STEP 1
#define NONFINITE 2
#define BASE 3

typedef long long int64;

template <typename T> __device__ __forceinline__ ACC load(const T* p) { return (ACC)(*p); }
template <typename T> __device__ __forceinline__ void store(T* p, ACC value) { *p = (T)value; }

// NVRTC has no INFINITY without headers; the largest finite number serves as "lower than any logit".
template <typename T> struct Limits;
template <> struct Limits<float> { static __device__ float lowest() { return -3.402823466e38f; } };
template <> struct Limits<double> { static __device__ double lowest() { return -1.7976931348623157e308; } };

#endif
