#include "ui/models/atlas_palette.h"

#include "core/base/text.h"

#include <QStringList>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

namespace shardlens::ui {
namespace {

constexpr int kSlots = 12;
constexpr int kFirstClassSlot = 4; // ranks are dealt from 0, classes from 4 (design.md §1.7)
constexpr std::uint32_t kMostRankColours = 48;
constexpr std::size_t kLegendEntries = 12;
constexpr std::size_t kMostClasses = 4096;

QString textOf(std::string_view text)
{
    return QString::fromStdString(printable(text));
}

std::optional<std::uint32_t> coordinateOf(const Holder& holder, Axis axis)
{
    for (const Holder::Coordinate& coordinate : holder.coordinates)
        if (coordinate.axis == axis)
            return coordinate.index;
    return std::nullopt;
}

// Hands out the slots that no rule has claimed.
class Slots {
public:
    int claim(int wanted)
    {
        if (!m_taken[static_cast<std::size_t>(wanted)]) {
            m_taken[static_cast<std::size_t>(wanted)] = true;
            return wanted;
        }
        return next();
    }
    // -1: all are taken.
    int next()
    {
        for (int i = 0; i < kSlots; ++i)
            if (const int slot = (kFirstClassSlot + i) % kSlots; !m_taken[static_cast<std::size_t>(slot)]) {
                m_taken[static_cast<std::size_t>(slot)] = true;
                return slot;
            }
        return -1;
    }

private:
    std::array<bool, kSlots> m_taken{};
};

AtlasInk slotInk(int slot)
{
    return slot < 0 ? AtlasInk{} : AtlasInk{AtlasInk::Kind::Slot, slot, {}, Severity::Info};
}

// Classes of parameters in order of first appearance, then their slots: the rules' wishes first.
class ParameterDealer {
public:
    explicit ParameterDealer(const ParameterClasses& rules) : m_rules(rules) {}

    std::uint16_t add(std::string_view name, bool vector)
    {
        const ParameterClasses::Match match = m_rules.match(name, vector);
        const QString key = match.neutral ? QString() : match.title;
        if (match.neutral && !m_neutralTitles.contains(match.title))
            m_neutralTitles.append(match.title);
        const auto [at, isNew] = m_indexOf.try_emplace(key, m_seen.size());
        if (isNew)
            m_seen.push_back({match.title, match.neutral, match.known});
        return static_cast<std::uint16_t>(at->second);
    }

    // The classes in the order of the rules, unknown ones behind, neutral last; `renumbered` maps what add() gave.
    std::vector<AtlasClass> deal(std::vector<std::uint16_t>& renumbered) const
    {
        std::vector<std::size_t> order(m_seen.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) { return rankOf(m_seen[a]) < rankOf(m_seen[b]); });
        renumbered.resize(m_seen.size());
        std::vector<AtlasClass> out;
        Slots free;
        for (const std::size_t index : order) {
            const Seen& seen = m_seen[index];
            renumbered[index] = static_cast<std::uint16_t>(out.size());
            if (seen.neutral)
                out.push_back({m_neutralTitles.join(Atlas::tr(", ")), {}, 0, 0});
            else if (seen.known)
                out.push_back({seen.title, slotInk(free.claim(*m_rules.classes()[*seen.known].slot)), 0, 0});
            else
                out.push_back({seen.title, slotInk(free.next()), 0, 0});
        }
        return out;
    }

private:
    struct Seen {
        QString title;
        bool neutral;
        std::optional<std::size_t> known;
    };

    [[nodiscard]] std::size_t rankOf(const Seen& seen) const
    {
        if (seen.neutral)
            return m_rules.classes().size() + 1;
        return seen.known.value_or(m_rules.classes().size());
    }

    const ParameterClasses& m_rules;
    std::map<QString, std::size_t> m_indexOf;
    std::vector<Seen> m_seen;
    QStringList m_neutralTitles;
};

} // namespace

AtlasPalettePtr AtlasPalette::build(const AtlasModel& model, AtlasColour colour, const ParameterClasses& rules)
{
    auto out = std::make_shared<AtlasPalette>();
    out->m_colour = colour;
    out->m_classOfPiece.resize(model.checkpoint().pieces().size());
    switch (colour) {
    case AtlasColour::Rank: out->colourByRank(model); break;
    case AtlasColour::Parameter: out->colourByParameter(model, rules); break;
    case AtlasColour::DType:
    case AtlasColour::State: out->colourByTensor(model); break;
    case AtlasColour::File: out->colourByFile(model); break;
    case AtlasColour::Finding: out->colourByFinding(model); break;
    }
    out->weigh(model);
    out->makeLegend();
    return out;
}

