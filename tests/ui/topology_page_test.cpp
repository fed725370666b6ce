#include "tests/ui/ui_fixture.h"
#include "ui/models/rank_grid.h"
#include "ui/models/rank_uses.h"
#include "ui/pages/atlas_page.h"
#include "ui/pages/tensors/tensor_rows.h"
#include "ui/pages/tensors_page.h"
#include "ui/pages/topology/rank_rows.h"
#include "ui/pages/topology_page.h"
#include "ui/widgets/atlas_view.h"
#include "ui/widgets/link.h"
#include "ui/widgets/rank_bars.h"
#include "ui/widgets/rank_chip.h"
#include "ui/widgets/rank_grid_view.h"
#include "ui/widgets/segments.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>
#include <QComboBox>
#include <QFile>
#include <QSignalSpy>
#include <QTableView>
#include <QTest>

#include <set>

namespace shardlens::ui::test {
namespace {

using testing::HasSubstr;

class TopologyPageTest : public WindowTest {
protected:
    TopologyPage* opened(const QString& path = samplePath())
    {
        m_window->resize(1200, 800);
        m_window->show();
        open(path, QStringLiteral("topology"));
        auto* out = page<TopologyPage>();
        EXPECT_TRUE(waitFor([&] { return out->isReady(); }));
        QCoreApplication::processEvents();
        return out;
    }
    RankChip* chip() const { return m_window->currentWorkspace()->currentPage()->findChild<RankChip*>(); }
    static void click(TopologyPage* page, std::uint32_t rank)
    {
        QTest::mouseClick(page->grid(), Qt::LeftButton, {}, page->grid()->cellOf(rank).center().toPoint());
    }
};

// What a rank holds, counted the slow way: the volume of every piece whose holder covers it.
std::uint64_t heldBytes(const Checkpoint& checkpoint, std::uint32_t rank)
{
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        for (std::size_t row = checkpoint.pieces().firstOf(idAt<TensorId>(i)); row < checkpoint.pieces().lastOf(idAt<TensorId>(i)); ++row) {
            const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row));
            const auto ranks = checkpoint.topology().ranksOf(checkpoint.holder(piece.holder));
            if (std::find(ranks.begin(), ranks.end(), rank) != ranks.end())
                out += volumeOf(piece.region) * info(checkpoint.tensors()[i].dtype).bytesPerBlock;
        }
    return out;
}

TEST_F(TopologyPageTest, EveryRankHasWhatItsHoldersSay)
{
    TopologyPage* page = opened();
    const Checkpoint& checkpoint = *page->document()->checkpoint();
    ASSERT_EQ(page->uses()->ranks.size(), checkpoint.topology().worldSize());
    ASSERT_GT(page->uses()->ranks.size(), 1u);
    std::uint64_t most = 0;
    for (std::uint32_t rank = 0; rank < page->uses()->ranks.size(); ++rank) {
        EXPECT_EQ(page->uses()->ranks[rank].total, heldBytes(checkpoint, rank)) << rank;
        EXPECT_FALSE(page->uses()->ranks[rank].files.empty());
        most = std::max(most, page->uses()->ranks[rank].total);
    }
    EXPECT_EQ(page->uses()->most, most);
    EXPECT_EQ(page->uses()->ranks[page->uses()->heaviest].total, most);
    EXPECT_EQ(page->message(), QString());
    EXPECT_FALSE(page->balance().isEmpty());
    picture(QStringLiteral("topology"));
}

TEST_F(TopologyPageTest, AClickNarrowsEveryPageAndTheChipWidensThem)
{
    TopologyPage* page = opened();
    ASSERT_FALSE(chip()->isVisible());
    click(page, 1);
    EXPECT_EQ(page->document()->keptRank(), 1u);
    EXPECT_EQ(page->document()->selection().rank, 1u);
    EXPECT_TRUE(chip()->isVisible());
    EXPECT_EQ(chip()->text(), "only rank 1");
    picture(QStringLiteral("topology-kept"));
    m_window->showPage(QStringLiteral("tensors"));
    auto* tensors = this->page<TensorsPage>();
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->index() != nullptr; }));
    const Checkpoint& checkpoint = *page->document()->checkpoint();
    const RankCover cover(checkpoint, 1);
    std::set<ParameterId> wanted;
    for (std::size_t row = 0; row < checkpoint.pieces().size(); ++row)
        if (const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row)); cover.holds(piece))
            wanted.insert(checkpoint.tensor(checkpoint.pieces().tensorOf(piece.id)).parameter);
    std::set<ParameterId> shown;
    for (int row = 0; row < tensors->rows()->rowCount(); ++row)
        for (const TensorId tensor : tensors->rows()->members(row))
            shown.insert(checkpoint.tensor(tensor).parameter);
    EXPECT_EQ(shown, wanted);
    EXPECT_TRUE(chip()->isVisible());
    m_window->showPage(QStringLiteral("atlas"));
    auto* atlas = this->page<AtlasPage>()->findChild<AtlasView*>();
    ASSERT_TRUE(waitFor([&] { return atlas->scene().model != nullptr; }));
    EXPECT_EQ(atlas->scene().model->options().rank, 1u);
    const auto isHeld = [&](PieceId piece) { return cover.holds(checkpoint.pieces().at(piece)); };
    for (const AtlasLane& lane : atlas->scene().model->lanes())
        EXPECT_TRUE(lane.rank == 1u || std::any_of(lane.pieces.begin(), lane.pieces.end(), isHeld));
    const std::size_t narrow = atlas->scene().model->laneFiles();
    QTest::mouseClick(chip(), Qt::LeftButton);
    EXPECT_EQ(page->document()->keptRank(), std::nullopt);
    EXPECT_TRUE(waitFor([&] { return !atlas->scene().model->options().rank; }));
    EXPECT_GT(atlas->scene().model->laneFiles(), narrow);
    EXPECT_FALSE(chip()->isVisible());
}

