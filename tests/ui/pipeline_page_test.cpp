#include "core/base/endian.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/stage_rows.h"
#include "ui/pages/pipeline/pipeline_controls.h"
#include "ui/pages/pipeline_page.h"
#include "ui/widgets/stage_strip.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <QAbstractItemModelTester>
#include <QClipboard>
#include <QComboBox>
#include <QFile>
#include <QImage>
#include <QLineEdit>
#include <QProcess>
#include <QPushButton>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTableView>
#include <QTest>

#include <array>

namespace shardlens::ui::test {
namespace {

using nlohmann::ordered_json;
using Parts = std::vector<std::uint32_t>;
using testing::ElementsAre;
using testing::HasSubstr;

class PipelinePageTest : public WindowTest {
protected:
    // Vectors in the order given; their bytes are a hole of the file.
    QString model(const std::vector<std::pair<std::string, std::uint64_t>>& tensors) const
    {
        ordered_json header;
        std::uint64_t at = 0;
        for (const auto& [name, elements] : tensors) {
            header[name] = {{"dtype", "F32"}, {"shape", {elements}}, {"data_offsets", {at, at + elements * 4}}};
            at += elements * 4;
        }
        const std::string text = header.dump();
        std::array<std::byte, 8> length{};
        storeLe<std::uint64_t>(length.data(), text.size());
        QFile file(QString::fromStdString(m_folder.file("model.safetensors")));
        EXPECT_TRUE(file.open(QIODevice::WriteOnly));
        file.write(reinterpret_cast<const char*>(length.data()), 8);
        file.write(text.data(), static_cast<qint64>(text.size()));
        file.resize(static_cast<qint64>(8 + text.size() + at));
        return file.fileName();
    }
    // embed 400, eight layers of 100, 101 … 107, norm 2: DeepSpeed cuts four stages at 0, 1, 4, 7, 10.
    QString usual() const
    {
        std::vector<std::pair<std::string, std::uint64_t>> tensors{{"embed", 400}};
        for (std::uint64_t i = 0; i < 8; ++i)
            tensors.emplace_back("h." + std::to_string(i) + ".w", 100 + i);
        tensors.emplace_back("norm", 2);
        return model(tensors);
    }
    PipelinePage* opened(const QString& path)
    {
        m_window->resize(1200, 800);
        m_window->show();
        open(path, QStringLiteral("pipeline"));
        auto* out = page<PipelinePage>();
        EXPECT_TRUE(waitFor([&] { return out->plan()->state() != PipelinePlan::State::Reading; }));
        return out;
    }
    static Parts parts(const PipelinePage* page) { return page->plan()->preview().partition.parts; }
    static bool waitForParts(const PipelinePage* page, const Parts& wanted)
    {
        return waitFor([&] { return page->plan()->state() == PipelinePlan::State::Ready && parts(page) == wanted; });
    }
    static QPoint handle(const StageStrip* strip, std::size_t layer)
    {
        return {static_cast<int>(strip->edgeOf(layer)), strip->height() / 2};
    }
    static QString cell(const PipelinePage* page, int row, StageRows::Column column)
    {
        return page->table()->model()->index(row, column).data().toString();
    }
};

TEST_F(PipelinePageTest, ShowsDeepSpeedsStagesAndTheirNumbers)
{
    PipelinePage* page = opened(usual());
    ASSERT_EQ(page->plan()->state(), PipelinePlan::State::Ready);
    EXPECT_EQ(page->message(), QString());
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 4, 7, 10));
    EXPECT_EQ(page->figures(), (QStringList{"1.30 ×", "400", "215", "1.30 ×"}));
    EXPECT_EQ(cell(page, 1, StageRows::Layers), "1 to 3");
    EXPECT_EQ(cell(page, 1, StageRows::Weight), "303");
    EXPECT_EQ(cell(page, 1, StageRows::Share), "75.8 %");
    EXPECT_EQ(cell(page, 1, StageRows::Bytes), "1.18 KiB");
    EXPECT_FALSE(page->resetButton()->isEnabled());
    EXPECT_TRUE(page->table()->isColumnHidden(StageRows::Change));
    picture(QStringLiteral("pipeline"));
}

