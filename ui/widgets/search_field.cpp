#include "ui/widgets/search_field.h"

#include "ui/theme/theme.h"

#include <QAction>
#include <QKeyEvent>
#include <QPainter>

namespace shardlens::ui {
namespace {

// ".*" as an icon, so that it sits in the field.
QIcon regexIcon(bool on)
{
    const Theme& theme = Theme::current();
    const int size = theme.px(32);
    QPixmap pixmap(size, size);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    painter.setRenderHint(QPainter::Antialiasing);
    if (on) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(Token::AccentWeak));
        painter.drawRoundedRect(QRect(0, size / 6, size, size * 2 / 3), 6, 6);
    }
    QFont font = theme.font(TextStyle::Mono);
    font.setPixelSize(size / 2);
    font.setBold(true);
    painter.setFont(font);
    painter.setPen(theme.colour(on ? Token::Accent : Token::Text3));
    painter.drawText(pixmap.rect(), Qt::AlignCenter, QStringLiteral(".*"));
    return pixmap;
}

} // namespace

SearchField::SearchField(const QString& placeholder, QWidget* parent) : QLineEdit(parent)
{
    setPlaceholderText(placeholder);
    setAccessibleName(placeholder);
    setClearButtonEnabled(false);
    addAction(Theme::current().icon(QStringLiteral("search"), Token::Text2), QLineEdit::LeadingPosition);
}

void SearchField::setRegexToggle(bool on)
{
    if (!on || m_regex != nullptr)
        return;
    m_regex = addAction(regexIcon(false), QLineEdit::TrailingPosition);
    m_regex->setCheckable(true);
    m_regex->setToolTip(tr("Regular expression"));
    connect(m_regex, &QAction::toggled, this, [this](bool checked) {
        m_regex->setIcon(regexIcon(checked));
        emit regexChanged(checked);
    });
}

bool SearchField::isRegex() const
{
    return m_regex != nullptr && m_regex->isChecked();
}

void SearchField::setRegex(bool on)
{
    if (m_regex != nullptr)
        m_regex->setChecked(on);
}

void SearchField::setInvalid(bool on, const QString& why)
{
    setProperty("invalid", on);
    setToolTip(why);
    update();
}

void SearchField::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_Escape && !text().isEmpty()) {
        clear();
        event->accept();
        return;
    }
    QLineEdit::keyPressEvent(event);
}

} // namespace shardlens::ui
