// What `callm-edge doctor` launches: a little of all that the other kernels rest on, with an answer known beforehand.
//
// Grid: x = 1 block of 64 threads. out[i] = the sum of i over the thread's warp + half(i / 4) + the neighbour's i.

#include "common.cuh"

// out  (64,) float
extern "C" __global__ void selftest(float* out) {
    SHARED(int, staged, [64]);
    const int i = threadIdx.x;
    staged[i] = i;
    __syncthreads();
    out[i] = warp_sum((float)i) + half_to_float(float_to_half((float)i / 4)) + (float)staged[i ^ 63];
}
