#pragma once

#include "core/convert/plan.h"
#include "core/format/target.h"
#include "core/model/checkpoint.h"

#include <QString>
#include <QStringList>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

namespace shardlens::ui {

// What taking a source as a whole would give, known before a target is chosen.
struct Outlook {
    QString refusal; // a sentence; empty: it can be written
    std::uint64_t bytes = 0;
    std::size_t files = 0;
    std::optional<TargetLayout> before; // of a run
    std::optional<TargetLayout> after;
    QString degreesBefore; // as degreesText() says it
    QString degreesAfter;
    QStringList dropped; // topics of what is not carried over: "Optimizer state"
    QString leftOut; // classes of the objects that are left out unless they are kept; empty: none
};
using OutlookPtr = std::shared_ptr<const Outlook>;

// The source's own format cuts it for other tensor and pipeline ranks: it was written by such ranks, or is made of the files that they write.
[[nodiscard]] bool isModelParallel(const Checkpoint& checkpoint);
// "pp 2, dp 1, tp 4": the sizes of the source's axes, where it has tensor or pipeline ranks and says how many; with `request`, of what that makes of it.
[[nodiscard]] QString degreesText(const Topology& source, const ConvertRequest& request = {});
// "DeepSpeed ZeRO-2 on 4 ranks (pp 2, dp 1, tp 2)"; without degrees no brackets.
[[nodiscard]] QString layoutText(const TargetLayout& layout, const QString& degrees);
// "DeepSpeed ZeRO-2 on 3 ranks becomes DeepSpeed ZeRO-2 on 6 ranks"; no run: empty.
[[nodiscard]] QString changeText(const Outlook& run);
[[nodiscard]] Outlook outlookOf(const Plan& plan);
// Of a run that the engine resumes: DeepSpeed, or the source's own format where that can be cut anew (isLayoutFormat). Reads the headers of the source's files again: for a worker.
[[nodiscard]] Outlook runOutlook(const CheckpointPtr& source, const TargetOptions& options, const std::stop_token& stop);
// Of the files of another format that takes the source as a whole: MindSpore's, or sharded ones. Likewise for a worker.
[[nodiscard]] Outlook filesOutlook(const CheckpointPtr& source, const std::string& format, const TargetOptions& options, const std::stop_token& stop);
// Of a torch file with the source's whole tree; nothing where the source has none. Sizes and layouts are not in it.
[[nodiscard]] std::optional<Outlook> treeOutlook(const CheckpointPtr& source, const std::stop_token& stop);

// Both with nothing chosen but how the source was opened: what the source itself allows.
struct SourceOutlook {
    Outlook run;
    std::optional<Outlook> tree;
};
[[nodiscard]] SourceOutlook outlookOf(const CheckpointPtr& source, const OpenOptions& open, const std::stop_token& stop);

} // namespace shardlens::ui
