#include "ui/models/pipeline_plan.h"

#include "core/base/number_list.h"
#include "core/base/shell_text.h"
#include "ui/models/atlas_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostUndone = 200;
constexpr std::uint32_t kUsualStages = 4;
constexpr double kSlowSteps = 3e8; // of the partitioner: more take longer than what shows may stay

// What a worker cuts, and what it answers.
struct CutWork {
    PipelineQuestion question;
    std::vector<std::uint64_t> weights;
    std::uint64_t layers = 0;
};

Result<PipelineLayers> layersOf(const Checkpoint& checkpoint, const PipelineQuestion& question)
{
    LayerOptions options;
    if (!question.before.isEmpty()) {
        SHARDLENS_ASSIGN(options.before, Regex::compile(question.before.toStdString()));
    }
    if (!question.behind.isEmpty()) {
        SHARDLENS_ASSIGN(options.behind, Regex::compile(question.behind.toStdString()));
    }
    return pipelineLayersOf(checkpoint, options);
}

struct CutAnswer {
    std::string method;
    Partition partition;
    std::vector<std::uint64_t> weights;
    std::vector<std::uint64_t> matches;
    std::vector<std::string> names;
};

QString sentenceOf(const Error& error)
{
    QString out = QString::fromStdString(error.sentence());
    out[0] = out[0].toUpper();
    return out;
}

Result<CutAnswer> cutAsDeepSpeed(CutWork work, const std::stop_token& stop)
{
    CutAnswer out;
    if (work.weights.empty() && work.layers == 0) {
        SHARDLENS_ASSIGN(work.weights, wholeNumbersOf(work.question.weights.toStdString(), "weight"));
    }
    SHARDLENS_ASSIGN(const PartitionMethod method, parsePartitionMethod(work.question.method.toStdString()));
    if (method.kind == PartitionMethod::Kind::Type && !work.question.names.trimmed().isEmpty()) {
        SHARDLENS_ASSIGN(out.names, wordsOf(work.question.names.toStdString(), "class name"));
    }
    SHARDLENS_ASSIGN(
        out.partition,
        partitionLayers({work.weights.size(), work.question.stages, method, work.question.rules, work.weights, out.names}, stop));
    if (out.partition.countsMatches)
        for (const std::string& name : out.names)
            out.matches.push_back(method.type->search(name) ? 1 : 0);
    out.method = nameOf(method);
    out.weights = std::move(work.weights);
    return out;
}

} // namespace

bool PipelineQuestion::operator==(const PipelineQuestion& other) const
{
    return stages == other.stages && method == other.method && rules == other.rules && axes.dp == other.axes.dp &&
           axes.tp == other.axes.tp && names == other.names && weights == other.weights && before == other.before && behind == other.behind;
}

void PipelinePlan::settle(State state, const QString& message)
{
    m_state = state;
    m_message = message;
    emit changed();
}

void PipelinePlan::open(const CheckpointPtr& checkpoint)
{
    m_checkpoint = checkpoint;
    m_layers.reset();
    m_history.clear();
    settle(State::Reading);
    read(true);
}

void PipelinePlan::read(bool isFirst)
{
    using Read = std::shared_ptr<Result<PipelineLayers>>;
    m_run.start([checkpoint = m_checkpoint, question = m_question](
                    const std::stop_token&) -> Read { return std::make_shared<Result<PipelineLayers>>(layersOf(*checkpoint, question)); },
                [this, isFirst](const Read& layers) {
                    m_isRead = layers->ok();
                    if (!*layers) {
                        const bool hasNone = isFirst && layers->error().code() == ErrorCode::Refused;
                        m_noLayers = hasNone ? tr("The names in this checkpoint do not number layers, as model.layers.7 does. Type what "
                                                  "the layers weigh to see where DeepSpeed cuts.")
                                             : sentenceOf(layers->error());
                        settle(isFirst ? State::NoLayers : State::Refused, m_noLayers);
                        return;
                    }
                    m_layers = layers->take();
                    if (isFirst)
                        adoptRun();
                    cut();
                });
}

// The run's own stages and sizes, or a usual number.
void PipelinePlan::adoptRun()
{
    const auto layers = static_cast<std::uint32_t>(m_layers->layers.size());
    m_question.stages = m_layers->stages > 0 ? m_layers->stages : std::min(kUsualStages, layers);
    m_question.axes = m_layers->axes.value_or(StageAxes{});
}

void PipelinePlan::ask(const PipelineQuestion& question)
{
    if (question == m_question)
        return;
    PipelineQuestion sameCut = question;
    sameCut.axes = m_question.axes;
    const bool onlyAxes = sameCut == m_question && m_state == State::Ready;
    const bool samePlaces = question.before == m_question.before && question.behind == m_question.behind;
    m_question = question;
    if (m_layers && (!samePlaces || !m_isRead)) {
        read(false);
    } else if (!onlyAxes) {
        cut();
    } else {
        m_preview.axes = question.axes;
        emit changed();
    }
}

