#include "tests/app/captured_console.h"
#include "tests/support/temporary_folder.h"

#include "core/base/endian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <fstream>
#include <sstream>

namespace shardlens::cli {
namespace {

using nlohmann::json;
using test::Answer;
using test::runShardlens;
using test::TemporaryFolder;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

json partitionOf(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), "partition");
    arguments.emplace_back("--json");
    const Answer answer = runShardlens(arguments);
    EXPECT_EQ(answer.exitCode, 0) << answer.remarks;
    return answer.exitCode == 0 ? json::parse(answer.results) : json{};
}

std::string refusalOf(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), "partition");
    const Answer answer = runShardlens(arguments);
    EXPECT_EQ(answer.exitCode, 2) << answer.results;
    return answer.remarks;
}

// Tensors of one axis, in the order given.
void writeSafetensors(const std::string& path, const std::vector<std::pair<std::string, std::uint64_t>>& tensors)
{
    nlohmann::ordered_json header;
    std::uint64_t at = 0;
    for (const auto& [name, elements] : tensors) {
        header[name] = {{"dtype", "F32"}, {"shape", {elements}}, {"data_offsets", {at, at + elements * 4}}};
        at += elements * 4;
    }
    const std::string text = header.dump();
    std::array<std::byte, 8> length{};
    storeLe<std::uint64_t>(length.data(), text.size());
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(length.data()), length.size());
    out << text << std::string(at, 'x');
}

TEST(PartitionCommand, AnswersStagesBalanceAndRanks)
{
    const json answer = partitionOf({"--weights", "10,1, 1,1,1,1,1,10", "--stages", "4", "--dp", "2", "--tp", "3"});
    EXPECT_EQ(answer.at("schema"), 1);
    EXPECT_EQ(answer.at("method"), "parameters");
    EXPECT_EQ(answer.at("parts"), json({0, 1, 4, 7, 8}));
    EXPECT_EQ(answer.at("stages").at(1),
              (json{{"begin", 1}, {"end", 4}, {"weight", 3}, {"parameters", 3}, {"ranks", {{"begin", 6}, {"end", 12}}}}));
    EXPECT_EQ(answer.at("balance").at("heaviest"), 0);
    EXPECT_DOUBLE_EQ(answer.at("balance").at("imbalance"), 10 / 6.5);
    EXPECT_FALSE(answer.contains("layers"));
}

TEST(PartitionCommand, CutsAsTheVersionOfDeepSpeedDoes)
{
    EXPECT_EQ(partitionOf({"--weights", "1,1,1,1,1", "--stages", "4"}).at("parts"), json({0, 2, 3, 4, 5}));
    EXPECT_EQ(partitionOf({"--weights", "1,1,1,1,1", "--stages", "4", "--deepspeed-version", "0.12.4"}).at("parts"), json({0, 2, 4, 5, 5}));
    EXPECT_EQ(partitionOf({"--weights", "1,1,1,1,1,1", "--stages", "4", "--method", "uniform", "--deepspeed-version", "0.9"}).at("parts"),
              json({0, 1, 2, 3, 6}));
    EXPECT_THAT(refusalOf({"--weights", "1,1", "--stages", "1", "--deepspeed-version", "new"}),
                HasSubstr("'new' is no version of DeepSpeed"));
}

TEST(PartitionCommand, TypeCountsMatchesAndKeepsParametersBeside)
{
    const json answer =
        partitionOf({"--weights", "400,5,6,7", "--names", "Embed,Block,Block,Block", "--stages", "2", "--method", "TYPE:Block:x"});
    EXPECT_EQ(answer.at("method"), "type:block");
    EXPECT_EQ(answer.at("stages").at(0).at("weight"), 2);
    EXPECT_EQ(answer.at("stages").at(0).at("parameters"), 411);
    const json names = partitionOf({"--names", "Embed,Block,Block", "--stages", "2", "--method", "uniform"});
    EXPECT_EQ(names.at("parts"), json({0, 2, 3}));
    EXPECT_FALSE(names.at("stages").at(0).contains("weight"));
    EXPECT_FALSE(names.contains("balance"));
}

