#pragma once

#include "core/model/checkpoint.h"

#include <QAbstractTableModel>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

// A part of a tensor that no readable file holds, or that two pieces hold without being copies of each other. Counts cells of unitShape().
struct TensorFault {
    enum class Kind : std::uint8_t {
        Hole,    // nobody holds it
        Missing, // `first` should hold it, and its file is not there
        Overlap, // `first` and `second` both hold it
    };
    Kind kind = Kind::Hole;
    Region region; // flat where all pieces of the tensor are
    std::optional<PieceId> first;
    std::optional<PieceId> second;
};

struct TensorFaults {
    static constexpr std::size_t kMost = 4096;

    std::vector<TensorFault> list;  // holes before overlaps, each by its first cell; at most kMost
    std::uint64_t missingCells = 0; // of all, listed or not
    std::uint64_t doubleCells = 0;
    bool listsAll = true;

    // "1 hole of 64 values, 1 part held twice"; empty without faults.
    [[nodiscard]] QString sentence() const;
};

// Pieces of the same region are copies unless the tensor is Exclusive; of a mean each rank is looked at by itself. O(cells of the grid that all borders of
// the pieces make): chunks that lie in a grid cost O(n log n). Where that grid is too fine, coverageOf() answers instead, run by run.
[[nodiscard]] TensorFaults faultsOf(const Checkpoint& checkpoint, TensorId tensor);

// "hole", "file missing", "held twice"
[[nodiscard]] QString faultWord(TensorFault::Kind kind);
// Who holds a part, should hold it, or holds it as well: "rank 0, __0_0.distcp at 4,096".
[[nodiscard]] QString placeWords(const Checkpoint& checkpoint, PieceId piece);
// "hole: rows 4 to 7, columns 0 to 15, 64 values: nobody holds them"; of an overlap both places.
[[nodiscard]] QString faultSentence(const Checkpoint& checkpoint, TensorId tensor, const TensorFault& fault);

// Faults of one tensor as rows: the table twin of the red and the hatched parts of its picture.
class TensorFaultRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { What, Where, Places, Values, Offset, Size, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    // nullptr: none.
    void show(CheckpointPtr checkpoint, TensorId tensor, const TensorFaults& faults);
    [[nodiscard]] QString sentenceAt(int row) const { return faultSentence(*m_checkpoint, m_tensor, faultAt(row)); }
    [[nodiscard]] const TensorFault& faultAt(int row) const { return m_faults[static_cast<std::size_t>(row)]; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    CheckpointPtr m_checkpoint;
    TensorId m_tensor{};
    std::vector<TensorFault> m_faults;
};

} // namespace shardlens::ui
