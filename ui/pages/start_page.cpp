#include "ui/pages/start_page.h"

#include "core/format/format.h"
#include "ui/frame/recent.h"
#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QFileInfo>
#include <QHBoxLayout>
#include <QPainter>
#include <QPushButton>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

// The dashed field that says what can be dropped here; dropping itself works on the whole window.
class DropHint : public QWidget {
public:
    explicit DropHint(QWidget* parent) : QWidget(parent) { setMinimumHeight(Theme::current().px(150)); }

protected:
    void paintEvent(QPaintEvent*) override
    {
        const Theme& theme = Theme::current();
        QPainter painter(this);
        painter.setRenderHint(QPainter::Antialiasing);
        painter.setPen(QPen(theme.colour(Token::BorderStrong), 1.5, Qt::DashLine));
        painter.setBrush(theme.colour(Token::Surface));
        painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), theme.px(6), theme.px(6));
        const int icon = theme.px(32);
        theme.icon(QStringLiteral("atlas"), Token::Accent).paint(&painter, QRect((width() - icon) / 2, height() / 2 - icon - theme.px(8), icon, icon));
        painter.setFont(theme.font(TextStyle::Title));
        painter.setPen(theme.colour(Token::Text));
        painter.drawText(QRect(0, height() / 2, width(), theme.px(26)), Qt::AlignCenter, QObject::tr("Drop a checkpoint folder here"));
        painter.setFont(theme.font(TextStyle::Caption));
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(QRect(0, height() / 2 + theme.px(26), width(), theme.px(20)), Qt::AlignCenter, QObject::tr("or a single file; nothing in it is ever executed"));
    }
};

} // namespace

StartPage::StartPage(QWidget* parent) : QWidget(parent), m_recent(new QVBoxLayout)
{
    const Theme& theme = Theme::current();
    auto* outer = new QHBoxLayout(this);
    auto* middle = new QWidget(this);
    middle->setMaximumWidth(theme.px(560));
    middle->setMinimumWidth(theme.px(420));
    outer->addStretch(1);
    outer->addWidget(middle, 4);
    outer->addStretch(1);
    auto* column = new QVBoxLayout(middle);
    column->setSpacing(theme.px(12));
    column->addStretch(2);
    column->addWidget(new TextLabel(tr("Shardlens"), TextStyle::Figure, Token::Text, middle));
    column->addWidget(new TextLabel(tr("See which rank, file and byte holds which part of which tensor."), TextStyle::Body, Token::Text2, middle));
    column->addWidget(new DropHint(middle));
    auto* buttons = new QHBoxLayout;
    auto* open = new QPushButton(tr("Open…"), middle);
    open->setProperty("primary", true);
    open->setToolTip(tr("Open a checkpoint folder (Ctrl+O)"));
    auto* sample = new QPushButton(tr("Try the sample"), middle);
    sample->setToolTip(tr("A small DeepSpeed ZeRO-2 run of three ranks, written by DeepSpeed itself"));
    connect(open, &QPushButton::clicked, this, &StartPage::openRequested);
    connect(sample, &QPushButton::clicked, this, &StartPage::sampleRequested);
    buttons->addWidget(open);
    buttons->addWidget(sample);
    buttons->addStretch(1);
    column->addLayout(buttons);
    m_recent->setSpacing(theme.px(4));
    column->addLayout(m_recent);
    column->addSpacing(theme.px(8));
    for (const Format& format : formats()) {
        auto* line = new TextLabel(QStringLiteral("%1: %2").arg(QString::fromUtf8(format.title), QString::fromUtf8(format.reads)), TextStyle::Caption, Token::Text3, middle);
        line->setWordWrap(true);
        column->addWidget(line);
    }
    column->addStretch(3);
}

void StartPage::showEvent(QShowEvent* event)
{
    fillRecent();
    QWidget::showEvent(event);
}

void StartPage::fillRecent()
{
    while (QLayoutItem* item = m_recent->takeAt(0)) {
        if (item->widget() != nullptr)
            item->widget()->deleteLater();
        delete item;
    }
    const QStringList paths = Recent::paths();
    if (paths.isEmpty())
        return;
    m_recent->addWidget(new TextLabel(tr("RECENT"), TextStyle::Caption, Token::Text3, this));
    for (const QString& path : paths.mid(0, 5)) {
        auto* link = new Link(QStringLiteral("%1   %2").arg(QFileInfo(path).fileName(), path), this);
        connect(link, &Link::clicked, this, [this, path] { emit pathRequested(path); });
        m_recent->addWidget(link);
    }
}

void StartPage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Window));
}

} // namespace shardlens::ui
