#pragma once

#include "core/base/ids.h"
#include "core/model/computation.h"
#include "core/model/metadata.h"
#include "core/model/piece_store.h"
#include "core/model/topology.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shardlens {

// What a tensor is to its parameter.
enum class RoleKind : std::uint8_t {
    Weight,         // the most precise stored copy: the fp32 master, or the only copy
    Module,         // the module's own copy where a master is stored as well
    Buffer,         // a persistent buffer
    OptimizerState, // exp_avg, momentum_buffer, step …
    Other,          // tensors of neither model nor optimizer (random states, …)
};

struct Role {
    RoleKind kind;
    std::string name; // "fp32 master", "module copy", "weight", "buffer", "exp_avg" …: the state as people call it
};

// How the pieces of a tensor combine where they overlap. Average: the value is the mean over the tensor-parallel ranks among the holders; pieces of one rank
// are replicas of each other.
enum class Combine : std::uint8_t { Exclusive, Replicas, Average };

struct Tensor {
    ParameterId parameter{};
    RoleId role{};
    DType dtype{};
    Combine combine = Combine::Exclusive;
    bool moduleCopy = false; // this is what the module itself held (frozen parameters, buffers, plain files: weight and module copy in one)
    Shape shape;
    bool sparsePart = false; // "NAME.indices", "NAME.values" …: a part of a sparse tensor, no tensor of the model's own
    bool unprovenCopies = false; // no rule says that they are copies: they may turn out to be parts, or to differ, and are compared before a conversion
    bool quantizedPart = false; // codes, scale or another part of a quantized weight: its values are no weights by themselves
};

// A name that a checkpoint records for a parameter that it stores under another one (tied weights).
struct Alias {
    std::string name;
    ParameterId parameter;
};

struct File {
    enum class State : std::uint8_t { Read, Missing, Unreadable };
    std::string path;           // as opened, absolute or relative to the working directory
    std::string name;           // relative to the checkpoint's folder
    std::uint64_t size = 0;     // bytes; 0 if missing
    std::int64_t modifiedNs = 0; // since the epoch
    std::uint64_t inode = 0;     // tells a file from another that took its name; 0: not known
    State state = State::Read;
    std::optional<std::uint32_t> rank; // who wrote it, where the name or the content says
    std::string holds;          // "module F16, arguments", for people
    std::string container;      // "torch zip", "torch legacy", "safetensors"
    std::string sha256{};       // of all its bytes, in lower-case hexadecimal, where the checkpoint says it
};

// What the offsets of sources count in.
struct Stream {
    enum class Kind : std::uint8_t {
        File,     // offset is the file's own
        Deflated, // a compressed archive member, or a whole item by zstd; offset counts in the decoded bytes
        Inline,   // values kept in Checkpoint::inlineBytes, offset counts from `offset`
        Missing,  // the file is not there or not readable: these cells are a hole
        Computed, // an output of a computation of Checkpoint::computations(); offset counts in its bytes
    };
    Kind kind = Kind::File;
    FileId file = kNoFile;
    std::uint64_t offset = 0;      // Deflated: of the compressed bytes; Inline: into inlineBytes
    std::uint64_t storedBytes = 0; // Deflated: compressed length
    std::uint64_t sizeBytes = 0;   // Deflated: decoded length; Inline: length
    enum class Codec : std::uint8_t { Deflate, Zstd } codec = Codec::Deflate; // of Deflated
    std::uint32_t computation = 0; // Computed: index into computations(), and which of its outputs
    std::uint32_t output = 0;
};

// Bytes of a file that belong to no tensor but have a meaning worth a mark.
struct FileSpan {
    enum class Kind : std::uint8_t { Header, Padding, Unused };
    FileId file;
    std::uint64_t offset;
    std::uint64_t length;
    Kind kind;
};

enum class Severity : std::uint8_t { Info, Warning, Error };

// Something a person should know, with the place it is about.
struct Finding {
    Severity severity = Severity::Info;
    std::string code; // stable short name: "missing-rank", "stale-module-copy"
    std::string text; // one or two sentences
    TensorId tensor = kNoTensor;
    FileId file = kNoFile;
    std::optional<std::uint32_t> rank;
    std::optional<std::size_t> lost = std::nullopt; // index into Checkpoint::lostTensors(): about that one alone
};

// A tensor that is there and could not become one of the checkpoint's: of a kind that is not read, or a second one of its name.
struct LostTensor {
    std::string name;
    RoleKind role = RoleKind::Weight;
    std::string problem; // a sentence
};

