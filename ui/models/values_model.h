#pragma once

#include "ui/models/values_source.h"

#include <QAbstractTableModel>

#include <optional>

namespace shardlens::ui {

// A window of a tensor's values. It holds one block and shows cells outside it as not read yet; whoever owns it reads blocks and sets them.
// At most kMostRows × kMostColumns of the grid are rows of the model; moveWindow() shows others.
class ValuesModel : public QAbstractTableModel {
    Q_OBJECT
public:
    static constexpr int kMostRows = 1'000'000;
    static constexpr int kMostColumns = 16'384;

    enum Role {
        ValueRole = Qt::UserRole + 1, // double; invalid where nothing was read
        KindRole,                     // ValuesModel::Kind
    };
    enum class Kind { Unread, Finite, NotANumber, PositiveInfinity, NegativeInfinity, Outside };

    explicit ValuesModel(QObject* parent = nullptr) : QAbstractTableModel(parent) {}

    // Forgets the block; nullopt: an empty table.
    void setGrid(std::optional<ValuesGrid> grid);
    // Keeps the window; the block is forgotten. Precondition: an index per leading axis, below its extent.
    void setLeading(Shape leading);
    // A block of the current grid; one of another leading index is ignored.
    void setBlock(ValuesBlock block);
    // Makes the cell part of the window and returns its index.
    [[nodiscard]] QModelIndex moveWindow(std::uint64_t row, std::uint64_t column);

    [[nodiscard]] const std::optional<ValuesGrid>& grid() const { return m_grid; }
    [[nodiscard]] const std::optional<ValuesBlock>& block() const { return m_block; }
    // The rectangle of the grid behind rows and columns of the model.
    [[nodiscard]] ValuesBox boxOf(int row, int column, int rows, int columns) const;
    // |value| at which the colour is full: the 99th percentile of the first block read.
    [[nodiscard]] double fullColour() const { return m_fullColour; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] const std::byte* bytesAt(const QModelIndex& index) const;
    [[nodiscard]] Kind kindOf(const QModelIndex& index) const;
    void scaleColours();

    std::optional<ValuesGrid> m_grid;
    std::optional<ValuesBlock> m_block;
    std::uint64_t m_firstRow = 0;
    std::uint64_t m_firstColumn = 0;
    double m_fullColour = 0;
};

} // namespace shardlens::ui
