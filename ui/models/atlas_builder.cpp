#include "ui/models/atlas_builder.h"

#include "core/base/text.h"
#include "core/model/coverage.h"
#include "ui/models/atlas_classes.h"
#include "ui/models/rank_uses.h"

#include <algorithm>
#include <unordered_map>

namespace shardlens::ui {
namespace {

constexpr std::size_t kPollEvery = 4096; // tensors

QString shown(std::string_view text)
{
    return QString::fromStdString(printable(text));
}

std::uint64_t cellBytesOf(const Tensor& tensor)
{
    return info(tensor.dtype).bytesPerBlock;
}

// Everything up to the first number, else all but the last two parts, at least the first.
std::string_view moduleKey(std::string_view name, const std::vector<std::string_view>& parts)
{
    std::size_t used = parts.size() > 2 ? parts.size() - 1 : 1;
    for (std::size_t i = 0; i < parts.size(); ++i)
        if (isNumber(parts[i])) {
            used = i + 1;
            break;
        }
    const char* end = parts[used - 1].data() + parts[used - 1].size();
    return name.substr(0, static_cast<std::size_t>(end - name.data()));
}

std::uint64_t scaled(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator)
{
    return static_cast<std::uint64_t>(static_cast<long double>(value) * static_cast<long double>(numerator) / static_cast<long double>(denominator));
}

AtlasMark::Kind markOf(FileSpan::Kind kind)
{
    switch (kind) {
    case FileSpan::Kind::Header: return AtlasMark::Kind::Header;
    case FileSpan::Kind::Padding: return AtlasMark::Kind::Padding;
    case FileSpan::Kind::Unused: return AtlasMark::Kind::Unused;
    }
    return AtlasMark::Kind::Unused;
}

// Neighbours of one kind become one.
void appendMark(std::vector<AtlasMark>& marks, const AtlasMark& mark)
{
    if (!marks.empty() && marks.back().kind == mark.kind && marks.back().end == mark.begin && mark.kind != AtlasMark::Kind::Overlap) {
        marks.back().end = mark.end;
        if (marks.back().tensor != mark.tensor)
            marks.back().tensor = kNoTensor;
        return;
    }
    marks.push_back(mark);
}

} // namespace

AtlasBuilder::AtlasBuilder(const CheckpointPtr& checkpoint, const AtlasOptions& options, std::stop_token stop)
    : m_model(std::make_shared<AtlasModel>()), m_checkpoint(*checkpoint), m_stop(std::move(stop))
{
    m_model->m_checkpoint = checkpoint;
    m_model->m_options = options;
}

std::shared_ptr<const AtlasModel> AtlasBuilder::build()
{
    nameTensors();
    nameModules();
    readGroups();
    countNames();
    if (m_model->m_options.across == AtlasAcross::OffsetInFile)
        placeByOffset();
    else
        placeByParameter();
    if (m_stop.stop_requested())
        return nullptr;
    if (m_model->m_options.across == AtlasAcross::OffsetInFile)
        addFileSpans();
    addHoles();
    for (Draft& draft : m_drafts) {
        if (m_stop.stop_requested())
            return nullptr;
        close(draft);
    }
    dropOtherRanks();
    order();
    fold();
    return m_model;
}

void AtlasBuilder::nameTensors()
{
    m_model->m_tensorOfPiece.resize(m_checkpoint.pieces().size());
    for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
        const auto tensor = idAt<TensorId>(i);
        for (std::size_t row = m_checkpoint.pieces().firstOf(tensor); row < m_checkpoint.pieces().lastOf(tensor); ++row)
            m_model->m_tensorOfPiece[row] = tensor;
    }
    m_model->m_placeOfPiece.resize(m_checkpoint.pieces().size());
}