TEST_F(PipelinePageTest, ArrowKeysChooseABoundaryAndMoveIt)
{
    PipelinePage* page = opened(usual());
    StageStrip* strip = page->strip();
    strip->setFocus(Qt::TabFocusReason);
    EXPECT_EQ(strip->boundary(), 1u) << "Tab chooses the first";
    QTest::keyClick(strip, Qt::Key_Down);
    EXPECT_EQ(strip->boundary(), 2u);
    EXPECT_EQ(page->table()->currentIndex().row(), 2);
    QTest::keyClick(strip, Qt::Key_Left);
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 3, 7, 10));
    EXPECT_EQ(cell(page, 1, StageRows::Weight), "201");
    EXPECT_EQ(cell(page, 1, StageRows::Change), "−102");
    EXPECT_EQ(cell(page, 2, StageRows::Change), "+102");
    EXPECT_FALSE(page->table()->isColumnHidden(StageRows::Change));
    QCoreApplication::processEvents();
    picture(QStringLiteral("pipeline-moved"));
    EXPECT_THAT(strip->boundarySentence().toStdString(), HasSubstr("stage 2 begins with layer 3 (h.2)"));
    for (int i = 0; i < 20; ++i)
        QTest::keyClick(strip, Qt::Key_Left);
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 1, 7, 10)) << "not past its neighbour";
    EXPECT_EQ(cell(page, 1, StageRows::Layers), "none");
    EXPECT_EQ(page->figures().at(1), "615");
    EXPECT_TRUE(page->undoView()) << "a row of moves is one step";
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 4, 7, 10));
    EXPECT_FALSE(page->undoView());
    QTest::keyClick(strip, Qt::Key_End);
    EXPECT_EQ(strip->boundary(), 3u);
    for (int i = 0; i < 20; ++i)
        QTest::keyClick(strip, Qt::Key_Right);
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 4, 10, 10));
    QTest::mouseClick(page->resetButton(), Qt::LeftButton);
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 4, 7, 10));
    EXPECT_TRUE(page->undoView());
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 4, 10, 10)) << "a reset can be undone";
}

TEST_F(PipelinePageTest, TheMouseDragsABoundaryToTheNearestLayer)
{
    PipelinePage* page = opened(usual());
    StageStrip* strip = page->strip();
    QTest::mousePress(strip, Qt::LeftButton, {}, handle(strip, 4));
    EXPECT_EQ(strip->boundary(), 2u);
    QTest::mouseMove(strip, handle(strip, 6) + QPoint(3, 0));
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 6, 7, 10));
    EXPECT_EQ(page->figures().at(1), "510") << "the numbers follow while it is dragged";
    QTest::mouseMove(strip, QPoint(strip->width() + 50, 10));
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 7, 7, 10));
    QTest::mouseRelease(strip, Qt::LeftButton, {}, QPoint(strip->width() + 50, 10));
    // Two boundaries at one place: the pull decides which one moves.
    QTest::mousePress(strip, Qt::LeftButton, {}, handle(strip, 7));
    QTest::mouseMove(strip, handle(strip, 8));
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 7, 8, 10));
    QTest::mouseRelease(strip, Qt::LeftButton, {}, handle(strip, 8));
    EXPECT_TRUE(page->undoView());
    EXPECT_TRUE(page->undoView());
    EXPECT_THAT(parts(page), ElementsAre(0, 1, 4, 7, 10));
}

TEST_F(PipelinePageTest, AnotherQuestionCutsAgainAndOtherRanksDoNot)
{
    PipelinePage* page = opened(usual());
    page->plan()->moveBoundary(1, 2);
    page->controls()->data()->setValue(4);
    page->controls()->tensor()->setValue(2);
    EXPECT_THAT(parts(page), ElementsAre(0, 2, 4, 7, 10)) << "what was moved stays";
    EXPECT_EQ(cell(page, 1, StageRows::Ranks), "8 to 15");
    page->controls()->stages()->setValue(2);
    EXPECT_TRUE(waitForParts(page, {0, 3, 10}));
    EXPECT_FALSE(page->resetButton()->isEnabled());
    page->controls()->stages()->setValue(4);
    page->controls()->method()->setCurrentIndex(1);
    EXPECT_TRUE(waitForParts(page, {0, 3, 6, 8, 10}));
    page->controls()->version()->setCurrentIndex(2);
    EXPECT_TRUE(waitForParts(page, {0, 2, 4, 6, 10}));
    EXPECT_EQ(page->copyText(true),
              QStringLiteral("shardlens partition %1 --stages 4 --method uniform --deepspeed-version 0.10.0 --dp 4 --tp 2")
                  .arg(page->document()->path()));
}

