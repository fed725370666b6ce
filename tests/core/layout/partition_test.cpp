#include "core/layout/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <limits>
#include <numeric>
#include <random>

namespace shardlens {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Weights = std::vector<std::uint64_t>;
using Parts = std::vector<std::uint32_t>;

constexpr PartitionRules kNew{};
constexpr PartitionRules kOld{false, false};

PartitionMethod methodNamed(const std::string& text)
{
    auto method = parsePartitionMethod(text);
    EXPECT_TRUE(method.ok()) << text;
    return method.take();
}

Result<Partition> partitioned(const std::string& method, const Weights& weights, std::uint64_t stages, PartitionRules rules = kNew)
{
    return partitionLayers({weights.size(), stages, methodNamed(method), rules, weights, {}});
}

Parts partsOf(const std::string& method, const Weights& weights, std::uint64_t stages, PartitionRules rules = kNew)
{
    const auto partition = partitioned(method, weights, stages, rules);
    EXPECT_TRUE(partition.ok()) << (partition ? "" : partition.error().text());
    return partition ? partition->parts : Parts{};
}

std::string refusalOf(const PartitionRequest& request)
{
    const auto partition = partitionLayers(request);
    return partition ? "no refusal" : partition.error().text();
}

json rowsIn(const std::string& name)
{
    std::ifstream in(std::string(SHARDLENS_LAYOUT_FILES) + "/" + name);
    return json::parse(in);
}

TEST(Partition, EqualsWhatDeepSpeedAnswered)
{
    const json rows = rowsIn("partition_rows.json");
    ASSERT_GT(rows.size(), 70u);
    for (const json& row : rows) {
        SCOPED_TRACE(row.dump());
        const Weights weights = row.at("weights").is_null() ? Weights{} : row.at("weights").get<Weights>();
        const auto names = row.value("names", std::vector<std::string>{});
        const auto method = parsePartitionMethod(row.at("method").get<std::string>());
        if (!method) {
            EXPECT_THAT(row.at("refused").get<std::string>(), HasSubstr(method.error().text().substr(0, method.error().text().find(';'))));
            continue;
        }
        const auto partition = partitionLayers({std::max(weights.size(), names.size()), row.at("stages"), *method, kNew, weights, names});
        if (!partition) {
            EXPECT_THAT(row.at("refused").get<std::string>(),
                        HasSubstr(partition.error().text().substr(0, partition.error().text().find(';'))));
            continue;
        }
        EXPECT_FALSE(row.contains("refused"));
        EXPECT_EQ(partition->parts, row.at("parts").get<Parts>());
    }
}

TEST(Partition, EqualsWhatOldVersionsAnswered)
{
    const json rows = rowsIn("partition_rows_old.json");
    ASSERT_GT(rows.size(), 70u);
    for (const json& row : rows) {
        SCOPED_TRACE(row.dump());
        const auto rules = partitionRulesOf(row.at("version").get<std::string>());
        ASSERT_TRUE(rules.ok());
        EXPECT_EQ(partsOf(row.at("method"), row.at("weights"), row.at("stages"), *rules), row.at("parts").get<Parts>());
    }
}

struct TableRow {
    const char* name;
    const char* method;
    Weights weights;
    std::uint64_t stages;
    Parts now;
    Parts before;
};

class PartitionTable : public testing::TestWithParam<TableRow> {};

TEST_P(PartitionTable, HasTheBoundariesOfBothTimes)
{
    const TableRow& row = GetParam();
    EXPECT_EQ(partsOf(row.method, row.weights, row.stages), row.now);
    EXPECT_EQ(partsOf(row.method, row.weights, row.stages, kOld), row.before);
}

INSTANTIATE_TEST_SUITE_P(
    Section11_5, PartitionTable,
    testing::Values(TableRow{"Uniform10On4", "uniform", Weights(10, 1), 4, {0, 3, 6, 8, 10}, {0, 2, 4, 6, 10}},
                    TableRow{"Uniform11On4", "uniform", Weights(11, 1), 4, {0, 3, 6, 9, 11}, {0, 2, 4, 6, 11}},
                    TableRow{"Uniform3On4", "uniform", Weights(3, 1), 4, {0, 1, 2, 3, 3}, {0, 1, 2, 3, 3}},
                    TableRow{"FiveOn4", "parameters", Weights(5, 1), 4, {0, 2, 3, 4, 5}, {0, 2, 4, 5, 5}},
                    TableRow{"TenOn4", "parameters", Weights(10, 1), 4, {0, 3, 6, 8, 10}, {0, 3, 6, 9, 10}},
                    TableRow{"HeavyEnds", "parameters", {10, 1, 1, 1, 1, 1, 1, 10}, 4, {0, 1, 4, 7, 8}, {0, 1, 7, 8, 8}},
                    TableRow{"LightEnds", "parameters", {0, 1, 1, 1, 1, 1, 1, 0, 0}, 4, {0, 3, 5, 6, 9}, {0, 3, 5, 9, 9}},
                    TableRow{"LightEndsOf13", "parameters", {0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0}, 4, {0, 4, 6, 8, 13}, {0, 4, 6, 8, 13}},
                    TableRow{"TwoGiants", "parameters", {100, 10, 10, 10, 10, 100}, 3, {0, 1, 5, 6}, {0, 1, 5, 6}},
                    TableRow{"Zeros", "parameters", {0, 0, 0, 0}, 2, {0, 3, 4}, {0, 0, 4}}),
    [](const auto& row) { return std::string(row.param.name); });

// The programme of formats/deepspeed.md §11.5 as it stands there: whole tables, every k.
Parts programmeAsWritten(const Weights& weights, std::size_t stages)
{
    const double far = std::numeric_limits<double>::infinity();
    const std::size_t n = weights.size();
    std::vector<double> sums{0};
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : weights)
        sums.push_back(static_cast<double>(sum += weight));
    std::vector<std::vector<double>> most(n + 1, std::vector<double>(stages + 1, far));
    auto least = most;
    auto cost = most;
    std::vector<Parts> pos(n + 1, Parts(stages + 1, 0));
    most[0][0] = cost[0][0] = 0;
    for (std::size_t i = 1; i <= n; ++i)
        for (std::size_t j = 1; j <= std::min(i, stages); ++j)
            for (std::size_t k = 0; k < i; ++k) {
                const double a = std::max(most[k][j - 1], sums[i] - sums[k]);
                const double b = std::min(least[k][j - 1], sums[i] - sums[k]);
                if (cost[i][j] >= a - b) {
                    cost[i][j] = a - b;
                    most[i][j] = a;
                    least[i][j] = b;
                    pos[i][j] = static_cast<std::uint32_t>(k);
                }
            }
    Parts parts{static_cast<std::uint32_t>(n)};
    for (std::size_t j = stages; j >= 1; --j)
        parts.push_back(pos[parts.back()][j]);
    std::reverse(parts.begin(), parts.end());
    return parts;
}

