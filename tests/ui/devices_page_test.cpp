#include "tests/ui/mindspore_sample.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/device_grid.h"
#include "ui/models/device_map.h"
#include "ui/pages/devices/device_rows.h"
#include "ui/pages/devices_page.h"
#include "ui/theme/theme.h"
#include "ui/widgets/device_matrix_view.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/slice_picture.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>
#include <QPushButton>
#include <QTableView>
#include <QTest>

#include <set>

namespace shardlens::ui::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DevicesPageTest : public WindowTest {
protected:
    // The page of a run whose strategy lies beside it, with a tensor chosen.
    DevicesPage* shown(const MindSporeSample& sample, const QString& tensor)
    {
        const std::string folder = m_folder.file("run");
        sample.writeRun(folder);
        sample.writeStrategy(folder + "/strategy.ckpt");
        Workspace* workspace = open(QString::fromStdString(folder), QStringLiteral("devices"));
        workspace->selectNamed(tensor);
        auto* out = page<DevicesPage>();
        EXPECT_TRUE(waitFor([&] { return out->map() != nullptr; })) << out->message().toStdString();
        QCoreApplication::processEvents();
        return out;
    }
    static void hover(QWidget* widget, QPointF at) { QTest::mouseMove(widget, at.toPoint()); QCoreApplication::processEvents(); }
};

// A pixel inside a cell that no number covers.
QColor groundOf(DeviceMatrixView* matrix, std::uint32_t rank)
{
    const QPointF at = matrix->cellOf(rank).bottomRight() - QPointF(5, 5);
    return matrix->grab().toImage().pixelColor(at.toPoint());
}

TEST_F(DevicesPageTest, DevicesOfOneSliceHaveOneColour)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("embed.weight"));
    ASSERT_EQ(page->map()->devices.size(), 8u);
    ASSERT_EQ(page->map()->slices.size(), 4u);
    EXPECT_THAT(page->map()->slices[1].ranks, ElementsAre(1u, 5u));
    EXPECT_EQ(page->cut(), "dimension 0 over 4 by axis 0");
    page->matrix()->clearFocus();
    std::set<QRgb> colours;
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
        EXPECT_EQ(groundOf(page->matrix(), rank), groundOf(page->matrix(), rank + 4)) << rank;
        colours.insert(groundOf(page->matrix(), rank).rgb());
    }
    EXPECT_EQ(colours.size(), 4u);
    // The last axis across, the other down.
    EXPECT_EQ(page->matrix()->cellOf(0).top(), page->matrix()->cellOf(3).top());
    EXPECT_LT(page->matrix()->cellOf(3).bottom(), page->matrix()->cellOf(4).top());
    pictures(QStringLiteral("devices"));
}

TEST_F(DevicesPageTest, ADeviceUnderThePointerSaysItsBoxAndItsBytes)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("embed.weight"));
    hover(page->matrix(), page->matrix()->cellOf(5).center());
    EXPECT_EQ(page->details().at(0), "rank 5: [4:8, 0:12], same as rank 1");
    EXPECT_EQ(page->details().at(1), "axis 1: 1, axis 0: 1");
    EXPECT_THAT(page->details().at(2).toStdString(), testing::MatchesRegex("rank_5/net_rank_5.ckpt, bytes [0-9,]+ to [0-9,]+"));
    EXPECT_EQ(page->picture()->highlighted(), 1u);
    EXPECT_EQ(page->matrix()->highlighted(), 1u);
    EXPECT_EQ(page->matrix()->tipAt(page->matrix()->cellOf(5).center()), page->details().at(0));
    const auto map = page->map();
    const Piece piece = page->document()->checkpoint()->pieces().at(map->devices[5].pieces.front());
    QString where = page->details().at(2);
    EXPECT_THAT(where.remove(QLatin1Char(',')).toStdString(), HasSubstr(std::to_string(piece.source.offset))) << "where the checkpoint has it";
    hover(page->matrix(), QPointF(1, 1));
    EXPECT_EQ(page->picture()->highlighted(), std::nullopt);
}

TEST_F(DevicesPageTest, ABoxUnderThePointerShowsItsDevices)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("embed.weight"));
    page->matrix()->clearFocus();
    const QColor before = groundOf(page->matrix(), 0);
    hover(page->picture(), page->picture()->rectOf(2).center());
    EXPECT_EQ(page->matrix()->highlighted(), 2u);
    EXPECT_EQ(page->details().at(0), "[8:12, 0:12] on ranks 2 and 6");
    EXPECT_NE(groundOf(page->matrix(), 0), before) << "others fade";
    EXPECT_EQ(groundOf(page->matrix(), 2), groundOf(page->matrix(), 6));
    picture(QStringLiteral("devices-hovered"));
}