TEST_F(TopologyPageTest, KeysMoveChooseAndClear)
{
    TopologyPage* page = opened();
    page->grid()->setFocus();
    QTest::keyClick(page->grid(), Qt::Key_End);
    const auto last = static_cast<std::uint32_t>(page->uses()->ranks.size() - 1);
    EXPECT_EQ(page->grid()->focused(), last);
    EXPECT_EQ(page->details().at(0), QStringLiteral("Rank %1").arg(last));
    QTest::keyClick(page->grid(), Qt::Key_Home);
    QTest::keyClick(page->grid(), Qt::Key_Right);
    EXPECT_EQ(page->grid()->focused(), 1u);
    EXPECT_THAT(page->grid()->accessibleDescription().toStdString(), HasSubstr("rank 1"));
    QTest::keyClick(page->grid(), Qt::Key_Return);
    EXPECT_EQ(page->document()->keptRank(), 1u);
    QTest::keyClick(page->grid(), Qt::Key_Space);
    EXPECT_EQ(page->document()->keptRank(), std::nullopt) << "a second time shows all";
    QTest::keyClick(page->grid(), Qt::Key_Return);
    QTest::keyClick(m_window.get(), Qt::Key_Escape);
    EXPECT_EQ(page->document()->keptRank(), std::nullopt);
}

TEST_F(TopologyPageTest, TheTableSaysTheSame)
{
    TopologyPage* page = opened();
    QTest::keyClick(page->grid(), Qt::Key_T);
    EXPECT_TRUE(page->table()->isVisible());
    EXPECT_EQ(page->table()->model()->rowCount(), static_cast<int>(page->uses()->ranks.size()));
    QTest::mouseClick(page->table()->viewport(), Qt::LeftButton, {}, page->table()->visualRect(page->table()->model()->index(1, RankRows::Place)).center());
    EXPECT_EQ(page->document()->keptRank(), 1u);
    picture(QStringLiteral("topology-table"));
    EXPECT_THAT(page->copyText(false).toStdString(), HasSubstr("rank\tplace\tholds\tof the mean\tstate\tfiles\n0\t"));
    QTest::keyClick(page->table(), Qt::Key_T);
    EXPECT_TRUE(page->grid()->isVisible());
}

TEST_F(TopologyPageTest, AMissingFileIsTheRanks)
{
    const QString folder = QString::fromStdString(m_folder.file("run"));
    const QString sample = samplePath();
    QDirIterator files(sample, QDir::Files, QDirIterator::Subdirectories);
    while (files.hasNext()) {
        const QString from = files.next();
        const QString to = folder + from.mid(sample.size());
        QDir().mkpath(QFileInfo(to).absolutePath());
        if (!from.contains(QStringLiteral("zero_pp_rank_1_")) && !QFile::copy(from, to))
            FAIL() << to.toStdString();
    }
    TopologyPage* page = opened(folder);
    EXPECT_EQ(page->uses()->ranks[1].state, RankUse::State::Missing);
    EXPECT_EQ(page->uses()->ranks[0].state, RankUse::State::Complete);
    page->grid()->setFocused(1);
    EXPECT_THAT(page->details().at(2).toStdString(), HasSubstr("zero_pp_rank_1_"));
    EXPECT_THAT(page->details().at(4).toStdString(), HasSubstr(": zero_pp_rank_1_mp_rank_00_optim_states.pt (not there), ")) << "its own files first";
    page->colour()->setCurrentIndex(1);
    QCoreApplication::processEvents();
    picture(QStringLiteral("topology-missing"));
}

TEST_F(TopologyPageTest, OneModelSaysWhyThereIsNoGrid)
{
    const QString path = QString::fromStdString(m_folder.file("model.safetensors"));
    QFile file(path);
    ASSERT_TRUE(file.open(QIODevice::WriteOnly));
    const QByteArray header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    QByteArray length(8, '\0');
    length[0] = static_cast<char>(header.size());
    file.write(length + header + QByteArray(8, '\1'));
    file.close();
    TopologyPage* page = opened(path);
    EXPECT_THAT(page->message().toStdString(), HasSubstr("without ranks"));
    EXPECT_FALSE(page->colour()->isEnabled());
    picture(QStringLiteral("topology-none"));
}

