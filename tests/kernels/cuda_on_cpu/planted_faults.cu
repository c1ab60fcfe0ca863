// One planted fault per kernel, each beside what is right: test_harness.py holds the harness to finding them.
// All take (float* g, unsigned* ticket); g has 256 values, a launch is 2 blocks of 64 threads.

#define KERNEL(name) extern "C" __global__ void name(float* g, unsigned* ticket)
#define SLOT (blockIdx.x * 64 + threadIdx.x)

// A neighbour in another warp is read across a barrier.
KERNEL(barrier_right) {
    SHARED(float, s, [64]);
    s[threadIdx.x] = threadIdx.x;
    __syncthreads();
    g[SLOT] = s[threadIdx.x ^ 32];
}
KERNEL(barrier_missing) {
    SHARED(float, s, [64]);
    s[threadIdx.x] = threadIdx.x;
    g[SLOT] = s[threadIdx.x ^ 32];
}
// A second barrier is missing: the next round overwrites what others still read.
KERNEL(barrier_missing_before_reuse) {
    SHARED(float, s, [64]);
    for (int round = 0; round < 2; ++round) {
        s[threadIdx.x] = round;
        __syncthreads();
        g[SLOT] += s[threadIdx.x ^ 32];
    }
}

// A neighbour in the same warp: lanes run together only where __syncwarp says so.
KERNEL(syncwarp_right) {
    SHARED(float, s, [64]);
    s[threadIdx.x] = threadIdx.x;
    __syncwarp();
    g[SLOT] = s[threadIdx.x ^ 1];
}
KERNEL(syncwarp_missing) {
    SHARED(float, s, [64]);
    s[threadIdx.x] = threadIdx.x;
    g[SLOT] = s[threadIdx.x ^ 1];
}
// A shuffle moves a value and orders nothing.
KERNEL(shuffle_is_no_barrier) {
    SHARED(float, s, [64]);
    s[threadIdx.x] = threadIdx.x;
    __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    g[SLOT] = s[threadIdx.x ^ 1];
}

// The block that draws the last ticket reads what the others wrote: a fence before the ticket and one after it.
#define LAST_BLOCK(before_write, before_ticket, after_ticket)                                                          \
    SHARED(bool, last, );                                                                                              \
    if (threadIdx.x == 0) {                                                                                            \
        before_write;                                                                                                  \
        g[blockIdx.x] = 1;                                                                                             \
        before_ticket;                                                                                                 \
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;                                                      \
        after_ticket;                                                                                                  \
    }                                                                                                                  \
    __syncthreads();                                                                                                   \
    if (last && threadIdx.x < gridDim.x) g[64 + threadIdx.x] = g[threadIdx.x];
KERNEL(fence_right) { LAST_BLOCK(, __threadfence(), __threadfence()) }
KERNEL(fence_missing_before) { LAST_BLOCK(, , __threadfence()) }
KERNEL(fence_missing_after) { LAST_BLOCK(, __threadfence(), ) }
KERNEL(fence_before_the_write) { LAST_BLOCK(__threadfence(), , __threadfence()) }

// Blocks know nothing of each other.
KERNEL(blocks_add_atomically) { if (threadIdx.x == 0) atomicAdd(&g[0], 1.0f); }
KERNEL(blocks_add_plainly) { if (threadIdx.x == 0) g[0] += 1.0f; }

KERNEL(global_out_of_bounds) { g[128 + SLOT + 1] = 1; }
KERNEL(read_out_of_bounds) { if (g[SLOT + 192] > 0) g[0] = 1; }
KERNEL(shared_out_of_bounds) {
    SHARED(float, s, [64]);
    s[threadIdx.x + 1] = 1;
}
KERNEL(dynamic_out_of_bounds) {
    DYNAMIC_SHARED(s);
    ((float*)s)[threadIdx.x + 1] = 1;
}
KERNEL(misaligned) {
    const uint4 v = *(const uint4*)(g + 1 + threadIdx.x);
    g[SLOT] = v.x;
}
KERNEL(shared_not_written) {
    SHARED(float, s, [64]);
    if (threadIdx.x < 63) s[threadIdx.x] = 1;
    __syncthreads();
    g[SLOT] = s[threadIdx.x];
}
KERNEL(barrier_divergent) {
    if (threadIdx.x < 40) __syncthreads();
    g[SLOT] = 1;
}
KERNEL(barrier_at_two_places) {
    if (threadIdx.x < 40)
        __syncthreads();
    else
        __syncthreads();
}
KERNEL(shuffle_after_exit) {
    if (threadIdx.x % 32 > 16) return;
    g[SLOT] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
KERNEL(shuffle_divergent) {
    float v = threadIdx.x;
    if (threadIdx.x & 1)
        v = __shfl_xor_sync(0xffffffffu, v, 1);
    else
        v = __shfl_down_sync(0xffffffffu, v, 1);
    g[SLOT] = v;
}