TEST_F(DevicesPageTest, KeysMoveChooseAndClear)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("dense.weight"));
    page->matrix()->setFocus();
    QTest::keyClick(page->matrix(), Qt::Key_Home);
    QTest::keyClick(page->matrix(), Qt::Key_Right);
    EXPECT_EQ(page->matrix()->focused(), 1u);
    QTest::keyClick(page->matrix(), Qt::Key_Down);
    EXPECT_EQ(page->matrix()->focused(), 5u);
    EXPECT_EQ(page->details().at(0), "rank 5: [4:8, 3:6], no other rank has it");
    EXPECT_THAT(page->matrix()->accessibleDescription().toStdString(), HasSubstr("rank 5: [4:8, 3:6]"));
    const auto tensor = page->document()->selection().tensor;
    QTest::keyClick(page->matrix(), Qt::Key_Return);
    EXPECT_EQ(page->document()->keptRank(), 5u);
    EXPECT_EQ(page->document()->selection().rank, 5u);
    EXPECT_EQ(page->document()->selection().tensor, tensor) << "the tensor stays chosen";
    EXPECT_TRUE(m_window->currentWorkspace()->currentPage()->findChild<RankChip*>()->isVisible());
    picture(QStringLiteral("devices-kept"));
    QTest::keyClick(m_window.get(), Qt::Key_Escape);
    EXPECT_EQ(page->document()->keptRank(), std::nullopt);
    page->picture()->setFocus();
    QTest::keyClick(page->picture(), Qt::Key_End);
    EXPECT_EQ(page->matrix()->highlighted(), 7u);
    QTest::keyClick(page->picture(), Qt::Key_Return);
    EXPECT_EQ(page->document()->keptRank(), 7u);
}

TEST_F(DevicesPageTest, AClickChoosesAndASecondShowsAll)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("embed.weight"));
    QTest::mouseClick(page->matrix(), Qt::LeftButton, {}, page->matrix()->cellOf(6).center().toPoint());
    EXPECT_EQ(page->document()->keptRank(), 6u);
    QTest::mouseClick(page->matrix(), Qt::LeftButton, {}, page->matrix()->cellOf(6).center().toPoint());
    EXPECT_EQ(page->document()->keptRank(), std::nullopt);
}

TEST_F(DevicesPageTest, TheTableSaysTheSame)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("embed.weight"));
    QTest::keyClick(page->matrix(), Qt::Key_T);
    ASSERT_TRUE(page->table()->isVisible());
    const QAbstractItemModelTester tester(page->table()->model());
    ASSERT_EQ(page->table()->model()->rowCount(), 8);
    EXPECT_EQ(page->table()->model()->index(5, DeviceRows::Slice).data().toString(), "[4:8, 0:12]");
    EXPECT_EQ(page->table()->model()->index(5, DeviceRows::SameAs).data().toString(), "1");
    EXPECT_EQ(page->table()->model()->index(5, DeviceRows::Bytes).data().toString(), "192 B");
    EXPECT_THAT(page->copyText(false).toStdString(), HasSubstr("rank\tplace\tslice\tsame as ranks\tbytes\twhere it lies\n0\taxis 1: 0, axis 0: 0\t[0:4, 0:12]\t4\t"));
    QTest::mouseClick(page->table()->viewport(), Qt::LeftButton, {}, page->table()->visualRect(page->table()->model()->index(2, DeviceRows::Slice)).center());
    EXPECT_EQ(page->document()->keptRank(), 2u);
    picture(QStringLiteral("devices-table"));
}

TEST_F(DevicesPageTest, WhatIsInNoStrategyIsWholeEverywhere)
{
    DevicesPage* page = shown(MindSporeSample::eight(), QStringLiteral("global_step"));
    EXPECT_THAT(page->cut().toStdString(), HasSubstr("in no strategy, and every rank holds all of it"));
    ASSERT_EQ(page->map()->slices.size(), 1u);
    EXPECT_EQ(page->map()->slices[0].ranks.size(), 8u);
    EXPECT_EQ(page->map()->sentenceOf(0), "rank 0: all of it, same as ranks 1, 2, 3, 4, 5, 6 and 7");
    picture(QStringLiteral("devices-unlisted"));
}

TEST_F(DevicesPageTest, AMissingRankIsAHole)
{
    MindSporeSample sample = MindSporeSample::eight();
    sample.missing = {5};
    DevicesPage* page = shown(sample, QStringLiteral("dense.weight"));
    EXPECT_TRUE(page->map()->devices[5].isMissing);
    EXPECT_FALSE(page->map()->slices[*page->map()->devices[5].slice].isHeld);
    page->matrix()->setFocused(5);
    EXPECT_EQ(page->details().at(2), "its file is not there, and no other rank has the slice");
    pictures(QStringLiteral("devices-missing"));
    const CheckpointPtr checkpoint = page->document()->checkpoint();
    m_window->currentWorkspace()->selectNamed(QStringLiteral("embed.weight"));
    page->matrix()->setFocused(5);
    EXPECT_EQ(page->details().at(2), "its file is not there; the slice is read from rank 1");
}

