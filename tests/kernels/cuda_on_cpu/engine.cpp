// Executes a launch on the CPU, one CUDA thread at a time, each in a fibre (ucontext) of its own.
//
// Compiled without sanitizers: only the kernel's own accesses are to be watched. It finds ThreadSanitizer at link time.
// Under it every CUDA thread is a context with its own vector clock, and the only edges between them are those that CUDA
// promises: __syncthreads, __syncwarp, and a fence before an atomic with a fence after another. Switching fibres, shuffles
// and ballots order nothing, and blocks know nothing of each other. So a missing barrier or fence is a race by its
// clocks, whatever the order was that things happened to run in.
//
// Shared memory is new for every block and filled with 0xff: NaN as float or half, -1 as int.

#include "cuda_on_cpu.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#define WEAK __attribute__((weak))
extern "C" {
void* __tsan_get_current_fiber(void) WEAK;
void* __tsan_create_fiber(unsigned) WEAK;
void __tsan_destroy_fiber(void*) WEAK;
void __tsan_switch_to_fiber(void*, unsigned) WEAK;
void __tsan_set_fiber_name(void*, const char*) WEAK;
void __tsan_acquire(void*) WEAK;
void __tsan_release(void*) WEAK;
void AnnotateIgnoreWritesBegin(const char*, int) WEAK;
void AnnotateIgnoreWritesEnd(const char*, int) WEAK;
}

namespace {

constexpr size_t kStack = 64 << 10;
constexpr unsigned kWarp = 32;
constexpr size_t kMaxWatchedThreads = 8000;  // libtsan has 8128 contexts, and a launch keeps its own to the end
constexpr unsigned kNoOrder = 1;             // __tsan_switch_to_fiber: the switch itself orders nothing

bool watched() { return &__tsan_create_fiber != nullptr; }

enum class State { kReady, kAtBarrier, kAtWarp, kDone };

// Lanes of a warp that meet in a shuffle, ballot or __syncwarp.
struct Meeting {
    unsigned mask = 0, arrived = 0, left = 0;
    int line = 0;
    uint64_t values[kWarp] = {};
    char clock = 0;  // its address names the clock of those who meet in a __syncwarp
    bool complete() const { return arrived == mask; }
};

struct Thread {
    ucontext_t context;
    void* clock = nullptr;  // ThreadSanitizer's context
    uint3 index, block;
    unsigned linear = 0;
    State state = State::kReady;
    int line = 0;
    unsigned barriers = 0;              // passed so far
    Meeting* meeting = nullptr;
    bool fenced = false;
    char fence = 0;                     // its address names the clock of this thread at its last fence
    std::vector<void*> atomics;         // touched since the last fence
};

struct Engine {
    const char* kernel = "";
    uint3 grid, block;
    size_t dynamic_bytes = 0;
    void (*call)(void*) = nullptr;
    void* argument = nullptr;

