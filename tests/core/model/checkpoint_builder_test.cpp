#include "core/model/checkpoint_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace shardlens {
namespace {

using testing::HasSubstr;

File fileOf(const std::string& name, std::uint64_t size, File::State state = File::State::Read)
{
    File file;
    file.path = "run/" + name;
    file.name = name;
    file.size = size;
    file.state = state;
    file.rank = 3;
    return file;
}

class CheckpointBuilderTest : public testing::Test {
protected:
    TensorId addTensor(const std::string& name, Shape shape, RoleKind kind = RoleKind::Weight, const std::string& role = "weight")
    {
        Tensor tensor;
        tensor.parameter = m_builder.parameter(name);
        tensor.role = m_builder.role(kind, role);
        tensor.dtype = DType::F32;
        tensor.shape = std::move(shape);
        return m_builder.addTensor(tensor);
    }

    CheckpointBuilder m_builder{"run", "run"};
    FileId m_file = m_builder.addFile(fileOf("a.pt", 100));
};

TEST_F(CheckpointBuilderTest, TheSameNameIsTheSameParameterRoleHolderAndStream)
{
    EXPECT_EQ(m_builder.parameter("w"), m_builder.parameter("w"));
    EXPECT_NE(m_builder.parameter("w"), m_builder.parameter("v"));
    EXPECT_EQ(m_builder.role(RoleKind::Weight, "weight"), m_builder.role(RoleKind::Weight, "weight"));
    EXPECT_NE(m_builder.role(RoleKind::Weight, "weight"), m_builder.role(RoleKind::Buffer, "weight"));
    EXPECT_EQ(m_builder.holder({{{Axis::Dp, 1}}}), m_builder.holder({{{Axis::Dp, 1}}}));
    EXPECT_EQ(m_builder.streamOf(m_file), m_builder.streamOf(m_file));
    EXPECT_TRUE(m_builder.hasParameter("v"));
    EXPECT_FALSE(m_builder.hasParameter("u"));
}

TEST_F(CheckpointBuilderTest, RefusesAPieceOutsideItsTensor)
{
    const TensorId id = addTensor("w", {2, 3});
    const Status status = m_builder.addPiece(id, FlatRange{0, 7}, {m_builder.streamOf(m_file), 0, {}, {}});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::Corrupt);
    EXPECT_THAT(status.error().text(), HasSubstr("outside w [2, 3]"));
}

TEST_F(CheckpointBuilderTest, RefusesAPiecePastTheEndOfItsFile)
{
    const TensorId id = addTensor("w", {2, 3});
    EXPECT_TRUE(m_builder.addWhole(id, {m_builder.streamOf(m_file), 76, {}, {}}));
    const Status status = m_builder.addWhole(id, {m_builder.streamOf(m_file), 77, {}, {}});
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().text(), HasSubstr("needs 24 B at offset 77, and the file ends at 100"));
    EXPECT_FALSE(m_builder.addWhole(id, {m_builder.streamOf(m_file), ~std::uint64_t{0}, {}, {}}));
}

TEST_F(CheckpointBuilderTest, RefusesBytesThatCannotBeCounted)
{
    for (const Shape& shape : {Shape{std::uint64_t{1} << 62}, Shape{std::uint64_t{1} << 61}, Shape{std::uint64_t{1} << 40, std::uint64_t{1} << 40}}) {
        const TensorId id = addTensor("w", shape);
        const Status status = m_builder.addWhole(id, {m_builder.streamOf(m_file), 0, {}, {}});
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code(), ErrorCode::Corrupt);
        EXPECT_THAT(status.error().text(), HasSubstr("of F32 fills no whole number of bytes up to 9,223,372,036,854,775,807"));
    }
    Tensor odd;
    odd.parameter = m_builder.parameter("odd");
    odd.role = m_builder.role(RoleKind::Weight, "weight");
    odd.dtype = DType::F4;
    odd.shape = {3};
    EXPECT_FALSE(m_builder.addWhole(m_builder.addTensor(odd), {m_builder.streamOf(m_file), 0, {}, {}}));
    const CheckpointPtr checkpoint = std::move(m_builder).finish();
    EXPECT_EQ(checkpoint->findings().size(), 4u);
    EXPECT_GT(checkpoint->bytesOf(idAt<TensorId>(0)), std::uint64_t{1} << 62); // and not 0, which reads as an empty tensor
}

TEST_F(CheckpointBuilderTest, InlineBytesHaveBoundsToo)
{
    const TensorId id = addTensor("step", {});
    const std::array<std::byte, 4> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    const StreamId stream = m_builder.addInline(m_file, bytes);
    EXPECT_TRUE(m_builder.addWhole(id, {stream, 0, {}, {}}));
    EXPECT_FALSE(m_builder.addWhole(id, {stream, 1, {}, {}}));
    const CheckpointPtr checkpoint = std::move(m_builder).finish();
    EXPECT_EQ(checkpoint->stream(stream).kind, Stream::Kind::Inline);
    EXPECT_EQ(checkpoint->inlineBytes()[checkpoint->stream(stream).offset + 2], std::byte{3});
}

TEST_F(CheckpointBuilderTest, AMissingFileHoldsPiecesOfAnyLength)
{
    const FileId gone = m_builder.addFile(fileOf("b.pt", 0, File::State::Missing));
    const TensorId id = addTensor("w", {1000});
    EXPECT_TRUE(m_builder.addWhole(id, {m_builder.streamOf(gone), 0, {}, {}}));
    const CheckpointPtr checkpoint = std::move(m_builder).finish();
    EXPECT_EQ(checkpoint->stream(checkpoint->pieces().at(idAt<PieceId>(0)).source.stream).kind, Stream::Kind::Missing);
}

TEST_F(CheckpointBuilderTest, NamesSayTheRole)
{
    const TensorId weight = addTensor("w", {1});
    const TensorId state = addTensor("w", {1}, RoleKind::OptimizerState, "exp_avg");
    const TensorId module = addTensor("w", {1}, RoleKind::Module, "module copy");
    const CheckpointPtr checkpoint = std::move(m_builder).finish();
    EXPECT_EQ(checkpoint->fullName(weight), "w");
    EXPECT_EQ(checkpoint->fullName(state), "w/exp_avg");
    EXPECT_EQ(checkpoint->fullName(module), "w/module");
    EXPECT_EQ(checkpoint->parameters().size(), 1u);
    EXPECT_EQ(checkpoint->bytesOf(weight), 4u);
    EXPECT_EQ(checkpoint->totalFileBytes(), 100u);
}

TEST_F(CheckpointBuilderTest, RankIsTheHoldersElseTheFiles)
{
    const TensorId id = addTensor("w", {2});
    const StreamId stream = m_builder.streamOf(m_file);
    const HolderId first = m_builder.holder({{{Axis::Dp, 1}}});
    const HolderId any = m_builder.holder(Holder{});
    ASSERT_TRUE(m_builder.addPiece(id, FlatRange{0, 1}, {stream, 0, first, {}}));
    ASSERT_TRUE(m_builder.addPiece(id, FlatRange{1, 2}, {stream, 4, any, {}}));
    m_builder.setTopology({{{Axis::Dp, 4}}});
    const CheckpointPtr checkpoint = std::move(m_builder).finish();
    EXPECT_EQ(checkpoint->rankOfPiece(checkpoint->pieces().at(idAt<PieceId>(0))), 1u);
    EXPECT_EQ(checkpoint->rankOfPiece(checkpoint->pieces().at(idAt<PieceId>(1))), 3u);
}

} // namespace
} // namespace shardlens
