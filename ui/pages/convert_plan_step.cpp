#include "ui/pages/convert_plan_step.h"

#include "core/base/text.h"
#include "ui/jobs/change_lines.h"
#include "ui/jobs/job_queue.h"
#include "ui/jobs/job_rate.h"
#include "ui/jobs/job_texts.h"
#include "ui/jobs/parts.h"
#include "ui/models/atlas_text.h"
#include "ui/pages/convert_precision.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/card.h"
#include "ui/widgets/link.h"
#include "ui/widgets/plan_picture.h"
#include "ui/widgets/text_label.h"

#include <QClipboard>
#include <QGuiApplication>
#include <QResizeEvent>
#include <QVBoxLayout>

#include <algorithm>
#include <map>
#include <set>

namespace shardlens::ui {
namespace {

constexpr int kThreeCards = 840; // design pixels; narrower pages put them below each other

QString text(const std::string& utf8)
{
    return QString::fromStdString(utf8);
}

JobReportLine::Kind kindOf(PlanLine::Kind kind)
{
    switch (kind) {
    case PlanLine::Kind::Kept: return JobReportLine::Kind::Kept;
    case PlanLine::Kind::Info: return JobReportLine::Kind::Info;
    case PlanLine::Kind::Dropped: return JobReportLine::Kind::Dropped;
    case PlanLine::Kind::Cast: return JobReportLine::Kind::Cast;
    case PlanLine::Kind::Duplicated: return JobReportLine::Kind::Duplicated;
    case PlanLine::Kind::Warning: return JobReportLine::Kind::Warning;
    }
    return JobReportLine::Kind::Info;
}

std::vector<JobReportLine> linesOf(const Plan& plan)
{
    std::vector<JobReportLine> lines;
    for (const PlanLine& line : plan.lines)
        lines.push_back({kindOf(line.kind), text(line.topic), text(line.text)});
    return lines;
}

// "F32 to BF16, F32 to fp8-channel, codes to values": what is computed; empty where every byte is copied.
QString arithmeticOf(const Plan& plan)
{
    std::set<std::pair<DType, DType>> casts;
    for (const PlannedFile& file : plan.files)
        for (const PlannedTensor& tensor : file.tensors)
            if (const DType own = plan.payload->tensor(tensor.source).dtype; own != tensor.dtype)
                casts.insert({own, tensor.dtype});
    QStringList words;
    for (const auto& [from, to] : casts)
        words.push_back(ConvertPlanStep::tr("%1 to %2", "dtypes").arg(text(std::string(nameOf(from))), text(std::string(nameOf(to)))));
    std::set<std::pair<DType, std::string>> schemes;
    for (const LossyTensor& one : plan.lossy)
        if (one.weight)
            schemes.insert({one.checkpoint->tensor(one.tensor).dtype, std::string(one.weight->layout().scheme().name)});
    for (const auto& [from, scheme] : schemes)
        words.push_back(ConvertPlanStep::tr("%1 to %2", "dtype, scheme").arg(text(std::string(nameOf(from))), text(scheme)));
    if (plan.request.open.dequantize)
        words.push_back(ConvertPlanStep::tr("codes to values"));
    return words.join(QStringLiteral(", "));
}

// "17 weights in fp8-channel": empty where none is quantized.
QString quantizedIn(const Plan& plan)
{
    std::map<std::string, std::size_t> weights;
    for (const LossyTensor& one : plan.lossy)
        if (one.weight)
            ++weights[std::string(one.weight->layout().scheme().name)];
    QStringList words;
    for (const auto& [scheme, count] : weights)
        words.push_back(ConvertPlanStep::tr("%1 in %2", "how many weights, scheme").arg(text(plural(count, "weight", "weights")), text(scheme)));
    return words.join(QStringLiteral(", "));
}

QString deviceText(const Plan& plan)
{
    const QString threads = plan.request.threads == 1 ? ConvertPlanStep::tr("CPU, 1 thread") : ConvertPlanStep::tr("CPU, %n threads", nullptr, static_cast<int>(plan.request.threads));
    const bool elsewhere = !quantizedIn(plan).isEmpty() && plan.request.device != "auto" && plan.request.device != "cpu";
    return elsewhere ? ConvertPlanStep::tr("%1 quantizes; %2 read and write", "device, threads").arg(text(plan.request.device), threads) : threads;
}

// "3 before, 2 after"
QString ranksText(const TargetLayout& before, const TargetLayout& after)
{
    const QString now = text(groupedText(before.ranks));
    return before.ranks == after.ranks ? ConvertPlanStep::tr("%1, as before").arg(now) : ConvertPlanStep::tr("%1 before, %2 after").arg(now, text(groupedText(after.ranks)));
}

// Wrapped lines have their room at once, not after further rounds of events, in which they would be cut off.
void settle(QWidget* changed)
{
    for (QWidget* at = changed; at != nullptr && qobject_cast<ConvertPlanStep*>(at) == nullptr; at = at->parentWidget())
        if (at->layout() != nullptr)
            at->layout()->activate();
}

// Source files that a tensor of the plan has pieces in.
std::size_t filesRead(const PlanPictureModel& picture)
{
    return static_cast<std::size_t>(std::count_if(picture.before.begin(), picture.before.end(), [](const PlanLane& lane) {
        return std::any_of(lane.stretches.begin(), lane.stretches.end(), [](const PlanStretch& stretch) { return stretch.carried; });
    }));
}

} // namespace

FactGrid::FactGrid(QWidget* parent) : QWidget(parent), m_grid(new QGridLayout(this))
{
    m_grid->setContentsMargins(0, 0, 0, 0);
    m_grid->setHorizontalSpacing(Theme::current().px(16));
    m_grid->setVerticalSpacing(Theme::current().px(5));
    m_grid->setColumnMinimumWidth(0, Theme::current().px(72));
    m_grid->setColumnStretch(1, 1);
}

void FactGrid::setFacts(const std::vector<std::pair<QString, QString>>& facts)
{
    while (m_rows.size() < facts.size()) {
        const int row = static_cast<int>(m_rows.size());
        auto* label = new TextLabel({}, TextStyle::Body, Token::Text3);
        auto* value = new TextLabel({}, TextStyle::Body, Token::Text);
        value->setWordWrap(true);
        m_grid->addWidget(label, row, 0, Qt::AlignTop);
        m_grid->addWidget(value, row, 1, Qt::AlignTop);
        m_rows.emplace_back(label, value);
    }
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const bool used = i < facts.size();
        m_rows[i].first->setVisible(used);
        m_rows[i].second->setVisible(used);
        if (used) {
            m_rows[i].first->setText(facts[i].first);
            m_rows[i].second->setText(facts[i].second);
        }
    }
}

