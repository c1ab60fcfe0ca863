// Vocabulary of all kernels: types, half precision, warp reductions.
//
// No header of the CUDA toolkit and none of C++ is included, so that NVRTC needs nothing but these files, whatever is
// or is not installed beside it.
#pragma once

typedef unsigned char u8;
typedef unsigned short f16;  // the bits of an IEEE half; arithmetic is done in float
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

constexpr u32 kAllLanes = 0xffffffffu;

// The tests run these files on a CPU, thread for thread; their header defines the words below in its own way.
#ifndef CUDA_ON_CPU
#define SHARED(type, name, ...) __shared__ type name __VA_ARGS__  // SHARED(float, sums, [4][8]);
#define DYNAMIC_SHARED(name) extern __shared__ uint4 name[]        // uint4: aligned for the widest access

__device__ __forceinline__ float half_to_float(f16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// Rounds to nearest, ties to even.
__device__ __forceinline__ f16 float_to_half(float value) {
    f16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

__device__ __forceinline__ float low_half(u32 word) { return half_to_float((f16)(word & 0xffffu)); }
__device__ __forceinline__ float high_half(u32 word) { return half_to_float((f16)(word >> 16)); }
__device__ __forceinline__ u32 pack_halves(float low, float high) {
    return (u32)float_to_half(low) | (u32)float_to_half(high) << 16;
}

// 16 bytes at once. A struct of halves does not become one load, whatever its alignment: only uint4 does. __ldg says that
// the address is global (one read from a record in memory might be anything) and that no kernel writes there meanwhile.
__device__ __forceinline__ uint4 load_16_bytes(const void* address) { return __ldg((const uint4*)address); }

// fmaxf drops a NaN; here it must win, or a broken reconstruction would pass as the best of all.
__device__ __forceinline__ float max_or_nan(float a, float b) { return (b > a || b != b) ? b : a; }

// The butterfly adds in the same order on every lane and every run.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
    return value;
}

__device__ __forceinline__ float warp_max_or_nan(float value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
        value = max_or_nan(value, __shfl_xor_sync(kAllLanes, value, offset));
    return value;
}
