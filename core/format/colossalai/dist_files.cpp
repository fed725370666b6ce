#include "core/format/colossalai/dist_files.h"

#include "core/base/text.h"
#include "core/format/colossalai/file_names.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kFilesAtOnce = 16;
constexpr std::size_t kPartsNamed = 4; // of a file that lacks some
constexpr std::size_t kMostHoles = 100'000; // missing parts that are listed
constexpr std::size_t kLostSaid = 16;  // tensors of which nothing is there

std::string baseName(const std::string& path)
{
    return path.substr(path.find_last_of("/\\") + 1);
}

} // namespace

DistFiles::DistFiles(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const DistTable& table, const RuleSet& rules, JobContext& job)
    : m_builder(builder), m_folder(folder), m_prefix(prefix), m_table(table), m_rules(rules), m_job(job), m_uses(table.files().size()), m_ids(table.tensors().size(), kNoTensor)
{
    for (const DirectoryEntry& entry : folder.entries)
        if (!entry.isFolder)
            m_here.insert(entry.name);
    for (std::uint32_t i = 0; i < table.tensors().size(); ++i) {
        const DistTensor& tensor = table.tensors()[i];
        if (!tensor.problem.empty())
            continue;
        m_builder.parameter(tensor.name); // in model order
        for (std::uint32_t part = 0; part < tensor.parts.size(); ++part)
            m_uses[tensor.parts[part].file].push_back({i, part});
    }
}

void DistFiles::find(Severity severity, const char* code, std::string text, FileId file, std::uint32_t dist, TensorId tensor)
{
    m_builder.addFinding({severity, code, std::move(text), tensor, file, dist});
}

std::string DistFiles::distText(std::uint32_t dist) const
{
    if (!m_table.grid())
        return fmt::format("dist id {}", dist);
    return fmt::format("dist id {} (tp rank {}, pp rank {})", dist, dist % m_table.grid()->tp, dist / m_table.grid()->tp);
}

std::vector<Holder::Coordinate> DistFiles::holderOf(std::uint32_t dist) const
{
    if (!m_table.grid())
        return {{Axis::Rank, dist}};
    return {{Axis::Tp, dist % m_table.grid()->tp}, {Axis::Pp, dist / m_table.grid()->tp}};
}

bool DistFiles::hasPart(const std::string& name, std::uint32_t dist) const
{
    const auto at = m_table.find(name);
    if (!at)
        return false;
    const auto& parts = m_table.tensors()[*at].parts;
    const auto part = std::lower_bound(parts.begin(), parts.end(), dist, [](const DistPart& one, std::uint32_t wanted) { return one.dist < wanted; });
    return (part != parts.end() && part->dist == dist) || !m_table.tensors()[*at].problem.empty();
}

// "file" may hold the folder that the writer used (§3.3): what lies beside the metadata counts first.
DistFiles::Source DistFiles::sourceOf(std::uint32_t value)
{
    const DistTable::FileValue& file = m_table.files()[value];
    const std::string base = baseName(file.value);
    if (base != file.value && m_foreignPaths++ == 0)
        m_foreignPath = file.value;
    std::error_code failed;
    const bool isElsewhere = base != file.value && !m_here.contains(base) && file.value.starts_with('/') && file.value.find('\0') == std::string::npos;
    if (isElsewhere && std::filesystem::is_regular_file(file.value, failed)) { // a relative one would count from wherever this program runs
        if (m_elsewhere++ == 0)
            m_builder.addFinding({Severity::Warning, "file-elsewhere", fmt::format("The metadata name a file outside this folder, and none of its name lies here: {} is read.", printable(file.value)),
                                  kNoTensor, kNoFile, std::nullopt});
        return {file.value, file.value, file.dist, {value}};
    }
    return {m_folder.path + "/" + base, m_prefix + base, file.dist, {value}};
}