ConvertPlanStep::ConvertPlanStep(QWidget* parent)
    : ConvertStep(tr("The plan"), tr("Nothing has been written yet."), parent), m_bannerPlace(new QVBoxLayout), m_rest(new QWidget)
{
    const Theme& theme = Theme::current();
    m_sentence = new TextLabel({}, TextStyle::Body, Token::Text2);
    m_sentence->setWordWrap(true);
    body()->addWidget(m_sentence);
    body()->addLayout(m_bannerPlace);
    auto* rows = new QVBoxLayout(m_rest);
    rows->setContentsMargins(0, 0, 0, 0);
    rows->setSpacing(theme.px(12));
    m_picture = new PlanPicture;
    rows->addWidget(m_picture);
    m_cards = new QBoxLayout(QBoxLayout::LeftToRight);
    m_cards->setSpacing(theme.px(12));
    const auto addCard = [cards = m_cards](const QString& title) {
        auto* card = new Card(title);
        cards->addWidget(card, 1);
        return card->body();
    };
    QVBoxLayout* reads = addCard(tr("Reads and writes"));
    reads->addWidget(m_reads = new FactGrid);
    QVBoxLayout* space = addCard(tr("Space and memory"));
    space->addWidget(m_space = new FactGrid);
    QVBoxLayout* time = addCard(tr("Time"));
    time->addWidget(m_time = new TextLabel({}, TextStyle::Figure, Token::Text));
    time->addWidget(m_times = new FactGrid);
    for (QVBoxLayout* card : {reads, space, time})
        card->addStretch();
    rows->addLayout(m_cards);
    rows->addWidget(m_precision = new ConvertPrecision);
    connect(m_precision, &ConvertPrecision::keepAsked, this, &ConvertPlanStep::keepThese);
    connect(m_precision, &ConvertPrecision::tensorChosen, this, &ConvertPlanStep::tensorChosen);
    auto* changes = new Card(tr("What changes, line by line"));
    auto* copy = new Link(tr("Copy as text"));
    connect(copy, &Link::clicked, this, [this] {
        QStringList lines;
        if (m_job && m_job->plan)
            for (const std::string& line : planText(*m_job->plan))
                lines.push_back(text(line));
        QGuiApplication::clipboard()->setText(lines.join(QLatin1Char('\n')));
    });
    changes->head()->addWidget(copy);
    changes->body()->addWidget(m_lines = new ChangeLines);
    rows->addWidget(changes);
    body()->addWidget(m_rest);
    body()->addStretch();
    m_rest->hide();
}

