#include "core/format/format.h"
#include "tests/ui/atlas_sample.h"
#include "ui/models/metadata_model.h"
#include "ui/models/metadata_tree.h"
#include "ui/models/overview_summary.h"
#include "ui/pages/overview/file_table.h"
#include "ui/pages/tensors/tensor_rows.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>

namespace shardlens::ui {
namespace {

constexpr auto kFatal = QAbstractItemModelTester::FailureReportingMode::Fatal;

CheckpointPtr sample()
{
    JobContext job;
    auto opened = openCheckpoint(SHARDLENS_SAMPLE, {}, job);
    EXPECT_TRUE(opened) << opened.error().text();
    return opened ? opened.take() : nullptr;
}

TEST(ModelsTest, TensorRowsKeepTheContractOfAModelWhileRowsComeAndGo)
{
    TensorRows rows;
    const QAbstractItemModelTester tester(&rows, kFatal);
    const auto index = TensorIndex::build(sample(), {});
    ASSERT_NE(index, nullptr);
    for (const RowQuery::Mode mode : {RowQuery::Mode::Tree, RowQuery::Mode::Flat, RowQuery::Mode::ByState}) {
        RowQuery query;
        query.mode = mode;
        rows.setRows(index, mode, runQuery(*index, query).rows);
        EXPECT_GT(rows.rowCount(), 0);
        rows.collapseTo(0);
        for (int row = 0; row < rows.rowCount(); ++row)
            if (rows.index(row, 0).data(TensorRows::IsGroupRole).toBool())
                rows.expandBelow(row);
        query.text = "up";
        rows.setRows(index, mode, runQuery(*index, query).rows);
    }
    RowQuery none;
    none.text = "no such name";
    rows.setRows(index, none.mode, runQuery(*index, none).rows);
    EXPECT_EQ(rows.rowCount(), 0);
}

TEST(ModelsTest, QueriesCombineTextDtypeStateAndRank)
{
    const auto index = TensorIndex::build(sample(), {});
    RowQuery query;
    query.mode = RowQuery::Mode::Flat;
    const auto count = [&] { return runQuery(*index, query).leaves; };
    EXPECT_EQ(count(), 15u); // 14 and a tied name
    query.dtype = "BF16";
    EXPECT_EQ(count(), 1u); // ramp
    query.dtype = "";
    query.state = "exp_avg";
    EXPECT_EQ(count(), 10u); // embed.weight under both names
    query.rank = 2;
    EXPECT_EQ(count(), 4u); // up.weight, up.bias, down.weight, down.bias
    query.text = "BIAS";
    EXPECT_EQ(count(), 2u);
    query.isRegex = true;
    query.text = "(";
    EXPECT_FALSE(runQuery(*index, query).ok);
}

TEST(ModelsTest, CsvHasOneLineATensorAndQuotesWhatNeedsIt)
{
    TensorRows rows;
    const auto index = TensorIndex::build(sample(), {});
    RowQuery query;
    query.mode = RowQuery::Mode::Flat;
    rows.setRows(index, query.mode, runQuery(*index, query).rows);
    const QStringList lines = rows.csv().split('\n', Qt::SkipEmptyParts);
    EXPECT_EQ(lines.size(), 16); // 14 names, a tied one, and a header
    EXPECT_TRUE(lines.join('\n').contains(QStringLiteral("\"[2, 3, 5]\""))) << lines[1].toStdString();
}

TEST(ModelsTest, MetadataKeepsTheContractOfAModelUnderFilters)
{
    MetadataModel model;
    const QAbstractItemModelTester tester(&model, kFatal);
    model.setTree(MetadataTree::build(sample()));
    EXPECT_GT(model.rowCount(), 0);
    model.setFilter(QStringLiteral("loss"), false);
    EXPECT_GT(model.matches(), 0u);
    model.setFilter(QString(), true);
    model.setFilter(QStringLiteral("nothing of the kind"), false);
    EXPECT_EQ(model.rowCount(), 0);
    model.setTree(nullptr);
}

TEST(ModelsTest, FilesKeepTheContractOfAModel)
{
    FileModel model;
    const QAbstractItemModelTester tester(&model, kFatal);
    model.show(sample());
    EXPECT_EQ(model.rowCount(), 4);
    EXPECT_EQ(model.index(1, FileModel::Rank).data().toString(), "1");
}

TEST(ModelsTest, TheSummaryCountsWhatRanksHold)
{
    const auto summary = summarise(test::makeAtlasSample(), {});
    ASSERT_NE(summary, nullptr);
    EXPECT_TRUE(summary->complete());
    ASSERT_EQ(summary->places.size(), 4u);
    EXPECT_TRUE(summary->byRank);
    std::uint64_t all = 0;
    for (const PlaceUse& place : summary->places)
        all += place.total;
    std::uint64_t states = 0;
    for (const StateUse& use : summary->states)
        states += use.storedBytes;
    EXPECT_EQ(all, states);
    EXPECT_GT(summary->places[0].total, summary->places[1].total); // the module copy is rank 0's
    EXPECT_EQ(summary->modules.size(), 35u);                       // 32 layers, embedding, norm, head
}

TEST(ModelsTest, TheSummarySeesWhatAMissingRankTakesAway)
{
    test::AtlasSample with;
    with.missingRank = 2;
    const auto summary = summarise(test::makeAtlasSample(with), {});
    ASSERT_NE(summary, nullptr);
    EXPECT_GT(summary->incompleteTensors, 0u);
    EXPECT_GT(summary->missingCells, 0u);
    EXPECT_NE(summary->firstIncomplete, kNoTensor);
}

TEST(ModelsTest, ASummaryThatWasCalledOffIsNone)
{
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(summarise(test::makeAtlasSample(), stop.get_token()), nullptr);
}

} // namespace
} // namespace shardlens::ui
