#include "tests/ui/ui_fixture.h"
#include "ui/models/overview_summary.h"
#include "ui/pages/atlas_page.h"
#include "ui/pages/metadata_page.h"
#include "ui/pages/overview/value_check.h"
#include "ui/pages/overview_page.h"
#include "ui/pages/tensor_page.h"
#include "ui/pages/tensors/tensor_rows.h"
#include "ui/pages/tensors_page.h"
#include "ui/frame/inspector.h"
#include "ui/frame/status_line.h"
#include "ui/widgets/atlas_painter.h"
#include "ui/widgets/atlas_view.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/search_field.h"

#include <gmock/gmock.h>

#include <QApplication>
#include <QComboBox>
#include <QDropEvent>
#include <QLabel>
#include <QMimeData>
#include <QScrollBar>
#include <QTableView>
#include <QTest>
#include <QUrl>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace shardlens::ui::test {
namespace {

QStringList bannerNames(const QWidget* inside)
{
    QStringList out;
    for (const Banner* banner : inside->findChildren<Banner*>())
        if (banner->isVisible())
            out << banner->accessibleName();
    return out;
}

TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& name)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == name)
            return idAt<TensorId>(i);
    ADD_FAILURE() << "no tensor " << name;
    return kNoTensor;
}

TEST_F(WindowTest, TheSampleOpensOnTheOverviewAndIsComplete)
{
    open(samplePath());
    auto* overview = page<OverviewPage>();
    ASSERT_NE(overview, nullptr);
    ASSERT_TRUE(waitFor([&] { return overview->summary() != nullptr; }));
    EXPECT_TRUE(overview->summary()->complete());
    EXPECT_EQ(overview->summary()->parameters, 14u);
    EXPECT_EQ(overview->summary()->places.size(), 3u);
    ASSERT_TRUE(waitFor([&] { return !bannerNames(overview).isEmpty(); }));
    EXPECT_THAT(bannerNames(overview).join('\n').toStdString(), testing::HasSubstr("Complete. Every value of 14 parameters and 27 optimizer states has a source."));
    picture(QStringLiteral("overview"));
}

TEST_F(WindowTest, AMissingRankIsSaidOnTheOverview)
{
    std::filesystem::copy(SHARDLENS_SAMPLE, m_folder.path() / "run", std::filesystem::copy_options::recursive);
    std::filesystem::remove(m_folder.path() / "run/global_step3/zero_pp_rank_1_mp_rank_00_optim_states.pt");
    open(QString::fromStdString(m_folder.file("run")));
    auto* overview = page<OverviewPage>();
    ASSERT_NE(overview, nullptr);
    ASSERT_TRUE(waitFor([&] { return overview->summary() != nullptr; }));
    EXPECT_GT(overview->summary()->incompleteTensors, 0u);
    ASSERT_TRUE(waitFor([&] { return bannerNames(overview).size() > 1; }));
    const std::string said = bannerNames(overview).join('\n').toStdString();
    EXPECT_THAT(said, testing::HasSubstr("Incomplete."));
    EXPECT_THAT(said, testing::HasSubstr("Rank 1 has no file zero_pp_rank_1_mp_rank_00_optim_states.pt"));
    picture(QStringLiteral("overview-missing"));
}

TEST_F(WindowTest, AFolderWithoutACheckpointSaysWhatWasLookedFor)
{
    m_window->openPath(QString::fromStdString(m_folder.path().string()));
    Workspace* workspace = m_window->currentWorkspace();
    ASSERT_TRUE(waitFor([&] { return workspace->document()->state() == Document::State::Failed; }));
    ASSERT_TRUE(waitFor([&] { return !bannerNames(workspace).isEmpty(); }));
    EXPECT_THAT(bannerNames(workspace).join('\n').toStdString(), testing::HasSubstr("This cannot be opened."));
    EXPECT_THAT(bannerNames(workspace).join('\n').toStdString(), testing::HasSubstr("latest"));
    picture(QStringLiteral("wrong-folder"));
}

