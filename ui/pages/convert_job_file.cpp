#include "ui/pages/convert_job_file.h"

#include "core/base/text.h"
#include "core/format/format.h"
#include "core/io/byte_source.h"
#include "ui/models/device_map.h"
#include "ui/pages/convert_goals.h"
#include "ui/pages/convert_outlook.h"

#include <QFileInfo>
#include <QSaveFile>

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kMostBytesRead = 16u << 20; // of a document

std::string formatOf(const ConvertRequest& request, const Checkpoint& source)
{
    if (request.to)
        return *request.to;
    const QString target = QString::fromStdString(request.target);
    if (!namesFile(target) || (target.endsWith(QLatin1String(".ckpt")) && source.formatId() == "mindspore"))
        return source.formatId();
    return target.endsWith(endingOf("safetensors")) || target.endsWith(QLatin1String(".sft")) ? "safetensors" : "torch";
}

// The request with what its goal makes of defaults: as requestOf() gives it.
ConvertRequest spelledOut(ConvertRequest request, const JobDraft& draft)
{
    request.source = draft.source;
    request.to = draft.format;
    const bool isWhole = takesAll(draft) || (makesMindSpore(draft) && draft.sourceIsMindSpore);
    request.open.sourceStrategy = draft.open.sourceStrategy; // the same, perhaps under another name
    if (isWhole && request.select == Select::All)
        request.select.reset();
    else if (!isWhole)
        request.select = chosen(request);
    if (makesMindSpore(draft) && namesFile(draft.target) && request.outputFormat == containerOf(draft))
        request.outputFormat.reset();
    if (hasWriters(draft) && request.dp == 1u)
        request.dp.reset();
    if (request.maxShardBytes == kDefaultShardBytes && !makesOneFile(draft) && !makesRun(draft) && !hasWriters(draft))
        request.maxShardBytes.reset();
    return request;
}

const char* lostOf(const QuantizeRequest& wanted, const QuantizeRequest& shown)
{
    if (wanted.include != shown.include)
        return "quantize_include";
    if (wanted.tensorTypes != shown.tensorTypes)
        return "tensor_types";
    if (wanted.groups != shown.groups)
        return "groups";
    if (wanted.bits != shown.bits)
        return "quantize_bits";
    if (wanted.mlpExtraGrouping != shown.mlpExtraGrouping)
        return "mlp_extra_grouping";
    if (wanted.keepNonFinite != shown.keepNonFinite)
        return "non_finite";
    return wanted.scheme != shown.scheme ? "quantize" : "quantize_exclude";
}

// The first member that the page cannot show for this goal.
std::string lost(const ConvertRequest& wanted, const ConvertRequest& shown)
{
    if (wanted.select != shown.select)
        return "select";
    if (wanted.dtype != shown.dtype)
        return "dtype";
    if (wanted.include != shown.include)
        return "include";
    if (wanted.exclude != shown.exclude)
        return "exclude";
    if (wanted.maxShardBytes != shown.maxShardBytes)
        return "max_shard_size";
    if (wanted.dp != shown.dp)
        return "dp";
    if (wanted.zeroStage != shown.zeroStage)
        return "zero_stage";
    for (const auto& [name, asked, can] : {std::tuple{"tp", wanted.tp, shown.tp}, {"pp", wanted.pp, shown.pp}, {"ep", wanted.ep, shown.ep},
                                           {"rank", wanted.rank, shown.rank}})
        if (asked != can)
            return name;
    for (const auto& [name, asked, can] : {std::tuple{"strategy", wanted.strategy, shown.strategy}, {"prefix", wanted.prefix, shown.prefix},
                                           {"output_format", wanted.outputFormat, shown.outputFormat}})
        if (asked != can)
            return name;
    if (wanted.open.rankFiles != shown.open.rankFiles)
        return "rank_files";
    if (wanted.open.rules != shown.open.rules || wanted.open.moduleKey != shown.open.moduleKey)
        return wanted.open.rules != shown.open.rules ? "rules" : "module_key";
    if (wanted.open.dequantize != shown.open.dequantize)
        return "dequantize";
    if (wanted.quantize != shown.quantize)
        return lostOf(wanted.quantize, shown.quantize);
    return wanted.keepObjects != shown.keepObjects ? "keep_objects" : "target";
}

bool isSamePath(const std::string& a, const QString& b)
{
    const QFileInfo one(QString::fromStdString(a));
    const QFileInfo other(b);
    return one.exists() ? one.canonicalFilePath() == other.canonicalFilePath() : one.absoluteFilePath() == other.absoluteFilePath();
}

bool isOfFormats(const Checkpoint& source, const std::string& a, const std::string& b)
{
    return source.formatId() == a || source.formatId() == b;
}

// What the goal wants of the source.
Status checkGoal(const ConvertRequest& request, const std::string& goal, const Checkpoint& source)
{
    if (goalOf(goal) == nullptr)
        return Error{ErrorCode::Refused, fmt::format("no goal of this page makes {}", printable(goal))};
    if (isLayoutFormat(goal) && goal != source.formatId())
        return Error{ErrorCode::Refused, fmt::format("it makes {}, which needs a source of that format", goal)};
    const Format* format = formatById(source.formatId());
    if (request.open.rules && (format == nullptr || !format->hasRules))
        return Error{ErrorCode::Refused, "its member rules is for checkpoints of tensor-parallel ranks"};
    if (const char* names = goalOf(goal)->namesOf; names != nullptr && !isOfFormats(source, goal, names))
        return Error{ErrorCode::Refused, fmt::format("it makes {}, which needs a source of that format, or of {}", goal, names)};
    if (goal == "deepspeed" && (request.tp || request.pp) && !isModelParallel(source))
        return Error{ErrorCode::Refused, fmt::format("its member {} needs a source of tensor or pipeline ranks", request.tp ? "tp" : "pp")};
    return {};
}

