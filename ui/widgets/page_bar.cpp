#include "ui/widgets/page_bar.h"

#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QToolButton>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kHeader = 48;
constexpr int kControls = 44;
constexpr int kMargin = 16;

void tint(QLabel* label, Token token)
{
    QPalette palette = label->palette();
    palette.setColor(QPalette::WindowText, Theme::current().colour(token));
    label->setPalette(palette);
}

} // namespace

PageBar::PageBar(const QString& title, QWidget* parent)
    : QWidget(parent), m_title(new QLabel(title, this)), m_facts(new QLabel(this)), m_head(new QHBoxLayout), m_controls(new QHBoxLayout), m_controlRow(new QWidget(this))
{
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addLayout(m_head);
    column->addWidget(m_controlRow);
    m_controlRow->setLayout(m_controls);
    m_controlRow->hide();
    m_facts->setTextFormat(Qt::PlainText);
    m_facts->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_facts->setMinimumWidth(1);
    m_head->addWidget(m_title);
    m_head->addWidget(m_facts, 1);
    connect(&Theme::current(), &Theme::changed, this, &PageBar::applyTheme);
    applyTheme();
}

void PageBar::applyTheme()
{
    const Theme& theme = Theme::current();
    m_title->setFont(theme.font(TextStyle::Page));
    m_facts->setFont(theme.font(TextStyle::Body));
    tint(m_title, Token::Text);
    tint(m_facts, Token::Text2);
    m_head->setContentsMargins(theme.px(kMargin), theme.px(4), theme.px(kMargin), theme.px(4));
    m_head->setSpacing(theme.px(6));
    m_title->setContentsMargins(0, 0, theme.px(8), 0);
    m_title->setMinimumHeight(theme.px(kHeader - 8));
    m_controls->setContentsMargins(theme.px(kMargin), theme.px(4), theme.px(kMargin), theme.px(4));
    m_controls->setSpacing(theme.px(8));
    m_controlRow->setFixedHeight(theme.px(kControls));
    for (const auto& [button, icon] : m_icons) {
        button->setIcon(theme.icon(icon, Token::Text));
        button->setFixedSize(theme.px(28), theme.px(28));
    }
    for (QLabel* label : m_labels) {
        label->setFont(theme.font(TextStyle::Body));
        tint(label, Token::Text2);
    }
    update();
}

void PageBar::setFacts(const QString& facts)
{
    m_facts->setText(facts);
    m_facts->setToolTip(facts);
}

void PageBar::addToHead(QWidget* widget)
{
    m_head->addWidget(widget);
}

QToolButton* PageBar::addIconButton(const QString& icon, const QString& tip)
{
    auto* button = new QToolButton(this);
    button->setToolTip(tip);
    button->setAccessibleName(tip);
    m_icons.emplace_back(button, icon);
    m_head->addWidget(button);
    applyTheme();
    return button;
}

void PageBar::addControl(const QString& label, QWidget* widget)
{
    m_controlRow->show();
    if (!label.isEmpty()) {
        auto* words = new QLabel(label, this);
        words->setBuddy(widget);
        if (widget->accessibleName().isEmpty())
            widget->setAccessibleName(label);
        m_labels.push_back(words);
        m_controls->addWidget(words);
        applyTheme();
    }
    m_controls->addWidget(widget);
    m_controls->addSpacing(Theme::current().px(8));
}

void PageBar::addControlStretch()
{
    m_controls->addStretch(1);
}

void PageBar::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Surface));
    painter.setPen(theme.colour(Token::Border));
    if (!m_controlRow->isHidden())
        painter.drawLine(0, m_controlRow->y(), width(), m_controlRow->y());
    painter.drawLine(0, height() - 1, width(), height() - 1);
}

} // namespace shardlens::ui