TEST_F(WindowTest, ANameGivenAtTheStartIsSelectedAndAWrongOneIsSaid)
{
    m_window->openPath(samplePath(), QStringLiteral("tensor"));
    Workspace* workspace = m_window->currentWorkspace();
    workspace->selectNamed(QStringLiteral("up.weight"));
    ASSERT_TRUE(waitFor([&] { return workspace->document()->checkpoint() != nullptr; }));
    ASSERT_TRUE(workspace->document()->selection().tensor);
    EXPECT_EQ(workspace->document()->checkpoint()->parameterOf(*workspace->document()->selection().tensor), "up.weight");
    EXPECT_TRUE(workspace->missedName().isEmpty());
    testing::internal::CaptureStderr();
    workspace->selectNamed(QStringLiteral("no.such"));
    EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("no.such"));
    EXPECT_THAT(workspace->missedName().toStdString(), testing::HasSubstr("no.such: none of the 50 tensors"));
    ASSERT_TRUE(waitFor([&] { return bannerNames(workspace).join('\n').contains(QLatin1String("no.such")); }));
}

TEST_F(WindowTest, TheStatusLineCountsWhatACheckOfTheValuesFound)
{
    Workspace* workspace = open(samplePath());
    const auto says = [this](const char* text) {
        const auto labels = m_window->findChild<StatusLine*>()->findChildren<QLabel*>();
        return std::any_of(labels.begin(), labels.end(), [text](const QLabel* label) { return label->text() == QLatin1String(text); });
    };
    EXPECT_TRUE(says("no findings"));
    VerifyReport report;
    report.findings = {{Severity::Warning, "replicas-differ", "Replicas differ.", kNoTensor, kNoFile, {}}, {Severity::Info, "note", "A note.", kNoTensor, kNoFile, {}}};
    workspace->document()->setVerified(std::make_shared<const VerifyReport>(report));
    EXPECT_TRUE(says("1 warning   1 note"));
}

TEST_F(WindowTest, WhatIsNoLongerWrittenIsNotSaidToBe)
{
    std::filesystem::copy(SHARDLENS_SAMPLE, m_folder.path() / "run", std::filesystem::copy_options::recursive);
    const auto nearlyTen = std::filesystem::file_time_type::clock::now() - std::chrono::milliseconds(7500);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(m_folder.path() / "run"))
        if (entry.is_regular_file())
            std::filesystem::last_write_time(entry.path(), nearlyTen);
    Workspace* workspace = open(QString::fromStdString(m_folder.file("run")));
    const auto isSaid = [&] { return bannerNames(workspace).join('\n').contains(QLatin1String("Still being written.")); };
    ASSERT_TRUE(waitFor(isSaid));
    EXPECT_TRUE(waitFor([&] { return !isSaid(); }));
}

TEST_F(WindowTest, FilteringNarrowsTheTableAndEscapeClearsIt)
{
    open(samplePath(), QStringLiteral("tensors"));
    auto* tensors = page<TensorsPage>();
    ASSERT_NE(tensors, nullptr);
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->rowCount() > 0; }));
    const int all = tensors->rows()->rowCount();
    auto* field = tensors->findChild<SearchField*>();
    ASSERT_NE(field, nullptr);
    QTest::keyClicks(field, QStringLiteral("up"));
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->rowCount() == 3; })) << tensors->rows()->rowCount(); // the group, weight and bias
    EXPECT_EQ(tensors->rows()->index(1, TensorRows::Name).data().toString(), "weight");
    picture(QStringLiteral("tensors-filtered"));
    EXPECT_TRUE(tensors->clearFilter());
    EXPECT_TRUE(waitFor([&] { return tensors->rows()->rowCount() == all; }));
    EXPECT_FALSE(tensors->clearFilter());
}

