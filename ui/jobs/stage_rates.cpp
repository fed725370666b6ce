#include "ui/jobs/stage_rates.h"

#include "ui/jobs/job_texts.h"
#include "ui/theme/theme.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr double kNsOfSecond = 1e9;
constexpr double kTooLittle = 0.01; // of the time: a rate of that would say nothing

} // namespace

std::array<StageRate, 3> stageRatesOf(const StageSpan& span)
{
    const auto all = static_cast<double>(span.stages.all());
    const auto of = [all](std::uint64_t ns, std::uint64_t bytes) {
        StageRate out;
        out.share = all > 0 ? static_cast<double>(ns) / all : 0;
        if (out.share >= kTooLittle)
            out.bytesPerSecond = static_cast<double>(bytes) * kNsOfSecond / static_cast<double>(ns);
        return out;
    };
    return {of(span.stages.readNs, span.bytesRead), of(span.stages.computeNs, span.bytesRead), of(span.stages.writeNs, span.bytesWritten)};
}

StageRates::StageRates(QWidget* parent) : QWidget(parent)
{
    auto* columns = new QHBoxLayout(this);
    columns->setContentsMargins(0, Theme::current().px(4), 0, 0);
    columns->setSpacing(Theme::current().px(16));
    for (Column& column : m_columns) {
        auto* rows = new QVBoxLayout;
        rows->setSpacing(0);
        column.value = new TextLabel({}, TextStyle::Body, Token::Text);
        column.note = new TextLabel({}, TextStyle::Caption, Token::Text3);
        for (TextLabel* label : {column.value, column.note}) {
            label->setElide(Qt::ElideRight);
            rows->addWidget(label);
        }
        columns->addLayout(rows, 1);
    }
    setToolTip(tr("Threads read, compute and write one block after the other. What takes the most of their time limits the job."));
    hide();
}

void StageRates::setSpan(const StageSpan& span)
{
    setVisible(span.stages.all() > 0);
    const std::array<StageRate, 3> rates = stageRatesOf(span);
    const QString names[] = {tr("Reading"), tr("Computing"), tr("Writing")};
    const auto most = std::max_element(rates.begin(), rates.end(), [](const StageRate& a, const StageRate& b) { return a.share < b.share; });
    for (std::size_t i = 0; i < m_columns.size(); ++i) {
        const bool limits = &rates[i] == &*most;
        m_columns[i].value->setInk(limits ? Token::Text : Token::Text2);
        m_columns[i].value->setText(rates[i].bytesPerSecond > 0 ? tr("%1: %2 a thread", "stage, rate").arg(names[i], JobTexts::rate(rates[i].bytesPerSecond)) : names[i]);
        const QString share = tr("%1 of the time").arg(JobTexts::percent(rates[i].share));
        m_columns[i].note->setText(limits ? tr("%1: the limit").arg(share) : share);
    }
}

} // namespace shardlens::ui
