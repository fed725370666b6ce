#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shardlens::colossalai {

// The file names of formats/colossalai.md §2.1. Counters have five digits and grow wider; names are case sensitive.

enum class FileKind : std::uint8_t { Model, Optimizer };
enum class Container : std::uint8_t { Bin, Safetensors };

[[nodiscard]] const char* extensionOf(Container container); // ".bin"

// "pytorch_model-meta-dist-00003.index.json": the dist id.
[[nodiscard]] std::optional<std::uint32_t> metaDistId(std::string_view fileName);

// A file of tensors: "model.PFX-dist-00001-shard-00000.safetensors", "pytorch_optim-stage-00002-shard-00001.bin", "pytorch_model-00001.bin".
struct ShardFile {
    FileKind kind = FileKind::Model;
    Container container = Container::Bin;
    std::string prefix;                 // PFX; empty without
    std::optional<std::uint32_t> dist;  // of a distributed checkpoint
    std::optional<std::uint32_t> stage; // of a pipeline save, as the name has it
    std::optional<std::uint32_t> expert; // expert-parallel rank, as the name has it
    std::optional<std::uint32_t> shard;
};
[[nodiscard]] std::optional<ShardFile> shardFileOf(std::string_view fileName);

// "model.safetensors.index.PFX.json"
struct IndexFile {
    FileKind kind = FileKind::Model;
    Container container = Container::Bin;
    std::string prefix;
};
[[nodiscard]] std::optional<IndexFile> indexFileOf(std::string_view fileName);
// The index that a stage of a pipeline save writes into tmp_index_files: "model.safetensors.index.PFX-stage-00001.json".
struct StageIndexFile {
    IndexFile index;
    std::uint32_t stage = 0;
};
[[nodiscard]] std::optional<StageIndexFile> stageIndexFileOf(std::string_view fileName);

// Names of files that are written.
[[nodiscard]] std::string metaName(std::uint32_t dist, Container container);
[[nodiscard]] std::string distShardName(const std::string& prefix, std::uint32_t dist, std::size_t shard, Container container);
[[nodiscard]] std::string optimizerShardName(const std::string& prefix, std::size_t shard, Container container); // shard counts from 1
[[nodiscard]] std::string optimizerIndexName(const std::string& prefix, Container container);
[[nodiscard]] std::string optimizerGroupName(const std::string& prefix);

constexpr const char* kStageIndexFolder = "tmp_index_files";

} // namespace shardlens::colossalai