// Files that entries name, then those that only their names give to the dist id: buffers may lie in them.
void DistFiles::collectSources(const std::set<std::uint32_t>& dists)
{
    std::map<std::pair<std::uint32_t, std::string>, std::size_t> known;
    for (std::uint32_t value = 0; value < m_table.files().size(); ++value) {
        Source source = sourceOf(value);
        const auto [at, isNew] = known.try_emplace({source.dist, source.path}, m_sources.size());
        if (isNew)
            m_sources.push_back(std::move(source));
        else
            m_sources[at->second].values.push_back(value);
    }
    for (const std::string& name : m_here) {
        const auto shard = shardFileOf(name);
        if (!shard || !shard->dist || !dists.contains(*shard->dist))
            continue;
        const std::string path = m_folder.path + "/" + name;
        if (known.try_emplace({*shard->dist, path}, m_sources.size()).second)
            m_sources.push_back({path, m_prefix + name, *shard->dist, {}});
    }
    std::stable_sort(m_sources.begin(), m_sources.end(), [](const Source& a, const Source& b) {
        return a.dist != b.dist ? a.dist < b.dist : a.values.empty() < b.values.empty();
    });
}

Status DistFiles::read(const std::set<std::uint32_t>& dists)
{
    collectSources(dists);
    for (std::size_t begin = 0; begin < m_sources.size(); begin += kFilesAtOnce) {
        const std::size_t end = std::min(begin + kFilesAtOnce, m_sources.size());
        std::vector<std::pair<std::string, std::string>> paths;
        for (std::size_t i = begin; i < end; ++i)
            paths.emplace_back(m_sources[i].path, m_sources[i].name);
        SHARDLENS_ASSIGN(auto stored, openAllStored(paths, m_job));
        for (std::size_t i = begin; i < end; ++i)
            SHARDLENS_TRY(process(m_sources[i], std::move(stored[i - begin])));
    }
    sayOrphans(dists);
    saySources();
    return {};
}

Status DistFiles::process(const Source& source, StoredFileResult stored)
{
    SHARDLENS_TRY(m_job.poll());
    if (!stored.file.checkpoint) {
        addUnread(source, stored);
        return {};
    }
    if (source.values.empty() && isStale(source, stored.file)) {
        File row = stored.file.row;
        row.holds = "not part of the model";
        const FileId id = m_builder.addFile(std::move(row));
        find(Severity::Info, "leftover-file", fmt::format("{} is a stale file, left over from another save, and ignored: the metadata of {} places its tensors in other files.",
                                                          printable(source.name), distText(source.dist)),
             id, source.dist);
        return {};
    }
    PieceImport import(m_builder, *stored.file.checkpoint, holderOf(source.dist));
    const FileId id = import.file(FileId{0});
    m_builder.file(id).rank = source.dist;
    m_builder.file(id).holds = plural(stored.file.tensorCount(), "tensor", "tensors");
    import.addFindings([](TensorId) { return kNoTensor; });
    m_held.clear();
    m_vocabularies.reset();
    SHARDLENS_TRY(addEntries(source, stored.file, import));
    return addRest(source, stored.file, import);
}

void DistFiles::addUnread(const Source& source, const StoredFileResult& stored)
{
    File row = stored.file.row;
    row.rank = source.dist;
    const FileId id = m_builder.addFile(std::move(row));
    std::size_t parts = 0;
    for (const std::uint32_t value : source.values)
        for (const Use& use : m_uses[value]) {
            m_absent.emplace_back(use, id);
            ++parts;
        }
    const bool isMissing = stored.problem->code() == ErrorCode::NotFound;
    const std::string lost = source.values.empty() ? "it may hold buffers" : fmt::format("parts of {} are lost", plural(parts, "parameter", "parameters"));
    find(Severity::Error, isMissing ? "missing-file" : "unreadable-file",
         isMissing ? fmt::format("{} of {} is not in the folder: {}.", printable(source.name), distText(source.dist), lost)
                   : fmt::format("{} of {} cannot be read, {}: {}.", printable(source.name), distText(source.dist), lost, stored.problem->text()),
         id, source.dist);
}

TensorId DistFiles::tensorFor(std::uint32_t index, DType dtype)
{
    TensorId& id = m_ids[index];
    if (id == kNoTensor) {
        const DistTensor& from = m_table.tensors()[index];
        Tensor made{m_builder.parameter(from.name), m_builder.role(RoleKind::Weight, "weight"), dtype, from.hasReplicas ? Combine::Replicas : Combine::Exclusive, true, from.global};
        made.unprovenCopies = from.overlaps || from.hasReplicas; // the boxes are all that is known of them
        id = m_builder.addTensor(std::move(made));
    }
    return id;
}

