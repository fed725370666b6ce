#include "core/model/checkpoint_builder.h"
#include "ui/models/atlas_columns.h"
#include "ui/widgets/atlas_layout.h"
#include "ui/widgets/atlas_scale.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <random>

namespace shardlens::ui {
namespace {

struct Part {
    const char* name;
    std::uint64_t elements; // one byte each
    std::uint64_t gap = 0;  // bytes before it that nobody names
};

AtlasModelPtr modelOf(const std::vector<Part>& parts)
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "x.pt";
    for (const Part& part : parts)
        file.size += part.elements + part.gap;
    const StreamId stream = builder.streamOf(builder.addFile(file));
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    std::uint64_t at = 0;
    int number = 0;
    for (const Part& part : parts) {
        at += part.gap;
        const ParameterId parameter = builder.parameter(fmt::format("layers.{}.{}.weight", number++, part.name));
        EXPECT_TRUE(builder.addWhole(builder.addTensor({parameter, role, DType::U8, Combine::Exclusive, true, {part.elements, 1}}), {stream, at, builder.holder({}), {}}));
        at += part.elements;
    }
    return AtlasModel::build(std::move(builder).finish(), {});
}

std::vector<AtlasColumn> columnsOf(const AtlasModel& model, const AtlasPalette& palette, double perColumn, std::size_t count, double first = 0)
{
    std::vector<AtlasColumn> out(count);
    fillColumns(model.lanes()[0], palette, {first, perColumn, {}}, out);
    return out;
}

AtlasPalettePtr paletteOf(const AtlasModel& model)
{
    return AtlasPalette::build(model, AtlasColour::Parameter, ParameterClasses::builtIn());
}

QString classAt(const AtlasPalette& palette, std::uint16_t klass)
{
    return palette.classes()[klass & ~AtlasColumn::kDimmed].title;
}

TEST(AtlasColumns, WidePiecesMeetAtASharpEdge)
{
    const auto model = modelOf({{"q_proj", 1040}, {"k_proj", 1000}});
    const auto palette = paletteOf(*model);
    const auto columns = columnsOf(*model, *palette, 100, 22);
    for (std::size_t i = 0; i < 20; ++i) {
        ASSERT_NE(columns[i].solid, AtlasColumn::kNone) << i;
        EXPECT_EQ(columns[i].count, 0) << i;
        EXPECT_EQ(classAt(*palette, columns[i].solid), i < 10 ? "q_proj" : "k_proj") << i;
    }
    EXPECT_TRUE(columns[9].lastOfPiece);
    EXPECT_FALSE(columns[8].lastOfPiece);
    EXPECT_TRUE(columns[21].empty());
}

TEST(AtlasColumns, ALonelySliverIsVisible)
{
    const auto model = modelOf({{"q_proj", 1, 5000}, {"k_proj", 1, 100000}});
    const auto palette = paletteOf(*model);
    const auto columns = columnsOf(*model, *palette, 1000, 120);
    ASSERT_EQ(columns[5].count, 1);
    EXPECT_EQ(classAt(*palette, columns[5].shares[0].klass), "q_proj");
    EXPECT_FLOAT_EQ(columns[5].shares[0].share, 1); // painted in full height
    EXPECT_FALSE(columns[105].empty());
    EXPECT_TRUE(columns[6].empty());
}

TEST(AtlasColumns, BelowAPixelClassesShareTheColumnByBytesInTheOrderOfThePalette)
{
    const auto model = modelOf({{"k_proj", 30}, {"q_proj", 60}, {"embed_tokens", 10}, {"k_proj", 100}});
    const auto palette = paletteOf(*model);
    const auto columns = columnsOf(*model, *palette, 100, 2);
    ASSERT_EQ(columns[0].count, 3);
    EXPECT_EQ(classAt(*palette, columns[0].shares[0].klass), "embeddings, head");
    EXPECT_EQ(classAt(*palette, columns[0].shares[1].klass), "q_proj");
    EXPECT_EQ(classAt(*palette, columns[0].shares[2].klass), "k_proj");
    EXPECT_NEAR(columns[0].shares[0].share, 0.1, 1e-4);
    EXPECT_NEAR(columns[0].shares[1].share, 0.6, 1e-4);
}

TEST(AtlasColumns, OfMoreThanFourClassesTheLargestFourStay)
{
    const auto model = modelOf({{"q_proj", 1}, {"k_proj", 20}, {"v_proj", 19}, {"o_proj", 18}, {"up_proj", 17}, {"down_proj", 25}});
    const auto palette = paletteOf(*model);
    const auto columns = columnsOf(*model, *palette, 100, 1);
    ASSERT_EQ(columns[0].count, AtlasColumn::kMost);
    for (const auto& share : columns[0].shares)
        EXPECT_NE(classAt(*palette, share.klass), "q_proj");
}

TEST(AtlasColumns, DimmedPiecesAreTold)
{
    const auto model = modelOf({{"q_proj", 1000}, {"k_proj", 1000}});
    const auto palette = paletteOf(*model);
    std::vector<AtlasColumn> columns(20);
    const std::vector<std::uint8_t> dimmed{1, 0};
    fillColumns(model->lanes()[0], *palette, {0, 100, dimmed}, columns);
    EXPECT_NE(columns[3].solid & AtlasColumn::kDimmed, 0);
    EXPECT_EQ(columns[13].solid & AtlasColumn::kDimmed, 0);
}

// Against a painter that looks at every byte: a column is empty exactly where it holds no byte of a narrow piece and no centre of a wide one.
TEST(AtlasColumns, AgreeWithAByteByBytePicture)
{
    std::mt19937 random(7);
    const char* names[] = {"q_proj", "k_proj", "up_proj", "norm"};
    for (int round = 0; round < 40; ++round) {
        std::vector<Part> parts;
        for (int i = 0; i < 60; ++i)
            parts.push_back({names[random() % 4], 1 + random() % (random() % 5 == 0 ? 900 : 40), random() % 4 == 0 ? random() % 300 : 0});
        const auto model = modelOf(parts);
        const auto palette = paletteOf(*model);
        const double perColumn = 20 + static_cast<double>(random() % 100);
        const auto first = static_cast<double>(random() % 500);
        const auto columns = columnsOf(*model, *palette, perColumn, 80, first);
        const AtlasLane& lane = model->lanes()[0];
        for (std::size_t column = 0; column < columns.size(); ++column) {
            const double low = first + perColumn * static_cast<double>(column);
            const double high = low + perColumn;
            bool needed = false;
            std::set<std::uint16_t> possible;
            for (std::size_t i = 0; i < lane.size(); ++i) {
                const double shared = std::min(high, static_cast<double>(lane.endOf(i))) - std::max(low, static_cast<double>(lane.starts[i]));
                if (shared <= 1e-6)
                    continue;
                possible.insert(palette->classOf(lane.pieces[i]));
                needed |= static_cast<double>(lane.lengths[i]) < 2 * perColumn || shared > 0.51 * perColumn;
            }
            EXPECT_FALSE(needed && columns[column].empty()) << round << ' ' << column;
            EXPECT_TRUE(columns[column].solid == AtlasColumn::kNone || possible.contains(columns[column].solid)) << round << ' ' << column;
            float sum = 0;
            for (std::size_t i = 0; i < columns[column].count; ++i) {
                EXPECT_TRUE(possible.contains(columns[column].shares[i].klass)) << round << ' ' << column;
                sum += columns[column].shares[i].share;
            }
            EXPECT_NEAR(sum, columns[column].count > 0 ? 1 : 0, 1e-4);
        }
    }
}

TEST(AtlasScale, ZoomKeepsWhatIsUnderTheCursor)
{
    const AtlasScale scale = AtlasScale::fit(20ull << 30, 1000, true);
    const double before = scale.toUnit(333);
    const AtlasScale closer = scale.zoomed(1.25, 333);
    EXPECT_NEAR(closer.toUnit(333), before, 1);
    EXPECT_NEAR(closer.unitsPerPixel, scale.unitsPerPixel / 1.25, 1e-6);
}

TEST(AtlasScale, IsLimitedToTheWholeAndToEightPixelsAByte)
{
    const std::uint64_t length = 1ull << 30;
    const AtlasScale whole = AtlasScale::fit(length, 1000, true);
    EXPECT_EQ(whole.zoomed(0.1, 500).limited(length, 1000, true), whole);
    const AtlasScale deepest = whole.zoomed(1e12, 500).limited(length, 1000, true);
    EXPECT_DOUBLE_EQ(deepest.unitsPerPixel, 1.0 / 8);
    EXPECT_GE(AtlasScale({-5e9, 100}).limited(length, 1000, true).firstUnit, 0);
    const AtlasScale right = AtlasScale({5e9, 100}).limited(length, 1000, true);
    EXPECT_LE(right.toUnit(1000), roundedLength(length, true) + 1);
}

TEST(AtlasRuler, LabelsAreRoundAndFarEnoughApart)
{
    for (double perPixel = 0.125; perPixel < 1e8; perPixel *= 1.7) {
        double last = -1e9;
        for (const RulerTick& tick : rulerTicks({0, perPixel}, 900, 72, true)) {
            if (tick.label.isEmpty())
                continue;
            const double x = tick.unit / perPixel;
            EXPECT_GE(x - last, 72 - 1e-6) << perPixel;
            last = x;
        }
    }
}

TEST(AtlasRuler, AtDepthTheFirstLabelIsExactAndTheOthersCountFromIt)
{
    const auto ticks = rulerTicks({6738421376.0, 40}, 900, 72, true);
    std::vector<QString> labels;
    for (const RulerTick& tick : ticks)
        if (!tick.label.isEmpty())
            labels.push_back(tick.label);
    ASSERT_GE(labels.size(), 3u);
    EXPECT_FALSE(labels[0].startsWith(QLatin1Char('+')));
    EXPECT_EQ(labels[1], "+5 KiB");
    EXPECT_EQ(labels[2], "+10 KiB");
}

TEST(AtlasLayoutTest, TiersGoFromTheTopWhenThereIsLittleRoom)
{
    const auto layoutOf = [](double height) { return AtlasLayout({QSizeF(1000, 700), 1, 20, height, 0, 26, false, true}); };
    EXPECT_FALSE(layoutOf(68).stateTier(0).isEmpty());
    EXPECT_TRUE(layoutOf(40).stateTier(0).isEmpty());
    EXPECT_FALSE(layoutOf(40).moduleTier(0).isEmpty());
    EXPECT_TRUE(layoutOf(20).moduleTier(0).isEmpty());
    EXPECT_GE(layoutOf(1).pieceTier(0).height(), 4);
    const AtlasLayout full = layoutOf(68);
    EXPECT_EQ(full.pieceTier(0).height(), 34);
    EXPECT_EQ(full.stateTier(0).height(), 16);
    EXPECT_EQ(full.moduleTier(0).height(), 14);
}

TEST(AtlasLayoutTest, EveryLaneIsFoundAtItsRow)
{
    const AtlasLayout layout({QSizeF(1000, 700), 1, 50, 30, 75, 26, true, true});
    const auto [first, last] = layout.visible();
    EXPECT_GT(first, 0u);
    for (std::size_t lane = first; lane < last; ++lane) {
        const double y = layout.row(lane).center().y();
        const bool shows = y >= layout.lanes().top() && y < layout.lanes().bottom();
        EXPECT_EQ(layout.laneAt(y), shows ? std::optional(lane) : std::nullopt);
    }
    EXPECT_EQ(layout.laneAt(layout.legend().center().y()), std::nullopt);
    EXPECT_EQ(layout.laneAt(layout.minimap().center().y()), std::nullopt);
}

TEST(AtlasLayoutTest, LanesShareTheRoomWithoutAScrollBarWhereTheyCan)
{
    for (std::size_t lanes = 1; lanes < 12; ++lanes) {
        const AtlasLayout layout({QSizeF(1000, 700), 1, lanes, 0, 0, 26, true, true});
        EXPECT_LE(layout.contentHeight(), layout.lanes().height()) << lanes;
    }
}

} // namespace
} // namespace shardlens::ui
