#include "core/layout/rank_join.h"

#include "core/layout/rule_library.h"
#include "core/model/coverage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/layout/rank_parts.h"

#include <algorithm>
#include <array>
#include <deque>
#include <numeric>
#include <random>

namespace shardlens {
namespace {

using test::countingNumbers;
using test::Numbers;
using test::numbersOf;
using test::PartFile;
using test::taken;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RuleSet rulesOf(const std::string& rules)
{
    auto out = parseRules(R"({"shardlens_rules": 1, "id": "test", "rules": [)" + rules + "]}", "a test");
    EXPECT_TRUE(out) << (out ? "" : out.error().text());
    return out ? out.take() : RuleSet{};
}

// What ranks hold of one parameter, joined.
class Joined {
public:
    Joined(RuleSet rules, Facts facts, std::uint32_t ranks) : m_rules(std::move(rules)), m_join(m_builder, m_rules, std::move(facts), ranks) {}

    void add(std::uint32_t rank, const std::string& name, const Numbers& numbers, RoleKind kind = RoleKind::Weight)
    {
        PartFile file("rank" + std::to_string(rank) + "-" + std::to_string(m_parts.size()));
        const TensorId tensor = file.add(name, numbers, kind, kind == RoleKind::Weight ? "weight" : "exp_avg");
        add(rank, name, file.finish(), tensor);
    }
    void add(std::uint32_t rank, const std::string& name, CheckpointPtr part, TensorId tensor)
    {
        m_parts.push_back(std::move(part));
        m_imports.emplace_back(m_builder, *m_parts.back(), std::vector<Holder::Coordinate>{{Axis::Tp, rank}});
        m_join.add(name, rank, m_imports.back(), tensor);
    }
    void missing(std::uint32_t rank)
    {
        File file;
        file.name = file.path = "rank" + std::to_string(rank) + " gone";
        file.state = File::State::Missing;
        m_join.missing(rank, m_builder.addFile(file));
    }
    CheckpointPtr finish()
    {
        const Status joined = m_join.finish();
        EXPECT_TRUE(joined.ok()) << (joined.ok() ? "" : joined.error().text());
        return std::move(m_builder).finish();
    }

private:
    CheckpointBuilder m_builder{"joined", "."};
    RuleSet m_rules;
    std::deque<CheckpointPtr> m_parts;
    std::deque<PieceImport> m_imports;
    RankJoin m_join;
};

std::vector<std::string> lostOf(const Checkpoint& checkpoint)
{
    std::vector<std::string> out;
    for (const LostTensor& one : checkpoint.lostTensors())
        out.push_back(one.problem);
    return out;
}

// A rank's rows (or columns) of a whole that is a row of segments, written out the long way.
std::vector<std::uint64_t> pickedBy(std::uint64_t rank, const std::vector<std::vector<std::uint64_t>>& widths)
{
    std::vector<std::uint64_t> out;
    std::uint64_t begin = 0;
    for (const auto& segment : widths)
        for (std::uint64_t other = 0; other < segment.size(); ++other)
            for (std::uint64_t i = 0; i < segment[other]; ++i, ++begin)
                if (other == rank)
                    out.push_back(begin);
    return out;
}

struct RandomCase {
    std::string name = "w";
    std::string rule;
    Facts facts;
    std::size_t dim = 0;
    std::uint32_t ranks = 1;
    Shape shape;
    std::vector<std::vector<std::uint64_t>> widths; // [segment][rank]
    std::optional<RuleSet> rules;
};

Shape withExtent(std::mt19937& random, std::size_t dim, std::uint64_t extent)
{
    Shape out(std::max<std::size_t>(dim + 1, 1 + random() % 3));
    for (std::uint64_t& one : out)
        one = 1 + random() % 4;
    out[dim] = extent;
    return out;
}

// Segments of the sizes `each` (elements a rank).
void setEvenWidths(RandomCase& out, const std::vector<std::uint64_t>& each)
{
    for (const std::uint64_t one : each)
        out.widths.emplace_back(out.ranks, one);
}

std::uint64_t extentOf(const RandomCase& one)
{
    std::uint64_t out = 0;
    for (const auto& segment : one.widths)
        out += std::accumulate(segment.begin(), segment.end(), std::uint64_t{0});
    return out;
}

RandomCase randomCase(std::mt19937& random)
{
    RandomCase out;
    out.ranks = static_cast<std::uint32_t>(1 + random() % 6);
    out.dim = random() % 2;
    const std::uint64_t a = 1 + random() % 5;
    const std::uint64_t b = 1 + random() % 4;
    switch (random() % 5) {
    case 0: // plain, each rank as wide as it likes
        out.rule = R"({"pattern": "w", "ranks": "split", "dim": )" + std::to_string(out.dim) + "}";
        out.widths.emplace_back();
        for (std::uint32_t rank = 0; rank < out.ranks; ++rank)
            out.widths[0].push_back(random() % 4);
        out.widths[0][0] = std::max<std::uint64_t>(out.widths[0][0], 1);
        break;
    case 1: // gate and up, and more
        out.rule = R"({"pattern": "w", "ranks": "split", "dim": )" + std::to_string(out.dim) + R"(, "segments": )" + std::to_string(b) + "}";
        setEvenWidths(out, std::vector<std::uint64_t>(b, a));
        break;
    case 2: // grouped queries: q is wider than k and v, sizes are facts
        out.rule = R"({"pattern": "w", "ranks": "split", "dim": )" + std::to_string(out.dim) + R"(, "segments": ["heads*width", "groups*width", "groups*width"]})";
        out.facts = {{"heads", std::to_string(a * b * out.ranks)}, {"groups", std::to_string(a * out.ranks)}, {"width", "3"}};
        setEvenWidths(out, {a * b * 3, a * 3, a * 3});
        break;
    case 3: // query_key_value of MegatronSDLoader: thirds in version 0, whole heads since
        out.name = "layers.0.attention.query_key_value.weight";
        out.dim = 0;
        out.rules = builtInRules("deepspeed-megatron");
        out.facts = {{"version", std::to_string(random() % 4)}};
        setEvenWidths(out, out.facts["version"] == "0" ? std::vector<std::uint64_t>(3, a * b) : std::vector<std::uint64_t>(1, 3 * a * b));
        break;
    default: // the same everywhere
        out.rule = R"({"pattern": "w", "ranks": "replicated"})";
        break;
    }
    out.shape = withExtent(random, out.dim, out.widths.empty() ? a : extentOf(out));
    if (!out.rules)
        out.rules = rulesOf(out.rule);
    return out;
}

Numbers partOf(const RandomCase& one, const Numbers& whole, std::uint32_t rank)
{
    return one.widths.empty() ? whole : taken(whole, one.dim, pickedBy(rank, one.widths));
}

// Any stretch of the whole by itself.
void expectRanges(const CheckpointPtr& joined, const Numbers& whole, std::mt19937& random)
{
    const StreamSet streams(joined);
    const auto reader = TensorReader::open(streams, TensorId{0});
    ASSERT_TRUE(reader) << reader.error().text();
    for (int round = 0; round < 4; ++round) {
        const std::size_t begin = random() % (whole.values.size() + 1);
        const std::size_t end = begin + random() % (whole.values.size() - begin + 1);
        std::vector<float> values(end - begin);
        ASSERT_TRUE(reader->readAt(begin * sizeof(float), std::as_writable_bytes(std::span(values))).ok());
        ASSERT_TRUE(std::equal(values.begin(), values.end(), whole.values.begin() + static_cast<std::ptrdiff_t>(begin))) << begin << " to " << end;
    }
}

TEST(RankJoin, WhatWasSplitIsJoinedAndSplitAgain)
{
    for (std::uint32_t seed = 0; seed < 500; ++seed) {
        std::mt19937 random(seed);
        RandomCase one = randomCase(random);
        const Numbers whole = countingNumbers(one.shape);
        Joined join(*one.rules, one.facts, one.ranks);
        for (std::uint32_t rank = 0; rank < one.ranks; ++rank)
            join.add(rank, one.name, partOf(one, whole, rank));
        const CheckpointPtr joined = join.finish();
        ASSERT_THAT(lostOf(*joined), IsEmpty()) << "seed " << seed;
        ASSERT_EQ(numbersOf(joined, TensorId{0}), whole) << "seed " << seed;
        expectRanges(joined, whole, random);

        // And cut again, for as many ranks, by the division that the rule gives the whole.
        const bool isUneven = one.widths.size() == 1 && one.rule.find("segments") == std::string::npos && !one.rule.empty();
        const Division uneven{Division::Kind::Split, one.dim, one.widths};
        const auto rule = one.rules->ruleFor(one.name, one.facts);
        const auto division = isUneven ? Result<Division>(uneven) : divisionOf(**rule, whole.shape, one.ranks, one.facts);
        ASSERT_TRUE(division) << "seed " << seed << ": " << division.error().text();
        CheckpointBuilder builder(*joined);
        PieceImport import = PieceImport::within(builder, *joined);
        std::vector<TensorId> parts;
        for (std::uint32_t rank = 0; rank < one.ranks; ++rank) {
            Tensor tensor = joined->tensor(TensorId{0});
            tensor.shape = partShape(*division, whole.shape, rank);
            parts.push_back(builder.addTensor(tensor));
            for (const Slab& slab : slabsInto(*division, whole.shape, rank))
                ASSERT_TRUE(import.addThrough(parts.back(), TensorId{0}, slab).ok());
        }
        const CheckpointPtr cut = std::move(builder).finish();
        for (std::uint32_t rank = 0; rank < one.ranks; ++rank)
            ASSERT_EQ(numbersOf(cut, parts[rank]), partOf(one, whole, rank)) << "seed " << seed << ", rank " << rank;
    }
}

TEST(RankJoin, CutsTheExamplesOfTheReference)
{
    // formats/deepspeed.md §14.4: halves, and widths of q, k and v.
    Joined halves(rulesOf(R"({"pattern": "w", "ranks": "split", "dim": 0, "segments": 2})"), {}, 2);
    halves.add(0, "w", {{2, 2}, {1, 1, 2, 2}});
    halves.add(1, "w", {{2, 2}, {3, 3, 4, 4}});
    EXPECT_THAT(numbersOf(halves.finish(), TensorId{0}).values, ElementsAre(1, 1, 3, 3, 2, 2, 4, 4));
    RuleSet recorded = rulesOf(R"({"pattern": "w", "ranks": "split", "dim": 0})");
    recorded.rules[0].widths = {{4, 2}, {2, 1}, {2, 1}};
    Joined widths(recorded, {}, 2);
    widths.add(0, "w", {{8}, {0, 1, 2, 3, 10, 11, 20, 21}});
    widths.add(1, "w", {{4}, {4, 5, 12, 22}});
    EXPECT_THAT(numbersOf(widths.finish(), TensorId{0}).values, ElementsAre(0, 1, 2, 3, 4, 5, 10, 11, 12, 20, 21, 22));
    // §16.4: version 0 of query_key_value.
    Joined thirds(builtInRules("deepspeed-megatron"), {{"version", "0"}}, 2);
    thirds.add(0, "attention.query_key_value.bias", countingNumbers({6}));
    thirds.add(1, "attention.query_key_value.bias", countingNumbers({6}, 10));
    EXPECT_THAT(numbersOf(thirds.finish(), TensorId{0}).values, ElementsAre(0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15));
}

TEST(RankJoin, AMissingRankIsAHoleWithItsFile)
{
    Joined join(rulesOf(R"({"pattern": "w", "ranks": "split", "dim": 1})"), {}, 3);
    join.add(0, "w", countingNumbers({2, 2}));
    join.add(2, "w", countingNumbers({2, 2}));
    join.missing(1);
    const CheckpointPtr joined = join.finish();
    EXPECT_EQ(joined->tensor(TensorId{0}).shape, (Shape{2, 6}));
    const Coverage coverage = coverageOf(*joined, TensorId{0});
    EXPECT_EQ(coverage.missingCells, 4u);
    ASSERT_FALSE(coverage.holes.empty());
    ASSERT_TRUE(coverage.holes[0].expected.has_value());
    EXPECT_EQ(joined->file(joined->stream(joined->pieces().at(*coverage.holes[0].expected).source.stream).file).name, "rank1 gone");
    EXPECT_THAT(joined->findings(), IsEmpty()); // the reader says that the file is not there
    const StreamSet streams(joined);
    const auto reader = TensorReader::open(streams, TensorId{0});
    ASSERT_FALSE(reader);
    EXPECT_THAT(reader.error().text(), HasSubstr("rank1 gone"));
}

TEST(RankJoin, AReplicaOfAMissingRankIsReadFromTheOthers)
{
    Joined join(rulesOf(R"({"pattern": "w", "ranks": "replicated"})"), {}, 2);
    join.missing(0);
    join.add(1, "w", countingNumbers({3}));
    const CheckpointPtr joined = join.finish();
    EXPECT_EQ(joined->tensor(TensorId{0}).combine, Combine::Replicas);
    EXPECT_THAT(numbersOf(joined, TensorId{0}).values, ElementsAre(0, 1, 2));
}

TEST(RankJoin, APartThatOthersHaveIsAFinding)
{
    Joined join(rulesOf(R"({"pattern": ".", "ranks": "split", "dim": 0})"), {}, 2);
    join.add(0, "w", countingNumbers({2}));
    join.add(1, "w", countingNumbers({2}));
    join.add(0, "v", countingNumbers({2}));
    const CheckpointPtr joined = join.finish();
    ASSERT_EQ(joined->findings().size(), 1u);
    EXPECT_EQ(joined->findings()[0].text, "v: tensor-parallel rank 1 of 2 does not hold it, and others do.");
    EXPECT_EQ(joined->findings()[0].rank, 1u);
    EXPECT_EQ(joined->fullName(joined->findings()[0].tensor), "v");
}

TEST(RankJoin, WhatCannotBePutTogetherIsLostByName)
{
    const auto rules = [] {
        return rulesOf(R"({"pattern": "split", "ranks": "split", "dim": 1}, {"pattern": "same", "ranks": "replicated"}, {"pattern": "thirds", "ranks": "split", "dim": 0, "segments": 3},
                          {"pattern": "sizes", "ranks": "split", "dim": 0, "segments": ["heads"]})");
    };
    Joined join(rules(), {}, 2);
    for (const std::uint32_t rank : {0u, 1u}) {
        join.add(rank, "split.rows", countingNumbers({2 + rank, 2}));
        join.add(rank, "same.shape", countingNumbers({2 + rank}));
        join.add(rank, "split.vector", countingNumbers({2}));
        join.add(rank, "thirds", countingNumbers({4}));
        join.add(rank, "sizes", countingNumbers({4}));
        join.add(rank, "unknown", countingNumbers({4}));
    }
    PartFile half("half");
    const TensorId halfId = half.builder().addTensor({half.builder().parameter("split.dtype"), half.builder().role(RoleKind::Weight, "weight"), DType::F16, Combine::Exclusive, true, {1, 1}});
    join.add(0, "split.dtype", countingNumbers({1, 1}));
    join.add(1, "split.dtype", half.finish(), halfId);
    const CheckpointPtr joined = join.finish();
    EXPECT_THAT(lostOf(*joined),
                ElementsAre("split.rows: cut along dimension 1, and its parts do not fit each other: [2, 2], [3, 2].", "same.shape: the same on every rank, and its parts differ in shape: [2], [3].",
                            "split.vector: the rule split cuts dimension 1, and the shape is [2].", "thirds: 8 elements along dimension 0 are not 3 equal segments.",
                            "sizes: the rule needs the size heads, which the checkpoint does not say.",
                            "unknown: no tensor-parallel rule of test matches it; --rules names a file with one.", "split.dtype: it is F32 on rank 0 and F16 on rank 1."));
    EXPECT_THAT(joined->tensors(), IsEmpty());
    EXPECT_EQ(joined->findings().size(), 7u);
}

TEST(RankJoin, TwoRulesOfASetWithoutAFirst)
{
    auto rules = parseRules(R"({"shardlens_rules": 1, "id": "strict", "first_match_wins": false,
                               "rules": [{"pattern": "^a", "ranks": "replicated"}, {"pattern": "b$", "ranks": "split", "dim": 0}]})",
                            "a test");
    ASSERT_TRUE(rules);
    Joined join(*rules, {}, 2);
    for (const std::uint32_t rank : {0u, 1u})
        for (const char* name : {"a.x", "x.b", "a.b"})
            join.add(rank, name, countingNumbers({1}));
    const CheckpointPtr joined = join.finish();
    EXPECT_EQ(joined->tensors().size(), 2u);
    EXPECT_THAT(lostOf(*joined), ElementsAre("a.b: two rules of strict match a.b: ^a and b$."));
}

