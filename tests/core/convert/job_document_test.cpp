#include "core/convert/request.h"

#include "core/numeric/cast.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace shardlens {
namespace {

using ::testing::HasSubstr;

ConvertRequest everything()
{
    ConvertRequest out;
    out.source = "/data/run one";
    out.target = "out's";
    out.to = "safetensors";
    out.open.tag = "-tag";
    out.select = Select::Module;
    out.dtype = DType::BF16;
    out.include = {"^layers\\.", "norm"};
    out.exclude = {"bias$"};
    out.maxShardBytes = 700;
    out.memoryLimit = 64u << 20;
    out.threads = 3;
    out.device = "cpu";
    out.open.sourceStrategy = "a b.ckpt";
    out.open.rankFiles = {{3, "/x/3.ckpt"}, {11, "y"}};
    out.strategy = "b.json";
    out.prefix = "net_";
    out.outputFormat = "ckpt";
    out.verify = true;
    out.overwrite = true;
    return out;
}

ConvertRequest onlyWhatMust()
{
    ConvertRequest out;
    out.source = std::string("a"); // a bare literal sets off a false alarm of g++ 12
    out.target = std::string("b");
    return out;
}

TEST(JobDocument, ComesBackAsItWas)
{
    for (const ConvertRequest& request : {everything(), onlyWhatMust()}) {
        const auto again = requestFromJson(requestToJson(request));
        ASSERT_TRUE(again.ok()) << again.error().text();
        EXPECT_EQ(*again, request);
    }
}

TEST(JobDocument, IsShortWhereDefaultsHold)
{
    EXPECT_EQ(requestToJson(onlyWhatMust()), R"({
  "shardlens_job": 1,
  "source": "a",
  "target": "b"
}
)");
}

