#include "core/format/megatron/rank_set.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::megatron {
namespace {

using Along = GroupedExperts::Along;

constexpr std::uint64_t kMostExperts = 1u << 20;      // of a rank
constexpr std::uint64_t kMostExpertTensors = 1u << 21; // that a run's are taken apart into

const GroupedExperts* groupOf(const RuleSet& rules, const std::string& name)
{
    const auto known = std::find_if(rules.groupedExperts.begin(), rules.groupedExperts.end(), [&](const GroupedExperts& one) { return one.of.search(name); });
    return known == rules.groupedExperts.end() ? nullptr : &*known;
}

std::string expertName(const GroupedExperts& grouped, const std::string& of, std::uint64_t expert)
{
    const auto groups = grouped.of.groups(of);
    std::string out;
    for (std::size_t i = 0; i < grouped.name.size(); ++i) {
        const std::string_view left = std::string_view(grouped.name).substr(i);
        const bool isGroup = left.size() > 1 && left[0] == '$' && left[1] >= '1' && left[1] <= '9';
        if (isGroup) {
            const auto number = static_cast<std::size_t>(left[1] - '0');
            out += groups && number < groups->size() ? std::string((*groups)[number]) : std::string();
            ++i;
        } else if (left.starts_with("{}")) {
            out += std::to_string(expert);
            ++i;
        } else {
            out += left[0];
        }
    }
    return out;
}

// The matrix of each expert: [out, in], and where its rows and columns lie in the buffer.
struct ExpertMatrix {
    std::uint64_t experts = 0;
    Shape shape;
    bool isTransposed = false; // stored as [in, out]
};

Result<ExpertMatrix> matrixOf(const GroupedExperts& grouped, const Shape& shape, std::optional<std::uint64_t> experts)
{
    if (grouped.along == Along::Stack) {
        if (shape.size() != 3 || shape[0] == 0 || shape[0] > kMostExperts)
            return Error{ErrorCode::Unsupported, fmt::format("a stack of matrices is expected, and it is {}", shapeText(shape))};
        return ExpertMatrix{shape[0], {shape[1], shape[2]}, false};
    }
    if (!experts)
        return Error{ErrorCode::Unsupported, "the arguments do not say how many experts a rank has"};
    const std::size_t divided = grouped.along == Along::Columns ? 1 : 0;
    if (shape.size() != 2 || shape[divided] % *experts != 0)
        return Error{ErrorCode::Unsupported, fmt::format("{} cannot be divided into {}", shapeText(shape), plural(*experts, "expert", "experts"))};
    const std::uint64_t in = divided == 1 ? shape[0] : shape[0] / *experts;
    const std::uint64_t out = divided == 1 ? shape[1] / *experts : shape[1];
    return ExpertMatrix{*experts, {out, in}, true};
}

std::optional<std::uint64_t> expertsOfRank(const RankSet& set)
{
    auto all = factNumber(set.facts, "num_experts");
    if (!all)
        all = factNumber(set.facts, "num_moe_experts");
    return all && *all % set.sizes.ep == 0 && *all <= kMostExperts ? std::optional(*all / set.sizes.ep) : std::nullopt;
}

// Takes the tensors of one rank apart.
class ExpertSplitter {
public:
    // `made` counts what all ranks together are taken apart into.
    ExpertSplitter(RankSet& set, Rank& rank, std::uint64_t& made, JobContext& job)
        : m_set(set), m_rank(rank), m_made(made), m_job(job), m_stored(rank.content.checkpoint), m_builder(*m_stored)
    {
    }