TEST(RankJoin, SecondCopiesOfAPartAreReplicas)
{
    Joined join(rulesOf(R"({"pattern": "w", "ranks": "split", "dim": 0})"), {}, 2);
    for (const std::uint32_t rank : {0u, 1u, 0u, 1u})
        join.add(rank, "w", countingNumbers({2}, static_cast<float>(10 * rank)));
    const CheckpointPtr joined = join.finish();
    EXPECT_EQ(joined->tensor(TensorId{0}).combine, Combine::Replicas);
    EXPECT_EQ(joined->pieces().countOf(TensorId{0}), 4u);
    EXPECT_THAT(numbersOf(joined, TensorId{0}).values, ElementsAre(0, 1, 10, 11));
}

TEST(RankJoin, ASingleNumberNeedsNoRuleAndIsNotCut)
{
    Joined join(rulesOf(R"({"pattern": "nothing", "ranks": "split", "dim": 0})"), {}, 2);
    for (const std::uint32_t rank : {0u, 1u})
        join.add(rank, "w", countingNumbers({}, 7), RoleKind::OptimizerState);
    const CheckpointPtr joined = join.finish();
    ASSERT_THAT(lostOf(*joined), IsEmpty());
    EXPECT_EQ(joined->tensor(TensorId{0}).combine, Combine::Replicas);
    EXPECT_THAT(numbersOf(joined, TensorId{0}).values, ElementsAre(7));
    EXPECT_EQ(joined->roleOf(TensorId{0}).kind, RoleKind::OptimizerState);
}

