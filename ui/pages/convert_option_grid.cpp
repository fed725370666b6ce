#include "ui/pages/convert_option_grid.h"

#include "ui/jobs/parts.h"
#include "ui/widgets/text_label.h"

#include <QGridLayout>

namespace shardlens::ui {

void OptionRow::setVisible(bool visible) const
{
    for (QWidget* part : {static_cast<QWidget*>(label), control, static_cast<QWidget*>(reason)})
        part->setVisible(visible);
}

void OptionRow::setReason(const QString& text, bool isProblem) const
{
    reason->setText(text);
    reason->setInk(isProblem ? Token::Error : Token::Text2);
}

OptionGrid::OptionGrid(QVBoxLayout* place) : m_grid(new QGridLayout)
{
    const Theme& theme = Theme::current();
    m_grid->setHorizontalSpacing(theme.px(16));
    m_grid->setVerticalSpacing(theme.px(8));
    m_grid->setColumnMinimumWidth(0, theme.px(128));
    m_grid->setColumnStretch(2, 1);
    place->addLayout(m_grid);
}

OptionRow OptionGrid::add(const QString& label, QWidget* control)
{
    const int row = m_grid->rowCount();
    OptionRow out{new TextLabel(label, TextStyle::Body, Token::Text3), control, new TextLabel({}, TextStyle::Body, Token::Text2)};
    out.reason->setWordWrap(true);
    m_grid->addWidget(out.label, row, 0);
    m_grid->addWidget(control, row, 1);
    m_grid->addWidget(out.reason, row, 2);
    control->setMinimumWidth(Theme::current().px(232));
    if (control->accessibleName().isEmpty())
        control->setAccessibleName(label);
    return out;
}

void OptionGrid::addWide(QWidget* widget)
{
    m_grid->addWidget(widget, m_grid->rowCount(), 0, 1, 3);
}

void OptionGrid::addHeading(const QString& text)
{
    auto* rule = new Ground(Token::Border);
    rule->setFixedHeight(1);
    const int row = m_grid->rowCount();
    m_grid->addWidget(rule, row, 0, 1, 3);
    m_grid->addWidget(new TextLabel(text, TextStyle::Strong, Token::Text), row + 1, 0);
}

} // namespace shardlens::ui
