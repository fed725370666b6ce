#include "core/format/format.h"
#include "core/model/checkpoint_builder.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/table_text.h"
#include "ui/models/writer_rows.h"
#include "ui/pages/writers_page.h"
#include "ui/theme/theme.h"
#include "ui/widgets/balance_plot.h"
#include "ui/widgets/search_field.h"
#include "ui/widgets/segments.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>
#include <QElapsedTimer>
#include <QHeaderView>
#include <QSignalSpy>
#include <QTableView>
#include <QTest>

#include <fmt/format.h>

// Who wrote what: the table by file and by rank, and how evenly the bytes are shared out.
namespace shardlens::ui {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Files of the given sizes, each with one chunk of 100 values of a weight and, of even ranks, one of its exp_avg; then a file of metadata and one that is left over.
struct WriterSample {
    std::vector<std::uint64_t> sizes = {5000, 5000, 8000, 2000};
    std::uint32_t filesOfRank = 1;
    bool hasRanks = true;
    std::optional<std::uint32_t> missing = {};
    bool hasRest = true;
};

CheckpointPtr makeWriters(const WriterSample& sample)
{
    constexpr std::uint64_t kValues = 100;
    CheckpointBuilder builder("/data/save", "/data/save");
    builder.setFormat("dcp", "PyTorch DCP");
    const std::uint64_t count = sample.sizes.size();
    const auto weight = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Exclusive, true, {kValues * count}});
    const auto moment = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::OptimizerState, "exp_avg"), DType::F32, Combine::Exclusive, false, {kValues * count}});
    for (std::uint32_t i = 0; i < count; ++i) {
        File file;
        file.name = fmt::format("__{}_{}.distcp", i / sample.filesOfRank, i % sample.filesOfRank);
        file.path = "/data/save/" + file.name;
        file.size = sample.sizes[i];
        file.holds = "chunks";
        if (sample.hasRanks)
            file.rank = i / sample.filesOfRank;
        if (sample.missing == i)
            file.state = File::State::Missing;
        const FileId id = builder.addFile(file);
        const auto add = [&](TensorId tensor, std::uint64_t offset) {
            EXPECT_TRUE(builder.addPiece(tensor, FlatRange{i * kValues, (i + 1) * kValues}, {builder.streamOf(id), offset, builder.holder({}), {}}).ok());
        };
        add(weight, 0);
        if (i % 2 == 0)
            add(moment, 400);
    }
    if (!sample.hasRest)
        return std::move(builder).finish();
    for (const char* name : {".metadata", "__9_0.distcp"}) {
        File file;
        file.name = name;
        file.path = std::string("/data/save/") + name;
        file.size = 700;
        file.holds = *name == '.' ? "metadata of 2 keys" : "not part of the checkpoint";
        const FileId id = builder.addFile(file);
        if (*name != '.')
            builder.addFinding({Severity::Info, "leftover-file", "left over", kNoTensor, id, std::nullopt});
    }
    return std::move(builder).finish();
}

WriterUsesPtr usesOf(const WriterSample& sample)
{
    return WriterUses::build(makeWriters(sample), {});
}

std::string sentenceOf(const WriterSample& sample, bool byRank)
{
    const WriterUsesPtr uses = usesOf(sample);
    return WriterBalance::of(*uses, byRank).sentence(*uses, byRank).toStdString();
}

TEST(WriterRowsTest, SaysWhatLiesInEveryFile)
{
    WriterRows rows;
    const QAbstractItemModelTester tester(&rows, QAbstractItemModelTester::FailureReportingMode::Fatal);
    rows.show(usesOf({}), false);
    EXPECT_EQ(tableText(rows).toStdString(), "rank\tfile\tholds\tsize\tchunks\ttensors\tweights\toptimizer\tother\tno values\n"
                                             "0\t__0_0.distcp\tchunks\t4.88 KiB\t2\t2\t400 B\t400 B\t\t4.10 KiB\n"
                                             "1\t__1_0.distcp\tchunks\t4.88 KiB\t1\t1\t400 B\t\t\t4.49 KiB\n"
                                             "2\t__2_0.distcp\tchunks\t7.81 KiB\t2\t2\t400 B\t400 B\t\t7.03 KiB\n"
                                             "3\t__3_0.distcp\tchunks\t1.95 KiB\t1\t1\t400 B\t\t\t1.56 KiB\n"
                                             "\t.metadata\tmetadata of 2 keys\t700 B\t0\t0\t\t\t\t700 B\n"
                                             "\t__9_0.distcp\tnot part of the checkpoint\t700 B\t0\t0\t\t\t\t700 B");
    EXPECT_EQ(rows.sumText(), "6 files, 20.9 KiB, 6 chunks");
    EXPECT_TRUE(rows.useAt(5).isLeftOver);
    EXPECT_EQ(rows.data(rows.index(6, 0), Qt::DisplayRole), QVariant());
    rows.show(nullptr, false);
    EXPECT_EQ(rows.rowCount(), 0);
}