TEST(PartitionCommand, TakesBoundariesThatAreGiven)
{
    const json answer = partitionOf({"--weights", "1,2,3", "--parts", "0,1,1,3"});
    EXPECT_EQ(answer.at("method"), "given");
    EXPECT_EQ(answer.at("stages").at(2).at("weight"), 5);
    EXPECT_EQ(answer.at("stages").at(1).at("weight"), 0);
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--parts", "0,2,1,3"}), HasSubstr("boundary 2 is 1, less than the 2 before it"));
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--parts", "0,2"}), HasSubstr("have to go from 0 to 3"));
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--parts", "0,4294967299"}), HasSubstr("4294967299 lies behind the last of 3 layers"));
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--parts", "3"}), HasSubstr("0 stages"));
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--parts", "0,3", "--stages", "1"}), HasSubstr("--stages excludes --parts"));
}

TEST(PartitionCommand, TellsPeopleWithABarAndTheEmptyStage)
{
    const Answer answer = runShardlens({"partition", "--weights", "3,1", "--stages", "3", "--dp", "4", "-v"});
    EXPECT_THAT(answer.results,
                AllOf(HasSubstr("2 layers on 3 stages, parameters"), ContainsRegex("1  1 +1 +33.3 %  ████████ +4 to 7"),
                      HasSubstr("2  none"), HasSubstr("1 stage has no layer."),
                      HasSubstr("Stage 0 is the heaviest: 2.25 × the mean of 1.333."), HasSubstr("Boundaries: 0, 1, 2, 2")));
    std::string many = "1";
    for (int i = 0; i < 400; ++i)
        many += ",123456789012";
    std::istringstream lines(runShardlens({"partition", "--weights", many, "--stages", "300", "--dp", "1000", "--tp", "1000"}).results);
    for (std::string line; std::getline(lines, line);)
        EXPECT_LE(displayWidth(line), 100u) << line;
}

TEST(PartitionCommand, WritesOnceAndNeverOverAFile)
{
    TemporaryFolder folder;
    const std::string table = folder.file("stages.csv");
    const std::string object = folder.file("stages.json");
    ASSERT_EQ(runShardlens({"partition", "--weights", "1,2,3", "--stages", "2", "--out", table}).exitCode, 0);
    std::ifstream in(table);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}),
              "stage,begin,end,weight,parameters,bytes,first_rank,ranks\n0,0,2,3,3,,,\n1,2,3,3,3,,,\n");
    EXPECT_EQ(runShardlens({"partition", "--weights", "1,2,3", "--stages", "2", "--csv"}).results,
              "stage,begin,end,weight,parameters,bytes,first_rank,ranks\n0,0,2,3,3,,,\n1,2,3,3,3,,,\n");
    ASSERT_EQ(runShardlens({"partition", "--weights", "1,2,3", "--stages", "2", "--out", object}).exitCode, 0);
    std::ifstream written(object);
    EXPECT_EQ(json::parse(written), partitionOf({"--weights", "1,2,3", "--stages", "2"}));
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--stages", "2", "--out", table}), HasSubstr("exists"));
    EXPECT_THAT(refusalOf({"--weights", "1,2,3", "--stages", "2", "--out", folder.file("stages.txt")}), HasSubstr("ends in .json or .csv"));
}

struct BadWeights {
    const char* name;
    std::vector<std::string> arguments;
    const char* words;
};

class PartitionRefuses : public testing::TestWithParam<BadWeights> {};

TEST_P(PartitionRefuses, WithASentence)
{
    EXPECT_THAT(refusalOf(GetParam().arguments), HasSubstr(GetParam().words));
}

