#include "core/format/format.h"
#include "core/model/checkpoint_builder.h"
#include "tests/ui/atlas_sample.h"
#include "ui/models/metadata_model.h"
#include "ui/models/metadata_tree.h"
#include "ui/models/overview_summary.h"
#include "ui/pages/overview/file_table.h"
#include "ui/pages/overview/model_strip.h"
#include "ui/pages/tensors/tensor_rows.h"
#include "ui/widgets/name_delegate.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>
#include <QApplication>
#include <QSet>

#include <algorithm>

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

// Buffers come behind the weights of all layers: they do not stretch their layer over the others.
TEST(ModelsTest, AModuleIsWhereItsTensorsAre)
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "x.bin";
    file.size = 4000;
    const StreamId stream = builder.streamOf(builder.addFile(file));
    std::uint64_t offset = 0;
    for (const char* name : {"layers.0.weight", "layers.1.weight", "layers.2.weight", "layers.0.seen"}) {
        const TensorId tensor = builder.addTensor({builder.parameter(name), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Exclusive, true, {8}});
        ASSERT_TRUE(builder.addWhole(tensor, {stream, offset, builder.holder({}), {}}));
        offset += 32;
    }
    const auto summary = summarise(std::move(builder).finish(), {});
    ASSERT_NE(summary, nullptr);
    QStringList labels;
    for (const ModuleStretch& module : summary->modules)
        labels << module.label;
    EXPECT_EQ(labels, (QStringList{"0", "1", "2", "0"}));
    EXPECT_EQ(summary->modules[0].end, summary->modules[1].begin);
}

// As a trainer's file has it: a weight, its optimizer state under the same name, and tensors that belong to no model.
CheckpointPtr trainerFile()
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "x.ckpt";
    file.size = 4000;
    const StreamId stream = builder.streamOf(builder.addFile(file));
    const auto add = [&](RoleKind kind, const char* role, const char* name, DType dtype, Shape shape, std::uint64_t offset) {
        EXPECT_TRUE(builder.addWhole(builder.addTensor({builder.parameter(name), builder.role(kind, role), dtype, Combine::Exclusive, true, std::move(shape)}),
                                     {stream, offset, builder.holder({}), {}}));
    };
    add(RoleKind::Other, "other", "callbacks.seen", DType::U8, {500}, 0);
    add(RoleKind::Weight, "weight", "layer.weight", DType::F32, {4, 5}, 500);
    add(RoleKind::OptimizerState, "exp_avg", "layer.weight", DType::F32, {4, 5}, 580);
    add(RoleKind::OptimizerState, "step", "scaler", DType::F32, {300}, 660);
    add(RoleKind::Buffer, "buffer", "norm.mean", DType::F32, {3}, 1860);
    return std::move(builder).finish();
}

TEST(ModelsTest, WhatIsNoPartOfTheModelLeavesNoHoleInItsPicture)
{
    const auto summary = summarise(trainerFile(), {});
    ASSERT_NE(summary, nullptr);
    EXPECT_EQ(summary->parameters, 2u);
    EXPECT_EQ(summary->parameterValues, 23u);
    EXPECT_EQ(summary->optimizerStates, 2u);
    EXPECT_EQ(summary->others, 1u);
    EXPECT_EQ(summary->model->length(), 23u);
    ModelStrip strip;
    strip.show(summary);
    for (const ModelStrip::Holding& holding : strip.holdingsOf(100))
        EXPECT_TRUE(holding.any && !holding.missing);
}

// Columns on two ranks: their rows take turns, and each rank has its share of the band.
TEST(ModelsTest, RanksThatShareColumnsShareTheBand)
{
    CheckpointBuilder builder("/x", "/x");
    builder.setTopology({{{Axis::Tp, 2}}});
    const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Exclusive, true, {6, 8}});
    for (const std::uint32_t rank : {0u, 1u}) {
        File file;
        file.name = rank == 0 ? "a" : "b";
        file.size = 1000;
        file.rank = rank;
        const Box columns{{0, rank * 2ull}, {6, rank == 0 ? 2ull : 6ull}};
        ASSERT_TRUE(builder.addPiece(tensor, BoxView(columns), {builder.streamOf(builder.addFile(file)), 0, builder.holder({{{Axis::Tp, rank}}}), {}}));
    }
    const auto summary = summarise(std::move(builder).finish(), {});
    ASSERT_NE(summary, nullptr);
    ModelStrip strip;
    strip.show(summary);
    const auto holdings = strip.holdingsOf(100);
    const auto ofRank = [&](std::uint32_t rank) { return std::count_if(holdings.begin(), holdings.end(), [&](const ModelStrip::Holding& one) { return one.any && one.rank == rank; }); };
    EXPECT_NEAR(static_cast<double>(ofRank(0)), 25, 3);
    EXPECT_NEAR(static_cast<double>(ofRank(1)), 75, 3);
    EXPECT_EQ(holdings.front().rank, 0u);
    EXPECT_EQ(holdings.back().rank, 1u);
}

TEST(ModelsTest, NamesAreShortenedAroundWhatTellsThemApart)
{
    const QStringList names{"zero_pp_rank_0_mp_rank_00_optim_states.pt", "zero_pp_rank_12_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt",
                            "zero_pp_rank_1_mp_rank_00_optim_states.pt"};
    const auto cores = coresOf(names);
    ASSERT_EQ(cores.size(), 4u);
    EXPECT_EQ(names[0].mid(cores[0].begin, cores[0].end - cores[0].begin), "rank_0");
    EXPECT_EQ(names[3].mid(cores[3].begin, cores[3].end - cores[3].begin), "rank_1");
    const QFontMetrics metrics(QApplication::font());
    const int room = metrics.horizontalAdvance(QString(18, QLatin1Char('n')));
    QSet<QString> shown;
    for (qsizetype i = 0; i < names.size(); ++i) {
        const QString text = elidedAround(names[i], cores[static_cast<std::size_t>(i)], metrics, room);
        EXPECT_LE(metrics.horizontalAdvance(text), room);
        EXPECT_TRUE(text.endsWith(QLatin1String(".pt"))) << text.toStdString();
        shown.insert(text);
    }
    EXPECT_EQ(shown.size(), names.size());
    EXPECT_EQ(elidedAround("short.pt", {}, metrics, room), "short.pt");
    EXPECT_EQ(coresOf({"same", "same"}), (std::vector<NameCore>{{}, {}}));
    for (const int width : {0, 1, 8, 30})
        EXPECT_LE(metrics.horizontalAdvance(elidedAround(names[1], cores[1], metrics, width)), std::max(width, metrics.horizontalAdvance(QChar(0x2026))));
}

TEST(ModelsTest, ASummaryThatWasCalledOffIsNone)
{
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(summarise(test::makeAtlasSample(), stop.get_token()), nullptr);
}

} // namespace
} // namespace shardlens::ui
