#include "ui/models/rank_uses.h"

#include <algorithm>
#include <set>

namespace shardlens::ui {
namespace {

constexpr std::size_t kPollPieces = 65'536;

// One use of a topology's ranks by everything that names the same holders.
struct HolderUse {
    std::vector<std::uint64_t> bytes; // by role
    std::set<FileId> files;
    bool lacks = false; // some of it is in a file that is not there
};

std::uint64_t bytesOfPiece(const Checkpoint& checkpoint, TensorId tensor, const Piece& piece)
{
    return volumeOf(piece.region) * info(checkpoint.tensor(tensor).dtype).bytesPerBlock;
}

class RankCounter {
public:
    RankCounter(const Checkpoint& checkpoint, const std::vector<Finding>& findings, const std::stop_token& stop)
        : m_checkpoint(checkpoint), m_findings(findings), m_stop(stop)
    {
    }

    std::shared_ptr<const RankUses> run()
    {
        if (!nameRanks())
            return m_out;
        m_uses.resize(m_hasAxes ? m_checkpoint.holders().size() : m_out->ranks.size());
        for (HolderUse& use : m_uses)
            use.bytes.resize(m_checkpoint.roles().size());
        if (!countPieces())
            return nullptr;
        for (std::size_t i = 0; i < m_uses.size(); ++i)
            spread(m_uses[i], ranksOfUse(i));
        addFiles();
        addFindings();
        weigh();
        return findLargest() ? m_out : nullptr;
    }

private:
    bool nameRanks()
    {
        m_out->topology = m_checkpoint.topology();
        m_hasAxes = !m_out->topology.axes.empty();
        if (!m_hasAxes) {
            std::uint32_t ranks = 0;
            for (const File& file : m_checkpoint.files())
                ranks = std::max(ranks, file.rank && *file.rank < kMostGridRanks ? *file.rank + 1 : 0);
            m_out->topology.axes.push_back({Axis::Rank, std::max(ranks, 1u)});
            m_out->kind = ranks > 1 ? RankUses::Kind::RowOfRanks : RankUses::Kind::NoRanks;
            if (ranks < 2)
                return false;
        } else {
            std::uint64_t ranks = 1;
            for (const Topology::Size& axis : m_out->topology.axes)
                ranks = std::min<std::uint64_t>(ranks * axis.size, kMostGridRanks + 1);
            m_out->kind = ranks > kMostGridRanks ? RankUses::Kind::TooMany : RankUses::Kind::Grid;
            if (ranks > kMostGridRanks || ranks == 0)
                return false;
        }
        m_out->ranks.resize(m_out->topology.worldSize());
        for (RankUse& use : m_out->ranks)
            use.bytes.resize(m_checkpoint.roles().size());
        return true;
    }

    std::optional<std::size_t> useOf(const Piece& piece) const
    {
        if (m_hasAxes)
            return indexOf(piece.holder);
        const Stream& from = m_checkpoint.stream(piece.source.stream);
        const auto rank = from.file == kNoFile ? std::nullopt : m_checkpoint.file(from.file).rank;
        return rank && *rank < m_uses.size() ? std::optional<std::size_t>(*rank) : std::nullopt;
    }

    std::vector<std::uint32_t> ranksOfUse(std::size_t use) const
    {
        return m_hasAxes ? m_out->topology.ranksOf(m_checkpoint.holders()[use]) : std::vector{static_cast<std::uint32_t>(use)};
    }

    bool countPieces()
    {
        std::size_t sinceAsked = 0;
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
            const auto tensor = idAt<TensorId>(i);
            const std::size_t role = indexOf(m_checkpoint.tensor(tensor).role);
            for (std::size_t row = m_checkpoint.pieces().firstOf(tensor); row < m_checkpoint.pieces().lastOf(tensor); ++row) {
                if (++sinceAsked % kPollPieces == 0 && m_stop.stop_requested())
                    return false;
                const Piece piece = m_checkpoint.pieces().at(idAt<PieceId>(row));
                const auto at = useOf(piece);
                if (!at)
                    continue;
                const Stream& from = m_checkpoint.stream(piece.source.stream);
                HolderUse& use = m_uses[*at];
                if (from.file != kNoFile)
                    use.files.insert(from.file);
                if (from.kind == Stream::Kind::Missing)
                    use.lacks = true;
                else
                    use.bytes[role] += bytesOfPiece(m_checkpoint, tensor, piece);
            }
        }
        return !m_stop.stop_requested();
    }

