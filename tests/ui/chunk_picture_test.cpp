#include "tests/ui/atlas_sample.h"
#include "tests/ui/chunk_sample.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/rule_book.h"
#include "ui/models/table_text.h"
#include "ui/pages/tensor/fault_list.h"
#include "ui/pages/tensor_page.h"
#include "ui/theme/theme.h"
#include "ui/widgets/tensor_picture.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>
#include <QClipboard>
#include <QComboBox>
#include <QElapsedTimer>
#include <QFile>
#include <QGuiApplication>
#include <QProcess>
#include <QSignalSpy>
#include <QTableView>
#include <QTest>

#include <algorithm>

namespace shardlens::ui {
namespace {

using shardlens::test::ChunkSample;
using shardlens::test::makeChunkSample;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr TensorId kOnly{0};

std::vector<std::string> linesOf(const CheckpointPtr& checkpoint)
{
    std::vector<std::string> out;
    for (const TensorFault& fault : faultsOf(*checkpoint, kOnly).list)
        out.push_back(faultSentence(*checkpoint, kOnly, fault).toStdString());
    return out;
}

TEST(TensorFaultsTest, AChunkGridWithoutGapsHasNone)
{
    EXPECT_THAT(linesOf(makeChunkSample({})), ElementsAre());
    EXPECT_THAT(linesOf(makeChunkSample({.shape = {}, .parts = {}})), ElementsAre());
    EXPECT_EQ(faultsOf(*makeChunkSample({}), kOnly).sentence(), "");
}

TEST(TensorFaultsTest, NeighbouringMissingChunksAreOneBox)
{
    const auto checkpoint = makeChunkSample({.parts = {8, 4}, .left = {5, 6, 9, 10, 23}});
    EXPECT_THAT(linesOf(checkpoint), ElementsAre("hole: rows 8 to 23, columns 12 to 35, 384 values: nobody", "hole: rows 40 to 47, columns 36 to 47, 96 values: nobody"));
    const TensorFaults faults = faultsOf(*checkpoint, kOnly);
    EXPECT_EQ(faults.missingCells, 480u);
    EXPECT_TRUE(faults.listsAll);
    EXPECT_EQ(faults.sentence(), "2 holes of 480 values");
}

TEST(TensorFaultsTest, BoxesOfThreeAxesAndOfOne)
{
    EXPECT_THAT(linesOf(makeChunkSample({.shape = {4, 6, 10}, .parts = {2, 3, 1}, .left = {4}})), ElementsAre("hole: axis 0 at 2 to 3, rows 2 to 3, 40 values: nobody"));
    EXPECT_THAT(linesOf(makeChunkSample({.shape = {100}, .parts = {10}, .left = {3, 4, 9}})),
                ElementsAre("hole: elements 30 to 49, 20 values: nobody", "hole: elements 90 to 99, 10 values: nobody"));
}

TEST(TensorFaultsTest, AMissingFileIsNamed)
{
    EXPECT_THAT(linesOf(makeChunkSample({.ranks = 8, .missing = {3}})),
                ElementsAre("file missing: rows 16 to 31, columns 24 to 47, 384 values: should be in rank 3, __3_0.distcp"));
}

TEST(TensorFaultsTest, WhatIsHeldTwiceIsSaidWithBothPlaces)
{
    const auto checkpoint = makeChunkSample({.ranks = 9, .twice = Box{{10, 6}, {20, 14}}});
    EXPECT_THAT(linesOf(checkpoint),
                ElementsAre("held twice: rows 10 to 15, columns 6 to 19, 84 values: rank 0, __0_0.distcp at 1,000, and rank 8, __8_0.distcp at 1,000",
                            "held twice: rows 16 to 29, columns 6 to 19, 196 values: rank 2, __2_0.distcp at 1,000, and rank 8, __8_0.distcp at 1,000"));
    EXPECT_EQ(faultsOf(*checkpoint, kOnly).sentence(), "2 parts held twice");
    EXPECT_EQ(faultsOf(*checkpoint, kOnly).doubleCells, 280u);
}

TEST(TensorFaultsTest, CopiesAreNoFaultUnlessTheTensorIsExclusive)
{
    EXPECT_TRUE(linesOf(makeChunkSample({.areCopies = true, .copies = 2})).empty());
    EXPECT_EQ(linesOf(makeChunkSample({.areCopies = false, .copies = 2})).size(), 8u);
    EXPECT_TRUE(linesOf(makeChunkSample({.missing = {1}, .areCopies = true, .copies = 2})).empty()) << "another rank has the same chunk";
    EXPECT_TRUE(linesOf(shardlens::test::makeReplicatedSample(6, 1)).empty());
}

TEST(TensorFaultsTest, FlatPiecesGiveFlatHoles)
{
    const auto checkpoint = shardlens::test::makeShapesSample(4);
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
        const TensorFaults faults = faultsOf(*checkpoint, idAt<TensorId>(i));
        if (checkpoint->fullName(idAt<TensorId>(i)) != "holed.weight") {
            EXPECT_TRUE(faults.list.empty()) << checkpoint->fullName(idAt<TensorId>(i));
            continue;
        }
        ASSERT_EQ(faults.list.size(), 1u);
        EXPECT_EQ(faults.list[0].region, Region(FlatRange{2010, 3020}));
    }
}

// Chunks along the diagonal alone: as many borders as chunks on both axes, so that the grid of all borders is too fine.
TEST(TensorFaultsTest, WhereTheGridIsTooFineTheSweepAnswers)
{
    const auto checkpoint = makeChunkSample({.ranks = 2, .shape = {1600, 1600}, .parts = {1600, 1600}, .onlyEvery = 1601, .twice = Box{{0, 0}, {1, 1}}});
    const TensorFaults faults = faultsOf(*checkpoint, kOnly);
    EXPECT_EQ(faults.missingCells, 1600u * 1599);
    EXPECT_EQ(std::count_if(faults.list.begin(), faults.list.end(), [](const TensorFault& fault) { return fault.kind == TensorFault::Kind::Overlap; }), 1);
    EXPECT_TRUE(faults.listsAll);
}

TEST(TensorFaultsTest, MoreHolesThanAreListedAreCounted)
{
    const TensorFaults faults = faultsOf(*makeChunkSample({.shape = {20'000}, .parts = {20'000}, .onlyEvery = 2}), kOnly);
    EXPECT_EQ(faults.list.size(), TensorFaults::kMost);
    EXPECT_EQ(faults.missingCells, 10'000u);
    EXPECT_FALSE(faults.listsAll);
    EXPECT_EQ(faults.sentence(), "10,000 values that nobody holds, the first 4,096 are listed");
}

TEST(TensorFaultsTest, WhereOnePartIsAllTheSentenceSaysSo)
{
    EXPECT_EQ(cutSentence(*makeChunkSample({.parts = {2, 1}, .left = {1}}), kOnly), "Cut along dimension 0, and one part of it is held.");
}

TEST(TensorFaultRowsTest, IsAModelAndATextForTheClipboard)
{
    TensorFaultRows rows;
    const QAbstractItemModelTester tester(&rows, QAbstractItemModelTester::FailureReportingMode::Fatal);
    const auto checkpoint = makeChunkSample({.ranks = 9, .left = {7}, .twice = Box{{0, 0}, {4, 4}}});
    rows.show(checkpoint, kOnly, faultsOf(*checkpoint, kOnly));
    EXPECT_EQ(tableText(rows), "What\tWhere\tWho\tValues\tOffset\tSize\n"
                               "hole\trows 48 to 63, columns 24 to 47\tnobody\t384\t[48, 24]\t[16, 24]\n"
                               "held twice\trows 0 to 3, columns 0 to 3\trank 0, __0_0.distcp at 1,000, and rank 8, __8_0.distcp at 1,000\t16\t[0, 0]\t[4, 4]");
    EXPECT_EQ(rows.data(rows.index(2, 0), Qt::DisplayRole), QVariant());
    rows.show(nullptr, {}, {});
    EXPECT_EQ(rows.rowCount(), 0);
}

class ChunkPictureTest : public testing::Test {
protected:
    TensorPicture& shown(const CheckpointPtr& checkpoint)
    {
        m_picture.resize(640, 640);
        m_picture.setTensor(checkpoint, kOnly);
        return m_picture;
    }
    [[nodiscard]] QPointF at(std::uint64_t row, std::uint64_t column) const
    {
        PictureBox cell;
        cell.row = row;
        cell.column = column;
        cell.rows = cell.columns = 1;
        return m_picture.pictureLayout().rectOf(cell).center();
    }
    static QStringList wordsOf(const HoverCardContent& card)
    {
        QStringList out{card.title, card.aside};
        for (const auto& [label, value] : card.rows)
            out << label + QStringLiteral(": ") + value;
        return out;
    }

    TensorPicture m_picture;
};

TEST_F(ChunkPictureTest, ChunksAreInTheColoursOfTheirRanksElseOfTheirFiles)
{
    for (const bool hasRanks : {true, false}) {
        TensorPicture& picture = shown(makeChunkSample({.hasRanks = hasRanks}));
        const QImage image = picture.grab().toImage();
        for (int chunk = 0; chunk < 8; ++chunk) {
            const QPointF corner = at(static_cast<std::uint64_t>(chunk / 2 * 16 + 1), static_cast<std::uint64_t>(chunk % 2 * 24 + 1));
            EXPECT_EQ(image.pixelColor(corner.toPoint()), Theme::current().categorical(chunk % 4)) << hasRanks << chunk;
        }
    }
}

TEST_F(ChunkPictureTest, AHoleSaysItsCoordinates)
{
    TensorPicture& picture = shown(makeChunkSample({.parts = {8, 4}, .left = {5, 6}}));
    EXPECT_THAT(wordsOf(picture.cardAt(at(12, 20))), ElementsAre("Nobody holds this part", "row 12, column 20", "Where: rows 8 to 15, columns 12 to 35", "Offset: [8, 12]", "Size: [8, 24]", "Values: 192"));
    EXPECT_EQ(picture.faultAt(at(12, 20)), 0u);
    EXPECT_EQ(picture.pieceAt(at(12, 20)), std::nullopt);
    EXPECT_EQ(picture.faultAt(at(0, 0)), std::nullopt);
    const QImage image = picture.grab().toImage();
    int red = 0;
    for (int x = 0; x < 60; ++x) // the hatch: a pattern, not a colour alone
        red += image.pixelColor((at(9, 13) + QPointF(x, 0)).toPoint()) == Theme::current().colour(Token::ErrorWeak) ? 1 : 0;
    EXPECT_GT(red, 5);
    EXPECT_LT(red, 55);
}

TEST_F(ChunkPictureTest, AnOverlapNamesBothPlaces)
{
    TensorPicture& picture = shown(makeChunkSample({.ranks = 9, .twice = Box{{10, 6}, {20, 14}}}));
    const QStringList words = wordsOf(picture.cardAt(at(12, 10)));
    EXPECT_EQ(words[0], "Two places hold this part");
    EXPECT_TRUE(words.contains("First: rank 0, __0_0.distcp at 1,000")) << words.join('|').toStdString();
    EXPECT_TRUE(words.contains("Second: rank 8, __8_0.distcp at 1,000"));
    const QImage image = picture.grab().toImage();
    QSet<QRgb> inks;
    for (int x = 0; x < 40; ++x)
        inks.insert(image.pixel((at(28, 8) + QPointF(x, 0)).toPoint()));
    EXPECT_TRUE(inks.contains(Theme::current().categorical(2).rgb()));
    EXPECT_TRUE(inks.contains(Theme::current().categorical(8).rgb()));
}

TEST_F(ChunkPictureTest, AMissingFileIsRedAndNamed)
{
    TensorPicture& picture = shown(makeChunkSample({.ranks = 8, .missing = {3}}));
    EXPECT_THAT(wordsOf(picture.cardAt(at(20, 30))), testing::Contains("Should be in: rank 3, __3_0.distcp"));
    EXPECT_NE(picture.pieceAt(at(20, 30)), std::nullopt) << "its piece can be selected all the same";
}

TEST_F(ChunkPictureTest, KeysStepThroughTheFaults)
{
    TensorPicture& picture = shown(makeChunkSample({.ranks = 9, .left = {7}, .twice = Box{{0, 0}, {4, 4}}}));
    EXPECT_THAT(picture.accessibleDescription().toStdString(), HasSubstr("1 hole of 384 values, 1 part held twice: step through them with N"));
    QSignalSpy spy(&picture, &TensorPicture::faultClicked);
    QTest::keyClick(&picture, Qt::Key_N);
    EXPECT_THAT(picture.accessibleDescription().toStdString(), HasSubstr("hole: rows 48 to 63"));
    QTest::keyClick(&picture, Qt::Key_N);
    EXPECT_THAT(picture.accessibleDescription().toStdString(), HasSubstr("held twice: rows 0 to 3"));
    QTest::keyClick(&picture, Qt::Key_N);
    QTest::keyClick(&picture, Qt::Key_N, Qt::ShiftModifier);
    EXPECT_EQ(picture.selectedFault(), 1u);
    EXPECT_EQ(spy.size(), 4);
}

TEST_F(ChunkPictureTest, HigherRanksShowTheAxesThatAreCut)
{
    const TensorPicture& conv = shown(makeChunkSample({.shape = {64, 32, 3, 3}, .parts = {8, 2, 1, 1}}));
    EXPECT_EQ(conv.boxes().axes, (PictureAxes{0, 1}));
    EXPECT_EQ(conv.boxes().tiles, 9u);
    EXPECT_EQ(conv.axesWords(), "each tile: one index of axes 2, 3; down: axis 0, 0 to 63; across: axis 1, 0 to 31");
    const TensorPicture& cube = shown(makeChunkSample({.shape = {12, 32, 24}, .parts = {1, 4, 2}}));
    EXPECT_EQ(cube.boxes().axes, (PictureAxes{1, 2}));
    EXPECT_EQ(cube.boxes().boxes.size(), 12u * 8);
    EXPECT_EQ(cube.axesWords(), "each tile: one index of axis 0; down: axis 1, 0 to 31; across: axis 2, 0 to 23");
    EXPECT_EQ(shown(makeChunkSample({})).axesWords(), "");
}

TEST_F(ChunkPictureTest, OtherAxesShowTheSameCells)
{
    TensorPicture& picture = shown(makeChunkSample({.shape = {4, 6, 8}, .parts = {2, 3, 4}}));
    for (const PictureAxes axes : {PictureAxes{0, 1}, PictureAxes{0, 2}, PictureAxes{1, 2}}) {
        picture.setAxes(axes);
        std::uint64_t cells = 0;
        for (const PictureBox& box : picture.boxes().boxes)
            cells += box.rows * box.columns;
        EXPECT_EQ(cells, 4u * 6 * 8);
    }
    const Shape place{3, 4, 5};
    picture.setAxes({0, 2});
    EXPECT_EQ(picture.boxes().tileOf(place), 4u);
    EXPECT_EQ(picture.boxes().placeOf(4, 3, 5), place);
}

TEST_F(ChunkPictureTest, SixteenThousandChunksPaintAtOnceAfterTheFirstFrame)
{
    TensorPicture& picture = shown(makeChunkSample({.ranks = 64, .shape = {1024, 1024}, .parts = {128, 128}}));
    EXPECT_EQ(picture.caption(), "[1024, 1024], cut into 16,384 pieces on 64 ranks");
    picture.show();
    picture.grab();
    picture.setSelectedPiece(PieceId{777});
    QImage frame(picture.size(), QImage::Format_ARGB32_Premultiplied);
    qint64 least = 1'000'000;
    for (int i = 0; i < 7; ++i) { // others use the machine: the fastest counts
        QElapsedTimer clock;
        clock.start();
        picture.render(&frame);
        least = std::min(least, clock.elapsed());
    }
    EXPECT_LT(least, 16);
    QElapsedTimer clock;
    clock.start();
    for (int i = 0; i < 5; ++i)
        QTest::keyClick(&picture, Qt::Key_Down);
    EXPECT_LT(clock.elapsed(), 500);
}

TEST_F(ChunkPictureTest, TheKeptFrameFollowsThemeSizeAndTensor)
{
    TensorPicture& picture = shown(makeChunkSample({}));
    const QImage light = picture.grab().toImage();
    Theme::current().setMode(Theme::Mode::Dark);
    const QImage dark = picture.grab().toImage();
    Theme::current().setMode(Theme::Mode::Light);
    EXPECT_NE(light.pixelColor(3, 3), dark.pixelColor(3, 3));
    picture.resize(500, 400);
    EXPECT_EQ(picture.grab().toImage().size(), QSize(500, 400));
    picture.clear();
    EXPECT_EQ(picture.grab().toImage().pixelColor(250, 200), Theme::current().colour(Token::Surface));
}

class FaultListTest : public test::WindowTest {
protected:
    // A real checkpoint: half of its tensor "lost" is held by nobody.
    void showLost()
    {
        const auto checkpoint = shardlens::test::writeValuesSample(m_folder.path().string());
        m_list.show(checkpoint, lostOf(*checkpoint), faultsOf(*checkpoint, lostOf(*checkpoint)));
    }
    static TensorId lostOf(const Checkpoint& checkpoint)
    {
        for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
            if (checkpoint.fullName(idAt<TensorId>(i)) == "lost")
                return idAt<TensorId>(i);
        return kNoTensor;
    }

    FaultList m_list;
};

TEST_F(FaultListTest, ListsCopiesAndTellsWhatIsChosen)
{
    showLost();
    EXPECT_FALSE(m_list.isHidden());
    EXPECT_EQ(m_list.sentence(), "1 hole of 8 values");
    EXPECT_THAT(m_list.text().toStdString(), HasSubstr("hole\trows 2 to 3\tnobody\t8\t[2, 0]"));
    QSignalSpy spy(&m_list, &FaultList::chosen);
    m_list.table()->setFocus();
    QTest::keyClick(m_list.table(), Qt::Key_Down);
    ASSERT_EQ(spy.size(), 1);
    EXPECT_EQ(spy[0][0].toULongLong(), 0u);
    m_list.setCurrent(std::nullopt);
    EXPECT_EQ(m_list.current(), std::nullopt);
    EXPECT_EQ(spy.size(), 1) << "set from outside";
    m_list.show(nullptr, {}, {});
    EXPECT_TRUE(m_list.isHidden());
}

class FaultPageTest : public test::WindowTest {
protected:
    // The sample as a directory of three writers, of which the second's file is lost.
    TensorPage* shownLost()
    {
        const QString target = QString::fromStdString(m_folder.file("saved"));
        QProcess writer;
        writer.start(QStringLiteral(SHARDLENS_PROGRAM), {"convert", samplePath(), target, "--to", "dcp", "--dp", "3"});
        if (!writer.waitForFinished() || writer.exitCode() != 0 || !QFile::remove(target + "/__1_0.distcp"))
            return nullptr;
        open(target, QStringLiteral("tensor"));
        auto* tensor = page<TensorPage>();
        const Checkpoint& checkpoint = *tensor->document()->checkpoint();
        for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
            if (checkpoint.fullName(idAt<TensorId>(i)) == "up.weight")
                tensor->document()->selectTensor(idAt<TensorId>(i));
        return tensor;
    }
};

TEST_F(FaultPageTest, ListPictureAndClipboardAgree)
{
    TensorPage* tensor = shownLost();
    ASSERT_NE(tensor, nullptr);
    FaultList* list = tensor->faultList();
    ASSERT_TRUE(list->isVisible());
    EXPECT_THAT(list->sentence().toStdString(), testing::StartsWith("1 hole of"));
    EXPECT_FALSE(tensor->axes()->isVisible()) << "two axes leave no choice";
    pictures(QStringLiteral("tensor-fault"));
    QTest::keyClick(tensor->picture(), Qt::Key_N);
    EXPECT_EQ(list->current(), 0u);
    EXPECT_THAT(tensor->copyText(false).toStdString(), HasSubstr("should be in rank 1, __1_0.distcp"));
    EXPECT_THAT(tensor->copyText(true).toStdString(), HasSubstr("What\tWhere\tWho"));
    QTest::keyClick(tensor->picture(), Qt::Key_Down);
    EXPECT_EQ(tensor->picture()->selectedFault(), std::nullopt) << "a piece is selected now";
    EXPECT_EQ(list->current(), std::nullopt);
    list->table()->setFocus();
    QTest::keyClick(list->table(), Qt::Key_Home);
    QTest::keyClick(list->table(), Qt::Key_Down);
    EXPECT_EQ(tensor->picture()->selectedFault(), 0u);
}

} // namespace
} // namespace shardlens::ui