TEST(RankJoin, StatesFollowTheirParameterAndStayApart)
{
    Joined join(rulesOf(R"({"pattern": "w", "ranks": "split", "dim": 0})"), {}, 2);
    for (const std::uint32_t rank : {0u, 1u}) {
        join.add(rank, "w", countingNumbers({1}, static_cast<float>(rank)));
        join.add(rank, "w", countingNumbers({1}, static_cast<float>(10 + rank)), RoleKind::OptimizerState);
    }
    const CheckpointPtr joined = join.finish();
    ASSERT_EQ(joined->tensors().size(), 2u);
    EXPECT_THAT(numbersOf(joined, TensorId{0}).values, ElementsAre(0, 1));
    EXPECT_THAT(numbersOf(joined, TensorId{1}).values, ElementsAre(10, 11));
}

TEST(RankJoin, MeansAreMadeAsTheConverterMakesThem)
{
    std::mt19937 random(3);
    std::uniform_real_distribution<float> any(-1e6f, 1e6f);
    const std::size_t count = 40'000; // more than are read at a time
    for (const std::uint32_t ranks : {2u, 3u, 7u}) {
        Joined join(rulesOf(R"({"pattern": "w", "ranks": "average"})"), {}, ranks);
        std::vector<float> expected(count, 0.0f);
        for (std::uint32_t rank = 0; rank < ranks; ++rank) {
            Numbers own{{count / 4, 4}, std::vector<float>(count)};
            for (std::size_t i = 0; i < count; ++i)
                expected[i] += own.values[i] = any(random);
            join.add(rank, "w", own);
            if (rank == 1)
                join.add(rank, "w", own); // a replica of a part does not count twice
        }
        for (float& one : expected)
            one /= static_cast<float>(ranks);
        const CheckpointPtr joined = join.finish();
        ASSERT_THAT(lostOf(*joined), IsEmpty());
        EXPECT_EQ(joined->tensor(TensorId{0}).combine, Combine::Average);
        const Numbers mean = numbersOf(joined, TensorId{0});
        EXPECT_EQ(mean.shape, (Shape{count / 4, 4}));
        EXPECT_EQ(mean.values, expected) << ranks;
        const StreamSet streams(joined);
        const auto reader = TensorReader::open(streams, TensorId{0});
        ASSERT_TRUE(reader);
        std::vector<float> middle(3);
        ASSERT_TRUE(reader->readAt(17 * sizeof(float), std::as_writable_bytes(std::span(middle))).ok());
        EXPECT_THAT(middle, ElementsAre(expected[17], expected[18], expected[19]));
        EXPECT_EQ(coverageOf(*joined, TensorId{0}).overlappingPairs, 1u); // of the replica alone
    }
}