void ConvertPlanStep::resizeEvent(QResizeEvent* event)
{
    m_cards->setDirection(event->size().width() < Theme::current().px(kThreeCards) ? QBoxLayout::TopToBottom : QBoxLayout::LeftToRight);
    ConvertStep::resizeEvent(event);
}

void ConvertPlanStep::load(const JobDraft& draft, const StepFacts&)
{
    keep(draft);
}

QString ConvertPlanStep::summary(const JobDraft&, const StepFacts&) const
{
    if (!m_job)
        return {};
    if (!m_job->refusal.isEmpty())
        return tr("Cannot start yet");
    return tr("%1, %2", "files, size").arg(JobTexts::files(m_job->plan->files.size()), text(sizeText(m_job->plan->bytesToWrite)));
}

void ConvertPlanStep::showPlan(std::shared_ptr<const PlannedJob> job, std::optional<double> rate)
{
    m_job = std::move(job);
    m_rate = rate;
    showBanner();
    m_sentence->setText(sentence());
    m_rest->setVisible(m_rest->isVisible() || (m_job && m_job->plan));
    m_precision->setPlan(m_job ? m_job->plan : nullptr);
    if (!m_job || !m_job->plan)
        return;
    m_picture->setModel(m_job->picture);
    showFigures();
    showTime();
    m_lines->setLines(linesOf(*m_job->plan));
    for (QWidget* changed : {static_cast<QWidget*>(m_reads), static_cast<QWidget*>(m_space), static_cast<QWidget*>(m_times)})
        settle(changed);
}

QString ConvertPlanStep::sentence() const
{
    if (!m_job)
        return tr("Planning: looking for the place of every byte.");
    if (!m_job->plan)
        return {};
    const Plan& plan = *m_job->plan;
    const QString files = JobTexts::files(plan.files.size());
    const QString tensors = text(groupedText(plan.tensorCount()));
    if (plan.layoutBefore && plan.layoutAfter)
        return tr("%1: %2 with %3 tensors%4.", "layouts, files, what is done to values")
            .arg(changeText(outlookOf(plan)), files, tensors, arithmeticOf(plan).isEmpty() ? tr(", bit-exact") : QString());
    if (const QString weights = quantizedIn(plan); !weights.isEmpty())
        return tr("%1 with %2 tensors: %3.", "files, how many, what is quantized").arg(files, tensors, weights);
    if (plan.request.open.dequantize)
        return tr("%1 with %2 tensors; codes and scales become values.").arg(files, tensors);
    return arithmeticOf(plan).isEmpty() ? tr("%1 with %2 tensors, bit-exact: every byte is copied.").arg(files, tensors)
                                   : tr("%1 with %2 tensors; floating-point values are rounded to the nearest.").arg(files, tensors);
}

