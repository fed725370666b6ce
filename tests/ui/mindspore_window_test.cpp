#include "tests/ui/mindspore_sample.h"
#include "tests/ui/ui_fixture.h"
#include "ui/frame/page_table.h"
#include "ui/frame/rail.h"
#include "ui/models/device_map.h"
#include "ui/pages/devices_page.h"
#include "ui/pages/overview_page.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/link.h"

#include <gmock/gmock.h>

#include <QAbstractButton>
#include <QDropEvent>
#include <QLabel>
#include <QMimeData>
#include <QPushButton>
#include <QSignalSpy>
#include <QTest>
#include <QUrl>

#include <filesystem>

namespace shardlens::ui::test {
namespace {

using testing::HasSubstr;

class MindSporeWindowTest : public WindowTest {
protected:
    // A run whose strategy lies somewhere else.
    Workspace* openWithout()
    {
        MindSporeSample::eight().writeRun(m_folder.file("runs/run"));
        MindSporeSample::eight().writeStrategy(strategyPath().toStdString());
        MindSporeSample::four().writeStrategy(m_folder.file("other/four.ckpt"));
        return open(runPath());
    }
    QString runPath() const { return QString::fromStdString(m_folder.file("runs/run")); }
    QString strategyPath() const { return QString::fromStdString(m_folder.file("other/strategy.ckpt")); }
    QString fourPath() const { return QString::fromStdString(m_folder.file("other/four.ckpt")); }
    // What all banners of the tab say.
    QString bannerTexts() const
    {
        QString out;
        for (const Banner* banner : m_window->currentWorkspace()->findChildren<Banner*>())
            for (const QLabel* label : banner->findChildren<QLabel*>())
                out += label->text() + QLatin1Char('\n');
        return out;
    }
    Link* link(const QString& text) const
    {
        for (Link* one : m_window->currentWorkspace()->findChildren<Link*>())
            if (one->text() == text && one->isVisible())
                return one;
        return nullptr;
    }
    static bool hasStrategy(const Workspace* workspace) { return !strategyPathOf(*workspace->document()->checkpoint()).isEmpty(); }
    bool railShows(const QString& label) const
    {
        for (const QAbstractButton* item : m_window->findChild<Rail*>()->findChildren<QAbstractButton*>())
            if (item->text() == label)
                return item->isVisible();
        return false;
    }
};

TEST_F(MindSporeWindowTest, TheOverviewAsksForAStrategyCalmly)
{
    Workspace* workspace = openWithout();
    ASSERT_FALSE(hasStrategy(workspace));
    EXPECT_THAT(bannerTexts().toStdString(), HasSubstr("8 rank folders and no strategy file"));
    EXPECT_THAT(bannerTexts().toStdString(), testing::Not(HasSubstr("--source-strategy"))) << "advice for a shell";
    QSignalSpy asked(workspace->document(), &Document::strategyWanted);
    QObject::disconnect(workspace->document(), &Document::strategyWanted, workspace, nullptr); // it would open the system's dialog
    ASSERT_NE(link(QStringLiteral("Choose strategy file…")), nullptr);
    ASSERT_NE(link(QStringLiteral("Folder of stage files…")), nullptr);
    link(QStringLiteral("Choose strategy file…"))->click();
    link(QStringLiteral("Folder of stage files…"))->click();
    ASSERT_EQ(asked.count(), 2);
    EXPECT_FALSE(asked.at(0).at(0).toBool());
    EXPECT_TRUE(asked.at(1).at(0).toBool());
    pictures(QStringLiteral("mindspore-asks"));
    m_window->showPage(QStringLiteral("devices"));
    EXPECT_TRUE(page<DevicesPage>()->chooseButton()->isVisible());
    page<DevicesPage>()->chooseButton()->click();
    EXPECT_EQ(asked.count(), 3);
    picture(QStringLiteral("devices-without-strategy"));
}

TEST_F(MindSporeWindowTest, AStrategyMakesOneModelAndIsRemembered)
{
    Workspace* workspace = openWithout();
    const std::size_t apart = workspace->document()->checkpoint()->tensors().size();
    workspace->useStrategy(strategyPath());
    ASSERT_TRUE(waitFor([&] { return hasStrategy(workspace); })) << bannerTexts().toStdString();
    EXPECT_EQ(workspace->document()->checkpoint()->tensors().size(), 4u);
    EXPECT_EQ(apart, 32u);
    EXPECT_EQ(workspace->document()->options().sourceStrategy, strategyPath().toStdString());
    EXPECT_TRUE(waitFor([&] { return !bannerTexts().contains(QStringLiteral("no strategy")); })) << "pages are made anew";
    const CheckpointPtr before = workspace->document()->checkpoint();
    workspace->document()->load(); // F5
    ASSERT_TRUE(waitFor([&] { return workspace->document()->state() == Document::State::Open && workspace->document()->checkpoint() != before; }));
    EXPECT_TRUE(hasStrategy(workspace)) << "opened again as it was";
}

TEST_F(MindSporeWindowTest, AWrongStrategySaysWhyAndKeepsWhatIsOpen)
{
    Workspace* workspace = openWithout();
    const CheckpointPtr before = workspace->document()->checkpoint();
    m_window->showPage(QStringLiteral("tensors"));
    const Page* tensors = workspace->currentPage();
    for (const auto& [path, says] : {std::pair{fourPath(), "of 4 ranks"}, {runPath() + QStringLiteral("/rank_0/net_rank_0.ckpt"), "net_rank_0.ckpt"},
                                     {QString::fromStdString(m_folder.file("nowhere.ckpt")), "nowhere.ckpt"}}) {
        QSignalSpy refused(workspace->document(), &Document::reopenRefused);
        workspace->useStrategy(path);
        ASSERT_TRUE(waitFor([&] { return refused.count() == 1; })) << path.toStdString();
        EXPECT_THAT(refused.at(0).at(0).toString().toStdString(), HasSubstr(says));
        EXPECT_THAT(bannerTexts().toStdString(), HasSubstr("The strategy is not used."));
        EXPECT_EQ(workspace->document()->checkpoint(), before);
        EXPECT_EQ(workspace->document()->state(), Document::State::Open);
        EXPECT_EQ(workspace->document()->options().sourceStrategy, std::nullopt);
        EXPECT_EQ(workspace->currentPage(), tensors) << "pages are not made anew";
    }
    pictures(QStringLiteral("mindspore-refused"));
}

TEST_F(MindSporeWindowTest, ADroppedStrategyIsUsedAndAnythingElseIsOpened)
{
    Workspace* workspace = openWithout();
    m_window->takeDropped({strategyPath()});
    ASSERT_TRUE(waitFor([&] { return hasStrategy(workspace); }));
    EXPECT_EQ(m_window->currentWorkspace(), workspace) << "no other tab";
    // With another strategy: one of the folder's files that says the same.
    std::filesystem::create_directories(m_folder.file("stages"));
    std::filesystem::copy(strategyPath().toStdString(), m_folder.file("stages/strategy_0.ckpt"));
    m_window->takeDropped({QString::fromStdString(m_folder.file("stages"))});
    ASSERT_TRUE(waitFor([&] { return workspace->document()->options().sourceStrategy == m_folder.file("stages"); })) << bannerTexts().toStdString();
    m_window->takeDropped({samplePath()});
    ASSERT_TRUE(waitFor([&] { return m_window->currentWorkspace() != workspace; }));
    EXPECT_TRUE(waitFor([&] { return m_window->currentWorkspace()->document()->state() == Document::State::Open; }));
}

TEST_F(MindSporeWindowTest, TheDropItselfDoesTheSame)
{
    Workspace* workspace = openWithout();
    QMimeData data;
    data.setUrls({QUrl::fromLocalFile(strategyPath())});
    QDragEnterEvent enter(QPoint(400, 400), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(m_window.get(), &enter);
    ASSERT_TRUE(enter.isAccepted());
    QDropEvent drop(QPointF(400, 400), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QCoreApplication::sendEvent(m_window.get(), &drop);
    EXPECT_TRUE(waitFor([&] { return hasStrategy(workspace); }));
}

TEST_F(MindSporeWindowTest, AStrategyAloneIsNoCheckpoint)
{
    MindSporeSample::eight().writeStrategy(strategyPath().toStdString());
    m_window->takeDropped({strategyPath()});
    Workspace* workspace = m_window->currentWorkspace();
    ASSERT_NE(workspace, nullptr);
    ASSERT_TRUE(waitFor([&] { return workspace->document()->state() == Document::State::Failed; }));
    EXPECT_THAT(workspace->document()->errorText().toStdString(), testing::AllOf(HasSubstr("strategy file"), HasSubstr("Open the folder with the run's rank_N folders")));
    pictures(QStringLiteral("mindspore-strategy-alone"));
    m_window->openPath(QString::fromStdString(m_folder.file("other")));
    ASSERT_TRUE(waitFor([&] { return m_window->currentWorkspace()->document()->state() == Document::State::Failed; }));
    EXPECT_THAT(m_window->currentWorkspace()->document()->errorText().toStdString(), HasSubstr("holds strategy files, not weights"));
}

TEST_F(MindSporeWindowTest, TheRailHasThePageForRunsOfMindSpore)
{
    EXPECT_FALSE(railShows(QStringLiteral("Devices")));
    open(samplePath());
    EXPECT_FALSE(railShows(QStringLiteral("Devices")));
    openWithout();
    EXPECT_TRUE(railShows(QStringLiteral("Devices")));
    QTest::keyClick(m_window.get(), Qt::Key_D, Qt::AltModifier);
    EXPECT_NE(page<DevicesPage>(), nullptr);
}

} // namespace
} // namespace shardlens::ui::test
