#include "ui/pages/convert_facts.h"

#include "core/base/text.h"
#include "core/format/format.h"
#include "core/layout/rule_library.h"

#include <new>
#include <utility>

namespace shardlens::ui {
namespace {

// A checkpoint that was opened again, or why not. A value from a worker.
struct Reopened {
    CheckpointPtr checkpoint;
    QString problem; // a sentence
};

Reopened openBy(const Checkpoint& asOpened, OpenOptions options, const std::string& rules, const std::stop_token& stop)
{
    const auto readable = findRules(rules);
    if (!readable)
        return {nullptr, QString::fromStdString(readable.error().sentence())}; // without the source, which has no part in it
    JobContext job(stop);
    options.rules = rules;
    try {
        auto opened = openCheckpoint(asOpened.path(), options, job);
        if (opened && (*opened)->subtitle() != asOpened.subtitle())
            return {nullptr, ConvertFacts::tr("The folder's newest checkpoint is %1 by now, and %2 is open: open it again.")
                                 .arg(QString::fromStdString(printable((*opened)->subtitle())), QString::fromStdString(printable(asOpened.subtitle())))};
        return opened ? Reopened{opened.take(), {}} : Reopened{nullptr, QString::fromStdString(opened.error().sentence())};
    } catch (const std::bad_alloc&) {
        return {nullptr, ConvertFacts::tr("There is not enough memory to open it again.")};
    }
}

} // namespace

void ConvertFacts::lookAt(const CheckpointPtr& checkpoint, const OpenOptions& options)
{
    m_facts = {};
    for (Runner* runner : {&m_open, &m_source, &m_outlook, &m_run, &m_sourceStrategyRun})
        runner->cancel();
    m_asOpened = checkpoint;
    m_openOptions = options;
    lookAtStrategy(std::exchange(m_targetStrategy, std::nullopt)); // it may have changed as well
    if (!checkpoint)
        return;
    readSourceStrategy();
    adopt(checkpoint);
    if (m_rules)
        open();
}

void ConvertFacts::readSourceStrategy()
{
    const QString path = strategyPathOf(*m_asOpened);
    if (path.isEmpty())
        return;
    m_sourceStrategyRun.start([path](const std::stop_token&) { return readStrategyAt(path); },
                              [this](StrategyReading reading) {
                                  m_facts.sourceStrategy = std::move(reading);
                                  emit known();
                              });
}

void ConvertFacts::lookAtStrategy(const std::optional<std::string>& path)
{
    if (path == m_targetStrategy)
        return;
    m_targetStrategy = path;
    m_targetStrategyRun.cancel();
    m_facts.targetStrategy = {};
    if (!path)
        return;
    m_targetStrategyRun.start([path = QString::fromStdString(*path)](const std::stop_token&) { return readStrategyAt(path); },
                              [this](StrategyReading reading) {
                                  m_facts.targetStrategy = std::move(reading);
                                  emit known();
                              });
}

void ConvertFacts::readBy(const std::optional<std::string>& rules)
{
    if (rules == m_rules)
        return;
    m_rules = rules;
    m_open.cancel();
    m_facts.isReading = false;
    m_facts.rulesProblem.clear();
    if (!m_asOpened)
        return;
    if (m_rules)
        open();
    else
        adopt(m_asOpened);
}

void ConvertFacts::open()
{
    m_facts.isReading = true;
    m_run.cancel();
    m_facts.run.reset();
    m_open.start([asOpened = m_asOpened, options = m_openOptions, rules = *m_rules](std::stop_token stop) { return openBy(*asOpened, options, rules, stop); },
                 [this](const Reopened& reopened) {
                     m_facts.isReading = false;
                     if (reopened.checkpoint)
                         adopt(reopened.checkpoint);
                     else
                         refuse(reopened.problem);
                     emit known();
                 });
}

void ConvertFacts::refuse(const QString& why)
{
    m_facts.rulesProblem = why;
    auto run = std::make_shared<Outlook>();
    run->refusal = why;
    m_facts.run = std::move(run);
}

void ConvertFacts::adopt(const CheckpointPtr& checkpoint)
{
    m_facts.checkpoint = checkpoint;
    m_facts.source.reset();
    m_facts.outlook.reset();
    m_facts.run.reset();
    OpenOptions options = m_openOptions;
    options.rules = checkpoint == m_asOpened ? m_openOptions.rules : m_rules;
    m_source.start([checkpoint](std::stop_token stop) { return std::make_shared<const SourceFacts>(factsOf(*checkpoint, stop)); },
                   [this](std::shared_ptr<const SourceFacts> facts) {
                       m_facts.source = std::move(facts);
                       emit known();
                   });
    m_outlook.start(
        [checkpoint, options](std::stop_token stop) { return std::make_shared<const SourceOutlook>(outlookOf(checkpoint, options, stop)); },
        [this](std::shared_ptr<const SourceOutlook> outlook) {
            m_facts.outlook = std::move(outlook);
            lookAtRun(m_options, m_filesAsked);
            emit known();
        });
}

void ConvertFacts::lookAtRun(const TargetOptions& options, const std::string& files)
{
    m_options = options;
    m_filesAsked = files;
    if (m_facts.isReading || !m_facts.rulesProblem.isEmpty())
        return; // the run of another reading says nothing
    m_run.cancel();
    m_facts.run.reset();
    if (!m_facts.outlook)
        return;
    const bool isPlain = !options.dp && !options.zeroStage && !options.tp && !options.pp && !options.ep && !options.keepObjects;
    const bool isHopeless = !m_facts.outlook->run.refusal.isEmpty() && !isModelParallel(*m_facts.checkpoint);
    if (files.empty() && (isPlain || isHopeless)) {
        m_facts.run = OutlookPtr(m_facts.outlook, &m_facts.outlook->run);
        return;
    }
    const CheckpointPtr checkpoint = m_facts.checkpoint;
    const auto outlook = [checkpoint, options, files](const std::stop_token& stop) {
        return files.empty() ? runOutlook(checkpoint, options, stop) : filesOutlook(checkpoint, files, options, stop);
    };
    m_run.start([outlook](std::stop_token stop) { return std::make_shared<const Outlook>(outlook(stop)); },
                [this](OutlookPtr run) {
                    m_facts.run = std::move(run);
                    emit known();
                });
}

} // namespace shardlens::ui