TEST(WriterRowsTest, ByRankFilesOfOneRankAreOneRowAndTensorsCountOnce)
{
    WriterRows rows;
    const QAbstractItemModelTester tester(&rows, QAbstractItemModelTester::FailureReportingMode::Fatal);
    rows.show(usesOf({.filesOfRank = 2}), true);
    EXPECT_EQ(tableText(rows, {WriterRows::Rank, WriterRows::Name, WriterRows::Size, WriterRows::Chunks, WriterRows::Tensors, WriterRows::Holds}).toStdString(),
              "rank\tfiles\tsize\tchunks\ttensors\tholds\n"
              "0\t__0_0.distcp and 1 more\t9.77 KiB\t3\t2\t2 files\n"
              "1\t__1_0.distcp and 1 more\t9.77 KiB\t3\t2\t2 files\n"
              "none\t.metadata and 1 more\t1.37 KiB\t0\t0\t2 files");
}

TEST(WriterRowsTest, SortsAndFilters)
{
    WriterRows rows;
    const QAbstractItemModelTester tester(&rows, QAbstractItemModelTester::FailureReportingMode::Fatal);
    rows.show(usesOf({}), false);
    const QPersistentModelIndex largest = rows.index(2, WriterRows::Name);
    rows.sort(WriterRows::Size, Qt::DescendingOrder);
    EXPECT_EQ(largest.row(), 0);
    EXPECT_EQ(rows.index(0, WriterRows::Name).data(), "__2_0.distcp");
    EXPECT_EQ(rows.index(1, WriterRows::Name).data(), "__0_0.distcp") << "equal ones stay in order";
    rows.sort(WriterRows::Name, Qt::AscendingOrder);
    EXPECT_EQ(rows.index(0, WriterRows::Name).data(), ".metadata");
    rows.sort(-1, Qt::AscendingOrder);
    EXPECT_EQ(rows.index(0, WriterRows::Name).data(), "__0_0.distcp");
    rows.setFilter("rank 2");
    ASSERT_EQ(rows.rowCount(), 1);
    EXPECT_EQ(rows.index(0, WriterRows::Rank).data(), "2");
    EXPECT_EQ(rows.rowOfUse(2), 0);
    EXPECT_EQ(rows.rowOfUse(1), -1);
    rows.setFilter("NOT part");
    EXPECT_EQ(rows.rowCount(), 1);
    rows.setFilter("nothing like this");
    EXPECT_EQ(rows.rowCount(), 0);
    rows.setFilter({});
    rows.keepRank(3);
    EXPECT_EQ(rows.rowCount(), 1);
}

TEST(WriterRowsTest, AMissingFileIsRed)
{
    WriterRows rows;
    rows.show(usesOf({.missing = 2}), false);
    EXPECT_EQ(rows.index(2, WriterRows::Holds).data(), "missing");
    EXPECT_EQ(rows.index(2, WriterRows::Size).data(), "");
    EXPECT_EQ(rows.index(2, WriterRows::Name).data(Qt::ForegroundRole).value<QColor>(), Theme::current().colour(Token::Error));
}

