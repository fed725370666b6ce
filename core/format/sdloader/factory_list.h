#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::sdloader {

// The JSON of SDLoaderFactory (formats/deepspeed.md §16.1).
struct FactoryList {
    enum class Type : std::uint8_t { Megatron, Inference }; // Inference: bloom, ds_model (§18)
    Type type = Type::Megatron;
    std::string typeName;                   // as written
    std::vector<std::string> checkpoints;   // as written, relative to the list's folder or to baseDir
    std::vector<std::string> notParallel;   // Inference: the files that every rank loads
    std::optional<double> version;          // nothing: null, the files say
    std::optional<std::uint64_t> degree;    // mp_size, else tp_size: Inference only
    std::string parallelization = "pp";
    std::string baseDir;
};

// Whether the first bytes of a file look like such a list.
[[nodiscard]] bool looksLikeList(std::string_view head);
// Refused: no JSON, a member that is needed and not there, a type that the loader does not know, a list without files.
[[nodiscard]] Result<FactoryList> parseList(std::string_view json);

// The list as JSON, of other files: mp_size and tp_size say their number, base_dir is left out.
[[nodiscard]] std::string listText(const FactoryList& list, const std::vector<std::string>& checkpoints);

// What MegatronSDLoader::load does on one rank (§16.2).
struct Selection {
    enum class Action : std::uint8_t { Load, Merge, Split };
    Action action = Action::Load;
    std::size_t file = 0;        // of the list: the path that load() returns
    std::size_t mergeCount = 1;  // files from `file` on
    std::size_t splitInto = 1;   // parts that the file is cut into
    std::size_t part = 0;        // of them
};
// `files` of the list; `hasModuleKey` is false for module_key=None. Refused where the sizes do not divide, or the rank is none of mpWorldSize.
[[nodiscard]] Result<Selection> select(std::size_t files, std::size_t mpWorldSize, std::size_t mpRank, bool hasModuleKey, bool isPipeParallel);

} // namespace shardlens::sdloader