void AtlasBuilder::nameModules()
{
    std::unordered_map<std::string_view, std::uint32_t> known;
    for (const std::string& name : m_checkpoint.parameters()) {
        const std::vector<std::string_view> parts = nameParts(name);
        const std::string_view key = moduleKey(name, parts);
        const auto [at, isNew] = known.try_emplace(key, static_cast<std::uint32_t>(m_model->m_modules.size()));
        if (isNew)
            m_model->m_modules.push_back({shown(nameParts(key).back()), shown(key), m_model->m_modules.size() % 2 == 1});
        m_moduleOfParameter.push_back(at->second);
    }
}

std::size_t AtlasBuilder::draftOfFile(FileId file, Group group)
{
    const std::uint64_t row = file == kNoFile ? m_checkpoint.files().size() : indexOf(file);
    const auto [at, isNew] = m_draftOfFile.try_emplace(row << 32 | group, m_drafts.size());
    if (!isNew)
        return at->second;
    Draft made;
    made.group = group;
    made.lane.file = file;
    if (file == kNoFile) {
        made.lane.title = Atlas::tr("nobody");
        made.lane.note = Atlas::tr("missing parts");
        made.lane.missing = true;
        made.name.push_back('\xff'); // behind every file
    } else {
        const File& from = m_checkpoint.file(file);
        made.lane.rank = from.rank;
        made.lane.missing = from.state != File::State::Read;
        made.lane.bytes = from.size;
        made.lane.length = from.size;
        made.name = from.name;
        nameFileLane(made.lane, from);
    }
    m_drafts.push_back(std::move(made));
    return at->second;
}

std::size_t AtlasBuilder::draftOfState(std::optional<std::uint32_t> rank, RoleId role, Group group)
{
    const auto key = std::make_tuple(group, rank ? static_cast<std::int64_t>(*rank) : std::int64_t{-1}, role);
    const auto [at, isNew] = m_draftOfState.try_emplace(key, m_drafts.size());
    if (!isNew)
        return at->second;
    Draft made;
    made.group = group;
    made.lane.rank = rank;
    made.lane.title = rank ? Atlas::tr("rank %1").arg(*rank) : m_checkpoint.topology().axes.empty() ? shown(m_checkpoint.title()) : Atlas::tr("any rank");
    made.lane.note = shown(m_checkpoint.roles()[indexOf(role)].name);
    made.name = std::to_string(indexOf(role));
    m_drafts.push_back(std::move(made));
    return at->second;
}

void AtlasBuilder::placeByOffset()
{
    m_onlyGroup.resize(m_checkpoint.files().size());
    for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
        if (i % kPollEvery == 0 && m_stop.stop_requested())
            return;
        const auto tensor = idAt<TensorId>(i);
        for (std::size_t row = m_checkpoint.pieces().firstOf(tensor); row < m_checkpoint.pieces().lastOf(tensor); ++row)
            addByOffset(tensor, m_checkpoint.pieces().at(idAt<PieceId>(row)));
    }
    for (std::size_t i = 0; i < m_checkpoint.files().size(); ++i)
        if (!m_onlyGroup[i])
            draftOfFile(idAt<FileId>(i), groupOfFile(idAt<FileId>(i))); // a file without tensors is a lane too
}

void AtlasBuilder::addByOffset(TensorId tensor, const Piece& piece)
{
    const Stream& from = m_checkpoint.stream(piece.source.stream);
    const std::uint64_t bytes = piece.spanBytes(cellBytesOf(m_checkpoint.tensor(tensor)));
    if (bytes == 0 || from.kind == Stream::Kind::Inline) // an inline value has no place of its own in the file
        return;
    Entry entry{piece.source.offset, bytes, piece.id};
    if (from.kind == Stream::Kind::Deflated && from.sizeBytes > 0) {
        entry.start = from.offset + scaled(piece.source.offset, from.storedBytes, from.sizeBytes);
        entry.length = std::max<std::uint64_t>(1, scaled(bytes, from.storedBytes, from.sizeBytes));
    }
    const Group group = groupOf(piece, tensor);
    Draft& draft = m_drafts[draftOfFile(from.file, group)];
    draft.entries.push_back(entry);
    if (from.file == kNoFile)
        return;
    std::optional<Group>& only = m_onlyGroup[indexOf(from.file)];
    only = !only || *only == group ? group : kNoGroup;
}

