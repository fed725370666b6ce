#include "ui/pages/convert_draft.h"

#include "core/layout/selection.h"
#include "core/model/coverage.h"
#include "ui/pages/convert_goals.h"

#include <QCoreApplication>
#include <QFileInfo>

#include <algorithm>
#include <array>
#include <map>
#include <sys/stat.h>

namespace shardlens::ui {
namespace {

constexpr std::array<const char*, 6> kFileEndings{".safetensors", ".sft", ".pt", ".pth", ".bin", ".ckpt"};

template <typename Key>
std::optional<Key> largest(const std::map<Key, std::uint64_t>& bytesOfKey)
{
    const auto most = std::max_element(bytesOfKey.begin(), bytesOfKey.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    return most == bytesOfKey.end() ? std::nullopt : std::optional(most->first);
}

// Which tensors have cells that nobody holds.
std::vector<bool> holesOf(const Checkpoint& checkpoint, const std::stop_token& stop)
{
    std::vector<bool> holes(checkpoint.tensors().size(), false);
    for (std::size_t i = 0; i < holes.size() && !stop.stop_requested(); ++i)
        holes[i] = !coverageOf(checkpoint, idAt<TensorId>(i), 1).complete();
    return holes;
}

ContentFacts contentOf(const Checkpoint& checkpoint, Select select, const std::vector<bool>& holes)
{
    ContentFacts facts;
    std::map<DType, std::uint64_t> dtypes;
    std::map<std::string, std::uint64_t> roles;
    for (const SelectedTensor& selected : selectTensors(checkpoint, {select, {}, {}})) {
        const Tensor& tensor = checkpoint.tensor(selected.tensor);
        const std::uint64_t bytes = checkpoint.bytesOf(selected.tensor);
        if (selected.repeats) {
            ++facts.tiedNames;
            facts.tiedBytes += bytes;
            facts.tiedFloatBytes += isFloat(tensor.dtype) ? bytes : 0;
            facts.tiedValues += isFloat(tensor.dtype) ? elementCount(tensor.shape).value_or(0) : 0;
            continue;
        }
        ++facts.tensors;
        facts.bytes += bytes;
        if (holes[indexOf(selected.tensor)] && facts.incomplete++ == 0)
            facts.firstIncomplete = selected.name;
        if (isFloat(tensor.dtype)) {
            facts.values += elementCount(tensor.shape).value_or(0);
            facts.floatBytes += bytes;
            dtypes[tensor.dtype] += bytes;
            roles[checkpoint.roleOf(selected.tensor).name] += bytes;
        }
    }
    facts.dtype = largest(dtypes);
    facts.role = largest(roles).value_or("");
    return facts;
}

void lookAtFiles(const Checkpoint& checkpoint, SourceFacts& facts)
{
    for (const File& file : checkpoint.files()) {
        if (file.state != File::State::Read) {
            facts.missingFiles.push_back(file.name);
            continue;
        }
        if (file.container != "safetensors" && file.container != "MindSpore ckpt") // every other container that is read holds pickles
            ++facts.pickleFiles;
        struct stat now {};
        const bool same = ::stat(file.path.c_str(), &now) == 0 && static_cast<std::uint64_t>(now.st_size) == file.size &&
                          static_cast<std::int64_t>(now.st_mtim.tv_sec) * 1'000'000'000 + now.st_mtim.tv_nsec == file.modifiedNs;
        if (!same)
            facts.changedFiles.push_back(file.name);
    }
}

// Choices for results that are put together tensor by tensor.
void addPicking(const JobDraft& draft, ConvertRequest& request)
{
    request.dtype = draft.dtype;
    if (!draft.include.isEmpty())
        request.include.push_back(draft.include.toStdString());
    if (!draft.exclude.isEmpty())
        request.exclude.push_back(draft.exclude.toStdString());
    if (hasShards(draft) && !draft.oneFile && draft.maxShardBytes != kDefaultShardBytes)
        request.maxShardBytes = draft.maxShardBytes;
}

void addQuantization(const JobDraft& draft, ConvertRequest& request)
{
    request.open.dequantize = draft.dequantize;
    if (draft.scheme.empty())
        return;
    request.quantize.scheme = draft.scheme;
    if (!draft.quantizeExclude.isEmpty())
        request.quantize.exclude.push_back(draft.quantizeExclude.toStdString());
}

// The members that only MindSpore's files have.
void addMindSpore(const JobDraft& draft, ConvertRequest& request)
{
    request.strategy = draft.strategy;
    request.prefix = draft.strategy ? draft.prefix : std::nullopt;
    request.rank = draft.strategy ? draft.rank : std::nullopt;
    request.outputFormat = namesFile(draft.target) ? std::nullopt : draft.container; // else its ending says it
}

// What tells the target's name from the source's: "-safetensors", "-dp6-zero3".
QString suffixOf(const JobDraft& draft)
{
    QString suffix;
    if (makesMindSpore(draft) && draft.rank)
        suffix = QStringLiteral("-rank%1").arg(*draft.rank);
    if (hasStages(draft)) {
        const bool isLayout = makesLayout(draft) || makesSharded(draft);
        for (const auto& [name, size] : {std::pair{"tp", draft.tp},
                                         {"pp", draft.pp},
                                         {"ep", makesLayout(draft) ? draft.ep : std::nullopt},
                                         {"dp", isLayout ? std::nullopt : draft.dp},
                                         {"zero", isLayout ? std::nullopt : draft.zeroStage}})
            if (size)
                suffix += QStringLiteral("-%1%2").arg(QLatin1String(name)).arg(*size);
    }
    if (!suffix.isEmpty() && !makesSharded(draft))
        return suffix;
    suffix = QLatin1Char('-') + QString::fromStdString(draft.format) + suffix;
    if (makesCodes(draft))
        suffix += QLatin1Char('-') + QString::fromStdString(draft.scheme);
    return hasWriters(draft) && draft.writers > 1 ? suffix + QString::number(draft.writers) : suffix;
}

} // namespace

std::uint64_t ContentFacts::bytesAs(std::optional<DType> cast, const std::string& format) const
{
    const bool tiesStay = format == "torch";
    const std::uint64_t all = bytes + (tiesStay ? 0 : tiedBytes);
    if (!cast)
        return all;
    return all - floatBytes - (tiesStay ? 0 : tiedFloatBytes) + (values + (tiesStay ? 0 : tiedValues)) * info(*cast).bytesPerBlock;
}

const ContentFacts& SourceFacts::of(Select select) const
{
    switch (select) {
    case Select::Module: return module;
    case Select::Optimizer: return optimizer;
    case Select::Weights: return weights;
    case Select::All: return all;
    }
    return weights;
}

SourceFacts factsOf(const Checkpoint& checkpoint, const std::stop_token& stop)
{
    SourceFacts facts;
    const std::vector<bool> holes = holesOf(checkpoint, stop);
    facts.weights = contentOf(checkpoint, Select::Weights, holes);
    facts.module = contentOf(checkpoint, Select::Module, holes);
    facts.optimizer = contentOf(checkpoint, Select::Optimizer, holes);
    facts.all = contentOf(checkpoint, Select::All, holes);
    facts.parameters = checkpoint.parameters().size();
    facts.hasMaster = std::any_of(checkpoint.roles().begin(), checkpoint.roles().end(), [](const Role& role) { return role.kind == RoleKind::Module; });
    lookAtFiles(checkpoint, facts);
    return facts;
}

JobDraft withGoal(JobDraft draft, const std::string& format)
{
    if (draft.format == format)
        return draft;
    draft.format = format;
    for (std::optional<std::uint32_t>* size : {&draft.tp, &draft.pp, &draft.ep, &draft.dp, &draft.zeroStage})
        size->reset();
    return draft;
}

bool isLayoutFormat(const std::string& formatId)
{
    const ConvertGoal* goal = goalOf(formatId);
    return goal != nullptr && goal->kind == ConvertGoal::Kind::Layout;
}

bool makesLayout(const JobDraft& draft)
{
    return isLayoutFormat(draft.format);
}

bool makesRun(const JobDraft& draft)
{
    const ConvertGoal* goal = goalOf(draft.format);
    return goal != nullptr && (goal->kind == ConvertGoal::Kind::Run || goal->kind == ConvertGoal::Kind::Layout);
}

bool makesMindSpore(const JobDraft& draft)
{
    const ConvertGoal* goal = goalOf(draft.format);
    return goal != nullptr && goal->kind == ConvertGoal::Kind::Ranks;
}

bool makesSharded(const JobDraft& draft)
{
    const ConvertGoal* goal = goalOf(draft.format);
    return goal != nullptr && goal->kind == ConvertGoal::Kind::Sharded;
}

bool takesAll(const JobDraft& draft)
{
    return makesRun(draft) || makesSharded(draft);
}

bool makesFrameworkFiles(const JobDraft& draft)
{
    return makesMindSpore(draft) || makesSharded(draft);
}

bool hasStages(const std::string& formatId)
{
    const ConvertGoal* goal = goalOf(formatId);
    return goal != nullptr && goal->hasStages;
}

bool hasStages(const JobDraft& draft)
{
    return makesRun(draft) || hasStages(draft.format);
}

bool hasWriters(const JobDraft& draft)
{
    const ConvertGoal* goal = goalOf(draft.format);
    return goal != nullptr && goal->hasWriters;
}

bool hasShards(const JobDraft& draft)
{
    const ConvertGoal* goal = goalOf(draft.format);
    return goal != nullptr && goal->hasShards;
}

std::string containerOf(const JobDraft& draft)
{
    return draft.container.value_or(draft.sourceContainer);
}

bool keepsTree(const JobDraft& draft)
{
    return draft.sourceIsTree && draft.format == "torch" && draft.select == Select::All;
}

bool takesWhole(const JobDraft& draft)
{
    return makesRun(draft) || makesFrameworkFiles(draft) || keepsTree(draft);
}

bool canQuantize(const JobDraft& draft)
{
    const ConvertGoal* goal = goalOf(draft.format);
    return goal != nullptr && goal->kind == ConvertGoal::Kind::Picked && !takesWhole(draft) && (draft.select == Select::Weights || draft.select == Select::Module);
}

bool makesCodes(const JobDraft& draft)
{
    return canQuantize(draft) && !draft.scheme.empty();
}

bool makesOneFile(const JobDraft& draft)
{
    if (makesMindSpore(draft))
        return !draft.strategy;
    return keepsTree(draft) || (draft.oneFile && hasShards(draft));
}

Select contentsOf(const JobDraft& draft)
{
    return takesAll(draft) || (makesMindSpore(draft) && draft.sourceIsMindSpore) ? Select::All : draft.select;
}

QString problemOfTarget(const JobDraft& draft)
{
    const bool isFile = namesFile(draft.target);
    if (hasWriters(draft) && isFile)
        return QCoreApplication::translate("ConvertPage", "A distributed checkpoint is a folder of files, and the target's name says one file: take its ending away.");
    if (takesAll(draft) && isFile)
        return QCoreApplication::translate("ConvertPage", "A run is a folder of files, and the target's name says one file: take its ending away.");
    if (makesMindSpore(draft) && isFile && draft.strategy && !draft.rank)
        return QCoreApplication::translate("ConvertPage", "The ranks of a strategy are a folder of files, and the target's name says one file: take its ending away.");
    const bool isMindSporeFile = draft.target.endsWith(QLatin1String(".ckpt")) || draft.target.endsWith(QLatin1String(".safetensors")) || draft.target.endsWith(QLatin1String(".sft"));
    if (makesMindSpore(draft) && isFile && !isMindSporeFile)
        return QCoreApplication::translate("ConvertPage", "A file of MindSpore ends in .ckpt or .safetensors.");
    if (keepsTree(draft) && !isFile)
        return QCoreApplication::translate("ConvertPage", "Everything of this source is one torch file: end the target's name in .pt.");
    return {};
}

QString endingOf(const std::string& format)
{
    const ConvertGoal* goal = goalOf(format);
    return goal == nullptr || goal->ending == nullptr ? QString() : QString::fromLatin1(goal->ending);
}

bool namesFile(const QString& target)
{
    return std::any_of(kFileEndings.begin(), kFileEndings.end(), [&](const char* ending) { return target.endsWith(QLatin1String(ending)); });
}

ConvertRequest requestOf(const JobDraft& draft)
{
    ConvertRequest request;
    request.source = draft.source;
    request.target = draft.target.toStdString();
    request.to = draft.format;
    request.open = draft.open;
    request.open.tag = draft.tag;
    request.open.rules = draft.rules;
    if (makesMindSpore(draft))
        addMindSpore(draft, request);
    if (hasStages(draft)) {
        request.tp = draft.tp;
        request.pp = draft.pp;
    }
    if (!takesAll(draft) && (!makesMindSpore(draft) || !draft.sourceIsMindSpore))
        request.select = draft.select;
    if (hasWriters(draft) && draft.writers > 1)
        request.dp = draft.writers;
    if (makesLayout(draft)) {
        request.ep = draft.ep;
    } else if (makesRun(draft)) {
        request.dp = draft.dp;
        request.zeroStage = draft.zeroStage;
    }
    if (takesWhole(draft))
        request.keepObjects = draft.keepObjects && !makesLayout(draft) && !makesFrameworkFiles(draft);
    else
        addPicking(draft, request);
    if (canQuantize(draft))
        addQuantization(draft, request);
    request.memoryLimit = draft.memoryLimit;
    request.threads = draft.threads;
    request.device = draft.device;
    request.verify = draft.verify;
    request.overwrite = draft.overwrite;
    return request;
}

QString withEnding(QString target, const JobDraft& draft)
{
    for (const char* ending : kFileEndings)
        if (target.endsWith(QLatin1String(ending)))
            target.chop(static_cast<qsizetype>(std::char_traits<char>::length(ending)));
    if (!makesOneFile(draft))
        return target;
    return target + (makesMindSpore(draft) ? QLatin1Char('.') + QString::fromStdString(containerOf(draft)) : endingOf(draft.format));
}

QString proposedTarget(const JobDraft& draft, const Checkpoint& checkpoint)
{
    const QFileInfo source(QString::fromStdString(checkpoint.path()));
    QString name = QString::fromStdString(checkpoint.title());
    name = withEnding(QFileInfo(name).fileName(), draft);
    name = name.isEmpty() ? QStringLiteral("model") : QFileInfo(name).completeBaseName();
    if (const QString suffix = suffixOf(draft); !name.endsWith(suffix)) // of what a conversion made already
        name += suffix;
    const QString folder = QFileInfo(QString::fromStdString(checkpoint.folder())).absoluteFilePath();
    // A tag's folder lies in the run's folder, and the target must lie outside both.
    QString parent = source.absolutePath();
    if (source.isDir() && QFileInfo(parent).fileName() == QFileInfo(QString::fromStdString(checkpoint.title())).fileName())
        parent = QFileInfo(parent).absolutePath();
    const bool isList = source.isFile() && std::any_of(checkpoint.files().begin(), checkpoint.files().end(), [&](const File& file) {
                            return QFileInfo(QString::fromStdString(file.path)).absoluteFilePath() != source.absoluteFilePath();
                        });
    if (parent.startsWith(folder + QLatin1Char('/')) || (isList && parent == folder)) // the files that a list names fill its folder
        parent = QFileInfo(folder).absolutePath();
    const QString stem = parent + QLatin1Char('/') + name;
    QString target = withEnding(stem, draft);
    for (int i = 2; QFileInfo::exists(target); ++i)
        target = withEnding(stem + QLatin1Char('-') + QString::number(i), draft);
    return target;
}

} // namespace shardlens::ui
