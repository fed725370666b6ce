#include "ui/widgets/flow_layout.h"

#include <algorithm>
#include <iterator>

namespace shardlens::ui {

FlowLayout::~FlowLayout()
{
    for (QLayoutItem* item : m_items)
        delete item;
}

void FlowLayout::addItem(QLayoutItem* item)
{
    m_items.push_back(item);
}

QLayoutItem* FlowLayout::itemAt(int index) const
{
    return index >= 0 && index < count() ? m_items[static_cast<std::size_t>(index)] : nullptr;
}

QLayoutItem* FlowLayout::takeAt(int index)
{
    QLayoutItem* item = itemAt(index);
    if (item != nullptr)
        m_items.erase(m_items.begin() + index);
    return item;
}

int FlowLayout::heightForWidth(int width) const
{
    return arrange(QRect(0, 0, width, 0), false);
}

QSize FlowLayout::minimumSize() const
{
    QSize least;
    for (const QLayoutItem* item : m_items)
        least = least.expandedTo(item->minimumSize());
    const QMargins margins = contentsMargins();
    return least + QSize(margins.left() + margins.right(), margins.top() + margins.bottom());
}

void FlowLayout::setGeometry(const QRect& rect)
{
    QLayout::setGeometry(rect);
    arrange(rect, true);
}

int FlowLayout::arrange(const QRect& rect, bool place) const
{
    const QMargins margins = contentsMargins();
    const QRect inside = rect.marginsRemoved(margins);
    const int gap = std::max(spacing(), 0);
    int y = inside.y();
    for (auto first = m_items.begin(); first != m_items.end();) {
        int x = inside.x();
        int height = 0;
        auto last = first;
        for (; last != m_items.end(); ++last) {
            if ((*last)->isEmpty())
                continue;
            const QSize size = (*last)->sizeHint();
            if (x > inside.x() && x + size.width() > inside.right() + 1)
                break;
            x += size.width() + gap;
            height = std::max(height, size.height());
        }
        x = inside.x();
        for (; first != last; ++first) {
            if ((*first)->isEmpty())
                continue;
            const QSize size = (*first)->sizeHint();
            if (place)
                (*first)->setGeometry(QRect(x, y + (height - size.height()) / 2, std::min(size.width(), inside.width()), size.height()));
            x += size.width() + gap;
        }
        y += height + (last == m_items.end() ? 0 : gap);
    }
    return y - rect.y() + margins.bottom();
}

} // namespace shardlens::ui