    void spread(const HolderUse& use, const std::vector<std::uint32_t>& ranks) const
    {
        for (const std::uint32_t rank : ranks) {
            RankUse& to = m_out->ranks[rank];
            for (std::size_t role = 0; role < use.bytes.size(); ++role) {
                to.bytes[role] += use.bytes[role];
                to.total += use.bytes[role];
            }
            to.files.insert(to.files.end(), use.files.begin(), use.files.end());
            if (use.lacks)
                to.state = RankUse::State::Missing;
        }
    }

    void addFiles() const
    {
        for (std::size_t i = 0; i < m_checkpoint.files().size(); ++i) {
            const File& file = m_checkpoint.files()[i];
            if (!file.rank || *file.rank >= m_out->ranks.size())
                continue;
            RankUse& use = m_out->ranks[*file.rank];
            use.files.push_back(idAt<FileId>(i));
            if (file.state != File::State::Read)
                use.state = RankUse::State::Missing;
        }
        for (std::uint32_t rank = 0; rank < m_out->ranks.size(); ++rank) {
            RankUse& use = m_out->ranks[rank];
            std::sort(use.files.begin(), use.files.end());
            use.files.erase(std::unique(use.files.begin(), use.files.end()), use.files.end());
            std::stable_partition(use.files.begin(), use.files.end(), [&](FileId file) { return m_checkpoint.file(file).rank == rank; });
            for (const FileId file : use.files)
                use.fileBytes += m_checkpoint.file(file).size;
        }
    }

    std::set<std::uint32_t> ranksOfFinding(const Finding& finding) const
    {
        std::set<std::uint32_t> out;
        if (finding.rank)
            out.insert(*finding.rank);
        else if (finding.file != kNoFile && m_checkpoint.file(finding.file).rank)
            out.insert(*m_checkpoint.file(finding.file).rank);
        else if (finding.tensor != kNoTensor)
            for (std::size_t row = m_checkpoint.pieces().firstOf(finding.tensor); row < m_checkpoint.pieces().lastOf(finding.tensor); ++row)
                if (const auto use = useOf(m_checkpoint.pieces().at(idAt<PieceId>(row)))) {
                    const std::vector<std::uint32_t> ranks = ranksOfUse(*use);
                    out.insert(ranks.begin(), ranks.end());
                }
        return out;
    }

    void addFindings() const
    {
        for (std::size_t i = 0; i < m_findings.size(); ++i) {
            if (m_findings[i].severity == Severity::Info)
                continue;
            const bool isAbsence = m_findings[i].code == "missing-file" || m_findings[i].code == "unreadable-file";
            for (const std::uint32_t rank : ranksOfFinding(m_findings[i])) {
                if (rank >= m_out->ranks.size())
                    continue;
                RankUse& use = m_out->ranks[rank];
                use.findings.push_back(i);
                use.state = std::max(use.state, isAbsence ? RankUse::State::Missing : RankUse::State::Differs);
            }
        }
    }

    void weigh() const
    {
        const auto less = [](const RankUse& a, const RankUse& b) { return a.total < b.total; };
        const auto [least, most] = std::minmax_element(m_out->ranks.begin(), m_out->ranks.end(), less);
        const auto first = std::find_if(m_out->ranks.begin(), m_out->ranks.end(), [&](const RankUse& use) { return use.total == most->total; });
        m_out->least = least->total;
        m_out->most = most->total;
        m_out->heaviest = static_cast<std::uint32_t>(first - m_out->ranks.begin());
        double sum = 0;
        for (const RankUse& use : m_out->ranks) {
            sum += static_cast<double>(use.total);
            m_out->heaviestCount += use.total == most->total ? 1 : 0;
        }
        m_out->mean = sum / static_cast<double>(m_out->ranks.size());
    }

