#include "ui/frame/rail.h"

#include "ui/frame/page_table.h"
#include "ui/theme/theme.h"

#include <QAbstractButton>
#include <QPainter>
#include <QResizeEvent>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {

class Rail::Item : public QAbstractButton {
public:
    Item(const QString& id, const QString& icon, const QString& label, const QString& tip, bool isPage, QWidget* parent)
        : QAbstractButton(parent), m_id(id), m_icon(icon), m_isPage(isPage)
    {
        setText(label);
        setToolTip(tip);
        setCheckable(true);
        setFocusPolicy(Qt::TabFocus);
        setAttribute(Qt::WA_Hover);
        setAccessibleName(tip);
    }
    [[nodiscard]] QSize sizeHint() const override
    {
        const Theme& theme = Theme::current();
        return {theme.px(72), m_isCompact ? theme.px(40) : theme.px(56)};
    }
    [[nodiscard]] const QString& id() const { return m_id; }
    [[nodiscard]] bool isPage() const { return m_isPage; }
    void setBadge(int count)
    {
        m_badge = count;
        update();
    }
    void setCompact(bool on)
    {
        m_isCompact = on;
        updateGeometry();
    }

protected:
    void paintEvent(QPaintEvent*) override
    {
        const Theme& theme = Theme::current();
        QPainter painter(this);
        const bool on = isChecked();
        if (on || (underMouse() && isEnabled()))
            painter.fillRect(rect(), theme.colour(on ? Token::AccentWeak : Token::Sunken));
        if (on)
            painter.fillRect(QRect(0, 0, theme.px(3), height()), theme.colour(Token::Accent));
        const Token ink = !isEnabled() ? Token::Text3 : on ? Token::Accent : Token::Text2;
        const int size = theme.px(20);
        const int top = m_isCompact ? (height() - size) / 2 : theme.px(9);
        const QRect icon((width() - size) / 2, top, size, size);
        theme.icon(m_icon, ink).paint(&painter, icon, Qt::AlignCenter, isEnabled() ? QIcon::Normal : QIcon::Disabled);
        if (!m_isCompact) {
            QFont font = theme.font(TextStyle::Caption);
            font.setWeight(on ? QFont::DemiBold : QFont::Normal);
            painter.setFont(font);
            painter.setPen(theme.colour(ink));
            painter.drawText(QRect(0, theme.px(32), width(), theme.px(18)), Qt::AlignHCenter | Qt::AlignVCenter, text());
        }
        if (m_badge > 0)
            paintBadge(painter, icon);
        if (hasFocus()) {
            painter.setPen(QPen(theme.colour(Token::Accent), 2));
            painter.drawRect(rect().adjusted(2, 2, -3, -3));
        }
    }

private:
    void paintBadge(QPainter& painter, const QRect& icon) const
    {
        const Theme& theme = Theme::current();
        painter.setRenderHint(QPainter::Antialiasing);
        painter.setFont(theme.font(TextStyle::Tiny));
        const QString text = QString::number(m_badge);
        const int height = theme.px(14);
        const int width = std::max(height, painter.fontMetrics().horizontalAdvance(text) + theme.px(8));
        const QRect box(icon.right() - theme.px(4), icon.top() - theme.px(4), width, height);
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(Token::Accent));
        painter.drawRoundedRect(box, height / 2.0, height / 2.0);
        painter.setPen(theme.colour(Token::AccentText));
        painter.drawText(box, Qt::AlignCenter, text);
    }

    QString m_id;
    QString m_icon;
    bool m_isPage;
    bool m_isCompact = false;
    int m_badge = 0;
};

Rail::Rail(QWidget* parent) : QWidget(parent)
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 2, 0, 2);
    column->setSpacing(0);
    const auto add = [&](const QString& id, const QString& icon, const QString& label, const QString& key, bool isPage) {
        auto* item = new Item(id, icon, label, key.isEmpty() ? label : QStringLiteral("%1 (%2)").arg(label, key), isPage, this);
        connect(item, &QAbstractButton::clicked, this, [this, item] {
            item->setChecked(true);
            emit chosen(item->id());
        });
        column->addWidget(item);
        m_items.push_back(item);
    };
    for (const PageEntry& entry : pageTable())
        if (entry.inRail)
            add(QString::fromLatin1(entry.id), QString::fromLatin1(entry.icon), titleOf(entry), QKeySequence(Qt::ALT | entry.key).toString(QKeySequence::NativeText), true);
    column->addStretch(1);
    add(QStringLiteral("jobs"), QStringLiteral("jobs"), tr("Jobs"), QStringLiteral("Alt+J"), false);
    add(QStringLiteral("settings"), QStringLiteral("settings"), tr("Settings"), QStringLiteral("Ctrl+,"), false);
    for (const PageEntry& entry : pageTable())
        for (Item* item : m_items)
            if (entry.concerns != nullptr && item->id() == QLatin1String(entry.id))
                item->hide();
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Expanding);
}

void Rail::setCurrent(const QString& id)
{
    for (Item* item : m_items)
        item->setChecked(item->id() == id);
}

void Rail::setPagesEnabled(bool on)
{
    for (Item* item : m_items)
        if (item->isPage())
            item->setEnabled(on);
}

void Rail::setPageEnabled(const QString& id, bool on)
{
    for (Item* item : m_items)
        if (item->id() == id)
            item->setEnabled(on);
}

void Rail::showPagesOf(const Checkpoint* checkpoint)
{
    bool changes = false;
    for (const PageEntry& entry : pageTable())
        for (Item* item : m_items) {
            const bool shows = checkpoint != nullptr && entry.concerns != nullptr && entry.concerns(*checkpoint);
            if (entry.concerns == nullptr || item->id() != QLatin1String(entry.id) || item->isHidden() != shows)
                continue;
            item->setVisible(shows);
            changes = true;
        }
    if (changes)
        fit();
}

void Rail::setBadge(int count)
{
    for (Item* item : m_items)
        if (item->id() == QLatin1String("jobs"))
            item->setBadge(count);
}

// Labels go before items are squeezed; the tooltips stay.
void Rail::fit()
{
    const auto shown = std::count_if(m_items.begin(), m_items.end(), [](const Item* item) { return !item->isHidden(); });
    const bool compact = height() < Theme::current().px(56) * static_cast<int>(shown) + Theme::current().px(16);
    for (Item* item : m_items)
        item->setCompact(compact);
}

void Rail::resizeEvent(QResizeEvent* event)
{
    fit();
    QWidget::resizeEvent(event);
}

void Rail::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Window));
    painter.setPen(theme.colour(Token::Border));
    painter.drawLine(width() - 1, 0, width() - 1, height());
}

} // namespace shardlens::ui