TEST_F(DevicesPageTest, ASliceThatAnotherRankStoresIsNoHole)
{
    MindSporeSample sample = MindSporeSample::eight();
    sample.stripped = {{4, "embed.weight"}, {5, "embed.weight"}};
    DevicesPage* page = shown(sample, QStringLiteral("embed.weight"));
    EXPECT_TRUE(page->map()->isStoredElsewhere(4));
    EXPECT_FALSE(page->map()->isStoredElsewhere(0));
    page->matrix()->setFocused(5);
    EXPECT_EQ(page->details().at(0), "rank 5: [4:8, 0:12], same as rank 1");
    EXPECT_EQ(page->details().at(2), "its file does not hold it; the slice is read from rank 1");
    picture(QStringLiteral("devices-stripped"));
}

TEST_F(DevicesPageTest, RecordsOfOneSliceAreOneBox)
{
    MindSporeSample sample = MindSporeSample::eight();
    sample.recordBytes = 96; // two rows
    DevicesPage* page = shown(sample, QStringLiteral("embed.weight"));
    page->matrix()->setFocused(5);
    EXPECT_EQ(page->details().at(0), "rank 5: [4:8, 0:12], same as rank 1");
    EXPECT_EQ(page->details().at(2), "rank_5/net_rank_5.ckpt, in 2 pieces");
}

TEST_F(DevicesPageTest, StagesLieSideBySide)
{
    const mindspore::ParameterLayout rows = layoutOf({2, 2}, {{0}, {}});
    const MindSporeSample sample{{{"first.weight", {8, 6}, rows, 0}, {"second.weight", {8, 6}, rows, 1}}, 2, {}, {}};
    DevicesPage* page = shown(sample, QStringLiteral("second.weight"));
    EXPECT_EQ(page->map()->sentenceOf(1), "rank 1: none of it");
    EXPECT_EQ(page->map()->sentenceOf(5), "rank 5: [4:8, 0:6], same as rank 7");
    EXPECT_EQ(page->map()->grid.blockName(1), "stage 1");
    EXPECT_EQ(page->matrix()->cellOf(0).top(), page->matrix()->cellOf(4).top());
    pictures(QStringLiteral("devices-stages"));
}

TEST_F(DevicesPageTest, ManyDevicesFit)
{
    DevicesPage* page = shown(MindSporeSample::of({4, 8, 2}, {64, 32}, {{1}, {0}}), QStringLiteral("w"));
    ASSERT_EQ(page->map()->devices.size(), 64u);
    EXPECT_EQ(page->map()->slices.size(), 16u);
    for (const std::uint32_t rank : {0u, 31u, 63u})
        EXPECT_TRUE(QRectF(page->matrix()->rect()).contains(page->matrix()->cellOf(rank))) << rank;
    pictures(QStringLiteral("devices-64"));
}

TEST_F(DevicesPageTest, AThousandDevicesFit)
{
    DevicesPage* page = shown(MindSporeSample::of({32, 32}, {128, 64}, {{1}, {0}}), QStringLiteral("w"));
    ASSERT_EQ(page->map()->slices.size(), 1024u);
    EXPECT_TRUE(QRectF(page->matrix()->rect()).contains(page->matrix()->cellOf(1023)));
    hover(page->matrix(), page->matrix()->cellOf(33).center());
    EXPECT_EQ(page->details().at(0), "rank 33: [4:8, 2:4], no other rank has it");
    pictures(QStringLiteral("devices-1024"));
}

TEST_F(DevicesPageTest, NothingChosenSaysHow)
{
    MindSporeSample::eight().writeRun(m_folder.file("run"));
    MindSporeSample::eight().writeStrategy(m_folder.file("run/strategy.ckpt"));
    open(QString::fromStdString(m_folder.file("run")), QStringLiteral("devices"));
    auto* devices = page<DevicesPage>();
    EXPECT_TRUE(waitFor([&] { return devices->message().startsWith(QLatin1String("Choose a tensor")); })) << devices->message().toStdString();
    EXPECT_FALSE(devices->chooseButton()->isVisible());
    open(samplePath(), QStringLiteral("devices"));
    EXPECT_THAT(page<DevicesPage>()->message().toStdString(), HasSubstr("no devices divide"));
}