    bool findLargest() const
    {
        const RankCover cover(m_checkpoint, m_out->heaviest);
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
            if (m_stop.stop_requested())
                return false;
            const auto tensor = idAt<TensorId>(i);
            std::uint64_t bytes = 0;
            for (std::size_t row = m_checkpoint.pieces().firstOf(tensor); row < m_checkpoint.pieces().lastOf(tensor); ++row)
                if (const Piece piece = m_checkpoint.pieces().at(idAt<PieceId>(row));
                    cover.holds(piece) && m_checkpoint.stream(piece.source.stream).kind != Stream::Kind::Missing)
                    bytes += bytesOfPiece(m_checkpoint, tensor, piece);
            if (bytes > m_out->largestBytes) {
                m_out->largest = tensor;
                m_out->largestBytes = bytes;
            }
        }
        return true;
    }

    const Checkpoint& m_checkpoint;
    const std::vector<Finding>& m_findings;
    const std::stop_token& m_stop;
    std::shared_ptr<RankUses> m_out = std::make_shared<RankUses>();
    std::vector<HolderUse> m_uses; // by HolderId, else by rank
    bool m_hasAxes = false;
};

} // namespace

Holder holderOfRank(const Topology& topology, std::uint32_t rank)
{
    Holder out;
    for (std::size_t i = topology.axes.size(); i-- > 0;) {
        const std::uint32_t size = std::max(topology.axes[i].size, 1u);
        out.coordinates.push_back({topology.axes[i].axis, rank % size});
        rank /= size;
    }
    std::sort(out.coordinates.begin(), out.coordinates.end());
    return out;
}

RankCover::RankCover(const Checkpoint& checkpoint, std::uint32_t rank) : m_checkpoint(checkpoint), m_rank(rank)
{
    const Topology& topology = checkpoint.topology();
    if (topology.axes.empty())
        return;
    const Holder own = holderOfRank(topology, rank);
    for (const Holder& holder : checkpoint.holders())
        m_holders.push_back(std::all_of(holder.coordinates.begin(), holder.coordinates.end(), [&](const Holder::Coordinate& at) {
            const auto known = std::find_if(own.coordinates.begin(), own.coordinates.end(), [&](const auto& mine) { return mine.axis == at.axis; });
            return known == own.coordinates.end() || known->index == at.index;
        }));
}

bool RankCover::holds(const Piece& piece) const
{
    if (!m_holders.empty())
        return m_holders[indexOf(piece.holder)];
    const Stream& from = m_checkpoint.stream(piece.source.stream);
    return from.file != kNoFile && m_checkpoint.file(from.file).rank == m_rank;
}

std::vector<bool> RankCover::files() const
{
    std::vector<bool> out(m_checkpoint.files().size(), false);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = m_checkpoint.files()[i].rank == m_rank;
    for (std::size_t row = 0; row < m_checkpoint.pieces().size(); ++row) {
        const Piece piece = m_checkpoint.pieces().at(idAt<PieceId>(row));
        const FileId file = m_checkpoint.stream(piece.source.stream).file;
        if (file != kNoFile && !out[indexOf(file)])
            out[indexOf(file)] = holds(piece);
    }
    return out;
}

double RankUses::shareOf(std::uint32_t rank) const
{
    return mean > 0 ? static_cast<double>(ranks[rank].total) / mean : 0;
}

QString RankUses::placeOf(std::uint32_t rank) const
{
    return kind == Kind::Grid ? QString::fromStdString(topology.textOf(holderOfRank(topology, rank))) : QString();
}

RankUsesPtr RankUses::build(const CheckpointPtr& checkpoint, const std::vector<Finding>& findings, const std::stop_token& stop)
{
    return RankCounter(*checkpoint, findings, stop).run();
}

} // namespace shardlens::ui