// One model, whatever files it lies in. Immutable; shared by everything that looks at it. No payload byte is in it except inline values.
class Checkpoint {
public:
    [[nodiscard]] const std::string& path() const { return m_path; }     // what the user opened
    [[nodiscard]] const std::string& folder() const { return m_folder; } // where File::name counts from
    [[nodiscard]] const std::string& formatId() const { return m_formatId; }       // "deepspeed"
    [[nodiscard]] const std::string& formatTitle() const { return m_formatTitle; } // "DeepSpeed ZeRO-2"
    [[nodiscard]] const std::string& title() const { return m_title; }             // "llama-7b"
    [[nodiscard]] const std::string& subtitle() const { return m_subtitle; }       // the tag, where there is one
    [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& facts() const { return m_facts; } // "written by" → "DeepSpeed 0.14.4"
    // What the run says about its model, for the conditions and sizes of sharding rules (core/layout/rule_set.h): "swiglu" → "true". Not for people.
    [[nodiscard]] const std::map<std::string, std::string, std::less<>>& modelFacts() const { return m_modelFacts; }
    [[nodiscard]] const Topology& topology() const { return m_topology; }

    [[nodiscard]] const std::vector<std::string>& parameters() const { return m_parameters; } // canonical names, in model order
    [[nodiscard]] const std::vector<Role>& roles() const { return m_roles; }
    [[nodiscard]] const std::vector<Tensor>& tensors() const { return m_tensors; }
    [[nodiscard]] const std::vector<Alias>& aliases() const { return m_aliases; }
    [[nodiscard]] const std::vector<File>& files() const { return m_files; }
    [[nodiscard]] const std::vector<Stream>& streams() const { return m_streams; }
    [[nodiscard]] const std::vector<Holder>& holders() const { return m_holders; }
    [[nodiscard]] const std::vector<FileSpan>& fileSpans() const { return m_fileSpans; }
    [[nodiscard]] const std::vector<Finding>& findings() const { return m_findings; }
    [[nodiscard]] const std::vector<LostTensor>& lostTensors() const { return m_lost; }
    [[nodiscard]] const std::vector<FileMetadata>& metadata() const { return m_metadata; }
    [[nodiscard]] const PieceStore& pieces() const { return m_pieces; }
    [[nodiscard]] const std::vector<std::byte>& inlineBytes() const { return m_inlineBytes; }
    [[nodiscard]] const std::vector<std::shared_ptr<const Computation>>& computations() const { return m_computations; }

    [[nodiscard]] const Tensor& tensor(TensorId id) const { return m_tensors[indexOf(id)]; }
    [[nodiscard]] const Role& roleOf(TensorId id) const { return m_roles[indexOf(tensor(id).role)]; }
    [[nodiscard]] const std::string& parameterOf(TensorId id) const { return m_parameters[indexOf(tensor(id).parameter)]; }
    // "NAME", or "NAME/exp_avg" for an optimizer state, "NAME/module" for a copy beside its master (conformance/README.md).
    [[nodiscard]] std::string fullName(TensorId id) const;
    [[nodiscard]] const File& file(FileId id) const { return m_files[indexOf(id)]; }
    [[nodiscard]] const Stream& stream(StreamId id) const { return m_streams[indexOf(id)]; }
    [[nodiscard]] const Holder& holder(HolderId id) const { return m_holders[indexOf(id)]; }
    // Bytes of the tensor's values (not of its replicas).
    [[nodiscard]] std::uint64_t bytesOf(TensorId id) const;
    [[nodiscard]] std::uint64_t totalFileBytes() const;
    // The rank that a piece belongs to: its holder's, else that of the file that wrote it.
    [[nodiscard]] std::optional<std::uint32_t> rankOfPiece(const Piece& piece) const;

private:
    friend class CheckpointBuilder;

    std::string m_path;
    std::string m_folder;
    std::string m_formatId;
    std::string m_formatTitle;
    std::string m_title;
    std::string m_subtitle;
    std::vector<std::pair<std::string, std::string>> m_facts;
    std::map<std::string, std::string, std::less<>> m_modelFacts;
    Topology m_topology;
    std::vector<std::string> m_parameters;
    std::vector<Role> m_roles;
    std::vector<Tensor> m_tensors;
    std::vector<Alias> m_aliases;
    std::vector<File> m_files;
    std::vector<Stream> m_streams;
    std::vector<Holder> m_holders;
    std::vector<FileSpan> m_fileSpans;
    std::vector<Finding> m_findings;
    std::vector<LostTensor> m_lost;
    std::vector<FileMetadata> m_metadata;
    PieceStore m_pieces;
    std::vector<std::byte> m_inlineBytes;
    std::vector<std::shared_ptr<const Computation>> m_computations;
};

using CheckpointPtr = std::shared_ptr<const Checkpoint>;

} // namespace shardlens
