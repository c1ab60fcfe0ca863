// Pictures of many cameras -> gray frames in their mirrored rings: one launch.
//
// A ring has 32 slots for 16 frames. Each frame goes to slot i and to slot i + 16, so that the last 16 frames always lie
// one after another somewhere:
//
//     slots    0 .. i .. 15 | 16 .. i+16 .. 31
//     window        i+1 ..........  i+16
//
// A block makes one row of one frame: the two rows of the picture between which it lies are brought into shared memory
// 16 bytes at a time, then each thread interpolates four neighbouring pixels and stores them to both slots.
//
// Grid: x = rows of a frame (any number of blocks), y = cameras. Dynamic shared memory: 2 x row_shared_bytes.

#include "pictures.cuh"

namespace {

constexpr int kThreads = 128;
constexpr int kWindow = 16;  // frames
constexpr int kPixels = 4;   // that a thread makes at once

// As callm_kernels.launchers.ingest.CAMERA.
struct Camera {
    const u8* picture;  // first row; of NV12 the luma plane, its chroma is not needed for gray
    u8* ring;           // (32, size, size), 4-byte aligned
    i64 pitch;          // bytes from one row of the picture to the next
    int width, height;  // pixels
    int format;         // Format
    int slot;           // 0..15; negative: no new picture
};

__device__ __forceinline__ float gray(const u8* row, int x, int format) {
    if (format == kBgr) return (float)gray_of_bgr(row + 3 * x);
    return (float)(format == kNv12Limited ? full_range(row[x]) : row[x]);
}

}  // namespace

// cameras           (gridDim.y,) Camera
// size              side of a frame in pixels, a multiple of 4
// row_shared_bytes  room for a staged row, a multiple of 16
extern "C" __global__ void __launch_bounds__(kThreads) ingest(const Camera* cameras, int size, int row_shared_bytes) {
    DYNAMIC_SHARED(dynamic);
    const Camera camera = cameras[blockIdx.y];
    const int bytes = camera.width * (camera.format == kBgr ? 3 : 1);
    if (camera.slot < 0 || bytes + 15 > row_shared_bytes) return;
    u8* shared = (u8*)dynamic;
    const i64 frame = (i64)size * size;
    for (int y = blockIdx.x; y < size; y += gridDim.x) {
        const Position v = position(y, size, camera.height);
        const u8* upper = stage_row(camera.picture + v.first * camera.pitch, bytes, shared);
        const u8* lower = stage_row(camera.picture + v.second * camera.pitch, bytes, shared + row_shared_bytes);
        __syncthreads();
        for (int x = kPixels * threadIdx.x; x < size; x += kPixels * kThreads) {
            u32 word = 0;
#pragma unroll
            for (int i = 0; i < kPixels; ++i) {
                const Position h = position(x + i, size, camera.width);
                const float a = mix(gray(upper, h.first, camera.format), gray(upper, h.second, camera.format), h.fraction);
                const float b = mix(gray(lower, h.first, camera.format), gray(lower, h.second, camera.format), h.fraction);
                word |= (u32)round_to_byte(mix(a, b, v.fraction)) << (8 * i);
            }
            u32* out = (u32*)(camera.ring + camera.slot * frame + (i64)y * size + x);
            out[0] = word;
            out[kWindow * frame / 4] = word;
        }
        __syncthreads();  // before the next row takes the place of these
    }
}