void AtlasBuilder::placeByParameter()
{
    m_homeOfParameter.resize(m_checkpoint.parameters().size());
    for (const Tensor& tensor : m_checkpoint.tensors()) {
        if (m_model->m_options.modelOnly && !isPartOfModel(m_checkpoint.roles()[indexOf(tensor.role)].kind))
            continue;
        std::uint64_t& count = m_homeOfParameter[indexOf(tensor.parameter)].end;
        count = std::max(count, elementCount(tensor.shape).value_or(0));
    }
    std::uint64_t at = 0;
    for (AtlasSpan& home : m_homeOfParameter) {
        home = {at, at + home.end};
        at = home.end;
    }
    for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
        if (i % kPollEvery == 0 && m_stop.stop_requested())
            return;
        const auto tensor = idAt<TensorId>(i);
        const AtlasSpan home = m_homeOfParameter[indexOf(m_checkpoint.tensor(tensor).parameter)];
        if (m_model->m_options.modelOnly && home.begin == home.end)
            continue;
        for (std::size_t row = m_checkpoint.pieces().firstOf(tensor); row < m_checkpoint.pieces().lastOf(tensor); ++row)
            addByParameter(tensor, m_checkpoint.pieces().at(idAt<PieceId>(row)), home);
    }
}

void AtlasBuilder::addByParameter(TensorId tensor, const Piece& piece, AtlasSpan home)
{
    const Tensor& owner = m_checkpoint.tensor(tensor);
    const FlatRange cells = outlineOf(piece.region, unitShape(owner.shape, owner.dtype));
    if (cells.empty())
        return;
    const std::uint64_t values = info(owner.dtype).valuesPerBlock;
    const Entry entry{home.begin + cells.begin * values, cells.size() * values, piece.id};
    Draft& draft = m_drafts[draftOfState(m_checkpoint.rankOfPiece(piece), owner.role, groupOf(piece, tensor))];
    draft.entries.push_back(entry);
    draft.lane.bytes += volumeOf(piece.region) * cellBytesOf(owner);
    draft.lane.length = m_homeOfParameter.back().end;
}

void AtlasBuilder::addFileSpans()
{
    for (const FileSpan& span : m_checkpoint.fileSpans())
        if (span.length > 0)
            m_drafts[draftOfFile(span.file, groupOfFile(span.file))].lane.marks.push_back(
                {{span.offset, span.offset + span.length}, markOf(span.kind)});
    for (Draft& draft : m_drafts) {
        std::sort(draft.lane.marks.begin(), draft.lane.marks.end(), [](const AtlasMark& a, const AtlasMark& b) { return a.begin < b.begin; });
        std::vector<AtlasMark> merged;
        for (const AtlasMark& mark : draft.lane.marks)
            appendMark(merged, mark);
        draft.lane.marks = std::move(merged);
    }
}

// Cells that no piece names, not even one whose file is missing: they get a lane of their own.
void AtlasBuilder::addHoles()
{
    for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
        if (i % kPollEvery == 0 && m_stop.stop_requested())
            return;
        const auto tensor = idAt<TensorId>(i);
        const Tensor& owner = m_checkpoint.tensor(tensor);
        const Coverage coverage = coverageOf(m_checkpoint, tensor);
        for (const Hole& hole : coverage.holes) {
            if (hole.expected)
                continue;
            const std::uint64_t cells = volumeOf(viewOf(hole.region));
            const Group group =
                m_model->m_options.rows == AtlasRows::Layer ? m_groupOfModule[m_moduleOfParameter[indexOf(owner.parameter)]] : kNoGroup;
            AtlasLane& lane = m_drafts[draftOfFile(kNoFile, group)].lane;
            AtlasSpan span{lane.bytes, lane.bytes + cells * cellBytesOf(owner)}; // one hole behind another
            if (!m_homeOfParameter.empty()) {
                if (m_model->m_options.modelOnly && !isPartOfModel(m_checkpoint.roles()[indexOf(owner.role)].kind))
                    continue;
                const FlatRange outline = outlineOf(viewOf(hole.region), unitShape(owner.shape, owner.dtype));
                const std::uint64_t home = m_homeOfParameter[indexOf(owner.parameter)].begin;
                span = {home + outline.begin * info(owner.dtype).valuesPerBlock, home + outline.end * info(owner.dtype).valuesPerBlock};
            }
            lane.bytes += cells * cellBytesOf(owner);
            lane.length = std::max(lane.length, span.end);
            lane.marks.push_back({span, AtlasMark::Kind::Hole, 0, 0, tensor});
        }
    }
}