TEST(RankJoin, AMeanOfSmallFloatsIsRoundedOnce)
{
    Joined join(rulesOf(R"({"pattern": "w", "ranks": "average"})"), {}, 3);
    const std::array<std::uint16_t, 3> ones{0x3F80, 0x3F81, 0x3F81}; // 1, 1 + 2^-7 twice in BF16: the mean is nearer to 1 + 2^-7
    for (std::uint32_t rank = 0; rank < 3; ++rank) {
        PartFile file("rank" + std::to_string(rank));
        CheckpointBuilder& builder = file.builder();
        const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::BF16, Combine::Exclusive, true, {1}});
        ASSERT_TRUE(builder.addWhole(tensor, {builder.addInline(FileId{0}, std::as_bytes(std::span(&ones[rank], 1))), 0, builder.holder({}), {}}).ok());
        join.add(rank, "w", file.finish(), tensor);
    }
    const CheckpointPtr joined = join.finish();
    const StreamSet streams(joined);
    const auto reader = TensorReader::open(streams, TensorId{0});
    ASSERT_TRUE(reader) << reader.error().text();
    std::array<std::byte, 2> mean{};
    ASSERT_TRUE(reader->readAt(0, mean).ok());
    EXPECT_EQ(mean, (std::array{std::byte{0x81}, std::byte{0x3F}}));
}

