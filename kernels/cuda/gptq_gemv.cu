// y = x W for 1 to 4 rows of x (tokens being decoded), W in GPTQ's 4 bits: one launch.
//
//     W[k][n] = scales[k / group][n] * (q[k][n] - zero[k / group][n])
//
// Decoding reads every weight once for each token, so the time is that of reading qweight: 16 bytes at a time, four
// columns x eight inputs. A word of qweight holds eight inputs k of one column, the first in its lowest 4 bits.
//
//                 32 columns of a block
//                |<------------------->|
//     word row 0 | lane 0 | .. | lane 7  |     A warp takes 4 word rows (32 inputs) x 32 columns, 128 bytes of each row;
//     word row 1 | lane 8 | .. | lane 15 |     the 8 warps of a block take 32 word rows (256 inputs) at a step.
//     word row 2 | lane 16| .. | lane 23 |     At the end the four lanes below each other are summed by shuffles, the
//     word row 3 | lane 24| .. | lane 31 |     8 warps through shared memory: always in the same order.
//
// Grid: x = columns / 32. No dynamic shared memory.

#include "common.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 32;                // of a block
constexpr int kWordRows = 4 * kWarps;       // that a block takes at a step
constexpr int kAhead = 2;                   // steps whose weights are loaded before any is used

constexpr u32 kMagic = 0x4b000000u;         // the bits of 2^23, whose last bit counts 1
constexpr float kMagicValue = 8388608.0f;

// Eight inputs x four columns: sums[m][c] += scale[c] * (sum over k of x[m][k] q[k][c]  -  zero[c] * sum over k of x[m][k]).
//
// A 4-bit number q in bits 4j.. of a word becomes a float in two instructions: with the exponent of 2^23 put in front the
// bits read as 2^23 + q 16^j, and 2^23 is subtracted exactly. The 16^j is taken out of x beforehand, exactly too.
template <int M>
__device__ __forceinline__ void add_word_row(uint4 words, const f16* x, int in_features, const float (&scale)[4],
                                             const float (&zero)[4], float (&sums)[M][4]) {
    float inputs[M][8], total[M];
#pragma unroll
    for (int m = 0; m < M; ++m) {
        const uint4 v = load_16_bytes(x + (i64)m * in_features);
        const u32 pairs[4] = {v.x, v.y, v.z, v.w};
        total[m] = 0.0f;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const float value = j % 2 ? high_half(pairs[j / 2]) : low_half(pairs[j / 2]);
            total[m] += value;
            inputs[m][j] = value * (1.0f / (float)(1 << 4 * (j % 5)));
        }
    }
    const u32 columns[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        float products[M] = {};
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const u32 word = j < 5 ? columns[c] : columns[c] >> 20;  // five 4-bit numbers fit below the exponent
            const float q = __int_as_float((int)((word & (0xfu << 4 * (j % 5))) | kMagic)) - kMagicValue;
#pragma unroll
            for (int m = 0; m < M; ++m) products[m] = fmaf(inputs[m][j], q, products[m]);
        }
#pragma unroll
        for (int m = 0; m < M; ++m) sums[m][c] = fmaf(scale[c], fmaf(-zero[c], total[m], products[m]), sums[m][c]);
    }
}

template <int M>
__device__ __forceinline__ void gptq_gemv(const f16* x, const u32* qweight, const u32* qzeros, const f16* scales, f16* y,
                                          int in_features, int out_features, int group_size, int zero_offset) {
    SHARED(float, partial, [kWarps][M][kColumns]);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int column = blockIdx.x * kColumns + lane % 8 * 4;
    const int rows = in_features / 8;
    float sums[M][4] = {};
    if (column < out_features) {  // out_features is a multiple of 8: four columns are in or out together
        for (int first = warp * 4 + lane / 8; first < rows; first += kAhead * kWordRows) {
            uint4 words[kAhead];
#pragma unroll
            for (int i = 0; i < kAhead; ++i) {
                const int row = first + i * kWordRows;
                words[i] = row < rows ? load_16_bytes(qweight + (i64)row * out_features + column) : uint4{0, 0, 0, 0};
            }
#pragma unroll
            for (int i = 0; i < kAhead; ++i) {
                const int row = first + i * kWordRows;
                if (row >= rows) break;
                const int group = row * 8 / group_size;
                const uint2 s = *(const uint2*)(scales + (i64)group * out_features + column);
                const float scale[4] = {low_half(s.x), high_half(s.x), low_half(s.y), high_half(s.y)};
                const u32 stored = qzeros[(i64)group * (out_features / 8) + column / 8];
                const u32 packed = (stored + zero_offset * 0x11111111u) >> (column % 8 * 4);
                float zero[4];
#pragma unroll
                for (int c = 0; c < 4; ++c) zero[c] = (float)(packed >> (4 * c) & 0xfu);
                add_word_row<M>(words[i], x + row * 8, in_features, scale, zero, sums);
            }
        }
    }
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            sums[m][c] += __shfl_xor_sync(kAllLanes, sums[m][c], 8);
            sums[m][c] += __shfl_xor_sync(kAllLanes, sums[m][c], 16);
            if (lane < 8) partial[warp][m][lane * 4 + c] = sums[m][c];
        }
    __syncthreads();
    for (int i = threadIdx.x; i < M * kColumns; i += kThreads) {
        const int m = i / kColumns, c = i % kColumns;
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += partial[w][m][c];
        const int n = blockIdx.x * kColumns + c;
        if (n < out_features) y[(i64)m * out_features + n] = float_to_half(sum);
    }
}

}  // namespace

// x            (M, in_features) half, 16-byte aligned
// qweight      (in_features / 8, out_features) words, 16-byte aligned
// qzeros       (in_features / group_size, out_features / 8) words: eight neighbouring columns, the first in the lowest bits
// scales       (in_features / group_size, out_features) half, 8-byte aligned
// y            (M, out_features) half, out
// group_size   32, 64 or 128
// zero_offset  what stored zero points lack: 1 in the format gptq, 0 in gptq_v2. Whole words had 0x11111111 taken away
//              when they were stored (a zero point of 0 borrows from its neighbour), so to whole words it is added again
#define GPTQ_GEMV(name, M)                                                                                             \
    extern "C" __global__ void __launch_bounds__(kThreads)                                                             \
        name(const f16* x, const u32* qweight, const u32* qzeros, const f16* scales, f16* y, int in_features,          \
             int out_features, int group_size, int zero_offset) {                                                      \
        gptq_gemv<M>(x, qweight, qzeros, scales, y, in_features, out_features, group_size, zero_offset);               \
    }

GPTQ_GEMV(gptq_gemv_m1, 1)
GPTQ_GEMV(gptq_gemv_m2, 2)
GPTQ_GEMV(gptq_gemv_m3, 3)
GPTQ_GEMV(gptq_gemv_m4, 4)