TEST_F(PipelinePageTest, TypeNeedsClassNamesAndCountsMatches)
{
    PipelinePage* page = opened(usual());
    page->controls()->method()->setCurrentIndex(2);
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Refused; }));
    EXPECT_THAT(page->message().toStdString(), HasSubstr("give the layers' names"));
    EXPECT_TRUE(page->controls()->names()->isVisible());
    page->controls()->pattern()->setText(QStringLiteral("BLOCK"));
    page->controls()->names()->setText(QStringLiteral("Embed,Block*8,Norm"));
    emit page->controls()->names()->editingFinished();
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Ready; })) << page->message().toStdString();
    EXPECT_EQ(cell(page, 0, StageRows::Weight), "2");
    EXPECT_EQ(page->figures().at(0), "1.00 ×");
    EXPECT_FALSE(page->table()->isColumnHidden(StageRows::Parameters));
    picture(QStringLiteral("pipeline-type"));
    EXPECT_THAT(page->copyText(true).toStdString(), HasSubstr("--method type:BLOCK --names 'Embed,Block*8,Norm'"));
    page->plan()->moveBoundary(1, 1);
    EXPECT_EQ(cell(page, 0, StageRows::Weight), "0") << "a moved boundary counts matches too";
}

TEST_F(PipelinePageTest, WeightsCanBeTypedWhereTheModelHasNoLayers)
{
    PipelinePage* page = opened(samplePath());
    EXPECT_EQ(page->plan()->state(), PipelinePlan::State::NoLayers);
    EXPECT_THAT(page->message().toStdString(), HasSubstr("do not number layers"));
    ASSERT_TRUE(page->controls()->weights()->isVisible());
    page->controls()->weights()->setText(QStringLiteral("10,1*6,x"));
    emit page->controls()->weights()->editingFinished();
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Refused; }));
    EXPECT_THAT(page->message().toStdString(), HasSubstr("Weight 8 is 'x'"));
    page->controls()->weights()->setText(QStringLiteral("10,1*6,10"));
    emit page->controls()->weights()->editingFinished();
    EXPECT_TRUE(waitForParts(page, {0, 1, 4, 7, 8}));
    EXPECT_TRUE(page->table()->isColumnHidden(StageRows::Bytes));
    EXPECT_EQ(page->copyText(true), "shardlens partition --weights '10,1*6,10' --stages 4 --method parameters");
    page->controls()->weights()->clear();
    emit page->controls()->weights()->editingFinished();
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::NoLayers; }));
}

TEST_F(PipelinePageTest, NamesWithoutANumberCanBePut)
{
    PipelinePage* page = opened(model({{"head", 300}, {"m.h.0.w", 100}, {"m.h.1.w", 100}, {"m.wte", 300}}));
    EXPECT_EQ(page->plan()->preview().weights, (std::vector<std::uint64_t>{100, 100, 600})) << "sorted names: all behind";
    page->controls()->before()->setText(QStringLiteral("wte"));
    emit page->controls()->before()->editingFinished();
    EXPECT_TRUE(waitFor([&] { return page->plan()->preview().weights == std::vector<std::uint64_t>{300, 100, 100, 300}; }));
    EXPECT_THAT(page->copyText(true).toStdString(), HasSubstr("--before wte"));
    page->controls()->behind()->setText(QStringLiteral("("));
    emit page->controls()->behind()->editingFinished();
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Refused; }));
    EXPECT_THAT(page->message().toStdString(), HasSubstr("does not compile"));
    QSignalSpy answers(page->plan(), &PipelinePlan::changed);
    page->controls()->data()->setValue(2);
    EXPECT_TRUE(waitFor([&] { return answers.count() > 0; })) << "another question does not make the pattern good";
    EXPECT_EQ(page->plan()->state(), PipelinePlan::State::Refused);
    page->controls()->behind()->clear();
    emit page->controls()->behind()->editingFinished();
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Ready; }));
    EXPECT_FALSE(page->controls()->weights()->isVisible());
}

TEST_F(PipelinePageTest, ExportsWhatTheCommandLineAnswers)
{
    PipelinePage* page = opened(usual());
    page->controls()->data()->setValue(2);
    for (const bool isMoved : {false, true}) {
        if (isMoved)
            page->plan()->moveBoundary(2, 3);
        const QString name = QString::fromStdString(m_folder.file(isMoved ? "moved.json" : "cut.json"));
        ASSERT_EQ(page->exportTo(name), QString());
        QFile file(name);
        ASSERT_TRUE(file.open(QIODevice::ReadOnly));
        QProcess process;
        process.startCommand(QStringLiteral(SHARDLENS_PROGRAM) + page->copyText(true).mid(QStringLiteral("shardlens").size()) +
                             QStringLiteral(" --json"));
        ASSERT_TRUE(process.waitForFinished());
        EXPECT_EQ(file.readAll().toStdString(), process.readAllStandardOutput().toStdString());
        EXPECT_EQ(process.exitCode(), 0);
    }
    const QString table = QString::fromStdString(m_folder.file("stages.csv"));
    ASSERT_EQ(page->exportTo(table), QString());
    QFile csv(table);
    ASSERT_TRUE(csv.open(QIODevice::ReadOnly));
    EXPECT_THAT(csv.readAll().toStdString(), HasSubstr("\n1,1,3,201,201,804,2,2\n"));
    const QString drawn = QString::fromStdString(m_folder.file("stages.png"));
    ASSERT_EQ(page->exportTo(drawn), QString());
    EXPECT_GT(QImage(drawn).width(), 1000);
    EXPECT_THAT(page->exportTo(QStringLiteral("/no/such/folder/x.csv")).toStdString(), HasSubstr("was not written"));
    EXPECT_THAT(page->copyText(false).toStdString(), HasSubstr("stage 1\t1 to 2\t201\t48.6 %"));
}

