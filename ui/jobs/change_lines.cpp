#include "ui/jobs/change_lines.h"

#include "ui/jobs/parts.h"
#include "ui/widgets/text_label.h"

#include <QGridLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

struct Mark {
    const char* icon;
    Token tone;
};

Mark markOf(JobReportLine::Kind kind)
{
    switch (kind) {
    case JobReportLine::Kind::Kept: return {"check", Token::Ok};
    case JobReportLine::Kind::Info:
    case JobReportLine::Kind::Dropped:
    case JobReportLine::Kind::Cast:
    case JobReportLine::Kind::Duplicated: return {"info", Token::Info};
    case JobReportLine::Kind::Warning: return {"warn", Token::Warn};
    }
    return {"info", Token::Info};
}

constexpr int kRowsPerLine = 2; // hairline, line

} // namespace

ChangeLines::ChangeLines(QWidget* parent) : QWidget(parent)
{
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Minimum);
}

void ChangeLines::setLines(const std::vector<JobReportLine>& lines)
{
    qDeleteAll(findChildren<QWidget*>(Qt::FindDirectChildrenOnly));
    delete layout();
    auto* grid = new QGridLayout(this);
    grid->setContentsMargins(0, 0, 0, 0);
    grid->setHorizontalSpacing(Theme::current().px(10));
    grid->setVerticalSpacing(Theme::current().px(3));
    grid->setColumnMinimumWidth(1, Theme::current().px(120));
    grid->setColumnStretch(2, 1);
    const std::size_t shown = std::min(lines.size(), kMostLines);
    for (std::size_t i = 0; i < shown; ++i)
        addRow(static_cast<int>(i) * kRowsPerLine, lines[i]);
    if (shown < lines.size())
        addRow(static_cast<int>(shown) * kRowsPerLine,
               {JobReportLine::Kind::Info, tr("More"), tr("%n more lines; the copy as text has them.", nullptr, static_cast<int>(lines.size() - shown))});
}

void ChangeLines::addRow(int row, const JobReportLine& line)
{
    auto* grid = static_cast<QGridLayout*>(layout());
    auto* rule = new Ground(Token::Border);
    rule->setFixedHeight(1);
    grid->addWidget(rule, row, 0, 1, 3);
    const Mark mark = markOf(line.kind);
    grid->addWidget(new ToneIcon(QString::fromLatin1(mark.icon), mark.tone), row + 1, 0, Qt::AlignTop);
    grid->addWidget(new TextLabel(line.topic, TextStyle::Body, Token::Text), row + 1, 1, Qt::AlignTop);
    auto* text = new TextLabel(line.text, TextStyle::Body, Token::Text2);
    text->setWordWrap(true);
    text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    grid->addWidget(text, row + 1, 2);
}

QString ChangeLines::asText(const std::vector<JobReportLine>& lines)
{
    QString text;
    for (const JobReportLine& line : lines)
        text += line.topic + QStringLiteral(": ") + line.text + QLatin1Char('\n');
    return text;
}

} // namespace shardlens::ui