void PipelinePlan::cut()
{
    m_history.clear();
    m_moving = 0;
    if (!m_checkpoint || (!m_layers && m_question.weights.trimmed().isEmpty())) {
        m_run.cancel();
        settle(m_checkpoint ? State::NoLayers : State::Reading, m_noLayers);
        return;
    }
    CutWork work{m_question, m_layers ? weightsOf(*m_layers) : std::vector<std::uint64_t>{}, m_layers ? m_layers->layers.size() : 0};
    const auto layers = static_cast<double>(work.layers);
    if (layers * layers * static_cast<double>(m_question.stages) > kSlowSteps)
        settle(State::Reading, tr("Cutting %1 layers into %2 stages…").arg(numberText(work.layers), numberText(m_question.stages)));
    m_run.start(
        [work = std::move(work)](const std::stop_token& stop) { return std::make_shared<Result<CutAnswer>>(cutAsDeepSpeed(work, stop)); },
        [this](const std::shared_ptr<Result<CutAnswer>>& answer) {
            if (!*answer) {
                settle(State::Refused, sentenceOf(answer->error()));
                return;
            }
            CutAnswer cutting = answer->take();
            m_original = cutting.partition;
            m_matches = std::move(cutting.matches);
            m_names = std::move(cutting.names);
            m_preview = {std::move(cutting.method), std::move(cutting.partition), std::move(cutting.weights), m_layers, m_question.axes};
            settle(State::Ready);
        });
}

std::vector<std::uint64_t> PipelinePlan::balanced() const
{
    return m_preview.partition.countsMatches ? m_matches : m_preview.weights;
}

QString PipelinePlan::nameOfLayer(std::size_t layer) const
{
    if (layer < m_names.size())
        return printableText(m_names[layer]);
    return m_layers && layer < m_layers->layers.size() ? printableText(m_layers->layers[layer].name) : QString();
}

std::vector<double> PipelinePlan::widths() const
{
    const std::vector<std::uint64_t> weights = balanced();
    std::vector<double> out(weights.begin(), weights.end());
    if (std::all_of(out.begin(), out.end(), [](double one) { return one == 0; }))
        out.assign(out.size(), 1);
    return out;
}

void PipelinePlan::adopt(std::vector<std::uint32_t> parts)
{
    m_preview.partition.stages = stagesOf(parts, balanced());
    m_preview.partition.parts = std::move(parts);
    emit changed();
}

bool PipelinePlan::moveBoundary(std::size_t boundary, std::uint32_t layer)
{
    std::vector<std::uint32_t> parts = m_preview.partition.parts;
    if (m_state != State::Ready || boundary == 0 || boundary + 1 >= parts.size())
        return false;
    const std::uint32_t to = std::clamp(layer, parts[boundary - 1], parts[boundary + 1]);
    if (to == parts[boundary])
        return false;
    if (m_moving != boundary) {
        m_history.push_back(parts);
        if (m_history.size() > kMostUndone)
            m_history.erase(m_history.begin());
    }
    m_moving = boundary;
    parts[boundary] = to;
    adopt(std::move(parts));
    return true;
}

void PipelinePlan::reset()
{
    if (!isMoved())
        return;
    m_history.push_back(m_preview.partition.parts);
    m_moving = 0;
    adopt(m_original.parts);
}

bool PipelinePlan::undo()
{
    if (m_state != State::Ready || m_history.empty())
        return false;
    std::vector<std::uint32_t> parts = std::move(m_history.back());
    m_history.pop_back();
    m_moving = 0;
    adopt(std::move(parts));
    return true;
}

QString PipelinePlan::commandLine(const QString& path) const
{
    std::string out = "shardlens partition";
    const auto option = [&out](const char* name, const std::string& value) {
        out += fmt::format(" {}{}{}", name, value.starts_with('-') ? '=' : ' ', shellQuoted(value)); // a dash would start the next option
    };
    if (m_layers) {
        out += fmt::format(" {}", pathArgument(path.toStdString()));
        if (!m_question.before.isEmpty())
            option("--before", m_question.before.toStdString());
        if (!m_question.behind.isEmpty())
            option("--behind", m_question.behind.toStdString());
    } else {
        option("--weights", m_question.weights.toStdString());
    }
    if (isMoved()) {
        std::vector<std::string> parts;
        for (const std::uint32_t part : m_preview.partition.parts)
            parts.push_back(std::to_string(part));
        option("--parts", listText(parts));
    } else {
        option("--stages", std::to_string(m_question.stages));
        option("--method", m_question.method.toStdString());
        if (!m_names.empty())
            option("--names", listText(m_names));
        if (!m_question.rules.balancesExactly)
            option("--deepspeed-version", m_question.rules.spreadsRest ? "0.12.4" : "0.10.0");
    }
    if (m_question.axes.dp > 1)
        option("--dp", std::to_string(m_question.axes.dp));
    if (m_question.axes.tp > 1)
        option("--tp", std::to_string(m_question.axes.tp));
    return QString::fromStdString(out);
}

} // namespace shardlens::ui
