#include "ui/pages/convert_goals.h"

#include <QCoreApplication>

#include <algorithm>
#include <array>

namespace shardlens::ui {
namespace {

using Kind = ConvertGoal::Kind;

constexpr std::array<ConvertGoal, 9> kConvertGoals{{
    {.format = "safetensors",
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "One model for inference: safetensors"),
     .sentence = QT_TRANSLATE_NOOP("ConvertGoalStep", "Tensors only, in files with an index as Hugging Face reads them, or in one file, which hold no code: as they are, cast, or quantized (INT8, INT4, FP8, FP4, NF4), as Options says."),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "Safetensors"),
     .ending = ".safetensors",
     .hasShards = true},
    {.format = "torch",
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "One model for inference: torch files"),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "Torch files"),
     .ending = ".pt",
     .hasShards = true},
    {.format = "dcp",
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "For torch.distributed: PyTorch DCP"),
     .sentence = QT_TRANSLATE_NOOP("ConvertGoalStep", "A folder that torch.distributed.checkpoint loads onto any number of ranks, in files of as many writers as you say. "
                                                         "Its metadata are a pickle of torch's own classes."),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "PyTorch DCP"),
     .hasWriters = true},
    {.format = "deepspeed",
     .kind = Kind::Run,
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "Continue on other ranks: DeepSpeed"),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "Continue on other ranks")},
    {.format = "sdloader",
     .kind = Kind::Layout,
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "Other parallel layout: tensor-parallel files"),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "Continue on other ranks")},
    {.format = "megatron",
     .kind = Kind::Layout,
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "Other parallel layout: Megatron-LM"),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "Continue on other ranks")},
    {.format = "torch-dist",
     .kind = Kind::Sharded,
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "For megatron-core: torch_dist"),
     .sentence = QT_TRANSLATE_NOOP("ConvertGoalStep", "A distributed checkpoint that megatron-core loads at any parallel size, with the optimizer states that the source has, in files of as many writers as you say."),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "Megatron torch_dist"),
     .hasWriters = true,
     .namesOf = "megatron"},
    {.format = "colossalai",
     .kind = Kind::Sharded,
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "For ColossalAI: shards with their places"),
     .sentence = QT_TRANSLATE_NOOP("ConvertGoalStep", "A distributed checkpoint of ColossalAI's booster, cut for tensor and pipeline ranks, with the optimizer states that the source has."),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "ColossalAI"),
     .hasStages = true},
    {.format = "mindspore",
     .kind = Kind::Ranks,
     .title = QT_TRANSLATE_NOOP("ConvertGoalStep", "MindSpore ranks"),
     .summary = QT_TRANSLATE_NOOP("ConvertGoalStep", "MindSpore ranks")},
}};

QString goalText(const char* source)
{
    return *source == '\0' ? QString() : QCoreApplication::translate("ConvertGoalStep", source);
}

} // namespace

QString ConvertGoal::titleText() const
{
    return goalText(title);
}

QString ConvertGoal::sentenceText() const
{
    return goalText(sentence);
}

QString ConvertGoal::summaryText() const
{
    return goalText(summary);
}

std::span<const ConvertGoal> convertGoals()
{
    return kConvertGoals;
}

const ConvertGoal* goalOf(std::string_view format)
{
    const auto found = std::find_if(kConvertGoals.begin(), kConvertGoals.end(), [format](const ConvertGoal& goal) { return goal.format == format; });
    return found == kConvertGoals.end() ? nullptr : &*found;
}

} // namespace shardlens::ui