Status DistFiles::addEntries(const Source& source, const StoredFile& stored, PieceImport& import)
{
    std::vector<std::string> absent;
    const FileId file = import.file(FileId{0});
    for (const std::uint32_t value : source.values)
        for (const Use& use : m_uses[value]) {
            const DistTensor& tensor = m_table.tensors()[use.tensor];
            const auto held = stored.find(tensor.name);
            if (!held) {
                m_absent.emplace_back(use, file);
                absent.push_back(tensor.name);
                continue;
            }
            m_held[use.tensor] = *held;
            addPart(use, stored, *held, import);
        }
    for (std::size_t i = 0; i < std::min(absent.size(), kPartsNamed); ++i)
        find(Severity::Error, "index", fmt::format("The metadata of {} says that {} lies in {}, and it does not.", distText(source.dist), printable(absent[i]),
                                                   printable(source.name)), file, source.dist);
    if (absent.size() > kPartsNamed)
        find(Severity::Error, "index", fmt::format("{} lacks {} more parameters that the metadata places in it.", printable(source.name), groupedText(absent.size() - kPartsNamed)),
             file, source.dist);
    return {};
}

void DistFiles::addPart(const Use& use, const StoredFile& stored, TensorId held, PieceImport& import)
{
    const DistTensor& tensor = m_table.tensors()[use.tensor];
    const DistPart& part = tensor.parts[use.part];
    const Tensor& own = stored.checkpoint->tensor(held);
    const FileId file = import.file(FileId{0});
    const TensorId id = tensorFor(use.tensor, own.dtype);
    const ShapeView extent = m_table.lengths(tensor, part);
    if (!std::ranges::equal(own.shape, extent)) {
        find(Severity::Error, "shape", fmt::format("{}: {} holds {}, and the metadata of {} says lengths {}.", printable(tensor.name), printable(stored.row.name),
                                                   shapeText(own.shape), distText(part.dist),
                                                   shapeText(extent)), file, part.dist, id);
        return;
    }
    if (own.dtype != m_builder.tensor(id).dtype) {
        find(Severity::Error, "dtype", fmt::format("{} is {} in {}, and {} on a dist id before.", printable(tensor.name), nameOf(own.dtype), printable(stored.row.name),
                                                   nameOf(m_builder.tensor(id).dtype)), file,
             part.dist, id);
        return;
    }
    if (info(own.dtype).valuesPerBlock != 1) { // boxes count values, pieces count blocks
        const bool isWhole = std::ranges::equal(extent, tensor.global);
        if (Status added = isWhole ? import.addWhole(id, held) : Status(Error{ErrorCode::Unsupported,
                                                                              fmt::format("{} is stored in blocks, which are not put together", nameOf(own.dtype))}); !added)
            find(Severity::Error, "part", fmt::format("{}: {}.", printable(tensor.name), added.error().text()), file, part.dist, id);
        return;
    }
    for (const Slab& slab : m_table.slabs(tensor, part))
        if (Status added = import.addThrough(id, held, slab); !added) {
            find(Severity::Error, "part", fmt::format("{}: {}.", printable(tensor.name), added.error().text()), file, part.dist, id);
            return;
        }
}

// A file that no entry names, with tensors that entries of its dist id place elsewhere.
bool DistFiles::isStale(const Source& source, const StoredFile& stored) const
{
    const auto& names = stored.checkpoint->parameters();
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return hasPart(name, source.dist); });
}

