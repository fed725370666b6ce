#include "ui/widgets/card.h"

#include "ui/theme/theme.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QPainter>
#include <QVBoxLayout>

namespace shardlens::ui {

Card::Card(const QString& title, const QString& hint, QWidget* parent) : QFrame(parent), m_body(new QVBoxLayout)
{
    const Theme& theme = Theme::current();
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(theme.px(16), theme.px(12), theme.px(16), theme.px(14));
    outer->setSpacing(theme.px(10));
    if (!title.isEmpty()) {
        m_head = new QHBoxLayout;
        m_head->setSpacing(theme.px(12));
        m_head->addWidget(new TextLabel(title, TextStyle::Strong, Token::Text, this));
        m_hint = new TextLabel(hint, TextStyle::Caption, Token::Text2, this);
        m_head->addWidget(m_hint);
        m_head->addStretch(1);
        outer->addLayout(m_head);
        setAccessibleName(title);
    }
    m_body->setSpacing(theme.px(6));
    outer->addLayout(m_body, 1);
}

void Card::setHint(const QString& hint)
{
    if (m_hint != nullptr)
        m_hint->setText(hint);
}

void Card::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(theme.colour(Token::Border));
    painter.setBrush(theme.colour(Token::Surface));
    painter.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), theme.px(6), theme.px(6));
}

} // namespace shardlens::ui