TEST(Partition, IsTheProgrammeOfTheNotesForRandomWeights)
{
    std::mt19937_64 dice(20240611);
    for (int turn = 0; turn < 400; ++turn) {
        Weights weights(2 + dice() % 40);
        const std::uint64_t range = std::uint64_t{1} << (dice() % 57); // few different weights make ties, large ones round
        for (std::uint64_t& weight : weights)
            weight = dice() % 3 == 0 ? 0 : dice() % (range + 1);
        const std::size_t stages = 1 + dice() % (weights.size() - 1);
        SCOPED_TRACE(testing::PrintToString(weights) + " on " + std::to_string(stages));
        EXPECT_EQ(partsOf("parameters", weights, stages), programmeAsWritten(weights, stages));
    }
}

TEST(Partition, CoversAllLayersInOrderWhateverTheRules)
{
    std::mt19937_64 dice(7);
    for (int turn = 0; turn < 600; ++turn) {
        Weights weights(1 + dice() % 30);
        for (std::uint64_t& weight : weights)
            weight = dice() % 2000;
        const std::uint64_t stages = 1 + dice() % 40;
        const char* method = turn % 2 == 0 ? "uniform" : "parameters";
        const auto partition = partitioned(method, weights, stages, {dice() % 2 == 0, dice() % 2 == 0});
        ASSERT_TRUE(partition.ok());
        ASSERT_EQ(partition->parts.size(), stages + 1);
        EXPECT_EQ(partition->parts.front(), 0u);
        EXPECT_EQ(partition->parts.back(), weights.size());
        EXPECT_TRUE(std::is_sorted(partition->parts.begin(), partition->parts.end()));
        std::uint64_t sum = 0;
        for (const PartitionStage& stage : partition->stages)
            sum += stage.weight;
        EXPECT_EQ(sum, std::accumulate(weights.begin(), weights.end(), std::uint64_t{0}));
    }
}

