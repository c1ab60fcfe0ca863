// CUDA's words with a host meaning, so that a host compiler takes the very .cu files:
//
//     g++ -std=gnu++17 -DCUDA_ON_CPU -include cuda_on_cpu.h -x c++ kernel.cu
//
// What a word means at run time is in engine.cpp. A word that is not here does not compile, on purpose: among them the
// bare __shared__, because shared memory must come from the engine to be watched. Kernels write SHARED(type, name, [n]).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

struct uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

// engine.cpp. `line` is where the kernel says the word: threads that meet must say the same one.
extern "C" {
uint3 cuda_thread_index(void);
uint3 cuda_block_index(void);
uint3 cuda_block_size(void);
uint3 cuda_grid_size(void);
void* cuda_dynamic_shared(void);
void* cuda_static_shared(const void* site, size_t bytes);
void cuda_barrier(int line);
void cuda_warp_barrier(unsigned mask, int line);
uint64_t cuda_shuffle(unsigned mask, uint64_t value, int source_lane, int line);
unsigned cuda_ballot(unsigned mask, int predicate, int line);
int cuda_lane(void);
void cuda_fence(void);
void cuda_before_atomic(void* address);
void cuda_launch(const char* kernel, uint3 grid, uint3 block, size_t dynamic_bytes, void (*call)(void*), void* argument);
}

#define threadIdx (cuda_thread_index())
#define blockIdx (cuda_block_index())
#define blockDim (cuda_block_size())
#define gridDim (cuda_grid_size())
#define __syncthreads() cuda_barrier(__LINE__)
#define __threadfence() cuda_fence()

#define DYNAMIC_SHARED(name) uint4* name = (uint4*)cuda_dynamic_shared()
// One allocation for each declaration (each instance of a template has its own) and block, with its own red zones.
#define SHARED(type, name, ...)                                                                                        \
    typedef type name##_in_shared_memory __VA_ARGS__;                                                                  \
    static const char name##_site = 0;                                                                                 \
    name##_in_shared_memory& name =                                                                                    \
        *(name##_in_shared_memory*)cuda_static_shared(&name##_site, sizeof(name##_in_shared_memory))

inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) { cuda_warp_barrier(mask, line); }

namespace cuda_on_cpu {
template <typename T>
uint64_t to_bits(T value) {
    static_assert(sizeof value <= 8, "what a shuffle carries");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}
template <typename T>
T shuffle(unsigned mask, T value, int source_lane, int line) {
    const uint64_t bits = cuda_shuffle(mask, to_bits(value), source_lane, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}
// An atomic of CUDA is relaxed: no race itself, and no order for anything around it.
template <typename T, typename Change>
T read_modify_write(T* address, Change change) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "the widths of CUDA's atomics");
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    cuda_before_atomic(address);
    Bits old_bits = __atomic_load_n((Bits*)address, __ATOMIC_RELAXED), new_bits;
    T old;
    do {
        memcpy(&old, &old_bits, sizeof old);
        const T changed = change(old);
        memcpy(&new_bits, &changed, sizeof changed);
    } while (!__atomic_compare_exchange_n((Bits*)address, &old_bits, new_bits, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
}  // namespace cuda_on_cpu

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int line = __builtin_LINE()) {
    return cuda_on_cpu::shuffle(mask, value, cuda_lane() ^ lane_mask, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int line = __builtin_LINE()) {
    const int lane = cuda_lane(), source = lane + (int)delta;
    return cuda_on_cpu::shuffle(mask, value, source < 32 ? source : lane, line);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source_lane, int line = __builtin_LINE()) {
    return cuda_on_cpu::shuffle(mask, value, source_lane & 31, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
    return cuda_ballot(mask, predicate != 0, line);
}
template <typename T>
T atomicAdd(T* address, T value) {
    return cuda_on_cpu::read_modify_write(address, [=](T old) { return old + value; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
    return cuda_on_cpu::read_modify_write(address, [=](unsigned old) { return old >= limit ? 0u : old + 1; });
}

template <typename T>
T __ldg(const T* address) { return *address; }
template <typename T>
T __ldcg(const T* address) { return *address; }
inline float __int_as_float(int bits) { float value; memcpy(&value, &bits, 4); return value; }
template <typename T>
T min(T a, T b) { return b < a ? b : a; }
template <typename T>
T max(T a, T b) { return a < b ? b : a; }

// The compiler's own IEEE half rounds to nearest even, as the GPU's conversion does.
inline float half_to_float(unsigned short bits) { _Float16 value; memcpy(&value, &bits, 2); return (float)value; }
inline unsigned short float_to_half(float value) {
    const _Float16 half = (_Float16)value;
    unsigned short bits;
    memcpy(&bits, &half, 2);
    return bits;
}

namespace cuda_on_cpu {
template <typename... A>
struct Bound {
    void (*kernel)(A...);
    std::tuple<A...> arguments;
    static void call(void* self) { std::apply(((Bound*)self)->kernel, ((Bound*)self)->arguments); }
};
template <typename... A, size_t... I>
void launch(const char* name, uint3 grid, uint3 block, size_t dynamic_bytes, void (*kernel)(A...), void** arguments,
            std::index_sequence<I...>) {
    Bound<A...> bound{kernel, {*(A*)arguments[I]...}};
    cuda_launch(name, grid, block, dynamic_bytes, &Bound<A...>::call, &bound);
}
}  // namespace cuda_on_cpu

// What runner.cpp finds kernels by. `sizes` lets it refuse arguments of another type's width.
struct Entry {
    const char* name;
    const int* sizes;
    int arguments;
    void (*launch)(uint3 grid, uint3 block, size_t dynamic_bytes, void** arguments);
    Entry* next;
};
extern Entry* cuda_entries;

namespace cuda_on_cpu {
template <typename... A>
struct Signature {
    static constexpr int count = sizeof...(A);
    static constexpr int sizes[] = {(int)sizeof(A)...};
};
template <typename... A>
Signature<A...> signature_of(void (*)(A...));
template <typename... A>
void launch_all(const char* name, uint3 grid, uint3 block, size_t dynamic_bytes, void (*kernel)(A...), void** arguments) {
    launch(name, grid, block, dynamic_bytes, kernel, arguments, std::index_sequence_for<A...>());
}
struct Registration {
    explicit Registration(Entry* entry) { entry->next = cuda_entries; cuda_entries = entry; }
};
}  // namespace cuda_on_cpu

#define CUDA_ENTRY(name)                                                                                               \
    static Entry name##_entry = {#name, decltype(cuda_on_cpu::signature_of(&name))::sizes,                             \
                                 decltype(cuda_on_cpu::signature_of(&name))::count,                                    \
                                 [](uint3 grid, uint3 block, size_t dynamic_bytes, void** arguments) {                 \
                                     cuda_on_cpu::launch_all(#name, grid, block, dynamic_bytes, &name, arguments);     \
                                 },                                                                                    \
                                 nullptr};                                                                             \
    static cuda_on_cpu::Registration name##_registration(&name##_entry);