Status DistFiles::addRest(const Source& source, const StoredFile& stored, PieceImport& import)
{
    const Checkpoint& file = *stored.checkpoint;
    if (m_held.size() == file.tensors().size()) // nothing is left
        return {};
    std::map<MemoryPlace, std::uint32_t> placed;
    for (const auto& [tensor, held] : m_held)
        if (const auto memory = memoryOf(file, held))
            placed.emplace(*memory, tensor);
    for (std::size_t i = 0; i < file.tensors().size(); ++i) {
        const TensorId held = idAt<TensorId>(i);
        const std::string& name = file.parameterOf(held);
        if (hasPart(name, source.dist))
            continue;
        const auto memory = memoryOf(file, held);
        const auto tied = memory ? placed.find(*memory) : placed.end();
        if (tied != placed.end() && isSameMemory(file, held, m_held.at(tied->second))) {
            if (m_aliases.insert(name).second)
                m_builder.addAlias(name, m_builder.parameter(m_table.tensors()[tied->second].name));
            continue;
        }
        if (addTied(source, stored, held, import))
            continue;
        if (m_table.find(name))
            find(Severity::Warning, "orphan", fmt::format("{} lies in {} and the metadata of {} does not name it: it is not part of the model.", printable(name),
                                                          printable(source.name), distText(source.dist)),
                 import.file(FileId{0}), source.dist);
        else
            addBuffer(source, stored, held, import);
    }
    return {};
}

bool DistFiles::isVocabulary(const std::string& name) const
{
    const auto rule = m_rules.ruleFor(name, {});
    return rule && *rule != nullptr && (*rule)->vocabulary;
}

// In safetensors a tied name has bytes of its own. What the rules call a vocabulary is a parameter, and one without metadata is tied to the vocabulary of its shape that has it.
bool DistFiles::addTied(const Source& source, const StoredFile& stored, TensorId held, PieceImport& import)
{
    const Tensor& own = stored.checkpoint->tensor(held);
    const std::string& name = stored.checkpoint->parameterOf(held);
    if (stored.torch || !isVocabulary(name) || m_table.find(name))
        return false;
    if (!m_vocabularies) {
        m_vocabularies.emplace();
        for (const auto& [tensor, other] : m_held)
            if (isVocabulary(m_table.tensors()[tensor].name))
                (*m_vocabularies)[{stored.checkpoint->tensor(other).dtype, stored.checkpoint->tensor(other).shape}].push_back(tensor);
    }
    const std::vector<std::uint32_t>& same = (*m_vocabularies)[{own.dtype, own.shape}];
    if (same.size() != 1)
        return false;
    const DistTensor& original = m_table.tensors()[same.front()];
    const auto [at, isNew] = m_buffers.try_emplace(name, kNoTensor);
    if (isNew) {
        Tensor made{m_builder.parameter(name), m_builder.role(RoleKind::Weight, "weight"), own.dtype, original.hasReplicas ? Combine::Replicas : Combine::Exclusive, true, original.global};
        made.unprovenCopies = original.overlaps || original.hasReplicas;
        at->second = m_builder.addTensor(std::move(made));
    }
    const auto part = std::find_if(original.parts.begin(), original.parts.end(), [&](const DistPart& one) { return one.dist == source.dist; });
    for (const Slab& slab : part == original.parts.end() ? std::vector<Slab>{} : m_table.slabs(original, *part))
        if (Status added = import.addThrough(at->second, held, slab); !added)
            find(Severity::Error, "part", fmt::format("{}: {}.", printable(name), added.error().text()), import.file(FileId{0}), source.dist, at->second);
    return true;
}

// Buffers have no metadata: each dist id holds a copy, and that of the lowest counts.
void DistFiles::addBuffer(const Source& source, const StoredFile& stored, TensorId held, PieceImport& import)
{
    const Tensor& own = stored.checkpoint->tensor(held);
    const std::string& name = stored.checkpoint->parameterOf(held);
    const FileId file = import.file(FileId{0});
    const auto [at, isNew] = m_buffers.try_emplace(name, kNoTensor);
    if (isNew) {
        Tensor made{m_builder.parameter(name), m_builder.role(RoleKind::Buffer, "buffer"), own.dtype, Combine::Replicas, true, own.shape};
        made.unprovenCopies = true;
        at->second = m_builder.addTensor(std::move(made));
    }
    const Tensor& known = m_builder.tensor(at->second);
    if (known.shape != own.shape || known.dtype != own.dtype) {
        find(Severity::Warning, "buffer", fmt::format("{} is {} {} in {}, and {} {} on a dist id before: no metadata places it, and the first is shown.", printable(name),
                                                      nameOf(own.dtype), shapeText(own.shape),
                                                      printable(source.name), nameOf(known.dtype), shapeText(known.shape)), file, source.dist);
        return;
    }
    if (Status added = import.addWhole(at->second, held); !added)
        find(Severity::Error, "part", fmt::format("{}: {}.", printable(name), added.error().text()), file, source.dist, at->second);
}