void AtlasBuilder::close(Draft& draft) const
{
    std::sort(draft.entries.begin(), draft.entries.end(),
              [](const Entry& a, const Entry& b) { return a.start != b.start ? a.start < b.start : a.piece < b.piece; });
    if (draft.lane.missing && m_model->m_options.across == AtlasAcross::OffsetInFile)
        layEndToEnd(draft);
    fillColumns(draft);
    addTiers(draft.lane);
    addPieceMarks(draft.lane);
}

// Nobody knows the offsets inside a file that is not there: where they collide, its pieces follow each other.
void AtlasBuilder::layEndToEnd(Draft& draft) const
{
    const auto collides = [](const Entry& a, const Entry& b) { return a.start + a.length > b.start; };
    if (std::adjacent_find(draft.entries.begin(), draft.entries.end(), collides) == draft.entries.end())
        return;
    std::stable_sort(draft.entries.begin(), draft.entries.end(), [this](const Entry& a, const Entry& b) {
        const auto roleOf = [this](PieceId piece) { return m_checkpoint.tensor(m_model->tensorOf(piece)).role; };
        return std::make_pair(roleOf(a.piece), a.piece) < std::make_pair(roleOf(b.piece), b.piece);
    });
    std::uint64_t at = 0;
    for (Entry& entry : draft.entries) {
        entry.start = at;
        at += entry.length;
    }
}

void AtlasBuilder::fillColumns(Draft& draft) const
{
    AtlasLane& lane = draft.lane;
    std::uint64_t reach = 0;
    lane.starts.reserve(draft.entries.size());
    lane.lengths.reserve(draft.entries.size());
    lane.reach.reserve(draft.entries.size());
    lane.pieces.reserve(draft.entries.size());
    for (const Entry& entry : draft.entries) {
        reach = std::max(reach, entry.start + entry.length);
        lane.starts.push_back(entry.start);
        lane.lengths.push_back(entry.length);
        lane.reach.push_back(reach);
        lane.pieces.push_back(entry.piece);
    }
    lane.length = std::max(lane.length, reach);
    const bool isOfLayer = m_model->m_options.rows == AtlasRows::Layer; // a file's header belongs to no layer
    const bool isPart = isGrouped() && lane.file != kNoFile && m_model->m_options.across == AtlasAcross::OffsetInFile &&
                        (isOfLayer || m_onlyGroup[indexOf(lane.file)] == kNoGroup);
    if (isPart) {
        lane.bytes = 0;
        std::uint64_t covered = 0;
        for (std::size_t i = 0; i < lane.starts.size(); ++i) { // what several pieces share counts once
            lane.bytes += lane.endOf(i) - std::min(lane.endOf(i), std::max(covered, lane.starts[i]));
            covered = std::max(covered, lane.endOf(i));
        }
        const bool hasMarks = !isOfLayer || draft.group == kNoGroup;
        for (std::size_t i = 0; hasMarks && i < lane.marks.size(); ++i)
            lane.bytes += lane.marks[i].end - lane.marks[i].begin;
    }
    if (lane.missing && lane.bytes == 0 && !isPart)
        for (const std::uint64_t length : lane.lengths)
            lane.bytes += length;
    draft.entries = {};
}

QString AtlasBuilder::stateLabel(RoleId role, std::optional<DType> dtype) const
{
    const QString name = shown(m_checkpoint.roles()[indexOf(role)].name);
    const QString type = dtype ? QString::fromUtf8(nameOf(*dtype).data(), static_cast<qsizetype>(nameOf(*dtype).size())) : Atlas::tr("mixed");
    return Atlas::tr("%1, %2").arg(name, type);
}

