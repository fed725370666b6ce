#pragma once

#include "core/base/result.h"
#include "core/model/checkpoint.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace shardlens {

// Assembles a Checkpoint. Readers add in any order; finish() checks what holds for every format and closes the columns.
class CheckpointBuilder {
public:
    CheckpointBuilder(std::string path, std::string folder);
    // Begins with all that a checkpoint holds, under the same numbers.
    explicit CheckpointBuilder(const Checkpoint& base);

    void setFormat(std::string id, std::string title);
    void setTitle(std::string title, std::string subtitle);
    void setTopology(Topology topology) { m_out.m_topology = std::move(topology); }
    void addFact(std::string name, std::string value);
    void setModelFacts(std::map<std::string, std::string, std::less<>> facts) { m_out.m_modelFacts = std::move(facts); }
    // A finding of severity error about it comes with it.
    void addLost(LostTensor lost, std::string code, FileId file)
    {
        m_out.m_findings.push_back({Severity::Error, std::move(code), lost.problem, kNoTensor, file, std::nullopt, m_out.m_lost.size()});
        m_out.m_lost.push_back(std::move(lost));
    }
    void addFinding(Finding finding) { m_out.m_findings.push_back(std::move(finding)); }
    void addFileSpan(FileSpan span) { m_out.m_fileSpans.push_back(span); }
    // Marks bytes of a file's own stream as padding; does nothing for other streams.
    void addPadding(StreamId stream, std::uint64_t offset, std::uint64_t length);
    void addMetadata(FileMetadata metadata) { m_out.m_metadata.push_back(std::move(metadata)); }
    void addAlias(std::string name, ParameterId parameter);

    FileId addFile(File file);
    [[nodiscard]] std::size_t fileCount() const { return m_out.m_files.size(); }
    File& file(FileId id) { return m_out.m_files[indexOf(id)]; }
    // The stream whose offsets are the file's own; made on first use. A file that is not Read gives a Missing stream.
    StreamId streamOf(FileId file);
    StreamId addStream(Stream stream);
    // Keeps `bytes` (little-endian values) in the checkpoint: a stream of kind Inline.
    StreamId addInline(FileId file, std::span<const std::byte> bytes);
    // The streams of a computation's outputs, in their order.
    std::vector<StreamId> addComputation(std::shared_ptr<const Computation> computation);
    HolderId holder(const Holder& holder);

    // The same name gives the same id.
    ParameterId parameter(std::string_view name);
    [[nodiscard]] const std::vector<std::string>& parameters() const { return m_out.m_parameters; }
    [[nodiscard]] bool hasParameter(std::string_view name) const;
    RoleId role(RoleKind kind, std::string_view name);
    // A tensor whose bytes cannot be counted (past 2^63, or no whole blocks) is an Error finding, and every piece of it is refused.
    TensorId addTensor(Tensor tensor);
    [[nodiscard]] const Tensor& tensor(TensorId id) const { return m_out.m_tensors[indexOf(id)]; }
    void markQuantizedPart(TensorId id) { m_out.m_tensors[indexOf(id)].quantizedPart = true; }
    [[nodiscard]] RoleKind roleKindOf(TensorId id) const { return m_out.roleOf(id).kind; }
    [[nodiscard]] std::string fullName(TensorId id) const { return m_out.fullName(id); }
    [[nodiscard]] std::size_t tensorCount() const { return m_out.m_tensors.size(); }

    struct Placement {
        StreamId stream{};
        std::uint64_t offset = 0;
        HolderId holder{};
        SourceFlags flags;
    };
    // `region` counts cells of unitShape(tensor). It must lie inside the tensor, and in a File stream its bytes inside the file: Corrupt otherwise.
    Status addPiece(TensorId tensor, const RegionView& region, const Placement& placement, std::span<const std::int64_t> strides = {});
    // A piece that covers the whole tensor densely.
    Status addWhole(TensorId tensor, const Placement& placement);

    [[nodiscard]] CheckpointPtr finish() &&;

private:
    [[nodiscard]] std::string uncountableText(TensorId id) const;

    Checkpoint m_out;
    PieceStoreBuilder m_pieces;
    std::unordered_map<std::string, ParameterId> m_parameterIds;
    std::map<Holder, HolderId> m_holderIds;
    std::vector<StreamId> m_fileStreams;
};

} // namespace shardlens