TEST_F(PipelinePageTest, ALayerIsASelectionAndASelectionIsMarked)
{
    PipelinePage* page = opened(usual());
    StageStrip* strip = page->strip();
    const int middle = static_cast<int>((strip->edgeOf(2) + strip->edgeOf(3)) / 2);
    QTest::mouseClick(strip, Qt::LeftButton, {}, QPoint(middle, strip->height() / 2));
    ASSERT_TRUE(page->document()->selection().tensor);
    EXPECT_EQ(page->document()->checkpoint()->parameterOf(*page->document()->selection().tensor), "h.1.w");
}

TEST_F(PipelinePageTest, ManyStagesAndOneStageAreDrawn)
{
    PipelinePage* page = opened(usual());
    page->controls()->stages()->setValue(1);
    EXPECT_TRUE(waitForParts(page, {0, 10}));
    QTest::keyClick(page->strip(), Qt::Key_Right);
    EXPECT_THAT(parts(page), ElementsAre(0, 10)) << "there is no boundary to move";
    page->controls()->stages()->setValue(9);
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Ready && parts(page).size() == 10; }));
    page->plan()->moveBoundary(3, 2);
    picture(QStringLiteral("pipeline-many"));
    page->controls()->stages()->setValue(3000);
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Ready && parts(page).size() == 3001; }));
    EXPECT_EQ(page->table()->model()->rowCount(), 3000);
    EXPECT_FALSE(page->strip()->grab().isNull());
}

TEST_F(PipelinePageTest, ALongCutIsSaidAndGivesWayToTheNextQuestion)
{
    std::vector<std::pair<std::string, std::uint64_t>> tensors;
    for (std::uint64_t i = 0; i < 3000; ++i)
        tensors.emplace_back("h." + std::to_string(i) + ".w", 1 + i % 7);
    PipelinePage* page = opened(model(tensors));
    EXPECT_TRUE(waitFor([&] { return page->plan()->state() == PipelinePlan::State::Ready; }));
    page->controls()->stages()->setValue(1000);
    EXPECT_EQ(page->message(), "Cutting 3,000 layers into 1,000 stages…");
    page->controls()->stages()->setValue(1);
    EXPECT_TRUE(waitForParts(page, {0, 3000}));
}

TEST(StageRows, IsAModelWhoseRowsStayWhileBoundariesMove)
{
    StageRows rows;
    const QAbstractItemModelTester tester(&rows, QAbstractItemModelTester::FailureReportingMode::Fatal);
    const std::vector<std::uint64_t> weights{5, 7, 0};
    PartitionPreview preview{"parameters", *partitionAt({0, 1, 3}, 3, weights), weights, std::nullopt, StageAxes{2, 1}};
    rows.show(preview, preview.partition.stages);
    const QPersistentModelIndex second(rows.index(1, StageRows::Weight));
    EXPECT_EQ(second.data().toString(), "7");
    PartitionPreview moved{"given", *partitionAt({0, 2, 3}, 3, weights), weights, std::nullopt, StageAxes{2, 1}};
    rows.show(moved, preview.partition.stages);
    ASSERT_TRUE(second.isValid());
    EXPECT_EQ(second.data().toString(), "0");
    EXPECT_EQ(rows.text(), "stage\tlayers\tparameters\tof the heaviest\tranks\tchange\nstage 0\t0 to 1\t12\t100 %\t0 to 1\t+7\nstage "
                           "1\t2\t0\t0 %\t2 to 3\t−7");
    EXPECT_FALSE(rows.index(2, 0).isValid());
    rows.clear();
    EXPECT_EQ(rows.rowCount(), 0);
}

} // namespace
} // namespace shardlens::ui::test