void ConvertPlanStep::keepThese(const QString& pattern)
{
    JobDraft next = draft();
    next.quantizeExclude = next.quantizeExclude.isEmpty() ? pattern : QStringLiteral("%1|%2").arg(next.quantizeExclude, pattern);
    change(next);
}

void ConvertPlanStep::showBanner()
{
    delete m_banner;
    m_banner = nullptr;
    if (!m_job || m_job->refusal.isEmpty())
        return;
    m_banner = new Banner(Banner::Kind::Error, tr("This cannot start."), m_job->refusal);
    if (m_job->targetExists)
        m_banner->addLink(tr("Replace it"), [this] {
            JobDraft next = draft();
            next.overwrite = true;
            change(next);
        });
    m_bannerPlace->addWidget(m_banner);
}

void ConvertPlanStep::showFigures()
{
    const Plan& plan = *m_job->plan;
    const QString casts = arithmeticOf(plan);
    std::vector<std::pair<QString, QString>> reads;
    if (plan.layoutBefore && plan.layoutAfter)
        reads.emplace_back(tr("Ranks"), ranksText(*plan.layoutBefore, *plan.layoutAfter));
    reads.emplace_back(tr("Reads"), tr("%1 from %2", "size, files").arg(text(sizeText(plan.bytesToRead)), JobTexts::files(m_job->picture ? filesRead(*m_job->picture) : 0)));
    reads.emplace_back(tr("Writes"), tr("%1, %2", "size, files").arg(text(sizeText(plan.bytesToWrite)), JobTexts::files(plan.files.size())));
    reads.emplace_back(QString(), tr("%1 B").arg(text(groupedText(plan.bytesToWrite))));
    reads.emplace_back(tr("Arithmetic"), casts.isEmpty() ? tr("none: every byte is copied") : casts);
    reads.emplace_back(tr("Check"), plan.request.verify ? tr("read back and compared") : tr("sizes and structure only"));
    m_reads->setFacts(reads);
    const std::uint64_t after = m_job->freeBytes ? *m_job->freeBytes - std::min(*m_job->freeBytes, plan.bytesToWrite) : 0;
    m_space->setFacts({{tr("Free now"), m_job->freeBytes ? tr("%1 on %2", "size, disk").arg(text(sizeText(*m_job->freeBytes)), m_job->disk) : tr("not known")},
                       {tr("Free after"), m_job->freeBytes ? text(sizeText(after)) : tr("not known")},
                       {tr("Memory"), tr("at most %1").arg(text(sizeText(plan.request.memoryLimit)))},
                       {QString(), tr("%1 of buffers").arg(text(sizeText(plan.peakBufferBytes)))},
                       {tr("Device"), deviceText(plan)}});
}

void ConvertPlanStep::showTime()
{
    const Plan& plan = *m_job->plan;
    if (!m_rate) {
        m_time->setText(tr("not known yet"));
        m_times->setFacts({{tr("Measured"), tr("by no job yet: one of %1 or more to this disk is needed").arg(bytesText(JobQueue::kWorthMeasuring))}});
        return;
    }
    const auto words = [](double seconds) { return text(durationText(roundedTimeLeft(std::max(1.0, seconds)))); };
    m_time->setText(tr("about %1").arg(words(static_cast<double>(plan.bytesToWrite) / *m_rate)));
    m_times->setFacts({{tr("Rate"), tr("%1, with all steps").arg(JobTexts::rate(*m_rate))}, {tr("Measured"), tr("by the last job on this disk")}});
}

} // namespace shardlens::ui
