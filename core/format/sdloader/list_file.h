#pragma once

#include "core/encoding/pickle/graph.h"
#include "core/format/format.h"
#include "core/format/sdloader/factory_list.h"

#include <optional>
#include <string>

namespace shardlens::sdloader {

// The JSON that a candidate is, or the one list of a folder. Several lists, or none, are refused.
[[nodiscard]] Result<std::string> listOf(const Candidate& candidate);
// A list and where it lies.
struct ListFile {
    std::string path;
    FactoryList list;
};
[[nodiscard]] Result<ListFile> readListOf(const Candidate& candidate);
// Where a file of the list lies: names count from base_dir, and that from the list's own folder.
[[nodiscard]] std::string pathOf(const FactoryList& list, const std::string& folder, const std::string& name);
[[nodiscard]] std::string folderOf(const std::string& path);
[[nodiscard]] std::string nameOfPath(const std::string& path);

// The model in a rank's file: module or model, or what --module-key says (formats/deepspeed.md §16.2).
[[nodiscard]] Result<pickle::Value> moduleOf(pickle::Value root, const std::optional<std::string>& key);

// As the facts of rules spell it: "2", not "2.0".
[[nodiscard]] std::string versionText(double version);

} // namespace shardlens::sdloader