    Status split()
    {
        std::vector<Entry> entries;
        for (Entry& entry : m_set.entries.at(&m_rank)) {
            const GroupedExperts* grouped = groupOf(m_set.rules, entry.local);
            if (grouped == nullptr) {
                entries.push_back(std::move(entry));
                continue;
            }
            const std::size_t before = entries.size();
            Status done = addExperts(entry, *grouped, entries);
            if (done)
                continue;
            if (done.error().code() == ErrorCode::Cancelled)
                return done;
            entries.resize(before);
            if (m_set.sizes.ep > 1) {
                m_rank.lost.push_back(
                    {entry.global, RoleKind::Weight,
                     fmt::format("{} of {} is one tensor of all experts of a rank: {}.", printable(entry.local), printable(m_rank.name), done.error().text())});
                continue;
            }
            if (!entry.isState)
                m_builder.addFinding({Severity::Info, "grouped-experts",
                                      fmt::format("{} of {} is one tensor of all experts and is shown as it is: {}.", printable(entry.local),
                                                  printable(m_rank.name), done.error().text()),
                                      kNoTensor, FileId{0}, std::nullopt});
            entries.push_back(std::move(entry));
        }
        m_set.entries.at(&m_rank) = std::move(entries);
        m_rank.content.checkpoint = std::move(m_builder).finish();
        return {};
    }

private:
    Status addExperts(const Entry& entry, const GroupedExperts& grouped, std::vector<Entry>& out)
    {
        const Tensor stored = m_stored->tensor(idAt<TensorId>(entry.tensor));
        const bool isNumber = stored.shape.empty(); // a step: the same for each
        const Shape shape = isNumber ? m_stored->tensor(idAt<TensorId>(weightOf(entry))).shape : stored.shape;
        SHARDLENS_ASSIGN(const ExpertMatrix matrix, matrixOf(grouped, shape, expertsOfRank(m_set)));
        if (matrix.shape[0] == 0 || matrix.shape[1] == 0) // no bytes: as many as the arguments like
            return Error{ErrorCode::Unsupported, fmt::format("{} holds no elements", shapeText(shape))};
        if (matrix.experts > kMostExpertTensors - m_made)
            return Error{ErrorCode::LimitExceeded,
                         fmt::format("it holds {}, and a run's experts are taken apart into {} tensors at most", plural(matrix.experts, "matrix", "matrices"),
                                     groupedText(kMostExpertTensors))};
        m_made += matrix.experts;
        const PieceStore& pieces = m_stored->pieces();
        const std::size_t first = pieces.firstOf(idAt<TensorId>(entry.tensor));
        const std::uint64_t each = matrix.shape[0] * matrix.shape[1];
        if (pieces.countOf(idAt<TensorId>(entry.tensor)) != 1)
            return Error{ErrorCode::Unsupported, "it lies in several places"};
        const Piece piece = pieces.at(idAt<PieceId>(first));
        const auto* flat = std::get_if<FlatRange>(&piece.region);
        if (flat == nullptr || !piece.source.strides.empty() || (!isNumber && *flat != FlatRange{0, each * matrix.experts}))
            return Error{ErrorCode::Unsupported, "it does not lie row by row"};
        const std::uint64_t cell = info(stored.dtype).bytesPerBlock;
        const std::array<std::int64_t, 2> strides{static_cast<std::int64_t>(cell), static_cast<std::int64_t>(matrix.shape[0] * cell)};
        for (std::uint64_t expert = 0; expert < matrix.experts; ++expert) {
            SHARDLENS_TRY(m_job.poll());
            Entry made = entry;
            made.local = expertName(grouped, entry.local, expert);
            made.global = expertName(grouped, entry.global, m_rank.ep * matrix.experts + expert);
            Tensor tensor = stored;
            tensor.parameter = m_builder.parameter(made.local);
            tensor.shape = isNumber ? Shape{} : matrix.shape;
            const TensorId id = m_builder.addTensor(tensor);
            const CheckpointBuilder::Placement placement{piece.source.stream, piece.source.offset + (isNumber ? 0 : expert * each * cell), piece.holder,
                                                         piece.source.flags};
            if (isNumber || !matrix.isTransposed)
                SHARDLENS_TRY(m_builder.addWhole(id, placement));
            else
                SHARDLENS_TRY(m_builder.addPiece(id, BoxView(Shape{0, 0}, matrix.shape), placement, strides));
            made.tensor = indexOf(id);
            copyNumber(entry, made, m_stored->roleOf(idAt<TensorId>(entry.tensor)).name);
            out.push_back(std::move(made));
        }
        m_set.localExperts = std::max(m_set.localExperts, matrix.experts);
        m_set.hadGroupedExperts = true;
        return {};
    }

    // The tensor that an entry is a state of; the entries of states lie behind those of the model.
    std::size_t weightOf(const Entry& state) const
    {
        const ParameterId parameter = m_stored->tensor(idAt<TensorId>(state.tensor)).parameter;
        for (std::size_t i = 0; i < state.tensor; ++i)
            if (m_stored->tensors()[i].parameter == parameter)
                return i;
        return state.tensor;
    }

    void copyNumber(const Entry& from, const Entry& to, const std::string& state)
    {
        auto& numbers = m_set.optimizer.numbers;
        if (const auto known = numbers.find({from.global, state}); from.isState && known != numbers.end())
            numbers.insert_or_assign({to.global, state}, known->second);
    }

    RankSet& m_set;
    Rank& m_rank;
    std::uint64_t& m_made;
    JobContext& m_job;
    CheckpointPtr m_stored;
    CheckpointBuilder m_builder;
};

} // namespace

Status takeExpertsApart(RankSet& set, JobContext& job)
{
    std::uint64_t made = 0;
    for (Rank& rank : set.ranks) {
        if (!rank.content.checkpoint)
            continue;
        const auto& entries = set.entries.at(&rank);
        if (std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) { return groupOf(set.rules, entry.local) != nullptr; }))
            SHARDLENS_TRY(ExpertSplitter(set, rank, made, job).split());
    }
    return {};
}

} // namespace shardlens::megatron
