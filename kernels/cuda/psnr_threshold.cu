// Scores the reconstruction of a batch of windows, and flags them: one launch.
//
//     error     = (reconstruction - frame)^2, frame in [-1, 1]
//     mse       = mean of error            psnr_db = 10 log10(2^2 / max(mse, 1e-10))
//     patch_mse = largest mean of error over 32 x 32 tiles, one every 8 pixels
//     error_map = error averaged over 2 x 2 pixels
//     flag      = not (psnr_db >= threshold): an error that is no finite number is flagged
//
// The work is cut into cells of 8 x 8 pixels. A warp takes 8 rows x 128 columns, 16 cells:
//
//                16 columns (16 B of uint8, 2 x 16 B of half)
//               |<-------->|
//     rows 0,1  |  lane 0  |  lane 4  |  ...  | lane 28 |      A lane sums 2 rows x 16 columns as 8 blocks of 2 x 2,
//     rows 2,3  |  lane 1  |  lane 5  |  ...  | lane 29 |      which are the error map. Four blocks side by side, summed
//     rows 4,5  |  lane 2  |  lane 6  |  ...  | lane 30 |      over the four lanes below each other, are a cell. Tiles
//     rows 6,7  |  lane 3  |  lane 7  |  ...  | lane 31 |      and frame are sums of cells.
//                 cell cell  cell cell
//
// Every cell is summed by one quad of lanes in a fixed order and written to the workspace. The block that finishes last
// for a window (it draws the last ticket) sums the cells in a fixed order. So the bits of the result depend neither on
// the number of blocks nor on the order in which they ran: no atomic ever adds floats.
//
// Grid: x = blocks for one window (any number), y = windows. Dynamic shared memory: 4 bytes for each cell.

#include "common.cuh"

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kCell = 8;                // pixels
constexpr int kWarpColumns = 128;       // pixels
constexpr int kSegment = 16;            // pixels that a lane takes of a row
constexpr int kTileCells = 4;           // cells along a side of a tile: 32 pixels; the step is one cell
constexpr float kPeakSquared = 4.0f;    // of the range [-1, 1]
constexpr float kFloor = 1e-10f;

// 127.5 is subtracted first, which is exact: so 0 and 255 become exactly -1 and 1.
__device__ __forceinline__ float normalise(u32 gray) { return ((float)gray - 127.5f) * (1.0f / 127.5f); }

// 16 pixels of a row, 16 bytes at a time.
__device__ __forceinline__ void load_x16(const u8* pixels, float (&values)[kSegment]) {
    const uint4 v = load_16_bytes(pixels);
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < kSegment; ++i) values[i] = normalise(words[i / 4] >> (8 * (i % 4)) & 0xffu);
}

__device__ __forceinline__ void load_x16(const f16* pixels, float (&values)[kSegment]) {
    const uint4 a = load_16_bytes(pixels), b = load_16_bytes(pixels + 8);
    const u32 words[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < kSegment; ++i) values[i] = i % 2 ? high_half(words[i / 2]) : low_half(words[i / 2]);
}

__device__ __forceinline__ float load_x1(const u8* pixel) { return normalise(*pixel); }
__device__ __forceinline__ float load_x1(const f16* pixel) { return half_to_float(*pixel); }

// Adds the squared errors of 16 pixels (of the first `count`) to the 2 x 2 blocks they belong to.
template <bool kVectors, typename Frame>
__device__ __forceinline__ void add_row(const Frame* frame, const f16* reconstruction, int count, float (&blocks)[8]) {
    float a[kSegment], b[kSegment];
    if (kVectors) {
        load_x16(frame, a);
        load_x16(reconstruction, b);
    } else {
#pragma unroll
        for (int i = 0; i < kSegment; ++i) {
            a[i] = i < count ? load_x1(frame + i) : 0.0f;
            b[i] = i < count ? load_x1(reconstruction + i) : 0.0f;
        }
    }
#pragma unroll
    for (int i = 0; i < kSegment; ++i) {
        const float difference = b[i] - a[i];
        blocks[i / 2] = fmaf(difference, difference, blocks[i / 2]);
    }
}

// The squared errors of one window -> its cells, and its error map where one is wanted.
template <bool kVectors, typename Frame>
__device__ __forceinline__ void sum_cells(const Frame* frame, const f16* reconstruction, int height, int width,
                                          float* cells, float* error_map) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int pair = lane % 4, segment = lane / 4;
    const int cells_x = (width + kCell - 1) / kCell, cells_y = (height + kCell - 1) / kCell;
    const int tiles_x = (width + kWarpColumns - 1) / kWarpColumns;
    for (int tile = blockIdx.x * kWarps + warp; tile < cells_y * tiles_x; tile += gridDim.x * kWarps) {
        const int cell_y = tile / tiles_x;
        const int row = cell_y * kCell + 2 * pair;
        const int column = tile % tiles_x * kWarpColumns + segment * kSegment;
        float blocks[8] = {};
        if (row < height && column < width) {  // height and width are even: no block of 2 x 2 is cut
            const i64 at = (i64)row * width + column;
            const int count = min(kSegment, width - column);
            add_row<kVectors>(frame + at, reconstruction + at, count, blocks);
            add_row<kVectors>(frame + at + width, reconstruction + at + width, count, blocks);
            if (error_map) {
                float* out = error_map + (i64)(row / 2) * (width / 2) + column / 2;
                if (kVectors) {
                    ((float4*)out)[0] = make_float4(blocks[0] / 4, blocks[1] / 4, blocks[2] / 4, blocks[3] / 4);
                    ((float4*)out)[1] = make_float4(blocks[4] / 4, blocks[5] / 4, blocks[6] / 4, blocks[7] / 4);
                } else {
#pragma unroll
                    for (int i = 0; i < 8; ++i)
                        if (2 * i < count) out[i] = blocks[i] / 4;
                }
            }
        }
        float left = (blocks[0] + blocks[1]) + (blocks[2] + blocks[3]);
        float right = (blocks[4] + blocks[5]) + (blocks[6] + blocks[7]);
#pragma unroll
        for (int offset = 1; offset <= 2; offset *= 2) {
            left += __shfl_xor_sync(kAllLanes, left, offset);
            right += __shfl_xor_sync(kAllLanes, right, offset);
        }
        const int cell_x = column / kCell;
        if (pair == 0 && cell_x < cells_x) cells[cell_y * cells_x + cell_x] = left;
        if (pair == 0 && cell_x + 1 < cells_x) cells[cell_y * cells_x + cell_x + 1] = right;
    }
}