TEST(Partition, RoundsSumsOfWholeNumbersOnce)
{
    const std::uint64_t big = std::uint64_t{1} << 53;
    EXPECT_THAT(partsOf("parameters", {big, 1, big, 1, 1}, 2), ElementsAre(0, 2, 5));
    const auto partition = partitioned("parameters", {big, 1, big, 1, 1}, 2);
    EXPECT_EQ(partition->stages.at(0).weight, big + 1); // sums that are shown are exact
}

TEST(Partition, CountsMatchingLayers)
{
    const std::vector<std::string> names{"Embed", "Block", "Block", "squash", "Block", "Head"};
    const auto partition = partitionLayers({6, 2, methodNamed("type:BLOCK"), kNew, {}, names});
    ASSERT_TRUE(partition.ok());
    EXPECT_TRUE(partition->countsMatches);
    EXPECT_THAT(partition->stages, ElementsAre(PartitionStage{0, 4, 2}, PartitionStage{4, 6, 1}));
}

TEST(Partition, UniformNeedsNoWeights)
{
    const auto partition = partitionLayers({7, 2, methodNamed("Uniform"), kNew, {}, {}});
    ASSERT_TRUE(partition.ok());
    EXPECT_FALSE(partition->hasWeights);
    EXPECT_THAT(partition->parts, ElementsAre(0, 4, 7));
}

TEST(Partition, StopsWhenAsked)
{
    std::stop_source source;
    source.request_stop();
    const Weights weights(50, 3);
    const auto method = methodNamed("parameters");
    for (const PartitionRules& rules : {kNew, kOld}) {
        const auto partition = partitionLayers({50, 4, method, rules, weights, {}}, source.get_token());
        ASSERT_FALSE(partition.ok());
        EXPECT_EQ(partition.error().code(), ErrorCode::Cancelled);
    }
}

TEST(Partition, RefusesWithBothNumbers)
{
    const Weights weights{1, 2, 3};
    const std::vector<std::string> names{"A", "B", "A"};
    const auto uniform = methodNamed("uniform");
    const auto parameters = methodNamed("parameters");
    EXPECT_THAT(refusalOf({0, 2, uniform, kNew, {}, {}}), HasSubstr("no layers"));
    EXPECT_THAT(refusalOf({3, 0, uniform, kNew, weights, {}}), HasSubstr("0 stages"));
    EXPECT_THAT(refusalOf({kMostLayers + 1, 2, uniform, kNew, {}, {}}), HasSubstr("100,001 layers, at most 100,000"));
    EXPECT_THAT(refusalOf({3, kMostStages + 1, uniform, kNew, weights, {}}), HasSubstr("10,001 stages, at most 10,000"));
    EXPECT_THAT(refusalOf({4, 2, parameters, kNew, weights, {}}), HasSubstr("3 weights for 4 layers"));
    EXPECT_THAT(refusalOf({2, 2, uniform, kNew, {}, names}), HasSubstr("3 names for 2 layers"));
    EXPECT_THAT(refusalOf({3, 2, parameters, kNew, {}, names}), HasSubstr("balances weights"));
    EXPECT_THAT(refusalOf({3, 2, methodNamed("type:a"), kNew, weights, {}}), HasSubstr("give the layers' names"));
    EXPECT_THAT(refusalOf({3, 2, methodNamed("type:C"), kNew, weights, names}),
                HasSubstr("Partitioning 'c' found no valid layers to partition; give"));
    const Weights tooMuch{std::uint64_t{1} << 62, std::uint64_t{1} << 62};
    EXPECT_THAT(refusalOf({2, 1, uniform, kNew, tooMuch, {}}), HasSubstr("more than 9223372036854775807"));
    const Weights many(5000, 1);
    EXPECT_THAT(refusalOf({5000, 4000, parameters, kNew, many, {}}), HasSubstr("at most 10,000,000,000"));
    const Weights heavy{std::uint64_t{1} << 43, 0, 0};
    EXPECT_THAT(refusalOf({3, 2, parameters, kOld, heavy, {}}), HasSubstr("less than 8796093022208 are allowed"));
}

