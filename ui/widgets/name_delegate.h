#pragma once

#include <QFontMetrics>
#include <QStyledItemDelegate>

#include <vector>

namespace shardlens::ui {

// What tells a name from its neighbours, as half-open places in it; the word before goes with it ("rank_0").
struct NameCore {
    qsizetype begin = 0;
    qsizetype end = 0;
    auto operator<=>(const NameCore&) const = default;
};

// For each of the names what sets it apart from the most similar other. O(n log n) in names.
[[nodiscard]] std::vector<NameCore> coresOf(const QStringList& names);

// Shortened to `width` pixels so that the core stays: "…rank_0…states.pt". Where even that has no room, as much of it as has.
[[nodiscard]] QString elidedAround(const QString& name, NameCore core, const QFontMetrics& metrics, int width);

// Paints the names of one column, shortened around their cores.
class NameDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    using QStyledItemDelegate::QStyledItemDelegate;
    // By row of the model.
    void setNames(const QStringList& names);

protected:
    void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override;

private:
    std::vector<NameCore> m_cores;
};

} // namespace shardlens::ui
