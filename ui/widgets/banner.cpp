#include "ui/widgets/banner.h"

#include "ui/theme/theme.h"
#include "ui/widgets/link.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>

namespace shardlens::ui {
namespace {

struct Look {
    Token ink;
    Token ground;
    const char* icon;
};

Look lookOf(Banner::Kind kind)
{
    switch (kind) {
    case Banner::Kind::Ok: return {Token::Ok, Token::OkWeak, "check"};
    case Banner::Kind::Info: return {Token::Info, Token::InfoWeak, "info"};
    case Banner::Kind::Warning: return {Token::Warn, Token::WarnWeak, "warn"};
    case Banner::Kind::Error: return {Token::Error, Token::ErrorWeak, "warn"};
    }
    return {Token::Info, Token::InfoWeak, "info"};
}

} // namespace

Banner::Banner(Kind kind, const QString& strong, const QString& rest, QWidget* parent) : QFrame(parent), m_kind(kind), m_text(new QLabel(this)), m_links(new QHBoxLayout)
{
    const Theme& theme = Theme::current();
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(theme.px(15), theme.px(8), theme.px(12), theme.px(8));
    row->setSpacing(theme.px(10));
    auto* icon = new QLabel(this);
    icon->setPixmap(theme.icon(QString::fromLatin1(lookOf(kind).icon), lookOf(kind).ink).pixmap(theme.px(18), theme.px(18)));
    row->addWidget(icon, 0, Qt::AlignTop);
    m_text->setWordWrap(true);
    m_text->setTextFormat(Qt::RichText);
    m_text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_text->setText(QStringLiteral("<b>%1</b>&nbsp; %2").arg(strong.toHtmlEscaped(), rest.toHtmlEscaped()));
    row->addWidget(m_text, 1);
    m_links->setSpacing(theme.px(16));
    row->addLayout(m_links);
    setAccessibleName(strong + QLatin1Char(' ') + rest);
}

void Banner::addLink(const QString& text, std::function<void()> action)
{
    auto* link = new Link(text, this);
    connect(link, &Link::clicked, this, [action = std::move(action)] { action(); });
    m_links->addWidget(link, 0, Qt::AlignTop);
}

void Banner::setDismissible(bool on)
{
    if (on)
        addLink(tr("Dismiss"), [this] { emit dismissed(); });
}

void Banner::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(lookOf(m_kind).ground));
    painter.fillRect(QRect(0, 0, theme.px(3), height()), theme.colour(lookOf(m_kind).ink));
}

} // namespace shardlens::ui