TEST_F(WindowTest, AnInvalidExpressionKeepsTheLastGoodRows)
{
    open(samplePath(), QStringLiteral("tensors"));
    auto* tensors = page<TensorsPage>();
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->rowCount() > 0; }));
    auto* field = tensors->findChild<SearchField*>();
    field->setRegex(true);
    QTest::keyClicks(field, QStringLiteral("^up"));
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->rowCount() == 3; }));
    QTest::keyClicks(field, QStringLiteral("("));
    QTest::qWait(300);
    EXPECT_EQ(tensors->rows()->rowCount(), 3);
    EXPECT_THAT(field->toolTip().toStdString(), testing::Not(testing::IsEmpty()));
}

TEST_F(WindowTest, APieceClickedInTheAtlasIsSelectedEverywhere)
{
    Workspace* workspace = open(samplePath(), QStringLiteral("atlas"));
    auto* atlas = page<AtlasPage>();
    ASSERT_NE(atlas, nullptr);
    ASSERT_TRUE(waitFor([&] { return atlas->view()->scene().model != nullptr; }));
    const Checkpoint& checkpoint = *workspace->document()->checkpoint();
    const TensorId wanted = tensorNamed(checkpoint, "up.weight");
    const PieceId piece = idAt<PieceId>(checkpoint.pieces().firstOf(wanted));
    const auto place = atlas->view()->scene().model->placeOf(piece);
    ASSERT_TRUE(place);
    const QPointF at = AtlasPainter(atlas->view()->scene(), 1).rectOf(*place, 1).center();
    QTest::mouseClick(atlas->view()->viewport(), Qt::LeftButton, {}, at.toPoint());
    EXPECT_EQ(workspace->document()->selection().piece, piece);
    EXPECT_EQ(workspace->document()->selection().tensor, wanted);
    QCoreApplication::processEvents();
    const auto* inspector = m_window->findChild<Inspector*>();
    ASSERT_NE(inspector, nullptr);
    EXPECT_TRUE(inspector->isVisible());
    QStringList texts;
    for (const QLabel* label : inspector->findChildren<QLabel*>())
        texts << label->text();
    EXPECT_TRUE(texts.contains(QStringLiteral("up.weight"))) << texts.join('|').toStdString();
    picture(QStringLiteral("atlas-selected"));

    m_window->showPage(QStringLiteral("tensor"));
    ASSERT_NE(page<TensorPage>(), nullptr);
    EXPECT_EQ(page<TensorPage>()->states()->currentData().toUInt(), indexOf(wanted));
    m_window->showPage(QStringLiteral("tensors"));
    auto* tensors = page<TensorsPage>();
    EXPECT_TRUE(waitFor([&] {
        const QModelIndex current = tensors->findChild<QTableView*>()->currentIndex();
        return current.isValid() && tensors->rows()->members(current.row()).size() > 0 &&
               checkpoint.parameterOf(tensors->rows()->members(current.row()).front()) == "up.weight";
    }));
}

TEST_F(WindowTest, BackReturnsToThePageAndItsSelection)
{
    Workspace* workspace = open(samplePath(), QStringLiteral("tensors"));
    const TensorId first = tensorNamed(*workspace->document()->checkpoint(), "kernel");
    workspace->document()->selectTensor(first);
    m_window->showPage(QStringLiteral("metadata"));
    workspace->document()->selectTensor(tensorNamed(*workspace->document()->checkpoint(), "up.bias"));
    ASSERT_TRUE(workspace->canGoBack());
    workspace->goBack();
    EXPECT_EQ(workspace->currentPageId(), "tensors");
    EXPECT_EQ(workspace->document()->selection().tensor, first);
    workspace->goForward();
    EXPECT_EQ(workspace->currentPageId(), "metadata");
}