void AtlasPalette::colourByRank(const AtlasModel& model)
{
    const Topology& topology = model.checkpoint().topology();
    std::uint32_t highest = 0;
    for (const AtlasLane& lane : model.lanes())
        highest = std::max(highest, lane.rank.value_or(0));
    const Axis axis = topology.sizeOf(Axis::Tp) > 1 ? Axis::Tp : Axis::Pp;
    const bool byAxis = highest >= kMostRankColours && topology.sizeOf(axis) > 1;
    if (byAxis)
        m_note = Atlas::tr("More than %1 ranks: coloured by %2").arg(kMostRankColours).arg(QString::fromUtf8(nameOf(axis)));
    std::map<std::int64_t, std::vector<PieceId>> byNumber; // −1: no rank
    for (std::size_t row = 0; row < m_classOfPiece.size(); ++row) {
        const Piece piece = model.checkpoint().pieces().at(idAt<PieceId>(row));
        const auto number = byAxis ? coordinateOf(model.checkpoint().holder(piece.holder), axis) : model.checkpoint().rankOfPiece(piece);
        byNumber[number ? std::int64_t{*number} : std::int64_t{-1}].push_back(piece.id);
    }
    for (const auto& [number, pieces] : byNumber) {
        if (m_classes.size() >= kMostClasses)
            break;
        const QString word = byAxis ? QString::fromUtf8(nameOf(axis)) : Atlas::tr("rank");
        const AtlasInk ink = number < 0 ? AtlasInk{} : slotInk(static_cast<int>(number));
        for (const PieceId piece : pieces)
            m_classOfPiece[indexOf(piece)] = static_cast<std::uint16_t>(m_classes.size());
        const QString nobody = topology.axes.empty() ? Atlas::tr("no ranks") : Atlas::tr("any rank");
        m_classes.push_back({number < 0 ? nobody : Atlas::tr("%1 %2").arg(word).arg(number), ink, 0, 0});
    }
}

void AtlasPalette::colourByParameter(const AtlasModel& model, const ParameterClasses& rules)
{
    const Checkpoint& checkpoint = model.checkpoint();
    std::vector<std::size_t> axes(checkpoint.parameters().size(), 0);
    for (const Tensor& tensor : checkpoint.tensors())
        axes[indexOf(tensor.parameter)] = std::max(axes[indexOf(tensor.parameter)], tensor.shape.size());
    ParameterDealer dealer(rules);
    std::vector<std::uint16_t> classOfParameter;
    for (std::size_t i = 0; i < checkpoint.parameters().size(); ++i)
        classOfParameter.push_back(dealer.add(checkpoint.parameters()[i], axes[i] <= 1));
    std::vector<std::uint16_t> renumbered;
    m_classes = dealer.deal(renumbered);
    for (std::size_t row = 0; row < m_classOfPiece.size(); ++row)
        m_classOfPiece[row] = renumbered[classOfParameter[indexOf(model.parameterOf(idAt<PieceId>(row)))]];
}

void AtlasPalette::colourByTensor(const AtlasModel& model)
{
    std::map<std::size_t, std::uint16_t> known;
    for (std::size_t row = 0; row < m_classOfPiece.size(); ++row) {
        const Tensor& tensor = model.checkpoint().tensor(model.tensorOf(idAt<PieceId>(row)));
        const bool byDType = m_colour == AtlasColour::DType;
        const std::size_t key = byDType ? static_cast<std::size_t>(tensor.dtype) : indexOf(tensor.role);
        const auto [at, isNew] = known.try_emplace(key, static_cast<std::uint16_t>(m_classes.size()));
        m_classOfPiece[row] = at->second;
        if (!isNew)
            continue;
        const QString state = textOf(model.checkpoint().roles()[indexOf(tensor.role)].name);
        if (byDType)
            m_classes.push_back({textOf(nameOf(tensor.dtype)), slotInk(kFirstClassSlot + static_cast<int>(m_classes.size())), 0, 0});
        else
            m_classes.push_back({state, {AtlasInk::Kind::State, 0, state, Severity::Info}, 0, 0});
    }
}

