#pragma once

#include "ui/models/atlas_model.h"

#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace shardlens::ui {

// One run of AtlasModel::build(): places pieces into lanes, closes the lanes, orders and folds them.
class AtlasBuilder {
public:
    AtlasBuilder(const CheckpointPtr& checkpoint, const AtlasOptions& options, std::stop_token stop);

    // nullptr where a stop was requested.
    [[nodiscard]] std::shared_ptr<const AtlasModel> build();

private:
    struct Entry {
        std::uint64_t start;
        std::uint64_t length;
        PieceId piece;
    };
    // Of lanes: a rank of the axis, or a module's place in the order of the model; what belongs to none comes last.
    using Group = std::uint32_t;
    static constexpr Group kEveryRank = 0xFFFFFFFE;
    static constexpr Group kNoGroup = 0xFFFFFFFF;
    struct Draft {
        Group group = kNoGroup;
        AtlasLane lane;
        std::vector<Entry> entries;
        std::string name; // decides the order among lanes of one rank
    };

    void nameTensors();
    void nameModules();
    void placeByOffset();
    void placeByParameter();
    void addFileSpans();
    void addHoles();
    void readGroups();
    [[nodiscard]] bool isGrouped() const
    {
        return m_model->m_options.rows == AtlasRows::Axis || m_model->m_options.rows == AtlasRows::Layer;
    }
    [[nodiscard]] Group groupOf(const Piece& piece, TensorId tensor) const;
    [[nodiscard]] Group groupOfFile(FileId file) const; // of what is no piece in it
    [[nodiscard]] QString groupTitle(Group group) const;
    void countNames();
    void nameFileLane(AtlasLane& lane, const File& file) const;
    std::size_t draftOfFile(FileId file, Group group);
    std::size_t draftOfState(std::optional<std::uint32_t> rank, RoleId role, Group group);
    void addByOffset(TensorId tensor, const Piece& piece);
    void addByParameter(TensorId tensor, const Piece& piece, AtlasSpan home);
    void close(Draft& draft) const;
    void layEndToEnd(Draft& draft) const;
    void fillColumns(Draft& draft) const;
    void addTiers(AtlasLane& lane) const;
    void addPieceMarks(AtlasLane& lane) const;
    void dropOtherRanks();
    void order();
    void fold();
    void finishPlaces(const std::vector<std::uint32_t>& homeOf, std::vector<Draft>& folded);
    [[nodiscard]] QString stateLabel(RoleId role, std::optional<DType> dtype) const;

    std::shared_ptr<AtlasModel> m_model;
    const Checkpoint& m_checkpoint;
    std::stop_token m_stop;
    std::vector<Draft> m_drafts;
    std::unordered_map<std::uint64_t, std::size_t> m_draftOfFile; // by file and group
    std::map<std::tuple<Group, std::int64_t, RoleId>, std::size_t> m_draftOfState;
    std::map<QString, std::size_t> m_shortNames; // of files without a rank, and how many have each
    std::vector<Group> m_groupOfModule; // AtlasRows::Layer
    std::vector<std::uint32_t> m_moduleOfGroup;
    std::vector<Group> m_groupOfHolder; // by HolderId; AtlasRows::Axis
    std::vector<std::optional<Group>> m_onlyGroup; // by FileId: of all of its pieces; kNoGroup where they belong to several
    std::vector<std::uint32_t> m_moduleOfParameter;
    std::vector<AtlasSpan> m_homeOfParameter; // in the flat index of the model
};

} // namespace shardlens::ui