TEST_F(WindowTest, ADroppedFolderOpensInATab)
{
    QMimeData data;
    data.setUrls({QUrl::fromLocalFile(samplePath())});
    QDragEnterEvent enter({100, 100}, Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(m_window.get(), &enter);
    EXPECT_TRUE(enter.isAccepted());
    QDropEvent drop({100, 100}, Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(m_window.get(), &drop);
    ASSERT_NE(m_window->currentWorkspace(), nullptr);
    EXPECT_TRUE(waitFor([&] { return m_window->currentWorkspace()->document()->state() == Document::State::Open; }));
}

TEST_F(WindowTest, AFolderThatIsStillWrittenIsSaid)
{
    std::filesystem::copy(SHARDLENS_SAMPLE, m_folder.path() / "run", std::filesystem::copy_options::recursive);
    Workspace* workspace = open(QString::fromStdString(m_folder.file("run")));
    ASSERT_TRUE(waitFor([&] { return bannerNames(workspace).join(' ').contains(QStringLiteral("Still")); }));
    EXPECT_THAT(bannerNames(workspace).join('\n').toStdString(), testing::HasSubstr("Still being written. 4 files changed in the last 10 s."));
}

TEST_F(WindowTest, OpeningCanBeCancelled)
{
    m_window->openPath(samplePath());
    Workspace* workspace = m_window->currentWorkspace();
    workspace->document()->cancelLoad();
    EXPECT_EQ(workspace->document()->state(), Document::State::Failed);
    QTest::qWait(200); // the worker's result comes to nothing
    EXPECT_EQ(workspace->document()->state(), Document::State::Failed);
    workspace->document()->load();
    EXPECT_TRUE(waitFor([&] { return workspace->document()->state() == Document::State::Open; }));
}

TEST_F(WindowTest, KeysReachEveryPage)
{
    Workspace* workspace = open(samplePath());
    const std::vector<std::pair<Qt::Key, QString>> keys{{Qt::Key_2, QStringLiteral("tensors")}, {Qt::Key_3, QStringLiteral("atlas")}, {Qt::Key_4, QStringLiteral("tensor")},
                                                        {Qt::Key_8, QStringLiteral("metadata")}, {Qt::Key_9, QStringLiteral("safety")}, {Qt::Key_1, QStringLiteral("overview")}};
    m_window->activateWindow();
    for (const auto& [key, id] : keys) {
        QTest::keyClick(m_window.get(), key, Qt::AltModifier);
        EXPECT_EQ(workspace->currentPageId(), id);
    }
    QTest::keyClick(m_window.get(), Qt::Key_Return, Qt::ControlModifier);
    EXPECT_EQ(workspace->currentPageId(), "convert");
}

TEST_F(WindowTest, TheValuesCanBeCheckedFromTheOverview)
{
    open(samplePath());
    auto* overview = page<OverviewPage>();
    ASSERT_TRUE(waitFor([&] { return overview->summary() != nullptr; }));
    ValueCheck* check = overview->valueCheck();
    std::shared_ptr<const VerifyReport> report;
    QObject::connect(check, &ValueCheck::done, check, [&](const std::shared_ptr<const VerifyReport>& one) { report = one; });
    check->start();
    ASSERT_TRUE(waitFor([&] { return report != nullptr; }));
    EXPECT_EQ(report->worst(), Severity::Info);
    EXPECT_GT(report->bytesRead, 0u);
    report = nullptr;
    check->start();
    check->cancel();
    EXPECT_FALSE(check->isRunning());
    QTest::qWait(100);
    EXPECT_EQ(report, nullptr);
}

TEST_F(WindowTest, TiedNamesAreFoundInTheTable)
{
    open(samplePath(), QStringLiteral("tensors"));
    auto* tensors = page<TensorsPage>();
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->rowCount() > 0; }));
    QTest::keyClicks(tensors->findChild<SearchField*>(), QStringLiteral("head"));
    ASSERT_TRUE(waitFor([&] { return tensors->rows()->rowCount() == 2; })) << tensors->rows()->rowCount();
    EXPECT_EQ(tensors->rows()->index(1, TensorRows::StoredAs).data().toString().toStdString(), "tied to embed.weight");
}

} // namespace
} // namespace shardlens::ui::test