TEST(Partition, OldRulesEndJustBelowTheirLimit)
{
    const std::uint64_t most = (std::uint64_t{1} << 43) - 1;
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}, most / 3, most / 2, most}) {
        const Weights weights{first, (most - first) / 2, most - first - (most - first) / 2, 0};
        EXPECT_EQ(partsOf("parameters", weights, 3, kOld).size(), 4u);
    }
}

struct MethodRow {
    const char* name;
    const char* text;
    const char* expected; // the method's own name, or words of the refusal
};

class MethodNames : public testing::TestWithParam<MethodRow> {};

TEST_P(MethodNames, AreReadAsPipelineModuleDoes)
{
    const auto method = parsePartitionMethod(GetParam().text);
    if (method)
        EXPECT_EQ(nameOf(*method), GetParam().expected);
    else
        EXPECT_THAT(method.error().text(), HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodNames,
                         testing::Values(MethodRow{"Uniform", "UNIFORM", "uniform"}, MethodRow{"Parameters", "Parameters", "parameters"},
                                         MethodRow{"TypeIsLowered", "Type:Block|\\S", "type:block|\\s"},
                                         MethodRow{"TypeUpToTheNextColon", "type:block:head", "type:block"},
                                         MethodRow{"EmptyType", "type:", "type:"},
                                         MethodRow{"Profile", "Profile", "Partitioning method profile not implemented"},
                                         MethodRow{"Empty", "", "not implemented"}, MethodRow{"Space", " uniform", "not implemented"},
                                         MethodRow{"TypeWithoutColon", "type", "not implemented"},
                                         MethodRow{"BadPattern", "type:(", "does not compile"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Partition, KnowsVersions)
{
    const auto rules = [](const char* version) {
        const auto out = partitionRulesOf(version);
        return out ? std::string(out->spreadsRest ? "spreads" : "rest last") + (out->balancesExactly ? ", exact" : ", bisected")
                   : out.error().text();
    };
    EXPECT_EQ(rules("0.3.0"), "rest last, bisected");
    EXPECT_EQ(rules("0.10.0"), "rest last, bisected");
    EXPECT_EQ(rules("0.10.1"), "spreads, bisected");
    EXPECT_EQ(rules("v0.12.4+cu118"), "spreads, bisected");
    EXPECT_EQ(rules("0.12.5"), "spreads, exact");
    EXPECT_EQ(rules("0.13"), "spreads, exact");
    EXPECT_EQ(rules("1"), "spreads, exact");
    for (const char* bad : {"", "v", "x", "0.", "0.x", "0.1.", "-1", "99999999999"})
        EXPECT_THAT(rules(bad), HasSubstr("is no version of DeepSpeed")) << bad;
}

TEST(Balance, SaysHeaviestMeanAndTheirRatio)
{
    const std::vector<PartitionStage> stages{{0, 1, 10}, {1, 3, 40}, {3, 4, 40}, {4, 4, 0}};
    const PartitionBalance balance = balanceOf(stages);
    EXPECT_EQ(balance.heaviest, 1u);
    EXPECT_EQ(balance.most, 40u);
    EXPECT_EQ(balance.least, 0u);
    EXPECT_DOUBLE_EQ(balance.mean, 22.5);
    EXPECT_DOUBLE_EQ(balance.imbalance, 40 / 22.5);
    EXPECT_DOUBLE_EQ(balanceOf(std::vector<PartitionStage>{{0, 2, 0}}).imbalance, 1);
    EXPECT_EQ(balanceOf({}).heaviest, 0u);
}

TEST(Balance, NumbersTheRanksOfAStage)
{
    EXPECT_EQ(firstRankOf(1, {2, 2}), 4u); // formats/deepspeed.md §11.2: rank 5 = pipe 1, data 0, model 1
    EXPECT_EQ(firstRankOf(0, {3, 5}), 0u);
    EXPECT_EQ(firstRankOf(3, {1, 1}), 3u);
}

} // namespace
} // namespace shardlens