TEST(WriterRowsTest, AHundredThousandFilesSortAtOnce)
{
    CheckpointBuilder builder("/data", "/data");
    builder.setFormat("made", "many files");
    for (std::uint32_t i = 0; i < 100'000; ++i) {
        File file;
        file.name = fmt::format("part-{}.bin", i);
        file.size = i * 7919 % 100'003;
        builder.addFile(file);
    }
    WriterRows rows;
    rows.show(WriterUses::build(std::move(builder).finish(), {}), false);
    QElapsedTimer clock;
    clock.start();
    rows.sort(WriterRows::Size, Qt::DescendingOrder);
    rows.setFilter("part-9");
    EXPECT_LT(clock.elapsed(), 2000);
    EXPECT_EQ(rows.rowCount(), 11'111);
}

TEST(WriterBalanceTest, NamesTheLargestAndTheSmallest)
{
    EXPECT_EQ(sentenceOf({}, true), "Rank 2 wrote 60 % more than the mean (7.81 KiB); rank 3 wrote 60 % less than the mean (1.95 KiB).");
    EXPECT_EQ(sentenceOf({}, false), "__2_0.distcp holds 60 % more than the mean (7.81 KiB); __3_0.distcp holds 60 % less than the mean (1.95 KiB).");
    EXPECT_EQ(sentenceOf({.sizes = {1010, 1000, 990}}, true), "Rank 0 wrote 1.0 % more than the mean (1010 B); rank 2 wrote 1.0 % less than the mean (990 B).");
    EXPECT_EQ(sentenceOf({.sizes = {1000, 1000, 28'000}}, true), "Rank 2 wrote 2.8 times the mean (27.3 KiB); rank 0 wrote 90 % less than the mean (1000 B).");
    EXPECT_EQ(sentenceOf({.sizes = {800, 800, 800}}, true), "All 3 ranks wrote the same, 800 B each.");
    EXPECT_EQ(sentenceOf({.sizes = {800}}, false), "One file holds everything, 800 B: __0_0.distcp.");
    EXPECT_EQ(sentenceOf({.sizes = {800}}, true), "Rank 0 wrote everything, 800 B.");
    EXPECT_EQ(sentenceOf({.sizes = {800, 900}, .missing = 1}, false), "One file holds everything, 800 B: __0_0.distcp. 1 file is missing and not counted.");
    EXPECT_EQ(sentenceOf({.sizes = {800}, .missing = 0}, false), "No file that is there holds values. 1 file is missing and not counted.");
    EXPECT_EQ(sentenceOf({.sizes = {}, .hasRest = false}, false), "No file that is there holds values.");
}

TEST(WriterBalanceTest, FilesAreToldApartByTheNumbersInTheirNames)
{
    EXPECT_EQ(numbersOfNames({"__0_0.distcp", "__1_0.distcp", "__10_0.distcp"}), QStringList({"0", "1", "10"}));
    EXPECT_EQ(numbersOfNames({"__0_0.distcp", "__0_1.distcp", "__1_0.distcp"}), QStringList({"0_0", "0_1", "1_0"}));
    EXPECT_EQ(numbersOfNames({"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}), QStringList({"00001", "00002"}));
    EXPECT_EQ(numbersOfNames({"model.pt", "optimizer.pt"}), QStringList({"1", "2"}));
    EXPECT_EQ(numbersOfNames({"a1.pt", "b1.pt", "c2.pt"}), QStringList({"1", "2", "3"})) << "numbers that do not tell them apart";
    EXPECT_EQ(numbersOfNames({"layer_1.pt", "model.pt"}), QStringList({"1", "2"}));
    EXPECT_EQ(numbersOfNames({}), QStringList());
}

TEST(WriterBalanceTest, AFormatWithoutRanksHasFilesOnly)
{
    const WriterUsesPtr uses = usesOf({.hasRanks = false});
    EXPECT_TRUE(uses->byRank.empty());
    EXPECT_EQ(WriterBalance::of(*uses, false).bars.size(), 4u);
    EXPECT_TRUE(WriterBalance::of(*uses, true).bars.empty());
}

class BalancePlotTest : public testing::Test {
protected:
    BalancePlot& shown(const WriterSample& sample, bool byRank = true)
    {
        m_plot.resize(640, 220);
        m_plot.QWidget::show();
        QCoreApplication::processEvents();
        m_plot.show(usesOf(sample), byRank);
        return m_plot;
    }
    QStringList cardAt(int x)
    {
        const HoverCardContent card = m_plot.cardAt(QPointF(x, 100));
        QStringList out{card.title, card.aside};
        for (const auto& [label, value] : card.rows)
            out << label + QStringLiteral(": ") + value;
        return out;
    }
    // The first point, from the left, where a card has this title.
    int pointOf(const QString& title)
    {
        for (int x = 0; x < m_plot.width(); ++x)
            if (m_plot.cardAt(QPointF(x, 100)).title == title)
                return x;
        return -1;
    }

    BalancePlot m_plot;
};

TEST_F(BalancePlotTest, HoverGivesNumbers)
{
    shown({});
    const int at = pointOf("rank 2");
    ASSERT_GE(at, 0);
    EXPECT_THAT(cardAt(at), ElementsAre("rank 2", "1 file", "On disk: 8,000 B, 60 % more than the mean", "Weights: 400 B", "Optimizer: 400 B", "Chunks: 2 of 2 tensors"));
    EXPECT_EQ(cardAt(1).first(), "") << "beside the bars";
}

TEST_F(BalancePlotTest, KeysGoFromBarToBarAndSayIt)
{
    BalancePlot& plot = shown({});
    EXPECT_THAT(plot.accessibleDescription().toStdString(), HasSubstr("Rank 2 wrote 60 % more"));
    QSignalSpy spy(&plot, &BalancePlot::chosen);
    QTest::keyClick(&plot, Qt::Key_Right);
    EXPECT_EQ(plot.accessibleDescription(), "rank 0: 5,000 B, as much as the mean");
    QTest::keyClick(&plot, Qt::Key_End);
    EXPECT_EQ(plot.accessibleDescription(), "rank 3: 2,000 B, 60 % less than the mean");
    QTest::keyClick(&plot, Qt::Key_Right);
    QTest::keyClick(&plot, Qt::Key_Left);
    QTest::keyClick(&plot, Qt::Key_Home);
    ASSERT_EQ(spy.size(), 5);
    EXPECT_EQ(spy[2][0].toULongLong(), 3u) << "the last stays";
    EXPECT_EQ(spy[3][0].toULongLong(), 2u);
    EXPECT_EQ(plot.current(), 0u);
}

TEST_F(BalancePlotTest, OneFileIsOneBarAndNoMean)
{
    EXPECT_EQ(shown({.sizes = {1234}}, false).bars(), 1u);
    EXPECT_THAT(cardAt(pointOf("__0_0.distcp")), testing::Contains("Weights: 400 B"));
    m_plot.grab();
}

TEST_F(BalancePlotTest, FiveHundredFilesShareBarsWhereThereIsNoRoom)
{
    WriterSample sample;
    sample.sizes.clear();
    for (std::uint64_t i = 0; i < 512; ++i)
        sample.sizes.push_back(10'000 + i * 37 % 101);
    BalancePlot& plot = shown(sample);
    EXPECT_LT(plot.bars(), 200u);
    EXPECT_GT(plot.bars(), 60u);
    EXPECT_GE(pointOf("rank 0 to rank 4"), 0);
    EXPECT_THAT(cardAt(pointOf("rank 0 to rank 4")), testing::Contains(testing::Truly([](const QString& line) { return line.startsWith("Largest: rank 2: 10,074 B"); })));
    QTest::keyClick(&plot, Qt::Key_End);
    EXPECT_EQ(plot.current(), 511u) << "keys reach every one of them";
    plot.resize(3200, 220);
    QCoreApplication::processEvents();
    EXPECT_EQ(plot.bars(), 512u);
}

TEST_F(BalancePlotTest, ASmallFileBesideALargeOneIsStillDrawn)
{
    BalancePlot& plot = shown({.sizes = {1000, 50'000'000}});
    QCoreApplication::processEvents(); // the plot draws when the window's thread is idle
    const QImage image = plot.grab().toImage();
    const int x = pointOf("rank 0") + 30;
    bool isDrawn = false;
    for (int y = 0; y < image.height(); ++y)
        isDrawn = isDrawn || image.pixelColor(x, y) == Theme::current().sequential(5);
    EXPECT_TRUE(isDrawn);
}

TEST_F(BalancePlotTest, NothingIsNoTrouble)
{
    BalancePlot& plot = shown({.sizes = {}, .hasRest = false});
    EXPECT_EQ(plot.bars(), 0u);
    QTest::keyClick(&plot, Qt::Key_Right);
    plot.show(nullptr, false);
    plot.grab();
    EXPECT_EQ(plot.accessibleDescription(), "");
}

class WritersPageTest : public test::WindowTest {
protected:
    WritersPage* shown(const QString& path)
    {
        open(path, QStringLiteral("writers"));
        auto* writers = page<WritersPage>();
        return writers != nullptr && test::waitFor([&] { return writers->isReady(); }) ? writers : nullptr;
    }
};

TEST_F(WritersPageTest, ARowSelectsItsFileAndRankEverywhere)
{
    WritersPage* writers = shown(samplePath());
    ASSERT_NE(writers, nullptr);
    EXPECT_EQ(writers->rows()->rowCount(), static_cast<int>(writers->document()->checkpoint()->files().size()));
    EXPECT_FALSE(writers->sentence().isEmpty());
    pictures(QStringLiteral("writers"));
    writers->table()->setFocus();
    QTest::keyClick(writers->table(), Qt::Key_Home, Qt::ControlModifier);
    QTest::keyClick(writers->table(), Qt::Key_Down);
    const int row = writers->table()->currentIndex().row();
    ASSERT_GE(row, 0);
    EXPECT_EQ(writers->document()->selection().file, writers->rows()->useAt(row).files.front());
    EXPECT_EQ(writers->document()->selection().rank, writers->rows()->useAt(row).rank);
    QSignalSpy asked(writers->document(), &Document::pageRequested);
    QTest::keyClick(writers->table(), Qt::Key_Return);
    ASSERT_EQ(asked.size(), 1);
    EXPECT_EQ(asked[0][0], "atlas");
}

TEST_F(WritersPageTest, PlotTableAndSelectionAgree)
{
    WritersPage* writers = shown(samplePath());
    ASSERT_NE(writers, nullptr);
    writers->plot()->setFocus();
    QTest::keyClick(writers->plot(), Qt::Key_End);
    ASSERT_TRUE(writers->plot()->current());
    EXPECT_EQ(writers->table()->currentIndex().row(), writers->rows()->rowOfUse(*writers->plot()->current()));
    EXPECT_EQ(writers->document()->selection().file, idAt<FileId>(*writers->plot()->current()));
    writers->document()->select({});
    EXPECT_FALSE(writers->plot()->current());
    EXPECT_FALSE(writers->table()->currentIndex().isValid());
}

TEST_F(WritersPageTest, SwitchesToRanksFiltersAndCopies)
{
    WritersPage* writers = shown(samplePath());
    ASSERT_NE(writers, nullptr);
    QTest::keyClick(writers->mode(), Qt::Key_Right);
    EXPECT_TRUE(writers->rows()->isByRank());
    EXPECT_THAT(writers->sentence().toStdString(), HasSubstr("ank"));
    pictures(QStringLiteral("writers-by-rank"));
    writers->filter()->setText("rank 1");
    EXPECT_EQ(writers->rows()->rowCount(), 1);
    EXPECT_THAT(writers->count().toStdString(), HasSubstr("hidden by the filter"));
    EXPECT_THAT(writers->copyText(false).toStdString(), testing::StartsWith("rank\tfiles\tholds"));
    EXPECT_THAT(writers->copyText(true).toStdString(), HasSubstr(samplePath().toStdString()));
    EXPECT_TRUE(writers->clearFilter());
    EXPECT_FALSE(writers->clearFilter());
    writers->document()->keepRank(2);
    EXPECT_EQ(writers->rows()->rowCount(), 1);
    EXPECT_TRUE(writers->clearFilter());
    writers->table()->sortByColumn(WriterRows::Size, Qt::DescendingOrder);
    EXPECT_GE(writers->rows()->useAt(0).sizeBytes, writers->rows()->useAt(1).sizeBytes);
}

TEST_F(WritersPageTest, OneFileWithoutRanks)
{
    WritersPage* writers = shown(QStringLiteral(SHARDLENS_SAMPLE "/../../tests/core/format/files/views.pt"));
    ASSERT_NE(writers, nullptr);
    EXPECT_EQ(writers->rows()->rowCount(), 1);
    EXPECT_THAT(writers->sentence().toStdString(), HasSubstr("One file holds everything"));
    EXPECT_FALSE(writers->mode()->isEnabled());
    EXPECT_FALSE(writers->mode()->toolTip().isEmpty()) << "says why";
    EXPECT_TRUE(writers->table()->isColumnHidden(WriterRows::Rank));
    pictures(QStringLiteral("writers-one-file"));
}

} // namespace
} // namespace shardlens::ui
