#pragma once

#include "core/encoding/dcp_items.h"
#include "core/encoding/dcp_metadata.h"
#include "core/model/checkpoint_builder.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shardlens {

// The box of a tensor that one item holds, and where its values lie.
struct DcpPiece {
    ShapeView offset;
    ShapeView extent;
    CheckpointBuilder::Placement placement;
    std::span<const std::int64_t> strides; // bytes per axis; empty: dense and row-major
};

// The data files of a directory in the container of torch.distributed.checkpoint (formats/pytorch.md §9), opened as rows of a checkpoint.
class DcpFolder {
public:
    // Opens the files that the metadata name and reads the beginning of every item, several files at a time. What is missing or harmed becomes pieces on a
    // Missing stream and findings; nothing is refused but a cancel. `prefix` stands before the names of files: "optimizer_0/". The builder must outlive it.
    [[nodiscard]] static Result<DcpFolder> open(CheckpointBuilder& builder, const std::string& folder, const std::string& prefix, DcpMetadata metadata, JobContext& job);

    [[nodiscard]] const DcpMetadata& metadata() const { return m_metadata; }
    [[nodiscard]] const std::string& prefix() const { return m_prefix; }
    // The row of a data file, by its number in the metadata.
    [[nodiscard]] FileId fileOf(std::uint32_t number) const { return m_data[number].id; }

    // Calls visit for every chunk of a tensor's entry that holds a value and lies inside the tensor, in the order of the metadata.
    Status forEachPiece(const DcpEntry& entry, const std::function<Status(const DcpPiece&)>& visit);
    // All of them as pieces of a tensor of the same shape and dtype.
    Status addPieces(const DcpEntry& entry, TensorId tensor);
    // Whether chunks hold more values than the tensor has: copies, or what no sound metadata say.
    [[nodiscard]] bool overlaps(const DcpEntry& entry) const;
    // The object of a Bytes entry. Errors name the file.
    [[nodiscard]] Result<std::shared_ptr<const TorchFile>> object(const DcpEntry& entry, JobContext& job) const;
    // What is wrong with chunks: outside their tensor, without a place, not what the metadata say, overlapping without being the same.
    // `tensorOf` says which tensor an entry became, or kNoTensor.
    void addFindings(const std::function<TensorId(const DcpEntry&)>& tensorOf);

private:
    struct DataFile {
        FileId id{};
        std::shared_ptr<const FileSource> source; // null: missing or unreadable
        std::optional<StreamId> lost{};           // for its chunks that cannot be read
    };
    // Where the values of a chunk are: 24 bytes each, because there may be millions.
    struct Place {
        std::uint64_t offset = 0;
        std::uint32_t strides = kNone; // index into m_strides
        std::uint32_t storage = kNone; // index into m_storages: what cannot be read at an offset of the file
        std::uint32_t problem = kNone; // index into m_problems
        SourceFlags flags;
    };
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;

    class ItemReader;

    DcpFolder(CheckpointBuilder& builder, std::string folder, std::string prefix, DcpMetadata metadata);
    void openFiles();
    Status readItems(JobContext& job);
    [[nodiscard]] std::optional<std::uint64_t> chunkValues(const DcpEntry& entry) const;
    void addFindingsOf(const DcpEntry& entry, TensorId tensor);
    [[nodiscard]] std::optional<std::pair<std::size_t, std::size_t>> firstOverlap(const DcpEntry& entry) const;
    [[nodiscard]] std::string placeText(std::size_t chunk) const;

    CheckpointBuilder* m_builder;
    std::string m_folder;
    std::string m_prefix;
    DcpMetadata m_metadata;
    std::vector<DataFile> m_data;
    std::vector<Place> m_places; // by chunk
    std::vector<std::vector<std::int64_t>> m_strides;
    std::vector<TorchStorage> m_storages;
    std::vector<std::string> m_problems;
    std::size_t m_problemsSaid = 0; // findings about chunks
    std::size_t m_problemsLeft = 0;
};
// Where a storage of an item's own file lies: its offsets count in the item, or in what a compressed item decodes to.
[[nodiscard]] CheckpointBuilder::Placement placementInItem(CheckpointBuilder& builder, FileId file, const DcpItem& item, TorchStorage storage);

} // namespace shardlens