void AtlasBuilder::addTiers(AtlasLane& lane) const
{
    std::optional<DType> dtype;
    for (std::size_t i = 0; i < lane.size(); ++i) {
        const Tensor& tensor = m_checkpoint.tensor(m_model->tensorOf(lane.pieces[i]));
        const std::uint32_t module = m_moduleOfParameter[indexOf(tensor.parameter)];
        const bool newState = lane.states.empty() || lane.states.back().role != tensor.role;
        if (newState) {
            if (!lane.states.empty())
                lane.states.back().label = stateLabel(lane.states.back().role, dtype);
            lane.states.push_back({{lane.starts[i], lane.starts[i]}, tensor.role, {}, 0});
            dtype = tensor.dtype;
        }
        if (dtype && *dtype != tensor.dtype)
            dtype.reset();
        lane.states.back().end = std::max(lane.states.back().end, lane.endOf(i));
        lane.states.back().bytes += m_model->m_options.across == AtlasAcross::OffsetInFile
                                        ? lane.lengths[i]
                                        : volumeOf(m_checkpoint.pieces().at(lane.pieces[i]).region) * cellBytesOf(tensor);
        if (newState || lane.runs.back().module != module)
            lane.runs.push_back({{lane.starts[i], lane.starts[i]}, module});
        lane.runs.back().end = std::max(lane.runs.back().end, lane.endOf(i));
    }
    if (!lane.states.empty())
        lane.states.back().label = stateLabel(lane.states.back().role, dtype);
}

void AtlasBuilder::addPieceMarks(AtlasLane& lane) const
{
    const bool byOffset = m_model->m_options.across == AtlasAcross::OffsetInFile;
    std::vector<AtlasMark> marks;
    std::size_t widest = 0; // the piece that reaches furthest
    for (std::size_t i = 0; i < lane.size(); ++i) {
        const Piece piece = m_checkpoint.pieces().at(lane.pieces[i]);
        const AtlasSpan span{lane.starts[i], lane.endOf(i)};
        if (m_checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing)
            appendMark(marks, {span, AtlasMark::Kind::Hole, 0, 0, m_model->tensorOf(lane.pieces[i])});
        else if (byOffset && lane.file != kNoFile && span.end > m_checkpoint.file(lane.file).size)
            appendMark(marks, {{std::max(span.begin, m_checkpoint.file(lane.file).size), span.end}, AtlasMark::Kind::PastEnd});
        if (i > 0 && lane.reach[i - 1] > span.begin)
            marks.push_back({{span.begin, std::min(span.end, lane.reach[i - 1])}, AtlasMark::Kind::Overlap, static_cast<std::uint32_t>(widest),
                             static_cast<std::uint32_t>(i)});
        if (span.end >= lane.reach[i])
            widest = i;
    }
    lane.marks.insert(lane.marks.end(), marks.begin(), marks.end());
    std::stable_sort(lane.marks.begin(), lane.marks.end(), [](const AtlasMark& a, const AtlasMark& b) { return a.kind < b.kind; });
}

void AtlasBuilder::dropOtherRanks()
{
    const auto rank = m_model->m_options.rank;
    if (!rank)
        return;
    const RankCover cover(m_checkpoint, *rank);
    std::erase_if(m_drafts, [&](const Draft& draft) {
        const auto holds = [&](PieceId piece) { return cover.holds(m_checkpoint.pieces().at(piece)); };
        return draft.lane.rank != *rank && std::none_of(draft.lane.pieces.begin(), draft.lane.pieces.end(), holds);
    });
}

