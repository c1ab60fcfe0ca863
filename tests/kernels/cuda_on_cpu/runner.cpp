// Reads a case from a file, executes its launches, and writes the buffers back: `runner CASE OUTPUT`. See harness.py.
//
// A case names memory by addresses of its own (kBase + buffer << 32 + offset), as a test cannot know those that malloc
// will give. They are replaced here, in arguments and inside of buffers.

#include "cuda_on_cpu.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

Entry* cuda_entries = nullptr;

namespace {

constexpr uint64_t kBase = 0x700000000000ull;

struct Buffer {
    uint64_t size;
    unsigned char* data;
};

[[noreturn]] void fail(const char* what, const char* detail = "") {
    fprintf(stderr, "CUDA ON CPU: %s %s\n", what, detail);
    exit(65);
}

struct Reader {
    FILE* file;
    void bytes(void* out, size_t n) {
        if (n && fread(out, 1, n, file) != n) fail("the case ends early");
    }
    uint64_t number() {
        uint64_t value;
        bytes(&value, sizeof value);
        return value;
    }
};

uint64_t resolve(uint64_t address, const std::vector<Buffer>& buffers) {
    const uint64_t index = (address - kBase) >> 32;
    return address < kBase || index >= buffers.size() ? address : (uint64_t)buffers[index].data + (uint32_t)address;
}

void launch(Reader& in, const std::vector<Buffer>& buffers) {
    char name[128] = {};
    in.bytes(name, in.number());
    const unsigned x = in.number(), y = in.number(), threads = in.number();
    const size_t shared = in.number();
    std::vector<uint64_t> values(in.number());
    const Entry* entry = cuda_entries;
    while (entry && strcmp(entry->name, name)) entry = entry->next;
    if (!entry) fail("no kernel is called", name);
    if ((int)values.size() != entry->arguments) fail("a wrong number of arguments for", name);
    std::vector<void*> arguments;
    for (size_t i = 0; i < values.size(); ++i) {
        if ((int)in.number() != entry->sizes[i]) fail("an argument of the wrong width for", name);
        values[i] = resolve(in.number(), buffers);
        arguments.push_back(&values[i]);
    }
    entry->launch({x, y, 1}, {threads, 1, 1}, shared, arguments.data());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) fail("usage: runner CASE OUTPUT");
    Reader in{fopen(argv[1], "rb")};
    if (!in.file) fail("cannot open", argv[1]);
    std::vector<Buffer> buffers(in.number());
    for (auto& buffer : buffers) {
        buffer.size = in.number();
        // Exactly as long as the test says, and aligned as cudaMalloc aligns: an address sanitizer then sees every byte.
        if (posix_memalign((void**)&buffer.data, 256, buffer.size)) fail("no memory");
        in.bytes(buffer.data, buffer.size);
    }
    for (uint64_t pointers = in.number(); pointers; --pointers) {
        const uint64_t where = resolve(in.number(), buffers);
        uint64_t address;
        memcpy(&address, (void*)where, sizeof address);
        address = resolve(address, buffers);
        memcpy((void*)where, &address, sizeof address);
    }
    for (uint64_t launches = in.number(); launches; --launches) launch(in, buffers);
    FILE* out = fopen(argv[2], "wb");
    for (auto& buffer : buffers)
        if (!out || fwrite(buffer.data, 1, buffer.size, out) != buffer.size) fail("cannot write", argv[2]);
    return fclose(out) ? 65 : 0;
}
