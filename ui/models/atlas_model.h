#pragma once

#include "core/model/checkpoint.h"

#include <QCoreApplication>
#include <QString>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// The context of the atlas' texts for translators.
struct Atlas {
    Q_DECLARE_TR_FUNCTIONS(Atlas)
};

// Axis and Layer: lanes are grouped, and a file whose pieces belong to several groups has a lane in each.
enum class AtlasRows : std::uint8_t { RankFile, File, Axis, Layer };
enum class AtlasAcross : std::uint8_t { OffsetInFile, ParameterOrder };

struct AtlasOptions {
    AtlasRows rows = AtlasRows::RankFile;
    AtlasAcross across = AtlasAcross::OffsetInFile;
    bool fold = true; // lanes that look the same become one
    bool modelOnly = false; // in parameter order: what is neither a weight, a buffer nor a copy of them takes no room of its own
    std::optional<std::uint32_t> rank = std::nullopt; // only lanes that this rank wrote or holds a piece of
    Axis axis = Axis::Dp; // of AtlasRows::Axis
    std::set<QString> closed = {}; // titles of groups that show their header alone
    auto operator<=>(const AtlasOptions&) const = default;
};

// "tensor rank", "pipeline stage": one of an axis.
[[nodiscard]] QString axisTitle(Axis axis);
// How the lanes of a checkpoint can be grouped, the usual way first: its files by rank, by name, by every axis with more than one rank, by layer.
struct AtlasGrouping {
    AtlasRows rows = AtlasRows::RankFile;
    Axis axis = Axis::Dp; // of AtlasRows::Axis
    auto operator<=>(const AtlasGrouping&) const = default;
};
[[nodiscard]] std::vector<AtlasGrouping> groupingsOf(const Checkpoint& checkpoint);

// Weights, buffers and copies of them: not what only an optimizer or a trainer keeps.
[[nodiscard]] bool isPartOfModel(RoleKind kind);

// Half-open stretch of a lane; the unit is the model's (bytes, or elements in parameter order).
struct AtlasSpan {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    auto operator<=>(const AtlasSpan&) const = default;
};

// First tier: neighbouring pieces of one state.
struct AtlasState : AtlasSpan {
    RoleId role{};
    QString label;           // "exp_avg, F32"
    std::uint64_t bytes = 0; // of its pieces
};

// Second tier: neighbouring pieces of one module.
struct AtlasRun : AtlasSpan {
    std::uint32_t module = 0; // of AtlasModel::modules()
};

// What must not be averaged away.
struct AtlasMark : AtlasSpan {
    enum class Kind : std::uint8_t { Header, Padding, Unused, Hole, PastEnd, Overlap };
    Kind kind = Kind::Header;
    std::uint32_t first = 0; // Overlap: the two pieces, as indices into the lane
    std::uint32_t second = 0;
    TensorId tensor = kNoTensor; // Hole: whose cells are missing, where it is one tensor
};

// One row: a file, or in parameter order one state of one rank. Pieces are sorted by start; where they overlap, `reach` (the largest end so far)
// says how far back a search must look.
struct AtlasLane {
    FileId file = kNoFile;
    std::optional<std::uint32_t> rank;
    QString title; // "rank 1"
    QString note;  // "optim_states"
    std::uint64_t length = 0; // units across
    std::uint64_t bytes = 0;  // of the file, or of the pieces where there is no file
    bool missing = false;     // nobody has it: all of its pieces are a hole
    std::vector<std::uint32_t> foldedRanks; // of the lanes that this one stands for besides itself
    std::vector<FileId> foldedFiles;
    std::vector<std::uint64_t> starts;
    std::vector<std::uint64_t> lengths;
    std::vector<std::uint64_t> reach;
    std::vector<PieceId> pieces;
    std::vector<AtlasState> states;
    std::vector<AtlasRun> runs;
    QString group; // whose lane it is: the title of its AtlasGroup; empty where lanes are not grouped
    std::vector<AtlasMark> marks; // by kind, then by place

