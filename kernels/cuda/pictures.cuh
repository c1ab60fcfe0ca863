// Reading pictures: formats, rows brought into shared memory, bilinear positions. Shared by ingest.cu and clip_pack.cu.
#pragma once
#include "common.cuh"

// As callm_kernels.pictures.Format.
enum Format { kGray = 0, kBgr = 1, kNv12Limited = 2, kNv12Full = 3 };

// Copies `bytes` of a row into shared memory, 16 bytes at a time however the row is aligned: it keeps its address modulo
// 16 there, and what lies before the first and after the last whole 16 bytes is copied byte by byte, so that nothing
// outside of the row is read. Returns where the row begins in `shared`, which has room for bytes + 15 rounded up to 16.
__device__ __forceinline__ u8* stage_row(const u8* row, int bytes, u8* shared) {
    const int lead = (int)((u64)row & 15);
    u8* staged = shared + lead;
    const int head = min((16 - lead) & 15, bytes);
    const int vectors = (bytes - head) / 16;
    for (int i = threadIdx.x; i < vectors; i += blockDim.x)
        *(uint4*)(staged + head + 16 * i) = load_16_bytes(row + head + 16 * i);
    if ((int)threadIdx.x < head) staged[threadIdx.x] = __ldg(row + threadIdx.x);
    const int tail = head + 16 * vectors + threadIdx.x;
    if (threadIdx.x < 16 && tail < bytes) staged[tail] = __ldg(row + tail);
    return staged;
}

// Between which two of n source pixels pixel i of `size` lies, and how far: (i + 1/2) n / size - 1/2, as OpenCV's
// INTER_LINEAR. In integers, so that the fraction is exact. Beyond the border the border pixel counts.
struct Position {
    int first, second;
    float fraction;
};

__device__ __forceinline__ Position position(int i, int size, int n) {
    const int halves = max((2 * i + 1) * n - size, 0);  // in units of 1 / (2 size) pixels
    const int first = min(halves / (2 * size), n - 1);
    return {first, min(first + 1, n - 1), (float)(halves - first * 2 * size) / (float)(2 * size)};
}

__device__ __forceinline__ float mix(float a, float b, float fraction) { return fmaf(b - a, fraction, a); }

// OpenCV's gray of BGR: 0.114 B + 0.587 G + 0.299 R in 15 bits.
__device__ __forceinline__ int gray_of_bgr(const u8* pixel) {
    return (pixel[0] * 3735 + pixel[1] * 19235 + pixel[2] * 9798 + (1 << 14)) >> 15;
}

__device__ __forceinline__ float round_to_byte(float value) { return fminf(fmaxf(rintf(value), 0.0f), 255.0f); }

// Of a number in 16 bits after the point.
__device__ __forceinline__ int round_fixed(int value) { return min(max((value + (1 << 15)) >> 16, 0), 255); }

constexpr int kLimitedLuma = 76309;  // 255 / 219 in 16 bits after the point

// Luma of limited range (16 to 235) to 0 to 255.
__device__ __forceinline__ int full_range(int luma) { return round_fixed((luma - 16) * kLimitedLuma); }

// R, G or B (channel 0, 1, 2) of luma and chroma by ITU-R BT.601. In limited range chroma has 224 steps to luma's 219.
__device__ __forceinline__ int rgb_of_nv12(int luma, int u, int v, int channel, bool limited) {
    u -= 128;
    v -= 128;
    const int base = limited ? (luma - 16) * kLimitedLuma : luma << 16;
    if (channel == 0) return round_fixed(base + (limited ? 104597 : 91881) * v);
    if (channel == 2) return round_fixed(base + (limited ? 132201 : 116130) * u);
    return round_fixed(base - (limited ? 25675 : 22553) * u - (limited ? 53279 : 46802) * v);
}