TEST(JobDocument, TakesSizesAsPeopleWriteThem)
{
    const auto request = requestFromJson(R"({"shardlens_job": 1, "source": "a", "target": "b", "max_shard_size": "5GB", "memory_limit": "512MiB", "dtype": null})");
    ASSERT_TRUE(request.ok()) << request.error().text();
    EXPECT_EQ(request->maxShardBytes, 5'000'000'000u);
    EXPECT_EQ(request->memoryLimit, 512u << 20);
    EXPECT_EQ(request->dtype, std::nullopt);
}

struct BadDocument {
    const char* name;
    const char* text;
    const char* says;
};

class JobDocumentRejects : public ::testing::TestWithParam<BadDocument> {};

TEST_P(JobDocumentRejects, WithAReason)
{
    const auto request = requestFromJson(GetParam().text);
    ASSERT_FALSE(request);
    EXPECT_THAT(request.error().text(), HasSubstr(GetParam().says));
}

TEST(JobDocument, HostileJsonIsRefusedNotFollowed)
{
    const std::string deep = R"({"shardlens_job": 1, "source": "a", "target": "b", "threads": )" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
    const auto nested = requestFromJson(deep);
    ASSERT_FALSE(nested);
    EXPECT_EQ(nested.error().code(), ErrorCode::LimitExceeded);
    const auto number = requestFromJson(R"({"shardlens_job": 1, "source": "a", "target": "b", "memory_limit": 1e999})");
    ASSERT_FALSE(number);
    EXPECT_EQ(number.error().code(), ErrorCode::Corrupt);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, JobDocumentRejects,
    ::testing::Values(BadDocument{"Nothing", "", "no JSON"}, BadDocument{"HalfOfIt", R"({"shardlens_job": 1, )", "no JSON"},
                      BadDocument{"AList", "[]", "an object is needed, and this is array"},
                      BadDocument{"NoVersion", R"({"source": "a", "target": "b"})", "it has no member shardlens_job"},
                      BadDocument{"NewerVersion", R"({"shardlens_job": 2, "source": "a", "target": "b"})", "version 2 of the job document, and this program reads version 1"},
                      BadDocument{"UnknownMember", R"({"shardlens_job": 1, "source": "a", "target": "b", "taget": "c"})", "it has a member taget that this program does not know"},
                      BadDocument{"NoTarget", R"({"shardlens_job": 1, "source": "a"})", "it has no member target"},
                      BadDocument{"EmptySource", R"({"shardlens_job": 1, "source": "", "target": "b"})", "source: it is empty"},
                      BadDocument{"NumberAsPath", R"({"shardlens_job": 1, "source": 3, "target": "b"})", "source: text is needed, and this is number"},
                      BadDocument{"TextAsFlag", R"({"shardlens_job": 1, "source": "a", "target": "b", "verify": "yes"})", "verify: true or false is needed"},
                      BadDocument{"PatternAsText", R"({"shardlens_job": 1, "source": "a", "target": "b", "include": "x"})", "include: a list of patterns is needed"},
                      BadDocument{"UnknownSelection", R"({"shardlens_job": 1, "source": "a", "target": "b", "select": "some"})", "select: some is none of weights"},
                      BadDocument{"UnknownDType", R"({"shardlens_job": 1, "source": "a", "target": "b", "dtype": "fp16"})", "dtype: fp16 is no dtype"},
                      BadDocument{"SizeWithoutUnit", R"({"shardlens_job": 1, "source": "a", "target": "b", "memory_limit": "512"})", "memory_limit: \"512\" is no size"},
                      BadDocument{"NegativeSize", R"({"shardlens_job": 1, "source": "a", "target": "b", "memory_limit": -1})", "memory_limit: bytes, or text"},
                      BadDocument{"TooManyThreads", R"({"shardlens_job": 1, "source": "a", "target": "b", "threads": 1025})", "threads: 1025"},
                      BadDocument{"OtherContainer", R"({"shardlens_job": 1, "source": "a", "target": "b", "output_format": "tar"})", "output_format: tar is none of ckpt, safetensors, bin"},
                      BadDocument{"NoRank", R"({"shardlens_job": 1, "source": "a", "target": "b", "rank_files": {"3x": "c"}})", "rank_files: 3x is no number of a rank"},
                      BadDocument{"NoRankFile", R"({"shardlens_job": 1, "source": "a", "target": "b", "rank_files": {"3": 5}})", "rank_files: text is needed"},
                      BadDocument{"OtherDevice", R"({"shardlens_job": 1, "source": "a", "target": "b", "device": "gpu:0"})", "device: gpu:0 is none of auto, cpu, cuda:N"}),
    [](const auto& row) { return std::string(row.param.name); });

nlohmann::json schema()
{
    std::ifstream file(SHARDLENS_SOURCE_DIR "/resources/job.schema.json");
    return nlohmann::json::parse(file);
}

TEST(JobSchema, DescribesEveryMemberThatIsWritten)
{
    const nlohmann::json written = nlohmann::json::parse(requestToJson(everything()));
    for (const auto& [name, value] : written.items())
        EXPECT_TRUE(schema()["properties"].contains(name)) << name;
}

TEST(JobSchema, DescribesNothingThatIsNotRead)
{
    const nlohmann::json known = schema();
    for (const auto& [name, value] : known["properties"].items()) {
        nlohmann::json document{{"shardlens_job", 1}, {"source", "a"}, {"target", "b"}};
        document[name] = value.contains("type") && value["type"] == "object" ? nlohmann::json("text") : nlohmann::json::object(); // of the wrong type, which must be what is said
        const auto request = requestFromJson(document.dump());
        if (name != "$schema") {
            ASSERT_FALSE(request.ok()) << name;
            EXPECT_THAT(request.error().text(), HasSubstr(fmt::format("{}: ", name)));
        }
    }
}

TEST(JobSchema, ListsTheDTypesThatMayBeCastTo)
{
    const nlohmann::json known = schema()["properties"]["dtype"]["enum"];
    for (const DTypeInfo& dtype : allDTypes()) {
        bool listed = false;
        for (const auto& name : known)
            listed = listed || (name.is_string() && name.get<std::string>() == dtype.name);
        EXPECT_EQ(listed, canCast(DType::F32, dtype.dtype)) << dtype.name;
    }
}

TEST(CommandLine, CanBePastedIntoAShell)
{
    EXPECT_EQ(commandLineOf(onlyWhatMust()), "shardlens convert a b");
    EXPECT_EQ(commandLineOf(everything()),
              "shardlens convert '/data/run one' 'out'\\''s' --to safetensors --tag=-tag --select module --dtype BF16 --include '^layers\\.' --include norm"
              " --exclude 'bias$' --max-shard-size 700B --memory-limit 67108864B --threads 3 --device cpu"
              " --source-strategy 'a b.ckpt' --strategy b.json --prefix net_ --output-format ckpt --rank-file 3=/x/3.ckpt --rank-file 11=y --verify --overwrite");
}

TEST(CommandLine, DoesNotTakeAPathForAnOption)
{
    ConvertRequest request = onlyWhatMust();
    request.source = "--help";
    EXPECT_EQ(commandLineOf(request), "shardlens convert ./--help b");
}

TEST(JobHash, TellsJobsApart)
{
    EXPECT_EQ(jobHash(everything()), jobHash(everything()));
    EXPECT_NE(jobHash(everything()), jobHash(onlyWhatMust()));
    EXPECT_EQ(jobHash(everything()).size(), 8u);
}

} // namespace
} // namespace shardlens