    [[nodiscard]] std::size_t size() const { return pieces.size(); }
    [[nodiscard]] std::uint64_t endOf(std::size_t index) const { return starts[index] + lengths[index]; }
    // The smallest piece that covers `at`.
    [[nodiscard]] std::optional<std::size_t> pieceAt(std::uint64_t at) const;
    // The first piece that ends behind `at`; size() if none.
    [[nodiscard]] std::size_t firstEndingAfter(std::uint64_t at) const;
};

// Neighbouring lanes that belong together: a rank of an axis, a layer.
struct AtlasGroup {
    QString title; // "pipeline stage 1", "model.layers.7"
    std::uint32_t firstLane = 0; // of the picture; of a closed group the one behind it, which may be none
    std::uint32_t lanes = 0; // in the picture: none of a closed group
    std::uint32_t allLanes = 0;
    bool isClosed = false;
    std::uint64_t bytes = 0; // of their pieces; each of a folded lane's files counts
};

// A module: everything up to the first number of the name ("model.layers.7"), else all but the last two parts.
struct AtlasModule {
    QString label;   // "7", "embed_tokens"
    QString path; // "model.layers.7"
    bool odd = false; // neighbours differ
};

constexpr std::uint32_t kNowhere = 0xFFFFFFFF;

// Where a piece lies in the picture.
struct AtlasPlace {
    std::uint32_t lane = kNowhere;
    std::uint32_t index = 0;
    auto operator<=>(const AtlasPlace&) const = default;
};

// What the atlas shows of a checkpoint. Immutable; build() is O(n log n) in pieces and meant for a worker. Safe to share between threads.
class AtlasModel {
public:
    // nullptr where `stop` was requested.
    [[nodiscard]] static std::shared_ptr<const AtlasModel> build(const CheckpointPtr& checkpoint, const AtlasOptions& options, std::stop_token stop = {});

    [[nodiscard]] const Checkpoint& checkpoint() const { return *m_checkpoint; }
    [[nodiscard]] const CheckpointPtr& checkpointPtr() const { return m_checkpoint; }
    [[nodiscard]] const AtlasOptions& options() const { return m_options; }
    [[nodiscard]] const std::vector<AtlasLane>& lanes() const { return m_lanes; }
    // In the order of the lanes, which the open ones cover; none where the lanes are not grouped.
    [[nodiscard]] const std::vector<AtlasGroup>& groups() const { return m_groups; }
    [[nodiscard]] const std::vector<AtlasModule>& modules() const { return m_modules; }
    [[nodiscard]] std::uint64_t length() const { return m_length; } // of the longest lane; at least 1
    [[nodiscard]] std::size_t laneFiles() const { return m_laneFiles; } // before folding
    [[nodiscard]] TensorId tensorOf(PieceId piece) const { return m_tensorOfPiece[shardlens::indexOf(piece)]; }
    [[nodiscard]] ParameterId parameterOf(PieceId piece) const { return m_checkpoint->tensor(tensorOf(piece)).parameter; }
    [[nodiscard]] std::optional<std::uint32_t> rankOf(PieceId piece) const;

    // Every place of the pieces of a parameter, in all its states, lane by lane.
    [[nodiscard]] std::vector<AtlasPlace> placesOf(ParameterId parameter) const;
    [[nodiscard]] std::optional<AtlasPlace> placeOf(PieceId piece) const;

private:
    friend class AtlasBuilder;

    CheckpointPtr m_checkpoint;
    AtlasOptions m_options;
    std::vector<AtlasLane> m_lanes;
    std::vector<AtlasGroup> m_groups;
    std::vector<AtlasModule> m_modules;
    std::vector<TensorId> m_tensorOfPiece;
    std::vector<AtlasPlace> m_placeOfPiece; // lane = kNowhere: not in the picture
    std::uint64_t m_length = 1;
    std::size_t m_laneFiles = 0;
};

using AtlasModelPtr = std::shared_ptr<const AtlasModel>;

// "optim_states" of "zero_pp_rank_1_mp_rank_00_optim_states.pt": the words after the last number of a file's name, else the name without its ending.
[[nodiscard]] QString shortFileName(const std::string& name);

} // namespace shardlens::ui