void AtlasBuilder::order()
{
    const bool byRank = m_model->m_options.rows != AtlasRows::File || m_model->m_options.across == AtlasAcross::ParameterOrder;
    const auto rankKey = [byRank](const Draft& draft) {
        return !byRank || !draft.lane.rank ? std::uint64_t{0x1'0000'0000} : std::uint64_t{*draft.lane.rank};
    };
    std::stable_sort(m_drafts.begin(), m_drafts.end(), [&](const Draft& a, const Draft& b) {
        if (a.group != b.group)
            return a.group < b.group;
        return rankKey(a) != rankKey(b) ? rankKey(a) < rankKey(b) : naturalLess(a.name, b.name);
    });
}

void AtlasBuilder::fold()
{
    m_model->m_laneFiles = m_drafts.size();
    std::vector<std::uint32_t> homeOf(m_drafts.size());
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> byShape; // lanes that stand, by a hash of their geometry
    const auto tensorsEqual = [this](const AtlasLane& a, const AtlasLane& b) {
        return std::equal(a.pieces.begin(), a.pieces.end(), b.pieces.begin(), b.pieces.end(),
                          [this](PieceId x, PieceId y) { return m_model->tensorOf(x) == m_model->tensorOf(y); });
    };
    for (std::uint32_t i = 0; i < m_drafts.size(); ++i) {
        AtlasLane& lane = m_drafts[i].lane;
        homeOf[i] = i;
        if (!m_model->m_options.fold || !lane.rank || lane.pieces.empty() || lane.missing)
            continue;
        auto& candidates = byShape[(lane.size() * 1'000'003 + lane.length) * 1'000'003 + m_drafts[i].group];
        const auto same = std::find_if(candidates.begin(), candidates.end(), [&](std::uint32_t other) {
            const AtlasLane& standing = m_drafts[other].lane;
            return m_drafts[other].group == m_drafts[i].group && standing.rank != lane.rank && standing.note == lane.note &&
                   standing.starts == lane.starts && standing.lengths == lane.lengths && tensorsEqual(standing, lane);
        });
        if (same == candidates.end()) {
            candidates.push_back(i);
            continue;
        }
        homeOf[i] = *same;
        m_drafts[*same].lane.foldedRanks.push_back(*lane.rank);
        m_drafts[*same].lane.foldedFiles.push_back(lane.file);
    }
    finishPlaces(homeOf, m_drafts);
}

void AtlasBuilder::finishPlaces(const std::vector<std::uint32_t>& homeOf, std::vector<Draft>& drafts)
{
    std::vector<std::uint32_t> laneOf(drafts.size(), kNowhere);
    bool isClosed = false;
    for (std::uint32_t i = 0; i < drafts.size(); ++i) {
        m_model->m_length = std::max(m_model->m_length, drafts[i].lane.length);
        if (isGrouped() && (i == 0 || drafts[i].group != drafts[i - 1].group)) { // the first of a group stands
            const QString title = groupTitle(drafts[i].group);
            isClosed = m_model->m_options.closed.contains(title);
            m_model->m_groups.push_back({title, static_cast<std::uint32_t>(m_model->m_lanes.size()), 0, 0, isClosed, 0});
        }
        if (isGrouped()) {
            AtlasGroup& group = m_model->m_groups.back();
            group.allLanes += homeOf[i] == i ? 1 : 0;
            group.lanes += homeOf[i] == i && !isClosed ? 1 : 0;
            group.bytes += drafts[i].lane.bytes;
            drafts[i].lane.group = group.title;
        }
        if (isClosed)
            continue; // its pieces have no place
        if (homeOf[i] == i) {
            laneOf[i] = static_cast<std::uint32_t>(m_model->m_lanes.size());
            m_model->m_lanes.emplace_back();
        }
        const std::uint32_t lane = laneOf[homeOf[i]];
        for (std::uint32_t index = 0; index < drafts[i].lane.size(); ++index)
            m_model->m_placeOfPiece[indexOf(drafts[i].lane.pieces[index])] = {lane, index};
    }
    for (std::uint32_t i = 0; i < drafts.size(); ++i)
        if (homeOf[i] == i && laneOf[i] != kNowhere)
            m_model->m_lanes[laneOf[i]] = std::move(drafts[i].lane);
}

} // namespace shardlens::ui