    ucontext_t scheduler;
    void* scheduler_clock = nullptr;
    std::vector<Thread> threads;        // of the block that runs
    Thread* current = nullptr;
    std::vector<std::vector<Meeting>> meetings;         // by warp
    // Their addresses name the block's clocks, in turn: who leaves a barrier late must not be ordered behind those who
    // have already reached the next one.
    char* barrier_clocks = nullptr;
    void* dynamic = nullptr;
    // By declaration. Of fixed size, as it grows while a CUDA thread's clock is on: no allocation that would be watched.
    std::array<std::pair<const void*, void*>, 64> shared = {};
    std::mt19937 random;
};

Engine engine;

[[noreturn]] void fail(const std::string& what, const Thread& thread, int line) {
    fprintf(stderr, "CUDA ON CPU: %s\n  kernel %s, block (%u, %u), thread %u, line %d\n", what.c_str(), engine.kernel,
            thread.block.x, thread.block.y, thread.linear, line);
    fflush(stderr);
    _exit(66);
}

void switch_clock(void* clock) {
    if (watched()) __tsan_switch_to_fiber(clock, kNoOrder);
}
void release(void* name) {
    if (watched()) __tsan_release(name);
}
void acquire(void* name) {
    if (watched()) __tsan_acquire(name);
}

// The sanitizers must see where memory begins and ends, but not the engine filling it.
void* allocate_shared(size_t bytes) {
    if (watched()) AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    void* memory = malloc(bytes);
    for (size_t i = 0; i < bytes; ++i) ((volatile unsigned char*)memory)[i] = 0xff;
    if (watched()) AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    return memory;
}

void free_shared(void* memory) {
    if (watched()) AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    free(memory);
    if (watched()) AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
}

void wait(State state, int line) {
    Thread* self = engine.current;
    self->state = state;
    self->line = line;
    switch_clock(engine.scheduler_clock);
    swapcontext(&self->context, &engine.scheduler);
}

// Waits until all lanes of `mask` have said this word at this line. Orders nothing, unless `ordered`.
Meeting* meet(unsigned mask, uint64_t value, int line, bool ordered = false) {
    Thread* self = engine.current;
    const unsigned lane = self->linear % kWarp, bit = 1u << lane;
    auto& pool = engine.meetings[self->linear / kWarp];
    if (!(mask & bit)) fail("a lane takes part in a warp's exchange without being in its mask", *self, line);
    Meeting* meeting = nullptr;
    for (auto& other : pool)
        if (other.mask & bit && !other.complete() && !(other.arrived & bit)) meeting = &other;
    if (meeting && (meeting->mask != mask || meeting->line != line))
        fail("lanes of a warp diverged: others wait in the exchange at line " + std::to_string(meeting->line), *self, line);
    if (!meeting) {
        meeting = &*std::find_if(pool.begin(), pool.end(), [](const Meeting& m) { return m.mask == 0; });
        *meeting = {mask, 0, 0, line, {}, 0};
    }
    meeting->values[lane] = value;
    meeting->arrived |= bit;
    if (ordered) release(&meeting->clock);
    if (!meeting->complete()) {
        self->meeting = meeting;
        wait(State::kAtWarp, line);
    }
    if (ordered) acquire(&meeting->clock);
    return meeting;
}

void leave(Meeting* meeting) {
    meeting->left |= 1u << engine.current->linear % kWarp;
    if (meeting->left == meeting->mask) meeting->mask = 0;
}

void thread_main() {
    engine.call(engine.argument);
    engine.current->state = State::kDone;
    switch_clock(engine.scheduler_clock);
    setcontext(&engine.scheduler);
}

enum class Order { kForward, kReverse, kRandom };
Order order() {
    const char* text = getenv("CUDA_ON_CPU_ORDER");
    return !text || !strcmp(text, "forward") ? Order::kForward : !strcmp(text, "reverse") ? Order::kReverse : Order::kRandom;
}

void arrange(std::vector<unsigned>& indices) {
    if (order() == Order::kRandom) std::shuffle(indices.begin(), indices.end(), engine.random);
}

std::vector<unsigned> sequence(unsigned n) {
    std::vector<unsigned> indices(n);
    std::iota(indices.begin(), indices.end(), 0u);
    if (order() == Order::kReverse) std::reverse(indices.begin(), indices.end());
    arrange(indices);
    return indices;
}

// Nobody can go on: says why.
[[noreturn]] void fail_stuck() {
    unsigned at_barrier = 0, done = 0;
    for (auto& thread : engine.threads) {
        at_barrier += thread.state == State::kAtBarrier;
        done += thread.state == State::kDone;
    }
    const State state = at_barrier ? State::kAtBarrier : State::kAtWarp;
    const auto& thread = *std::find_if(engine.threads.begin(), engine.threads.end(), [=](auto& t) { return t.state == state; });
    if (at_barrier)
        fail("barrier reached by a part of the block: " + std::to_string(at_barrier) + " threads wait, " +
                 std::to_string(done) + " have ended", thread, thread.line);
    fail("a warp's exchange waits for lanes that never come", thread, thread.line);
}

void open_barrier() {
    const int line = engine.threads[0].line;
    for (auto& thread : engine.threads)
        if (thread.line != line)
            fail("one block waits in two barriers, the other at line " + std::to_string(line), thread, thread.line);
    for (auto& thread : engine.threads) thread.state = State::kReady;
}

void run_block() {
    const unsigned count = engine.threads.size();
    std::vector<unsigned> turns = sequence(count);
    for (unsigned done = 0; done < count;) {
        bool progress = false;
        unsigned at_barrier = 0;
        arrange(turns);
        for (unsigned i : turns) {
            Thread& thread = engine.threads[i];
            if (thread.state == State::kAtWarp && thread.meeting->complete()) thread.state = State::kReady;
            if (thread.state == State::kReady) {
                progress = true;
                engine.current = &thread;
                switch_clock(thread.clock);
                swapcontext(&engine.scheduler, &thread.context);
                done += thread.state == State::kDone;
            }
            at_barrier += thread.state == State::kAtBarrier;
        }
        if (at_barrier == count) {
            open_barrier();
            progress = true;
        }
        if (!progress && done < count) fail_stuck();
    }
}

void* map_stacks(size_t count) {
    void* stacks = mmap(nullptr, kStack * count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) {
        perror("CUDA ON CPU: stacks");
        _exit(66);
    }
    return stacks;
}

}  // namespace

