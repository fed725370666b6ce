// A checkpoint of torch.distributed.checkpoint of which one file is any bytes: the metadata, a rank's, a data file, a rank's file with distributed tensors,
// a shard in safetensors, and any torch file of which the tree is written as a directory. The first byte says which. It opens or refuses, every tensor can be walked, checksums can be compared, and writing its tree ends.
#include "core/encoding/container_check.h"
#include "core/format/format.h"
#include "core/format/tree_items.h"
#include "tests/fuzz/dcp_saves.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/walk_checkpoint.h"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <unistd.h>

namespace shardlens::fuzz {
namespace {

enum class Part : std::uint8_t { Metadata, MetadataOfRank, Data, RankFile, Shard, Torch, Count };

// A folder in memory that is gone with the object.
class SaveFolderInMemory {
public:
    SaveFolderInMemory() : m_path("/dev/shm/shardlens-fuzz-dcp-" + std::to_string(::getpid())) { std::filesystem::remove_all(m_path); }
    ~SaveFolderInMemory() { std::filesystem::remove_all(m_path); }
    SaveFolderInMemory(const SaveFolderInMemory&) = delete;
    SaveFolderInMemory& operator=(const SaveFolderInMemory&) = delete;

    void fill(Part part, const std::string& bytes) const
    {
        static const test::DcpTestSave save = smallSave();
        static const std::string data = save.dataFiles().front();
        static const std::string metadata = test::pickled(save.metadata());
        switch (part) {
        case Part::MetadataOfRank: // beside the sound one of another rank
            put("__0.metadata", bytes);
            put("__1.metadata", metadata);
            put("__0_0.distcp", data);
            return;
        case Part::RankFile:
            put("pytorch_model_fsdp_0_rank0.bin", bytes);
            put("pytorch_model_fsdp_0_rank2.bin", bytes);
            return;
        case Part::Shard:
            put("shard-00001-model-00001-of-00001.safetensors", bytes);
            put("shard-00003-model-00001-of-00001.safetensors", bytes);
            return;
        case Part::Torch: put("model.pt", bytes); return;
        case Part::Metadata:
        case Part::Data:
        case Part::Count: break;
        }
        put(".metadata", part == Part::Data ? metadata : bytes);
        put("__0_0.distcp", part == Part::Data ? bytes : data);
    }
    [[nodiscard]] const std::string& path() const { return m_path; }

private:
    void put(const std::string& name, const std::string& bytes) const { test::writeBytesTo(m_path + "/" + name, bytes); }

    std::string m_path;
};

void checkContainers(const Checkpoint& checkpoint, JobContext& job)
{
    const auto check = ContainerCheck::prepare(checkpoint, job);
    InlineExecutor executor;
    if (check && !check->run(checkpoint, executor, job))
        std::abort(); // what is harmed is a finding
}

void writeTree(const CheckpointPtr& checkpoint, JobContext& job)
{
    const Format* format = formatById(checkpoint->formatId());
    if (format == nullptr || format->keepTree == nullptr)
        return;
    auto tree = format->keepTree(checkpoint, {}, job);
    if (!tree || !*tree)
        return;
    const auto items = treeAsItems(std::move(**tree), 2, job);
    if (items && (items->dcpFiles.size() != 2 || items->bytesFiles.size() != 1))
        std::abort(); // an accepted tree has a file a writer, and metadata
}

} // namespace
} // namespace shardlens::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size == 0 || size > fuzz::kMaxInput || data[0] >= static_cast<std::uint8_t>(fuzz::Part::Count))
        return -1;
    const fuzz::SaveFolderInMemory folder;
    folder.fill(static_cast<fuzz::Part>(data[0]), std::string(reinterpret_cast<const char*>(data + 1), size - 1));
    JobContext job;
    const auto opened = openCheckpoint(folder.path(), {}, job);
    if (!opened)
        return opened.error().text().empty() ? (std::abort(), 0) : 0;
    fuzz::walkCheckpoint(*opened);
    fuzz::checkContainers(**opened, job);
    fuzz::writeTree(*opened, job);
    return 0;
}