// Weights of dist ids that no metadata stands for.
void DistFiles::sayOrphans(const std::set<std::uint32_t>& dists)
{
    for (const std::string& name : m_here) {
        const auto shard = shardFileOf(name);
        if (!shard || !shard->dist || dists.contains(*shard->dist))
            continue;
        File row = missingFile(m_folder.path + "/" + name, m_prefix + name);
        if (auto opened = openFile(row.path, row.name))
            row = opened->row;
        row.rank = *shard->dist;
        row.holds = "no metadata: not part of the model";
        const FileId id = m_builder.addFile(std::move(row));
        find(Severity::Warning, "orphan-file", fmt::format("{} is not read: no metadata that can be read (pytorch_model-meta-dist-{:05d}) say where its tensors lie. It is left over from a broken save, or its metadata are lost.",
                                                           printable(name), *shard->dist), id, *shard->dist);
    }
}

void DistFiles::saySources()
{
    if (m_foreignPaths > 0 && m_elsewhere == 0)
        m_builder.addFinding({Severity::Info, "file-path", fmt::format("\"file\" holds the folder that the writer used ({}): the files beside the metadata are read.",
                                                                       printable(m_foreignPath)), kNoTensor, kNoFile,
                              std::nullopt});
}

// Of a tensor that is too large to count nothing can be a piece; that is a finding already.
void DistFiles::addHole(TensorId tensor, const Box& box, StreamId nowhere, std::uint32_t dist)
{
    if (++m_holes > kMostHoles) // what is not listed is still not held by anybody
        return;
    static_cast<void>(m_builder.addPiece(tensor, BoxView(box), {nowhere, 0, m_builder.holder({holderOf(dist)}), {}}));
}

void DistFiles::addMissing(const std::map<std::uint32_t, FileId>& rows)
{
    std::map<std::uint32_t, FileId> fileOf; // the first that should hold a part
    std::size_t lost = 0;
    for (const auto& [use, file] : m_absent) {
        fileOf.emplace(use.tensor, file);
        const DistTensor& tensor = m_table.tensors()[use.tensor];
        if (m_ids[use.tensor] == kNoTensor || info(m_builder.tensor(m_ids[use.tensor]).dtype).valuesPerBlock != 1)
            continue;
        const DistPart& part = tensor.parts[use.part];
        const StreamId nowhere = m_builder.file(file).state == File::State::Read ? m_builder.addStream({Stream::Kind::Missing, file, 0, 0, 0}) : m_builder.streamOf(file);
        for (const Slab& slab : m_table.slabs(tensor, part))
            addHole(m_ids[use.tensor], slab.to, nowhere, part.dist);
    }
    std::map<std::uint32_t, std::vector<std::pair<std::uint32_t, FileId>>> byStage;
    for (const auto& [dist, file] : rows)
        byStage[dist / m_table.grid()->tp].emplace_back(dist, file);
    for (std::uint32_t i = 0; i < m_ids.size(); ++i) {
        const DistTensor& tensor = m_table.tensors()[i];
        if (!tensor.problem.empty() || tensor.parts.empty())
            continue;
        if (m_ids[i] == kNoTensor) {
            if (const auto absent = fileOf.find(i); absent != fileOf.end() && lost++ < kLostSaid) // the file is a finding of its own
                m_builder.addLost({tensor.name, RoleKind::Weight, fmt::format("{} is lost: no file that holds a part of it can be read; {} should.", printable(tensor.name),
                                                                              printable(m_builder.file(absent->second).name))}, "hole", absent->second);
            continue;
        }
        if (byStage.empty() || info(m_builder.tensor(m_ids[i]).dtype).valuesPerBlock != 1)
            continue;
        const auto ofStage = byStage.find(tensor.parts.front().dist / m_table.grid()->tp);
        for (std::size_t k = 0; ofStage != byStage.end() && k < ofStage->second.size(); ++k)
            for (const Box& box : m_table.missingBoxes(tensor, ofStage->second[k].first))
                addHole(m_ids[i], box, m_builder.streamOf(ofStage->second[k].second), ofStage->second[k].first);
    }
}

} // namespace shardlens::colossalai