void AtlasPalette::colourByFile(const AtlasModel& model)
{
    std::map<FileId, std::uint16_t> known;
    for (std::size_t row = 0; row < m_classOfPiece.size(); ++row) {
        const FileId file = model.checkpoint().stream(model.checkpoint().pieces().at(idAt<PieceId>(row)).source.stream).file;
        const std::size_t next = std::min(m_classes.size(), kMostClasses - 1);
        const auto [at, isNew] = known.try_emplace(file, static_cast<std::uint16_t>(next));
        m_classOfPiece[row] = at->second;
        if (!isNew || m_classes.size() >= kMostClasses)
            continue;
        const QString title = file == kNoFile ? Atlas::tr("no file") : textOf(model.checkpoint().file(file).name);
        m_classes.push_back({title, slotInk(static_cast<int>(m_classes.size())), 0, 0});
    }
}

void AtlasPalette::colourByFinding(const AtlasModel& model)
{
    const Checkpoint& checkpoint = model.checkpoint();
    m_classes.push_back({Atlas::tr("nothing found"), {}, 0, 0});
    for (const Severity severity : {Severity::Info, Severity::Warning, Severity::Error}) {
        const QString title = severity == Severity::Info ? Atlas::tr("note") : severity == Severity::Warning ? Atlas::tr("warning") : Atlas::tr("error");
        m_classes.push_back({title, {AtlasInk::Kind::Severity, 0, {}, severity}, 0, 0});
    }
    std::vector<std::uint16_t> ofFile(checkpoint.files().size(), 0);
    std::vector<std::uint16_t> ofTensor(checkpoint.tensors().size(), 0);
    std::map<std::uint32_t, std::uint16_t> ofRank;
    const auto raise = [](std::uint16_t& worst, Severity severity) {
        worst = std::max(worst, static_cast<std::uint16_t>(static_cast<int>(severity) + 1));
    };
    for (const Finding& finding : checkpoint.findings()) { // the narrowest place that it names
        if (finding.tensor != kNoTensor)
            raise(ofTensor[indexOf(finding.tensor)], finding.severity);
        else if (finding.file != kNoFile)
            raise(ofFile[indexOf(finding.file)], finding.severity);
        else if (finding.rank)
            raise(ofRank[*finding.rank], finding.severity);
    }
    for (std::size_t row = 0; row < m_classOfPiece.size(); ++row) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row));
        const FileId file = checkpoint.stream(piece.source.stream).file;
        std::uint16_t worst = ofTensor[indexOf(model.tensorOf(piece.id))];
        if (file != kNoFile)
            worst = std::max(worst, ofFile[indexOf(file)]);
        if (const auto rank = checkpoint.rankOfPiece(piece); rank && ofRank.contains(*rank))
            worst = std::max(worst, ofRank[*rank]);
        m_classOfPiece[row] = worst;
    }
}

void AtlasPalette::weigh(const AtlasModel& model)
{
    for (const AtlasLane& lane : model.lanes()) {
        for (std::size_t i = 0; i < lane.size(); ++i) {
            AtlasClass& one = m_classes[classOf(lane.pieces[i])];
            one.bytes += lane.lengths[i];
            one.largestPiece = std::max(one.largestPiece, lane.lengths[i]);
        }
    }
}

void AtlasPalette::makeLegend()
{
    std::vector<std::uint16_t> used;
    for (std::size_t i = 0; i < m_classes.size(); ++i)
        if (m_classes[i].bytes > 0)
            used.push_back(static_cast<std::uint16_t>(i));
    std::vector<std::uint16_t> shown = used;
    std::vector<std::uint16_t> others;
    if (used.size() > kLegendEntries) {
        std::stable_sort(shown.begin(), shown.end(), [this](std::uint16_t a, std::uint16_t b) { return m_classes[a].bytes > m_classes[b].bytes; });
        others.assign(shown.begin() + kLegendEntries - 1, shown.end());
        shown.resize(kLegendEntries - 1);
        std::sort(shown.begin(), shown.end());
    }
    for (const std::uint16_t index : shown)
        m_legend.push_back({m_classes[index].title, m_classes[index].ink, {index}});
    if (!others.empty())
        m_legend.push_back({Atlas::tr("other"), {}, others});
}

} // namespace shardlens::ui