INSTANTIATE_TEST_SUITE_P(
    Arguments, PartitionRefuses,
    testing::Values(
        BadWeights{"Nothing", {"--stages", "2"}, "no layers: give a PATH"}, BadWeights{"NoStages", {"--weights", "1,2"}, "give --stages"},
        BadWeights{"ZeroStages", {"--weights", "1,2", "--stages", "0"}, "--stages"},
        BadWeights{"ManyStages", {"--weights", "1,2", "--stages", "10001"}, "--stages"},
        BadWeights{"Negative", {"--weights", "1,-2,3", "--stages", "2"}, "weight 2 is '-2'"},
        BadWeights{"NaN", {"--weights", "nan,2", "--stages", "2"}, "weight 1 is 'nan'"},
        BadWeights{"Fraction", {"--weights", "1,2.5", "--stages", "2"}, "weight 2 is '2.5'"},
        BadWeights{"TooLarge", {"--weights", "9223372036854775808", "--stages", "2"}, "to 9223372036854775807 is needed"},
        BadWeights{"SumTooLarge", {"--weights", "9223372036854775807,1", "--stages", "1"}, "sum to more than"},
        BadWeights{"Gap", {"--weights", "1,,2", "--stages", "2"}, "weight 2 is empty"},
        BadWeights{"CommaAtEnd", {"--weights", "1,2,", "--stages", "2"}, "weight 3 is empty"},
        BadWeights{"NamesOfAnotherNumber", {"--weights", "1,2", "--names", "A", "--stages", "2"}, "1 name for 2 layers"},
        BadWeights{"TypeWithoutNames", {"--weights", "1,2", "--stages", "2", "--method", "type:a"}, "give the layers' names"},
        BadWeights{"NoMatch",
                   {"--names", "A,B", "--stages", "2", "--method", "type:Block"},
                   "Partitioning 'block' found no valid layers to partition"},
        BadWeights{"ParametersWithoutWeights", {"--names", "A,B", "--stages", "2"}, "balances weights"},
        BadWeights{"Profile", {"--weights", "1,2", "--stages", "2", "--method", "profile"}, "Partitioning method profile not implemented"},
        BadWeights{"TagWithoutPath", {"--weights", "1,2", "--stages", "2", "--tag", "x"}, "--tag requires PATH"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(PartitionCommand, ReadsTheLayersOfACheckpoint)
{
    TemporaryFolder folder;
    const std::string path = folder.file("model.safetensors");
    writeSafetensors(path, {{"wte.weight", 40}, {"h.0.w", 10}, {"h.0.b", 1}, {"h.1.w", 12}, {"ln.weight", 2}});
    const json answer = partitionOf({path, "--stages", "2"});
    EXPECT_EQ(answer.at("parts"), json({0, 1, 4}));
    EXPECT_EQ(answer.at("layers").at(1), (json{{"name", "h.0"}, {"weight", 11}, {"frozen", 0}, {"bytes", 44}}));
    EXPECT_EQ(answer.at("stages").at(1).at("bytes"), (11 + 12 + 2) * 4);
    EXPECT_THAT(answer.at("notes").dump(), AllOf(HasSubstr("wte.weight. One entry before"), HasSubstr("all that are no buffers count")));
    EXPECT_EQ(partitionOf({path, "--stages", "1", "--behind", "^wte"}).at("layers").at(2),
              (json{{"name", "behind the layers"}, {"weight", 42}, {"frozen", 0}, {"bytes", 168}}));
    EXPECT_EQ(partitionOf({path, "--names", "Embed,Block,Block,Norm", "--stages", "2", "--method", "type:block"}).at("parts"),
              json({0, 2, 4}));
    const Answer people = runShardlens({"partition", path, "--stages", "2", "-v"});
    EXPECT_THAT(people.results, AllOf(HasSubstr("safetensors"), HasSubstr("before the layers"), HasSubstr("h.1"), HasSubstr("100 B")));
    EXPECT_THAT(people.results, Not(HasSubstr("ranks\n")));
    EXPECT_THAT(refusalOf({path}), HasSubstr("give --stages"));
}

TEST(PartitionCommand, RefusesAModelWithoutNumberedLayers)
{
    EXPECT_THAT(refusalOf({SHARDLENS_SAMPLE, "--stages", "2"}),
                AllOf(HasSubstr("no names number its layers"), HasSubstr("resources/sample")));
    EXPECT_THAT(refusalOf({SHARDLENS_SAMPLE, "--weights", "1,2", "--stages", "2"}), HasSubstr("excludes"));
}

} // namespace
} // namespace shardlens::cli
