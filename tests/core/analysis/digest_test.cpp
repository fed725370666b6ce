#include "core/analysis/digest.h"

#include "tests/core/analysis/analysis_fixture.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace shardlens::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Known answers of FIPS 180 and of any sha256sum.
constexpr const char* kOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr const char* kOfAMillionA = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TensorId addBytes(CheckpointBuilder& builder, const char* name, Shape shape)
{
    return builder.addTensor({builder.parameter(name), builder.role(RoleKind::Weight, "weight"), DType::U8, Combine::Exclusive, true, std::move(shape)});
}

class DigestTest : public AnalysisTest {
protected:
    static std::vector<std::string> digests(const CheckpointPtr& checkpoint, std::size_t threads = 1)
    {
        const auto executor = makeThreadedExecutor(threads);
        JobContext job;
        const auto found = digestTensors(checkpoint, selectTensors(*checkpoint, {}), *executor, job);
        if (!found)
            return {"error: " + found.error().text()};
        std::vector<std::string> out;
        for (const TensorDigest& one : *found)
            out.push_back(one.name + " " + one.sha256);
        return out;
    }
};

TEST_F(DigestTest, IsTheSha256OfTheValues)
{
    const CheckpointPtr checkpoint = made("abc", [](CheckpointBuilder& builder, FileId file) {
        ASSERT_TRUE(builder.addWhole(addBytes(builder, "abc", {3}), {builder.streamOf(file), 0, builder.holder({}), {}}));
        ASSERT_TRUE(builder.addWhole(addBytes(builder, "nothing", {0}), {builder.streamOf(file), 0, builder.holder({}), {}}));
    });
    EXPECT_THAT(digests(checkpoint), ElementsAre(std::string("abc ") + kOfAbc, std::string("nothing ") + kOfNothing));
}

TEST_F(DigestTest, FollowsRowMajorOrderWhereverThePiecesLie)
{
    const CheckpointPtr checkpoint = made("c..b.a", [](CheckpointBuilder& builder, FileId file) {
        const TensorId tensor = addBytes(builder, "abc", {3, 1});
        const HolderId holder = builder.holder({});
        ASSERT_TRUE(builder.addPiece(tensor, FlatRange{2, 3}, {builder.streamOf(file), 0, holder, {}}));
        ASSERT_TRUE(builder.addPiece(tensor, FlatRange{1, 2}, {builder.streamOf(file), 3, holder, {}}));
        ASSERT_TRUE(builder.addPiece(tensor, FlatRange{0, 1}, {builder.streamOf(file), 5, holder, {}}));
    });
    EXPECT_THAT(digests(checkpoint), ElementsAre(std::string("abc ") + kOfAbc));
}

TEST_F(DigestTest, OfBigEndianAndStridedValuesIsThatOfPlainOnes)
{
    // [[a b] [c d]] stored by columns, each number with its bytes the other way round.
    const CheckpointPtr checkpoint = made(std::string("\x01\x02\x05\x06\x03\x04\x07\x08", 8) + std::string("\x02\x01\x04\x03\x06\x05\x08\x07", 8), [](CheckpointBuilder& builder, FileId file) {
        const auto add = [&](const char* name) {
            return builder.addTensor({builder.parameter(name), builder.role(RoleKind::Weight, "weight"), DType::I16, Combine::Exclusive, true, {2, 2}});
        };
        const Shape origin{0, 0};
        const Shape extent{2, 2};
        const std::vector<std::int64_t> strides{2, 4};
        SourceFlags flags;
        flags.bigEndian = true;
        ASSERT_TRUE(builder.addPiece(add("odd"), BoxView{origin, extent}, {builder.streamOf(file), 0, builder.holder({}), flags}, strides));
        ASSERT_TRUE(builder.addWhole(add("plain"), {builder.streamOf(file), 8, builder.holder({}), {}}));
    });
    const auto found = digests(checkpoint);
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].substr(4), found[1].substr(6));
}

TEST_F(DigestTest, OfManyTensorsIsTheSameOnManyThreads)
{
    const CheckpointPtr checkpoint = made(std::string(1'000'000, 'a'), [](CheckpointBuilder& builder, FileId file) {
        for (int i = 0; i < 40; ++i)
            ASSERT_TRUE(builder.addWhole(addBytes(builder, std::to_string(i).c_str(), {i % 2 == 0 ? 1'000'000u : 17u}), {builder.streamOf(file), 0, builder.holder({}), {}}));
    });
    const auto found = digests(checkpoint, 4);
    EXPECT_EQ(found, digests(checkpoint, 1));
    EXPECT_EQ(found.front(), std::string("0 ") + kOfAMillionA);
}

TEST_F(DigestTest, ReadsATensorOnceHoweverManyNamesItHas)
{
    const CheckpointPtr checkpoint = made("abc", [](CheckpointBuilder& builder, FileId file) {
        ASSERT_TRUE(builder.addWhole(addBytes(builder, "abc", {3}), {builder.streamOf(file), 0, builder.holder({}), {}}));
        builder.addAlias("tied", builder.parameter("abc"));
    });
    InlineExecutor executor;
    JobContext job;
    const auto found = digestTensors(checkpoint, selectTensors(*checkpoint, {}), executor, job);
    ASSERT_TRUE(found.ok()) << found.error().text();
    ASSERT_EQ(found->size(), 2u);
    EXPECT_EQ((*found)[1].name, "tied");
    EXPECT_EQ((*found)[1].sha256, kOfAbc);
    EXPECT_EQ(job.progress().total, 3u);
    EXPECT_EQ(job.progress().done, 3u);
}

TEST_F(DigestTest, SaysWhatIsMissing)
{
    writeRun();
    std::filesystem::remove(path("run/step3/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"));
    const auto found = digests(openRun());
    ASSERT_EQ(found.size(), 1u);
    EXPECT_THAT(found.front(), HasSubstr("rank 1 should hold them"));
}

TEST_F(DigestTest, StopsWhenAsked)
{
    writeRun();
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    InlineExecutor executor;
    const CheckpointPtr checkpoint = openRun();
    const auto found = digestTensors(checkpoint, selectTensors(*checkpoint, {}), executor, job);
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().code(), ErrorCode::Cancelled);
}

} // namespace
} // namespace shardlens::test