TEST(RankJoin, AMeanNeedsEveryRank)
{
    Joined gone(rulesOf(R"({"pattern": "w", "ranks": "average"})"), {}, 3);
    gone.add(0, "w", countingNumbers({2}));
    gone.add(1, "w", countingNumbers({2}));
    gone.missing(2);
    const CheckpointPtr joined = gone.finish();
    EXPECT_EQ(coverageOf(*joined, TensorId{0}).missingCells, 2u);
    const StreamSet streams(joined);
    const auto reader = TensorReader::open(streams, TensorId{0});
    ASSERT_FALSE(reader);
    EXPECT_THAT(reader.error().text(), HasSubstr("rank2 gone"));

    Joined lacking(rulesOf(R"({"pattern": "w", "ranks": "average"})"), {}, 2);
    lacking.add(1, "w", countingNumbers({2}));
    EXPECT_THAT(lostOf(*lacking.finish()), ElementsAre("w: its value is the mean of the ranks' values, and tensor-parallel rank 0 of 2 does not hold it."));

    Joined whole(rulesOf(R"({"pattern": "w", "ranks": "average"})"), {}, 2);
    for (const std::uint32_t rank : {0u, 1u}) {
        PartFile file("rank" + std::to_string(rank));
        CheckpointBuilder& builder = file.builder();
        const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::I64, Combine::Exclusive, true, {1}});
        whole.add(rank, "w", file.finish(), tensor);
    }
    EXPECT_THAT(lostOf(*whole.finish()), ElementsAre("w: its value is the mean of the ranks' values, which I64 has none of."));
}

} // namespace
} // namespace shardlens