// The tag is the subtitle; of MindSpore's saves it is "10_5" where that says epoch 10, step 5.
bool isOfTag(const Checkpoint& source, const std::string& tag)
{
    const std::size_t line = tag.find('_');
    const bool isSave = source.formatId() == "mindspore" && line != std::string::npos;
    return tag == source.subtitle() || (isSave && fmt::format("epoch {}, step {}", tag.substr(0, line), tag.substr(line + 1)) == source.subtitle());
}

// How the source is open is chosen where it is opened.
Status checkOpen(const ConvertRequest& request, const JobDraft& now, const Checkpoint& source)
{
    const QString inUse = strategyPathOf(source);
    if (request.open.sourceStrategy && inUse.isEmpty())
        return Error{ErrorCode::Refused, fmt::format("its source is read by the strategy {}, and the one that is open here by none: choose it on the overview first",
                                                     printable(*request.open.sourceStrategy))};
    if (request.open.sourceStrategy && !isSamePath(*request.open.sourceStrategy, inUse))
        return Error{ErrorCode::Refused, fmt::format("its source is read by the strategy {}, and the one that is open here by {}: choose it on the overview first",
                                                     printable(*request.open.sourceStrategy), printable(inUse.toStdString()))};
    if (request.open.rankFiles != now.open.rankFiles)
        return Error{ErrorCode::Refused, "its member rank_files names files that are not the ones that are open here; `shardlens run` takes them"};
    return {};
}

QString patternOf(const std::vector<std::string>& patterns)
{
    return patterns.empty() ? QString() : QString::fromStdString(patterns.front());
}

void takeMindSpore(const ConvertRequest& request, JobDraft& draft)
{
    draft.strategy = request.strategy;
    draft.prefix = request.prefix;
    draft.rank = request.rank;
    draft.container = request.outputFormat;
    if (namesFile(draft.target)) // its ending says it
        draft.container = draft.target.endsWith(QLatin1String(".ckpt")) ? "ckpt" : "safetensors";
}

} // namespace

Result<ConvertRequest> readJobFile(const QString& path)
{
    SHARDLENS_ASSIGN(const auto file, FileSource::open(path.toStdString()));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*file, 0, file->size(), kMostBytesRead));
    return requestFromJson(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

QString writeJobFile(const QString& path, const ConvertRequest& request)
{
    QSaveFile file(path);
    const QByteArray document = QByteArray::fromStdString(requestToJson(request));
    const bool written = file.open(QIODevice::WriteOnly) && file.write(document) == document.size() && file.commit();
    return written ? QString() : file.errorString();
}

Result<JobDraft> draftOf(const ConvertRequest& request, const JobDraft& now, const Checkpoint& source)
{
    JobDraft draft;
    draft.source = now.source;
    draft.sourceIsTree = now.sourceIsTree;
    draft.format = formatOf(request, source);
    SHARDLENS_TRY(checkGoal(request, draft.format, source));
    SHARDLENS_TRY(checkOpen(request, now, source));
    draft.open = now.open;
    draft.sourceIsMindSpore = now.sourceIsMindSpore;
    draft.sourceContainer = now.sourceContainer;
    if (request.open.tag && !isOfTag(source, *request.open.tag))
        return Error{ErrorCode::Refused,
                     fmt::format("it is about the tag {}, which is not the one that is open here", printable(*request.open.tag))};
    for (const auto& [name, patterns] : {std::pair{"include", &request.include}, std::pair{"exclude", &request.exclude}, std::pair{"quantize_exclude", &request.quantize.exclude}})
        if (patterns->size() > 1)
            return Error{ErrorCode::Refused,
                         fmt::format("{} holds {} patterns, and this page has a field for one; `shardlens run` takes them all", name,
                                     patterns->size())};
    draft.target = QString::fromStdString(request.target);
    draft.targetChosen = true;
    draft.tag = request.open.tag;
    draft.select = request.select.value_or(makesFrameworkFiles(draft) ? Select::All : Select::Weights);
    if (makesMindSpore(draft))
        takeMindSpore(request, draft);
    draft.dtype = request.dtype;
    draft.include = patternOf(request.include);
    draft.exclude = patternOf(request.exclude);
    draft.oneFile = namesFile(draft.target);
    draft.maxShardBytes = request.maxShardBytes.value_or(kDefaultShardBytes);
    draft.memoryLimit = request.memoryLimit;
    draft.threads = request.threads;
    draft.device = request.device;
    draft.scheme = request.quantize.scheme.value_or("");
    draft.quantizeExclude = patternOf(request.quantize.exclude);
    draft.dequantize = request.open.dequantize;
    if (hasWriters(draft))
        draft.writers = request.dp.value_or(1);
    else
        draft.dp = request.dp;
    draft.zeroStage = request.zeroStage;
    draft.tp = request.tp;
    draft.pp = request.pp;
    draft.ep = request.ep;
    draft.rules = request.open.rules;
    draft.keepObjects = request.keepObjects;
    draft.verify = request.verify;
    draft.overwrite = request.overwrite;
    const ConvertRequest wanted = spelledOut(request, draft);
    const ConvertRequest shown = requestOf(draft);
    if (wanted != shown)
        return Error{ErrorCode::Refused, fmt::format("this page has no field for its member {} with the goal {}; `shardlens run` says whether the engine takes it", lost(wanted, shown), draft.format)};
    return draft;
}

} // namespace shardlens::ui
