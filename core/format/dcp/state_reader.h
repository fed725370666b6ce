#pragma once

#include "core/format/dcp/save_folder.h"
#include "core/format/dcp_folder.h"

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shardlens::dcp {

// The directories of a checkpoint, opened into one builder: tensors with their chunks, objects as metadata.
class StateReader {
public:
    explicit StateReader(CheckpointBuilder& builder) : m_builder(builder) {}

    Status read(const SaveFolder& save, JobContext& job);
    // Facts of all directories. Call last.
    void finish();

    // A directory as it was read; for who writes the state again.
    struct Part {
        DcpFolder folder;
        std::vector<TensorId> tensors; // by entry; kNoTensor for objects and what is not read
    };
    [[nodiscard]] const std::vector<Part>& parts() const { return m_parts; }
    [[nodiscard]] std::vector<Part>& parts() { return m_parts; }

private:
    Status addEntries(Part& part, FileId metadataFile, JobContext& job);
    Status addTensor(Part& part, std::size_t entry, const class StateNames& names);
    Status addObject(Part& part, std::size_t entry, const class StateNames& names, class StateTree& tree, JobContext& job);
    Status addLeaves(Part& part, const DcpEntry& entry, const TorchFile& file, const class StateNames& names, JobContext& job);
    void addSaveFindings(const SaveFolder& save, const DcpFolder& folder);
    [[nodiscard]] bool claim(const std::string& name, RoleKind role, FileId file);

    CheckpointBuilder& m_builder;
    std::vector<Part> m_parts;
    std::set<std::string> m_names; // full names that tensors have
    std::size_t m_objects = 0;
    std::set<std::uint32_t> m_writers;
};

} // namespace shardlens::dcp
