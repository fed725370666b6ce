#include "ui/pages/convert_facts.h"

namespace shardlens::ui {

void ConvertFacts::lookAt(const CheckpointPtr& checkpoint)
{
    m_facts = {};
    for (Runner* runner : {&m_source, &m_outlook, &m_run})
        runner->cancel();
    m_facts.checkpoint = checkpoint;
    if (!checkpoint)
        return;
    m_source.start([checkpoint](std::stop_token stop) { return std::make_shared<const SourceFacts>(factsOf(*checkpoint, stop)); },
                   [this](std::shared_ptr<const SourceFacts> facts) {
                       m_facts.source = std::move(facts);
                       emit known();
                   });
    m_outlook.start([checkpoint](std::stop_token stop) { return std::make_shared<const SourceOutlook>(outlookOf(checkpoint, stop)); },
                    [this](std::shared_ptr<const SourceOutlook> outlook) {
                        m_facts.outlook = std::move(outlook);
                        lookAtRun(m_options);
                        emit known();
                    });
}

void ConvertFacts::lookAtRun(const TargetOptions& options)
{
    m_options = options;
    m_run.cancel();
    m_facts.run.reset();
    if (!m_facts.outlook)
        return;
    if (!m_facts.outlook->run.refusal.isEmpty() || (!options.dp && !options.zeroStage && !options.tp && !options.pp && !options.ep && !options.keepObjects)) {
        m_facts.run = OutlookPtr(m_facts.outlook, &m_facts.outlook->run);
        return;
    }
    const CheckpointPtr checkpoint = m_facts.checkpoint;
    m_run.start([checkpoint, options](std::stop_token stop) { return std::make_shared<const Outlook>(runOutlook(checkpoint, options, stop)); },
                [this](OutlookPtr run) {
                    m_facts.run = std::move(run);
                    emit known();
                });
}

} // namespace shardlens::ui
