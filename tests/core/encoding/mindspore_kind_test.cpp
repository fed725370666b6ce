#include "core/encoding/mindspore_ckpt.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/mindspore_fixture.h"

#include <gtest/gtest.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using mindspore::MindSporeKind;

// As a probe sees a file: its first 512 bytes.
MindSporeKind kindOf(const std::string& file, std::uint64_t fileBytes)
{
    return mindspore::mindSporeKindOf(toBytes(file.substr(0, 512)), fileBytes);
}
MindSporeKind kindOf(const std::string& file)
{
    return kindOf(file, file.size());
}

std::string strategyOfOne()
{
    return fromHex("0801"
                   "121a0a084d61744d756c5f77120e0800120408020801120408020801"
                   "1a2d0a017712280a0408020802120d080008ffffffffffffffffff011a0022002800300238ffffffffffffffffff01");
}

TEST(MindSporeKind, KnowsWeights)
{
    EXPECT_EQ(kindOf(ckptOfFour()), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptMapOfEmb()), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptRecord("big", ckptTensor({1000, 1000}, "Float32", std::string(4'000'000, '\0')))), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptRecord("random_op", ckptTensor({}, "random_op", "abc"))), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptRecord("s", ckptTensor({0}, "str", ""))), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptRecord("new", ckptTensor({2}, "Float4X", "ab")) + ckptOfFour()), MindSporeKind::Weights); // a type of a later release
    // content in front of the type, which the head does not show
    EXPECT_EQ(kindOf(ckptRecord("w", pbNumber(1, 600) + pbBytes(3, std::string(600, 'x')) + pbBytes(2, "Int8"))), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptRecord("w", pbBytes(1, pbVarint(2)) + pbBytes(2, "Int8") + pbBytes(3, "ab"))), MindSporeKind::Weights);
}

TEST(MindSporeKind, KnowsWeightsThatAreCut)
{
    const std::string four = ckptOfFour();
    EXPECT_EQ(kindOf(four.substr(0, 30)), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(four.substr(0, 20)), MindSporeKind::Weights); // its type is there
    EXPECT_EQ(kindOf(four.substr(0, 19)), MindSporeKind::No);      // and here not: it may be anything
    EXPECT_EQ(kindOf(four.substr(0, 90)), MindSporeKind::Weights);
}

TEST(MindSporeKind, KnowsStrategiesAndGroups)
{
    EXPECT_EQ(kindOf(strategyOfOne()), MindSporeKind::Strategy);
    std::string many = "\x08\x01"s;
    for (int i = 0; i < 100; ++i)
        many += strategyOfOne().substr(30); // layouts, over more than the head
    EXPECT_EQ(kindOf(many), MindSporeKind::Strategy);
    EXPECT_EQ(kindOf(pbBytes(1, pbBytes(1, "0-group") + pbBytes(2, pbNumber(1, 0) + pbNumber(1, 7)))), MindSporeKind::GroupMap);
    std::string ranks;
    for (std::uint64_t i = 0; i < 1024; ++i)
        ranks += pbNumber(1, i);
    EXPECT_EQ(kindOf(pbBytes(1, pbBytes(1, "all") + pbBytes(2, ranks))), MindSporeKind::GroupMap);
}

TEST(MindSporeKind, KnowsEncryptedFiles)
{
    EXPECT_EQ(kindOf("\xd8\x5e\x3a\x7f and more"), MindSporeKind::Encrypted);
    EXPECT_EQ(kindOf("\xd9\x5e\x3a\x7f"), MindSporeKind::Encrypted);
    EXPECT_EQ(kindOf("\xda\x5e\x3a\x7f"), MindSporeKind::Encrypted);
    EXPECT_EQ(kindOf("\xdb\x5e\x3a\x7f"), MindSporeKind::No);
}

TEST(MindSporeKind, LeavesOtherFilesAlone)
{
    EXPECT_EQ(kindOf(""), MindSporeKind::No);
    EXPECT_EQ(kindOf("\x0a"), MindSporeKind::No);
    EXPECT_EQ(kindOf("\x08\x01"), MindSporeKind::No);
    EXPECT_EQ(kindOf("PK\x03\x04"), MindSporeKind::No);
    EXPECT_EQ(kindOf("\x80\x02}q\0."s), MindSporeKind::No);
    EXPECT_EQ(kindOf("\n\nsome text\n"), MindSporeKind::No);
    EXPECT_EQ(kindOf("\x0a\0\0\0\0\0\0\0{\"a\":1}  "s), MindSporeKind::No); // safetensors with a header of ten bytes
    EXPECT_EQ(kindOf("\x08\0\0\0\0\0\0\0{      }"s), MindSporeKind::No);
    // GraphDef: nodes with a name and an operator
    EXPECT_EQ(kindOf(pbBytes(1, pbBytes(1, "x") + pbBytes(2, "Placeholder") + pbBytes(5, "\x0a\x01T"))), MindSporeKind::No);
    EXPECT_EQ(kindOf(pbBytes(1, pbBytes(1, "x") + pbBytes(2, "Const"))), MindSporeKind::No);
    // MindIR and ONNX
    EXPECT_EQ(kindOf(pbBytes(1, "0.1.0") + pbBytes(2, "MindSpore") + pbBytes(3, "2.3")), MindSporeKind::No);
    EXPECT_EQ(kindOf(pbNumber(1, 8) + pbBytes(2, "pytorch") + pbBytes(3, "2.3.0") + pbBytes(7, "graph")), MindSporeKind::No);
    EXPECT_EQ(kindOf(pbNumber(1, 8) + pbBytes(2, "") + pbBytes(7, "graph")), MindSporeKind::No);
    // SavedModel
    EXPECT_EQ(kindOf(pbNumber(1, 1) + pbBytes(2, pbBytes(1, pbBytes(1, "op") + pbBytes(4, "serve")) + pbBytes(2, "x"))), MindSporeKind::No);
    // no type, a record longer than its file with a type that nobody knows; a tag that is no UTF-8 may be, where the type is known
    EXPECT_EQ(kindOf(ckptRecord("w", pbBytes(3, "abc"))), MindSporeKind::No);
    EXPECT_EQ(kindOf(ckptRecord("\xff\xfe", ckptTensor({}, "Int8", "x"))), MindSporeKind::Weights);
    EXPECT_EQ(kindOf(ckptRecord("w", ckptTensor({3}, "What", "abc")).substr(0, 17)), MindSporeKind::No);
    EXPECT_EQ(kindOf(ckptRecord("w", ckptTensor({3}, "What", "abc")) + "zzz"), MindSporeKind::No);
}

} // namespace
} // namespace shardlens::test