TEST(DeviceGrid, EveryDeviceHasOnePlaceAndBack)
{
    for (const std::vector<Shape>& matrices :
         {std::vector<Shape>{{8}}, {{2, 4}}, {{1, 8, 1}}, {{2, 3, 4}}, {{2, 2, 2, 2}}, {{4096}}, {{64, 64}}, {{2, 2048}}, {{2048, 2}}, {{100, 3}}, {{4, 2}, {2, 4}, {8, 1}}, {{1}}, {{37}}}) {
        const DeviceGrid grid(matrices);
        std::uint64_t devices = matrices.size();
        for (const std::uint64_t size : matrices.front())
            devices *= size;
        ASSERT_EQ(grid.devices(), devices);
        EXPECT_LE(grid.rows(), DeviceGrid::kLongest);
        EXPECT_LE(grid.columns(), DeviceGrid::kLongest);
        std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>> places;
        for (std::uint32_t rank = 0; rank < grid.devices(); ++rank) {
            const DeviceGrid::Place place = grid.placeOf(rank);
            ASSERT_LT(place.block, grid.blocks());
            ASSERT_LT(place.row, grid.rows());
            ASSERT_LT(place.column, grid.columns());
            ASSERT_EQ(grid.rankAt(place), rank);
            EXPECT_TRUE(places.emplace(place.block, place.row, place.column).second);
        }
        std::uint64_t found = 0;
        for (std::uint32_t block = 0; block < grid.blocks(); ++block)
            for (std::uint32_t row = 0; row < grid.rows(); ++row)
                for (std::uint32_t column = 0; column < grid.columns(); ++column)
                    found += grid.rankAt({block, row, column}).has_value() ? 1 : 0;
        EXPECT_EQ(found, devices) << "no other place is a device";
    }
}

TEST(DeviceGrid, NamesItsBlocksAndAxes)
{
    const DeviceGrid three({Shape{2, 3, 4}});
    EXPECT_EQ(three.blocks(), 2u);
    EXPECT_EQ(three.blockName(1), "axis 2: 1");
    EXPECT_EQ(three.text(), "2 × 3 × 4: axis 1 down, axis 0 across");
    EXPECT_EQ(three.coordinates(17), "axis 2: 1, axis 1: 1, axis 0: 1");
    EXPECT_EQ(DeviceGrid({Shape{1, 8, 1}}).text(), "8 devices along axis 1");
    EXPECT_EQ(DeviceGrid({Shape{100, 3}}).blockName(1), "axis 1 from 64");
}

TEST(DeviceMap, SaysWhyAShapeDoesNotFit)
{
    const mindspore::Strategy strategy = MindSporeSample::eight().strategy();
    const DeviceMapPtr map = deviceMapOf(&strategy, "embed.weight", {18, 12});
    EXPECT_THAT(map->problem.toStdString(), testing::AllOf(HasSubstr("embed.weight"), HasSubstr("18")));
    EXPECT_TRUE(map->slices.empty());
    EXPECT_EQ(map->devices.size(), 8u);
}

TEST(DeviceMap, NoStrategyIsOneDeviceThatHoldsAll)
{
    const DeviceMapPtr map = deviceMapOf(nullptr, "w", {4, 4});
    EXPECT_EQ(map->devices.size(), 1u);
    EXPECT_EQ(map->sentenceOf(0), "rank 0: all of it, no other rank has it");
}

TEST(DeviceMatrixView, ThousandsOfDevicesStayInViewAndCanBePointedAt)
{
    for (const Shape& matrix : {Shape{64}, Shape{8, 8}, Shape{4, 8, 16}, Shape{64, 64}, Shape{4096}, Shape{2, 2048}, Shape{16, 16, 16}}) {
        const mindspore::Strategy strategy = MindSporeSample::of(matrix, {65'536, 8}, {{0}, {}}).strategy();
        DeviceMatrixView view;
        view.show(deviceMapOf(&strategy, "w", {65'536, 8}));
        view.resize(460, 300);
        (void)view.grab(); // a resize reaches a hidden widget then
        const auto devices = static_cast<std::uint32_t>(strategy.worldSize());
        for (const std::uint32_t rank : {0u, 1u, devices / 2, devices - 1}) {
            EXPECT_TRUE(QRectF(view.rect()).contains(view.cellOf(rank))) << devices << " " << rank;
            EXPECT_EQ(view.rankAt(view.cellOf(rank).center()), rank);
            EXPECT_THAT(view.tipAt(view.cellOf(rank).center()).toStdString(), HasSubstr("rank " + std::to_string(rank) + ": ["));
        }
        QElapsedTimer clock;
        clock.start();
        (void)view.grab();
        SlicePicture picture;
        picture.show(view.map());
        picture.resize(460, 300);
        (void)picture.grab();
        EXPECT_LT(clock.elapsed(), 1000) << devices;
    }
}

} // namespace
} // namespace shardlens::ui::test
