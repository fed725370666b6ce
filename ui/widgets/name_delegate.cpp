#include "ui/widgets/name_delegate.h"

#include <QApplication>
#include <QStyle>

#include <algorithm>
#include <numeric>

namespace shardlens::ui {
namespace {

qsizetype sharedStart(const QString& a, const QString& b)
{
    return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

qsizetype sharedEnd(const QString& a, const QString& b)
{
    return std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend()).first - a.rbegin();
}

// "rank_0" where only "0" differs, and whole numbers.
NameCore widened(const QString& name, NameCore core)
{
    while (core.end < name.size() && core.end > core.begin && name[core.end - 1].isDigit() && name[core.end].isDigit())
        ++core.end;
    while (core.begin > 0 && name[core.begin - 1].isLetterOrNumber())
        --core.begin;
    if (core.begin > 0 && core.begin < name.size() && !name[core.begin].isLetter()) {
        --core.begin; // the separator
        while (core.begin > 0 && name[core.begin - 1].isLetterOrNumber())
            --core.begin;
    }
    return core;
}

} // namespace

std::vector<NameCore> coresOf(const QStringList& names)
{
    std::vector<qsizetype> order(static_cast<std::size_t>(names.size()));
    std::iota(order.begin(), order.end(), qsizetype{0});
    std::sort(order.begin(), order.end(), [&](qsizetype a, qsizetype b) { return names[a] < names[b]; });
    std::vector<NameCore> out(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        const QString& name = names[order[i]];
        qsizetype start = 0;
        qsizetype end = 0;
        for (const std::size_t other : {i - 1, i + 1}) { // the most similar names are neighbours; i - 1 of the first is beyond the last
            if (other >= order.size() || names[order[other]] == name)
                continue;
            const QString& neighbour = names[order[other]];
            const qsizetype shared = sharedStart(name, neighbour);
            if (shared <= start && start > 0)
                continue;
            start = shared;
            end = std::min(sharedEnd(name, neighbour), std::min(name.size(), neighbour.size()) - shared);
        }
        out[static_cast<std::size_t>(order[i])] = start == 0 ? NameCore{} : widened(name, {start, name.size() - end});
    }
    return out;
}

QString elidedAround(const QString& name, NameCore core, const QFontMetrics& metrics, int width)
{
    if (metrics.horizontalAdvance(name) <= width)
        return name;
    if (core.begin >= core.end)
        return metrics.elidedText(name, Qt::ElideMiddle, width);
    const QString dots(QChar(0x2026));
    qsizetype left = core.begin;  // shown: name[left, right) and name[tail, end)
    qsizetype right = core.end;
    qsizetype tail = name.size();
    const auto built = [&] {
        return (left > 0 ? dots : QString()) + name.mid(left, right - left) + (right < tail ? dots : QString()) + name.mid(tail);
    };
    const auto fits = [&] { return metrics.horizontalAdvance(built()) <= width; };
    if (!fits())
        return metrics.elidedText(built(), Qt::ElideRight, width);
    while (tail > right) { // the ending says what kind of file it is
        --tail;
        if (!fits()) {
            ++tail;
            break;
        }
    }
    while (left > 0) {
        --left;
        if (!fits()) {
            ++left;
            break;
        }
    }
    return built();
}

void NameDelegate::setNames(const QStringList& names)
{
    m_cores = coresOf(names);
}

void NameDelegate::initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const
{
    QStyledItemDelegate::initStyleOption(option, index);
    const auto row = static_cast<std::size_t>(index.row());
    if (row >= m_cores.size())
        return;
    const QStyle* style = option->widget != nullptr ? option->widget->style() : QApplication::style();
    const int room = style->subElementRect(QStyle::SE_ItemViewItemText, option, option->widget).width() - 2 * (style->pixelMetric(QStyle::PM_FocusFrameHMargin, option, option->widget) + 1);
    const QFontMetrics metrics(option->font);
    // Less a letter: the view measures in fractions of a pixel and would cut what just fits.
    option->text = elidedAround(option->text, m_cores[row], metrics, room - metrics.averageCharWidth());
}

} // namespace shardlens::ui