TEST(RankGrid, TensorParallelLiesAcrossStagesDownAndTheRestIsBlocks)
{
    const RankGrid grid(Topology{{{Axis::Pp, 4}, {Axis::Dp, 2}, {Axis::Tp, 8}}});
    EXPECT_EQ(grid.columns(), 8u);
    EXPECT_EQ(grid.rows(), 4u);
    EXPECT_EQ(grid.blocks(), 2u);
    EXPECT_EQ(grid.rankAt({1, 3, 2}), 3u * 16 + 8 + 2);
    EXPECT_EQ(grid.rowName(3), "stage 3");
    EXPECT_EQ(grid.columnName(7), "tp 7");
    EXPECT_EQ(grid.blockName(1), "dp 1");
    const RankGrid row(Topology{{{Axis::Dp, 64}, {Axis::Tp, 1}}});
    EXPECT_EQ(row.blocks(), 64u);
    EXPECT_EQ(row.blockName(1), QString());
    EXPECT_FALSE(row.hasRowNames());
    for (const Topology& topology : {Topology{{{Axis::Ep, 4}, {Axis::Pp, 3}, {Axis::Dp, 5}, {Axis::Tp, 2}}}, Topology{{{Axis::Dp, 512}, {Axis::Tp, 4}}},
                                     Topology{{{Axis::Replica, 2}, {Axis::Dp, 3}}}, Topology{{{Axis::Rank, 1}}}, Topology{}}) {
        const RankGrid any(topology);
        ASSERT_EQ(any.ranks(), topology.worldSize());
        std::set<std::uint32_t> seen;
        for (std::uint32_t rank = 0; rank < any.ranks(); ++rank) {
            const RankGrid::Place place = any.placeOf(rank);
            EXPECT_EQ(any.rankAt(place), rank);
            seen.insert((place.block * any.rows() + place.row) * any.columns() + place.column);
        }
        EXPECT_EQ(seen.size(), any.ranks());
    }
}

TEST(RankGridView, AThousandRanksAreCellsThatCanBeHit)
{
    auto uses = std::make_shared<RankUses>();
    uses->kind = RankUses::Kind::Grid;
    uses->topology = Topology{{{Axis::Pp, 8}, {Axis::Dp, 16}, {Axis::Tp, 8}}};
    uses->ranks.resize(1024);
    for (std::size_t rank = 0; rank < 1024; ++rank)
        uses->ranks[rank].total = 1000 + rank;
    uses->most = 2023;
    uses->least = 1000;
    RankGridView view;
    view.show(uses);
    view.resize(900, view.heightForWidth(900));
    view.setVisible(true);
    for (std::uint32_t rank = 0; rank < 1024; ++rank) {
        const QRectF cell = view.cellOf(rank);
        EXPECT_GE(cell.width(), 16);
        EXPECT_TRUE(QRectF(view.rect()).contains(cell)) << rank;
        EXPECT_EQ(view.rankAt(cell.center()), rank);
    }
    QSignalSpy chosen(&view, &RankGridView::chosen);
    QTest::mouseClick(&view, Qt::LeftButton, {}, view.cellOf(777).center().toPoint());
    ASSERT_EQ(chosen.count(), 1);
    EXPECT_EQ(chosen.at(0).at(0).toUInt(), 777u);
    EXPECT_FALSE(view.grab().isNull());
}

TEST(RankRows, IsAModel)
{
    RankRows rows;
    const QAbstractItemModelTester tester(&rows, QAbstractItemModelTester::FailureReportingMode::Fatal);
    rows.show(nullptr, nullptr);
    EXPECT_EQ(rows.rowCount(), 0);
}

TEST_F(TopologyPageTest, AnAxisGroupsTheAtlas)
{
    TopologyPage* topology = opened(QStringLiteral(SHARDLENS_CASES "/pipeline/pp2-tp2-zero1/source"));
    std::vector<std::string> names;
    for (auto* link : topology->findChildren<Link*>())
        if (link->isVisible())
            names.push_back(link->text().toStdString());
    EXPECT_THAT(names, testing::ElementsAre("Atlas by pp", "Atlas by tp")) << "there is one data rank";
    for (auto* link : topology->findChildren<Link*>())
        if (link->text() == QLatin1String("Atlas by tp"))
            link->click();
    auto* atlas = page<AtlasPage>();
    ASSERT_NE(atlas, nullptr);
    ASSERT_TRUE(waitFor([&] { return atlas->view()->scene().model && !atlas->view()->scene().model->groups().empty(); }));
    EXPECT_EQ(atlas->view()->scene().model->groups().front().title.toStdString(), "tensor rank 0");
}

} // namespace
} // namespace shardlens::ui::test
