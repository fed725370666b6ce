#include "ui/frame/loading_bar.h"

#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QPainter>

namespace shardlens::ui {

LoadingBar::LoadingBar(const QString& text, QWidget* parent) : QWidget(parent)
{
    const Theme& theme = Theme::current();
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(theme.px(16), theme.px(8), theme.px(16), theme.px(8));
    row->addWidget(new TextLabel(text, TextStyle::Body, Token::Text2, this));
    auto* stop = new Link(tr("Cancel"), this);
    connect(stop, &Link::clicked, this, &LoadingBar::cancelled);
    row->addWidget(stop);
    row->addStretch(1);
}

void LoadingBar::paintEvent(QPaintEvent*)
{
    QPainter painter(this);
    painter.fillRect(rect(), Theme::current().colour(Token::Window));
    painter.fillRect(QRect(0, 0, width(), 2), Theme::current().colour(Token::Accent));
}

} // namespace shardlens::ui
