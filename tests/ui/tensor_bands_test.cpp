#include "core/format/format.h"
#include "core/job/job_context.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/tensor_bands.h"
#include "ui/pages/tensor_page.h"
#include "ui/theme/theme.h"
#include "ui/widgets/tensor_picture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <QSpinBox>
#include <QTest>

// Fused query, key and value matrices, gate and up: which rows are what.
namespace shardlens::ui::test {
namespace {

using ::testing::HasSubstr;

struct Book {
    CheckpointPtr checkpoint;
    RuleBookPtr rules;
};

Book bookOf(const char* path)
{
    JobContext job;
    auto opened = openCheckpoint(std::string(SHARDLENS_CASES "/") + path, {}, job);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().sentence());
    const CheckpointPtr checkpoint = opened.take();
    return {checkpoint, RuleBook::build(checkpoint, {})};
}

TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& end)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.parameterOf(idAt<TensorId>(i)).ends_with(end))
            return idAt<TensorId>(i);
    ADD_FAILURE() << end;
    return {};
}

// "query 3" of every cell, in runs: "query 0 x8, query 1 x8, key 0 x8"
std::string runsOf(const TensorBands& bands, std::uint64_t cells)
{
    std::string out;
    std::string last;
    std::uint64_t count = 0;
    const auto flush = [&] {
        if (count > 0)
            out += fmt::format("{}{} x{}", out.empty() ? "" : ", ", last, count);
        count = 0;
    };
    for (std::uint64_t cell = 0; cell < cells; ++cell) {
        const TensorBand* band = bands.at(cell);
        std::string text = band == nullptr ? "nothing" : band->part ? bands.parts[*band->part].toStdString() : "all";
        if (band != nullptr && band->number)
            text += fmt::format(" {}", *band->number);
        if (text != last)
            flush();
        last = text;
        ++count;
    }
    flush();
    return out;
}

TEST(TensorBandsTest, GroupsOfHeadsFollowEachOtherWithTheirKeyAndValue)
{
    const Book book = bookOf("megatron/mcore-tp2/source/torch"); // 4 heads in 2 groups, 32 rows
    const auto bands = bandsOf(*book.rules, tensorNamed(*book.checkpoint, "layers.0.self_attention.linear_qkv.weight"), 0);
    ASSERT_TRUE(bands);
    EXPECT_EQ(bands->problem.toStdString(), "");
    EXPECT_EQ(runsOf(*bands, 32), "query 0 x4, query 1 x4, key 0 x4, value 0 x4, query 2 x4, query 3 x4, key 1 x4, value 1 x4");
    EXPECT_TRUE(bands->saysHeads);
    EXPECT_EQ(bands->headsText().toStdString(), "4 heads in 2 groups (from the checkpoint)");
    EXPECT_EQ(bands->textOf(*bands->at(9)).toStdString(), "key, group 0 of 2");
    EXPECT_EQ(bands->textOf(*bands->at(21)).toStdString(), "query, head 3 of 4");
    EXPECT_EQ(bands->labelOf(*bands->at(31)).toStdString(), "v1");
    const auto bias = bandsOf(*book.rules, tensorNamed(*book.checkpoint, "layers.0.self_attention.linear_qkv.bias"), 0);
    ASSERT_TRUE(bias);
    EXPECT_EQ(runsOf(*bias, 32), runsOf(*bands, 32));
}

TEST(TensorBandsTest, SegmentsWithoutHeadsAreOneBandEach)
{
    const Book book = bookOf("megatron/mcore-tp2/source/torch");
    const auto bands = bandsOf(*book.rules, tensorNamed(*book.checkpoint, "layers.0.mlp.linear_fc1.weight"), 0);
    ASSERT_TRUE(bands);
    EXPECT_EQ(runsOf(*bands, 48), "gate x24, up x24");
    EXPECT_FALSE(bands->isByHeads);
    EXPECT_EQ(bands->labelOf(bands->bands.back()).toStdString(), "up");
    EXPECT_EQ(bands->headsText(), QString());
}

TEST(TensorBandsTest, WhatNoRuleNamesPartsOfHasNone)
{
    const Book book = bookOf("megatron/mcore-tp2/source/torch");
    EXPECT_FALSE(bandsOf(*book.rules, tensorNamed(*book.checkpoint, "layers.0.self_attention.linear_proj.weight"), 4));
    EXPECT_FALSE(bandsOf(*book.rules, tensorNamed(*book.checkpoint, "layers.0.input_layernorm.weight"), 4));
}

TEST(TensorBandsTest, Version0KeepsQueryKeyAndValueApart)
{
    const Book book = bookOf("sdloader/v0-tp2/source");
    const TensorId tensor = tensorNamed(*book.checkpoint, "attention.query_key_value.weight");
    const std::uint64_t rows = book.checkpoint->tensor(tensor).shape[0];
    const std::uint64_t third = rows / 3;
    const auto unknown = bandsOf(*book.rules, tensor, 0);
    ASSERT_TRUE(unknown);
    EXPECT_EQ(runsOf(*unknown, rows), fmt::format("query x{0}, key x{0}, value x{0}", third));
    EXPECT_TRUE(unknown->isByHeads);
    EXPECT_FALSE(unknown->saysHeads);
    const auto two = bandsOf(*book.rules, tensor, 2);
    EXPECT_EQ(runsOf(*two, rows), fmt::format("query 0 x{0}, query 1 x{0}, key 0 x{0}, key 1 x{0}, value 0 x{0}, value 1 x{0}", third / 2));
    EXPECT_THAT(bandsOf(*book.rules, tensor, third + 1)->problem.toStdString(), HasSubstr("do not divide"));
}

