#pragma once

#include "ui/models/metadata_tree.h"

#include <QAbstractItemModel>

namespace shardlens::ui {

// A MetadataTree for views, with a filter: nodes that match and what is above and below them.
class MetadataModel : public QAbstractItemModel {
    Q_OBJECT
public:
    enum Column { Key, Value, Type, Files, ColumnCount };

    explicit MetadataModel(QObject* parent = nullptr) : QAbstractItemModel(parent) {}

    void setTree(MetadataTreePtr tree);
    // Case folded substring of key, value, type or path; empty: everything. `onlyDiffering`: only what differs between files.
    void setFilter(const QString& text, bool onlyDiffering);
    [[nodiscard]] const MetadataTreePtr& tree() const { return m_tree; }
    [[nodiscard]] std::size_t matches() const { return m_matches; } // nodes that match the filter themselves
    [[nodiscard]] bool isFiltered() const { return !m_filter.isEmpty() || m_onlyDiffering; }
    [[nodiscard]] std::uint32_t nodeOf(const QModelIndex& index) const { return static_cast<std::uint32_t>(index.internalId()); }
    // "lr<TAB>0.0003", with path, type and files where asked for.
    [[nodiscard]] QString copyText(const QModelIndex& index, bool withPlace) const;

    [[nodiscard]] QModelIndex index(int row, int column, const QModelIndex& parent = {}) const override;
    [[nodiscard]] QModelIndex parent(const QModelIndex& child) const override;
    using QObject::parent;
    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    void rebuild();
    [[nodiscard]] bool matchesFilter(std::uint32_t node) const;
    [[nodiscard]] QString textAt(const MetadataNode& node, int column) const;
    [[nodiscard]] const std::vector<std::uint32_t>& childrenOf(std::uint32_t node) const { return m_children[node == MetadataNode::kNone ? 0 : node + 1]; }

    MetadataTreePtr m_tree;
    QString m_filter;
    bool m_onlyDiffering = false;
    std::size_t m_matches = 0;
    std::vector<std::vector<std::uint32_t>> m_children; // visible ones; of the root first
    std::vector<std::uint32_t> m_row;                   // of a visible node among its visible siblings
};

} // namespace shardlens::ui
