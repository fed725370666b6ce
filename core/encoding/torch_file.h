#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/graph.h"
#include "core/io/byte_source.h"
#include "core/job/job_context.h"
#include "core/model/metadata.h"
#include "core/model/piece_store.h"
#include "core/model/shape.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// Where the bytes of a storage lie in the file.
struct TorchStorage {
    std::uint64_t offset = 0;      // in the file: first byte of the data (Stored), or of the compressed bytes (Deflated)
    std::uint64_t sizeBytes = 0;   // decoded
    std::uint64_t storedBytes = 0; // compressed length where deflated, else sizeBytes
    bool deflated = false;
    std::string record;            // its name in the archive, from the root on: "data/0"; empty where the container has no names
    // Where its bytes stand in the file in no form that can be read at an offset (text of old pickles): the bytes; `offset` is 0 then.
    std::shared_ptr<const std::vector<std::byte>> decoded;
    bool isZstd = false;           // of a deflated one: zstd made it, of bytes that begin before the storage (DCP items)
};

// A tensor of a torch file: a view on a storage (formats/pytorch.md §4).
struct TorchTensor {
    DType dtype{};
    Shape shape;                          // F4: counts values, as safetensors does; the file counts bytes
    std::vector<std::int64_t> strides;    // bytes per axis of unitShape(shape, dtype)
    bool contiguous = true;
    std::size_t storage = 0;              // index into TorchFile::storages(); tensors with equal numbers share memory
    std::uint64_t offsetBytes = 0;        // of the first element in the decoded storage
    SourceFlags flags;
    bool noData = false;                  // a meta tensor: described, not stored
};

// What a persistent id stands for: a storage, or (legacy files) a part of one. Bytes of the decoded storage.
struct TorchStoragePart {
    std::size_t storage = 0; // index into TorchFile::storages()
    std::uint64_t offsetBytes = 0;
    std::uint64_t sizeBytes = 0;
    std::optional<DType> dtype; // of the storage's class; empty: untyped
};

// A finding of the container that is no reason to refuse: for people.
struct TorchNote {
    std::string code; // "repacked", "header-mismatch", "record-size"
    std::string text;
    bool isWarning = false;
};

// A part of a sparse tensor, under the name of torch's own accessor (formats/pytorch.md §3.4).
struct TorchSparsePart {
    std::string_view name; // "indices", "values", "crow_indices" …
    pickle::Value value;   // a dense tensor
};

// One file written by torch.save, torch.jit.save or pickle.dump. Opening reads directory and pickle, no storage.
class TorchFile {
public:
    enum class Container : std::uint8_t {
        Zip,
        Legacy,      // the stream of pickles before PyTorch 1.6
        TorchScript, // the zip of torch.jit.save
        Pickle,      // a bare pickle: every storage is a torch file inside it (formats/pytorch.md §3.5)
    };

    // Errors are fragments without the file's name: Corrupt with the record or offset, Unsupported for tar, 7z, LFS pointers …, said what they are.
    [[nodiscard]] static Result<TorchFile> open(std::shared_ptr<const ByteSource> source, JobContext& job);
    TorchFile(TorchFile&&) noexcept;
    TorchFile& operator=(TorchFile&&) noexcept;
    ~TorchFile();

    [[nodiscard]] Container container() const;
    [[nodiscard]] pickle::Value root() const; // lives as long as this object
    [[nodiscard]] bool isBigEndian() const;   // its storages hold big-endian values
    [[nodiscard]] const std::vector<TorchStorage>& storages() const;
    [[nodiscard]] const std::vector<TorchNote>& notes() const;

    // Whether the value is a call that rebuilds a tensor or Parameter (also wrapped in _rebuild_from_type_v2 with Python attributes).
    [[nodiscard]] static bool isTensor(pickle::Value value);
    // The tensor of such a value. Corrupt: "view leaves its storage", "storage 0: 24 B needed, the record has 20"; Unsupported: sparse, quantized with per-channel scales, nested …
    [[nodiscard]] Result<TorchTensor> tensorOf(pickle::Value value) const;
    // "COO", "CSR" … where such a value is a sparse tensor; nullopt where it is dense.
    [[nodiscard]] static std::optional<std::string_view> sparseLayoutOf(pickle::Value value);
    // Its parts, and the shape of the whole. Corrupt where a part is no dense tensor; the value must be sparse.
    [[nodiscard]] static Result<std::vector<TorchSparsePart>> sparsePartsOf(pickle::Value value);
    [[nodiscard]] static Result<Shape> sparseShapeOf(pickle::Value value);
    // TorchScript: whether an attribute of an object is a parameter or buffer of its class, as the archive's code says; nullopt where the code does not say.
    [[nodiscard]] std::optional<bool> isScriptState(pickle::Value object, std::string_view attribute) const;
    // The storage of a persistent id ("storage", class, key, location, count[, view]) or of a call of torch.storage._load_from_bytes.
    // Corrupt where it is none, or not in the file.
    [[nodiscard]] Result<TorchStoragePart> storageOf(pickle::Value persistentId) const;

private:
    struct Impl;
    explicit TorchFile(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

// "torch zip", "bare pickle" …, for File::container.
[[nodiscard]] const char* containerText(TorchFile::Container container);

// The tree of a torch file for people: tensors become leaves, branches of nothing but tensors one summary line, objects of unknown classes are Opaque ("not executed").
// Bounded: at most `maxNodes` nodes, the rest is said to be left out.
[[nodiscard]] MetaNode describe(const TorchFile& file, std::size_t maxNodes = 50'000);
// The same for a value of a pickle without storages.
[[nodiscard]] MetaNode describe(pickle::Value value, std::size_t maxNodes);

} // namespace shardlens