TEST(TensorBandsTest, Version2KeepsThePartsOfAHeadTogether)
{
    const Book book = bookOf("sdloader/v2-tp4-views/source");
    const TensorId tensor = tensorNamed(*book.checkpoint, "attention.query_key_value.weight");
    const std::uint64_t rows = book.checkpoint->tensor(tensor).shape[0];
    const auto unknown = bandsOf(*book.rules, tensor, 0);
    ASSERT_TRUE(unknown);
    EXPECT_TRUE(unknown->bands.empty());
    EXPECT_THAT(unknown->problem.toStdString(), HasSubstr("How many heads"));
    const auto four = bandsOf(*book.rules, tensor, 4);
    ASSERT_EQ(four->problem.toStdString(), "");
    for (std::uint64_t row = 0; row < rows; ++row) { // [head, part, element]
        const std::uint64_t unit = rows / 12;
        EXPECT_EQ(four->at(row)->number, row / (3 * unit)) << row;
        EXPECT_EQ(four->at(row)->part, row / unit % 3) << row;
    }
}

class TensorBandsPage : public WindowTest {};

TEST_F(TensorBandsPage, ThePictureTintsThePartsInTheColoursOfTheirRanks)
{
    Workspace* workspace = open(QStringLiteral(SHARDLENS_CASES "/megatron/mcore-tp2/source/torch"), QStringLiteral("tensor"));
    m_window->show();
    workspace->selectNamed(QStringLiteral("decoder.layers.0.self_attention.linear_qkv.weight"));
    auto* tensor = page<TensorPage>();
    TensorPicture* drawn = tensor->picture();
    ASSERT_TRUE(waitFor([&] { return drawn->bands().has_value(); }));
    EXPECT_FALSE(tensor->heads()->isVisible()) << "the checkpoint says how many";
    QCoreApplication::processEvents();
    pictures(QStringLiteral("tensor-bands"));
    const QImage image = drawn->grab().toImage();
    const QRectF tile = drawn->pictureLayout().tileRect(0);
    const auto colourAt = [&](double row) {
        return image.pixelColor(QPointF(tile.right() - 3, tile.top() + tile.height() * (row + 0.6) / 32).toPoint());
    };
    const auto tint = [](int rank, double share) {
        const QColor ink = Theme::current().categorical(rank);
        const QColor ground = Theme::current().colour(Token::Surface);
        return QColor(qRound(ink.red() * share + ground.red() * (1 - share)), qRound(ink.green() * share + ground.green() * (1 - share)),
                      qRound(ink.blue() * share + ground.blue() * (1 - share)));
    };
    EXPECT_EQ(colourAt(1), tint(0, 1));
    EXPECT_EQ(colourAt(9), tint(0, 0.62));
    EXPECT_EQ(colourAt(13), tint(0, 0.34));
    EXPECT_EQ(colourAt(17), tint(1, 1));
    EXPECT_EQ(colourAt(29), tint(1, 0.34));
    QString said;
    QObject::connect(drawn, &TensorPicture::hoverTextChanged, drawn, [&](const QString& text) { said = text; });
    QTest::mouseMove(drawn, QPointF(tile.center().x(), tile.top() + tile.height() * 21.5 / 32).toPoint());
    QCoreApplication::processEvents();
    EXPECT_THAT(said.toStdString(), HasSubstr("query, head 3 of 4, rows 20 to 23"));
    EXPECT_THAT(said.toStdString(), HasSubstr("rank 1"));
    QTest::keyClick(drawn, Qt::Key_BracketRight);
    EXPECT_EQ(said.toStdString(), "query, head 0 of 4, rows 0 to 3");
    QTest::keyClick(drawn, Qt::Key_BracketRight);
    QTest::keyClick(drawn, Qt::Key_BracketRight);
    EXPECT_EQ(drawn->accessibleDescription().toStdString(), "key, group 0 of 2, rows 8 to 11");
    QTest::keyClick(drawn, Qt::Key_BracketLeft);
    EXPECT_EQ(said.toStdString(), "query, head 1 of 4, rows 4 to 7");
}

TEST_F(TensorBandsPage, AnUnknownNumberOfHeadsIsAskedForInPlace)
{
    Workspace* workspace = open(QStringLiteral(SHARDLENS_CASES "/sdloader/v2-tp4-views/source"), QStringLiteral("tensor"));
    m_window->show();
    const Checkpoint& checkpoint = *workspace->document()->checkpoint();
    workspace->document()->selectTensor(tensorNamed(checkpoint, "attention.query_key_value.weight"));
    auto* tensor = page<TensorPage>();
    ASSERT_TRUE(waitFor([&] { return tensor->picture()->bands().has_value(); }));
    ASSERT_TRUE(tensor->heads()->isVisible());
    EXPECT_EQ(tensor->heads()->text().toStdString(), "not known");
    pictures(QStringLiteral("tensor-bands-unknown"));
    tensor->heads()->setFocus();
    for (int i = 0; i < 4; ++i)
        QTest::keyClick(tensor->heads(), Qt::Key_Up);
    EXPECT_EQ(tensor->picture()->bands()->heads, 4u);
    EXPECT_EQ(tensor->picture()->bands()->bands.size(), 12u);
    pictures(QStringLiteral("tensor-bands-asked"));
    workspace->document()->selectTensor(tensorNamed(checkpoint, "mlp.dense_4h_to_h.weight"));
    EXPECT_FALSE(tensor->heads()->isVisible());
    EXPECT_FALSE(tensor->picture()->bands());
}

} // namespace
} // namespace shardlens::ui::test
