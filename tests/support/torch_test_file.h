#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace shardlens::test {

struct PyItem; // of a dictionary

// A Python value as a test writes it into a pickle of protocol 2.
struct Py {
    struct None {};
    struct Tuple {
        std::vector<Py> items;
    };
    struct Dict {
        std::vector<PyItem> items;
        bool ordered = false; // collections.OrderedDict
    };
    struct Global {
        std::string module;
        std::string name;
    };
    struct Call { // REDUCE
        Global callable;
        std::vector<Py> arguments;
    };
    struct Tensor { // torch._utils._rebuild_tensor_v2
        std::string storageClass; // "FloatStorage"
        std::size_t storage;      // index into the file's storages
        std::uint64_t storageCount; // elements
        std::uint64_t offset;       // elements
        std::vector<std::uint64_t> shape;
        std::vector<std::uint64_t> strides; // empty: row-major
    };
    struct Object { // NEWOBJ with these arguments, and BUILD with the one state where there is one
        Global type;
        std::vector<Py> arguments;
        std::vector<Py> state;
    };
    struct Opcodes { // as they are: what no Python would write
        std::string bytes;
    };
    std::variant<None, bool, std::int64_t, double, std::string, std::vector<Py>, Tuple, Dict, Global, Call, Tensor, Object, Opcodes> value;
};

struct PyItem { // no std::pair, which asks about Py while that is not complete: clang refuses it
    Py first;
    Py second;
};

[[nodiscard]] Py pyDict(std::vector<std::pair<std::string, Py>> items, bool ordered = false);
[[nodiscard]] Py pySize(const std::vector<std::uint64_t>& shape); // torch.Size

// One data/N record: its size, and what fills any part of it. Without `fill` the bytes are a hole of zeros (a sparse file).
struct TestStorage {
    std::uint64_t bytes = 0;
    std::function<void(std::uint64_t offset, std::span<std::byte> out)> fill;
};

// Writes a torch.save archive: stored members aligned to 64 bytes, ZIP64 where it must be, CRCs left out (0), as
// torch does with compute_crc32 = False.
void writeTorchFile(const std::string& path, const Py& root, const std::vector<TestStorage>& storages);
[[nodiscard]] std::string pickled(const Py& root);

} // namespace shardlens::test