// Largest sum over 4 x 4 whole cells, of the tiles that this thread takes; cells lie in shared memory.
__device__ __forceinline__ float largest_tile(const float* cells, int height, int width) {
    const int cells_x = (width + kCell - 1) / kCell;
    const int tiles_x = width / kCell - kTileCells + 1, tiles_y = height / kCell - kTileCells + 1;
    float largest = 0.0f;  // of squares: nothing is less
    for (int tile = threadIdx.x; tile < tiles_x * tiles_y; tile += kThreads) {
        const float* corner = cells + tile / tiles_x * cells_x + tile % tiles_x;
        float sum = 0.0f;
#pragma unroll
        for (int y = 0; y < kTileCells; ++y)
#pragma unroll
            for (int x = 0; x < kTileCells; ++x) sum += corner[y * cells_x + x];
        largest = max_or_nan(largest, sum);
    }
    return largest;
}

template <bool kVectors, typename Frame>
__device__ __forceinline__ void psnr_threshold(const Frame* frames, i64 frame_stride, const f16* reconstructions,
                                               i64 reconstruction_stride, const float* thresholds, int height,
                                               int width, u8* workspace, i64 region_bytes, float* mse, float* psnr_db,
                                               float* patch_mse, u8* flags, float* error_map) {
    DYNAMIC_SHARED(dynamic);
    SHARED(bool, last, );
    SHARED(float, sums, [kWarps]);
    SHARED(float, largest, [kWarps]);
    const int window = blockIdx.y;
    u32* ticket = (u32*)(workspace + window * region_bytes);
    float* cells = (float*)(workspace + window * region_bytes + 16);
    const i64 map_size = (i64)(height / 2) * (width / 2);

    sum_cells<kVectors>(frames + window * frame_stride, reconstructions + window * reconstruction_stride, height, width,
                        cells, error_map ? error_map + window * map_size : nullptr);

    // The barrier gathers this block's cells behind thread 0, whose fence publishes them before its ticket is drawn.
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;  // wraps to 0: ready for the next launch
        __threadfence();
    }
    __syncthreads();
    if (!last) return;

    float* staged = (float*)dynamic;
    const int count = ((height + kCell - 1) / kCell) * ((width + kCell - 1) / kCell);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += kThreads) {
        staged[i] = __ldcg(cells + i);  // from L2: L1 is not coherent with what other blocks wrote
        sum += staged[i];
    }
    __syncthreads();
    sum = warp_sum(sum);
    const float tile = warp_max_or_nan(largest_tile(staged, height, width));
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = sum;
        largest[threadIdx.x / 32] = tile;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    float total = 0.0f, worst = 0.0f;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) {
        total += sums[i];
        worst = max_or_nan(worst, largest[i]);
    }
    const float mean = total / (float)(height * width);
    const float psnr = 10.0f * log10f(kPeakSquared / (mean < kFloor ? kFloor : mean));  // NaN is not less: it stays
    mse[window] = mean;
    psnr_db[window] = psnr;
    patch_mse[window] = worst / (float)(kTileCells * kCell * kTileCells * kCell);
    flags[window] = psnr >= thresholds[window] ? 0 : 1;
}

}  // namespace

// frames                 uint8 or half, scored frame of each window, (height, width) dense
// frame_stride           elements from one window's scored frame to the next
// reconstructions        half, likewise; in [-1, 1]
// reconstruction_stride  elements
// thresholds             (windows,) float, dB
// height, width          even, 32 at least
// workspace              windows x region_bytes: a ticket in the first 16 bytes (0 before the first launch), then cells
// mse, psnr_db, patch_mse  (windows,) float, out.   flags  (windows,) 0 or 1, out
// error_map              (windows, height / 2, width / 2) float, out; or null
//
// x16: width is a multiple of 16, and every address and stride of 16 bytes. x1: anything.
#define PSNR_THRESHOLD(name, Frame, kVectors)                                                                          \
    extern "C" __global__ void __launch_bounds__(kThreads)                                                             \
        name(const Frame* frames, i64 frame_stride, const f16* reconstructions, i64 reconstruction_stride,             \
             const float* thresholds, int height, int width, u8* workspace, i64 region_bytes, float* mse,              \
             float* psnr_db, float* patch_mse, u8* flags, float* error_map) {                                          \
        psnr_threshold<kVectors>(frames, frame_stride, reconstructions, reconstruction_stride, thresholds, height,     \
                                 width, workspace, region_bytes, mse, psnr_db, patch_mse, flags, error_map);           \
    }

PSNR_THRESHOLD(psnr_threshold_u8_x16, u8, true)
PSNR_THRESHOLD(psnr_threshold_u8_x1, u8, false)
PSNR_THRESHOLD(psnr_threshold_f16_x16, f16, true)
PSNR_THRESHOLD(psnr_threshold_f16_x1, f16, false)
