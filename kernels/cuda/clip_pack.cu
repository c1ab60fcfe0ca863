// Boxes of frames -> RGB pictures for the vision encoder, resized and normalised, in half precision: one launch.
//
// A clip with evidence is 16 pictures: 8 full frames and 8 crops around the error map's peak. Each picture names its
// frame (in a gray ring of stage 1 or in the colour ring of evidence) and the box to be taken from it.
//
// A block makes one row of one picture: the box's part of the two rows between which it lies (of NV12 with their chroma)
// is brought into shared memory 16 bytes at a time, then each thread interpolates eight neighbouring pixels of a channel
// and stores them as 16 bytes.
//
// Grid: x = rows of a picture (any number of blocks), y = pictures. Dynamic shared memory: 2 x row_shared_bytes.

#include "pictures.cuh"

namespace {

constexpr int kThreads = 96;  // 224 pixels: 28 x 8, of 3 channels
constexpr int kPixels = 8;    // that a thread makes at once

// As callm_kernels.launchers.clip_pack.PICTURE.
struct Picture {
    const u8* picture;                      // first row of the frame; of NV12 the luma plane
    const u8* chroma;                       // NV12: the plane of interleaved chroma; else unused
    i64 pitch;                              // bytes from one row to the next, of both planes
    int width, height;                      // pixels of the frame
    int format;                             // Format
    int left, top, box_width, box_height;   // the box, within the frame
    int reserved[3];
};

// Two rows of a box in shared memory. chroma begins with the pair that the box's first column belongs to.
struct Row {
    const u8* pixels;
    const u8* chroma;
};

__device__ __forceinline__ int row_bytes(const Picture& p) { return p.box_width * (p.format == kBgr ? 3 : 1); }
__device__ __forceinline__ bool is_nv12(const Picture& p) { return p.format >= kNv12Limited; }
__device__ __forceinline__ int chroma_bytes(const Picture& p) {
    return 2 * ((p.left + p.box_width - 1) / 2 - p.left / 2 + 1);
}
__device__ __forceinline__ int room(int bytes) { return (bytes + 15 + 15) / 16 * 16; }

__device__ __forceinline__ Row stage(const Picture& p, int y, u8* shared) {
    const u8* pixels = p.picture + (p.top + y) * p.pitch + (i64)p.left * (p.format == kBgr ? 3 : 1);
    Row row = {stage_row(pixels, row_bytes(p), shared), nullptr};
    if (is_nv12(p)) {
        const u8* chroma = p.chroma + (p.top + y) / 2 * p.pitch + p.left / 2 * 2;
        row.chroma = stage_row(chroma, chroma_bytes(p), shared + room(row_bytes(p)));
    }
    return row;
}

// R, G or B of a pixel, a whole number from 0 to 255, as a picture decoded to bytes has it.
__device__ __forceinline__ float channel_of(const Picture& p, const Row& row, int x, int channel) {
    if (p.format == kGray) return (float)row.pixels[x];
    if (p.format == kBgr) return (float)row.pixels[3 * x + 2 - channel];
    const u8* pair = row.chroma + 2 * ((p.left + x) / 2 - p.left / 2);
    return (float)rgb_of_nv12(row.pixels[x], pair[0], pair[1], channel, p.format == kNv12Limited);
}

}  // namespace

// pictures          (gridDim.y,) Picture
// output            (gridDim.y, 3, size, size) half, 16-byte aligned
// size              side of a picture in pixels, a multiple of 8
// row_shared_bytes  room for a staged row with its chroma, a multiple of 16; a picture that needs more becomes NaN
// scale, offset     per channel: value x scale + offset is stored
extern "C" __global__ void __launch_bounds__(kThreads)
    clip_pack(const Picture* pictures, f16* output, int size, int row_shared_bytes, float scale_r, float scale_g,
              float scale_b, float offset_r, float offset_g, float offset_b) {
    DYNAMIC_SHARED(dynamic);
    const Picture picture = pictures[blockIdx.y];
    u8* shared = (u8*)dynamic;
    const int needed = room(row_bytes(picture)) + (is_nv12(picture) ? room(chroma_bytes(picture)) : 0);
    const bool fits = needed <= row_shared_bytes;
    const int groups = size / kPixels;
    for (int y = blockIdx.x; y < size; y += gridDim.x) {
        const Position v = position(y, size, picture.box_height);
        Row upper = {}, lower = {};
        if (fits) {
            upper = stage(picture, v.first, shared);
            lower = stage(picture, v.second, shared + row_shared_bytes);
        }
        __syncthreads();
        for (int item = threadIdx.x; item < 3 * groups; item += kThreads) {
            const int channel = item / groups, x = item % groups * kPixels;
            const float scale = channel == 0 ? scale_r : channel == 1 ? scale_g : scale_b;
            const float offset = channel == 0 ? offset_r : channel == 1 ? offset_g : offset_b;
            float values[kPixels];
#pragma unroll
            for (int i = 0; i < kPixels; ++i) {
                values[i] = __int_as_float(0x7fc00000);  // NaN: shows in any answer, where old memory might not
                if (fits) {
                    const Position h = position(x + i, size, picture.box_width);
                    const float a = mix(channel_of(picture, upper, h.first, channel),
                                        channel_of(picture, upper, h.second, channel), h.fraction);
                    const float b = mix(channel_of(picture, lower, h.first, channel),
                                        channel_of(picture, lower, h.second, channel), h.fraction);
                    values[i] = fmaf(mix(a, b, v.fraction), scale, offset);
                }
            }
            uint4* out = (uint4*)(output + ((i64)(3 * blockIdx.y + channel) * size + y) * size + x);
            *out = make_uint4(pack_halves(values[0], values[1]), pack_halves(values[2], values[3]),
                              pack_halves(values[4], values[5]), pack_halves(values[6], values[7]));
        }
        __syncthreads();  // before the next row takes the place of these
    }
}