extern "C" {

uint3 cuda_thread_index() { return engine.current->index; }
uint3 cuda_block_index() { return engine.current->block; }
uint3 cuda_block_size() { return engine.block; }
uint3 cuda_grid_size() { return engine.grid; }
int cuda_lane() { return engine.current->linear % kWarp; }
void* cuda_dynamic_shared() { return engine.dynamic; }

void* cuda_static_shared(const void* site, size_t bytes) {
    for (auto& declaration : engine.shared) {
        if (!declaration.first) declaration = {site, allocate_shared(bytes)};
        if (declaration.first == site) return declaration.second;
    }
    fail("more declarations of shared memory than the engine has room for", *engine.current, 0);
}

void cuda_barrier(int line) {
    char* clock = &engine.barrier_clocks[engine.current->barriers++ % 2];
    release(clock);
    wait(State::kAtBarrier, line);
    acquire(clock);
}

void cuda_warp_barrier(unsigned mask, int line) {
    leave(meet(mask, 0, line, true));
}

uint64_t cuda_shuffle(unsigned mask, uint64_t value, int source_lane, int line) {
    Meeting* meeting = meet(mask, value, line);
    // What a lane outside of the mask would give is undefined: something that no test can take for right.
    const uint64_t result = meeting->mask >> source_lane & 1 ? meeting->values[source_lane] : 0xdeadbeefdeadbeefull;
    leave(meeting);
    return result;
}

unsigned cuda_ballot(unsigned mask, int predicate, int line) {
    Meeting* meeting = meet(mask, predicate, line);
    unsigned result = 0;
    for (unsigned lane = 0; lane < kWarp; ++lane)
        if (meeting->mask >> lane & 1 && meeting->values[lane]) result |= 1u << lane;
    leave(meeting);
    return result;
}

// Release and acquire in one, as __threadfence is: what came before it goes out with every later atomic of this thread,
// and what its earlier atomics saw comes in.
void cuda_fence() {
    Thread* self = engine.current;
    for (void* address : self->atomics) acquire(address);
    self->atomics.clear();
    release(&self->fence);
    self->fenced = true;
}

// An atomic publishes this thread's clock as it was at the fence, not as it is now: a context of its own carries it over.
void cuda_before_atomic(void* address) {
    Thread* self = engine.current;
    if (!watched()) return;
    if (self->fenced) {
        switch_clock(engine.scheduler_clock);
        void* courier = __tsan_create_fiber(0);
        switch_clock(courier);
        acquire(&self->fence);
        release(address);
        switch_clock(self->clock);
        __tsan_destroy_fiber(courier);
    }
    self->atomics.push_back(address);
}

void cuda_launch(const char* kernel, uint3 grid, uint3 block, size_t dynamic_bytes, void (*call)(void*), void* argument) {
    const unsigned threads = block.x * block.y * block.z, blocks = grid.x * grid.y * grid.z;
    if (threads == 0 || threads > 1024 || blocks == 0 || dynamic_bytes > 48 << 10 || grid.y > 65535 || grid.z > 65535) {
        fprintf(stderr, "CUDA ON CPU: no GPU would take this launch of %s\n", kernel);
        _exit(66);
    }
    if (watched() && (size_t)threads * blocks > kMaxWatchedThreads) {
        fprintf(stderr, "CUDA ON CPU: at most %zu threads can be watched in one launch\n", kMaxWatchedThreads);
        _exit(66);
    }
    engine.kernel = kernel;
    engine.grid = grid;
    engine.block = block;
    engine.dynamic_bytes = dynamic_bytes;
    engine.call = call;
    engine.argument = argument;
    engine.random.seed(getenv("CUDA_ON_CPU_SEED") ? atoi(getenv("CUDA_ON_CPU_SEED")) : 1);
    if (watched()) engine.scheduler_clock = __tsan_get_current_fiber();

    const unsigned warps = (threads + kWarp - 1) / kWarp;
    std::vector<char> barrier_clocks(2 * blocks);
    std::vector<std::vector<Thread>> kept;      // under ThreadSanitizer: clocks, and the names of fences, must not be reused
    std::vector<char> end(1);
    std::vector<void*> stacks;
    for (unsigned b : sequence(blocks)) {
        if (stacks.empty() || watched()) stacks.push_back(map_stacks(threads));  // a reused stack would look like a race
        engine.threads = std::vector<Thread>(threads);
        engine.meetings = std::vector<std::vector<Meeting>>(warps, std::vector<Meeting>(kWarp + 1));
        engine.barrier_clocks = &barrier_clocks[2 * b];
        engine.dynamic = dynamic_bytes ? allocate_shared(dynamic_bytes) : nullptr;
        for (unsigned i = 0; i < threads; ++i) {
            Thread& thread = engine.threads[i];
            thread.linear = i;
            thread.index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
            thread.block = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
            getcontext(&thread.context);
            thread.context.uc_stack.ss_sp = (char*)stacks.back() + kStack * i;
            thread.context.uc_stack.ss_size = kStack;
            thread.context.uc_link = nullptr;
            makecontext(&thread.context, thread_main, 0);
            if (watched()) {
                thread.clock = __tsan_create_fiber(0);
                char name[64];
                snprintf(name, sizeof name, "block (%u, %u) thread %u", thread.block.x, thread.block.y, i);
                __tsan_set_fiber_name(thread.clock, name);
            }
        }
        run_block();
        for (auto& shared : engine.shared)
            if (shared.first) free_shared(shared.second);
        engine.shared.fill({nullptr, nullptr});
        if (engine.dynamic) free_shared(engine.dynamic);
        if (watched()) kept.push_back(std::move(engine.threads));
    }
    // The launch is over: what any thread did is before what the host does next.
    for (auto& block_threads : kept)
        for (auto& thread : block_threads) {
            switch_clock(thread.clock);
            release(&end[0]);
            switch_clock(engine.scheduler_clock);
        }
    acquire(&end[0]);
    for (auto& block_threads : kept)
        for (auto& thread : block_threads) __tsan_destroy_fiber(thread.clock);
    const size_t mapped = kStack * threads;
    for (void* memory : stacks) munmap(memory, mapped);
}
}
