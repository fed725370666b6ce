#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/graph.h"
#include "core/job/job_context.h"
#include "core/model/metadata.h"
#include "core/model/shape.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// Where an item of a DCP directory lies: a whole torch.save archive in one of its files (formats/pytorch.md §9.4).
struct DcpItem {
    static constexpr std::uint32_t kNoFile = 0xFFFFFFFF;
    std::uint32_t file = kNoFile; // index into DcpMetadata::files; kNoFile: nothing says where it is
    std::uint32_t transforms = 0; // index into DcpMetadata::transforms; 0: none
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

// A step from the root of the saved state to a value: a key of a dictionary, or an index of a list (§9.3).
struct DcpStep {
    std::string key;
    std::optional<std::uint64_t> index; // of a list
};

// One flattened key of the saved state.
struct DcpEntry {
    enum class Kind : std::uint8_t {
        Tensor,
        Bytes,   // an object of its own
        Unknown, // `problem` says why it is not read
    };
    std::string key;
    Kind kind = Kind::Unknown;
    std::vector<DcpStep> path; // empty where the metadata do not say: the key is all there is
    std::string problem;
    DType dtype{};
    Shape shape;
    std::size_t firstChunk = 0; // of DcpMetadata::chunks
    std::size_t chunkCount = 0;
    DcpItem item;              // of Bytes
};

// Boxes of tensors with the items that hold them, in columns: metadata of large runs have millions.
class DcpChunks {
public:
    [[nodiscard]] std::size_t size() const { return m_items.size(); }
    [[nodiscard]] ShapeView offset(std::size_t chunk) const { return {m_pool.data() + m_at[chunk], rankOf(chunk)}; }
    [[nodiscard]] ShapeView extent(std::size_t chunk) const { return {m_pool.data() + m_at[chunk] + rankOf(chunk), rankOf(chunk)}; }
    [[nodiscard]] DcpItem& item(std::size_t chunk) { return m_items[chunk]; }
    [[nodiscard]] const DcpItem& item(std::size_t chunk) const { return m_items[chunk]; }
    void add(ShapeView offset, ShapeView extent);

private:
    [[nodiscard]] std::size_t rankOf(std::size_t chunk) const { return ((chunk + 1 < m_at.size() ? m_at[chunk + 1] : m_pool.size()) - m_at[chunk]) / 2; }

    std::vector<std::uint64_t> m_pool;
    std::vector<std::size_t> m_at;
    std::vector<DcpItem> m_items;
};

// Something odd that is no reason to refuse: a sentence, and the entry that it is about where it is about one.
struct DcpRemark {
    std::string code;
    std::string text;
    bool isWarning = false;
};

// What a `.metadata` or `__N.metadata` file says (formats/pytorch.md §9.2; formats/megatron.md §6.2): entries in the order of the file.
struct DcpMetadata {
    std::vector<DcpEntry> entries;
    DcpChunks chunks;
    std::vector<std::string> files;                   // relative paths, each once, in the order in which they are first named
    std::vector<std::vector<std::string>> transforms; // lists of descriptors; the first is empty
    std::map<std::string, Shape> flattenedShapes;     // Megatron: key → shape before it was flattened (formats/megatron.md §6.5)
    std::string topClass;                             // "torch.distributed.checkpoint.metadata.Metadata"
    std::string version;                              // empty where it does not say
    std::vector<DcpRemark> remarks;
    MetaNode tree; // what else it holds, for people

    // Runs the pickle as data; nothing is imported. Corrupt: no metadata, or parts of it have wrong types; LimitExceeded; Cancelled.
    // Refused: a file outside the checkpoint's folder.
    [[nodiscard]] static Result<DcpMetadata> parse(std::shared_ptr<const std::vector<std::byte>> bytes, JobContext& job);
    // Whether a pickle's root is such metadata: its class is torch's, or has the members.
    [[nodiscard]] static bool isMetadata(pickle::Value root);
};

// Metadata of single ranks as one: chunks of one key follow each other in the order given (§9.11). A tensor whose size or dtype differs becomes Unknown.
[[nodiscard]] DcpMetadata mergeDcpMetadata(std::vector<DcpMetadata> ofRanks);

} // namespace shardlens
