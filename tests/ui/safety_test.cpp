#include "tests/ui/ui_fixture.h"
#include "ui/frame/rail.h"
#include "ui/models/safety_check.h"
#include "ui/pages/convert_check_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/overview/safety_line.h"
#include "ui/pages/overview_page.h"
#include "ui/pages/safety/opcode_lines.h"
#include "ui/pages/safety/safety_files.h"
#include "ui/pages/safety/safety_findings.h"
#include "ui/pages/safety_page.h"

#include <gmock/gmock.h>

#include <QAbstractButton>
#include <QAbstractItemModelTester>
#include <QCheckBox>
#include <QElapsedTimer>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QTableView>
#include <QTest>

#include <filesystem>
#include <fstream>

namespace shardlens::ui::test {
namespace {

using testing::HasSubstr;
using ModelTester = QAbstractItemModelTester;

class SafetyTest : public WindowTest {
protected:
    // The sample with files beside it that do what they should not.
    [[nodiscard]] QString hostileRun() const
    {
        std::filesystem::copy(SHARDLENS_SAMPLE, m_folder.path() / "run", std::filesystem::copy_options::recursive);
        write("run/global_step3/evil.pkl", "cposix\nsystem\n(S'touch x'\ntR.");
        write("run/args.bin", std::string("\x80\x02" "ctrain\nArguments\n)\x81."));
        return QString::fromStdString(m_folder.file("run"));
    }
    void write(const std::string& name, const std::string& bytes) const { std::ofstream(m_folder.path() / name, std::ios::binary) << bytes; }

    SafetyPage* openSafety(const QString& path)
    {
        open(path, QStringLiteral("safety"));
        auto* safety = page<SafetyPage>();
        EXPECT_NE(safety, nullptr);
        EXPECT_TRUE(waitFor([&] { return safety->document()->safety()->report() != nullptr; }));
        return safety;
    }
    static QString cell(const QTableView* table, int row, int column) { return table->model()->index(row, column).data().toString(); }
};

TEST_F(SafetyTest, ShowsTheWorstFileFirstWithItsFindingsAndOpcodes)
{
    SafetyPage* safety = openSafety(hostileRun());
    EXPECT_EQ(cell(safety->files(), 0, SafetyFiles::File), "global_step3/evil.pkl");
    EXPECT_EQ(cell(safety->files(), 0, SafetyFiles::Verdict), "runs code on loading");
    EXPECT_EQ(cell(safety->files(), 1, SafetyFiles::Verdict), "unknown code");
    EXPECT_EQ(cell(safety->files(), 2, SafetyFiles::Verdict), "known classes only");
    ASSERT_EQ(safety->findings()->model()->rowCount(), 2);
    EXPECT_EQ(cell(safety->findings(), 1, SafetyFindings::What), "calls posix.system('touch x')");
    ASSERT_TRUE(waitFor([&] { return safety->opcodes()->model()->rowCount() > 0; }));
    EXPECT_EQ(cell(safety->opcodes(), 0, OpcodeLines::Argument), "posix.system");
    safety->findings()->setCurrentIndex(safety->findings()->model()->index(1, 0));
    EXPECT_EQ(safety->opcodes()->currentIndex().row(), 4) << "the REDUCE";
    EXPECT_EQ(cell(safety->opcodes(), 4, OpcodeLines::Opcode), "REDUCE");
    picture(QStringLiteral("safety"));
}

TEST_F(SafetyTest, FiltersFindingsAndClears)
{
    SafetyPage* safety = openSafety(hostileRun());
    QTest::keyClicks(safety->filter(), QStringLiteral("CALLS"));
    EXPECT_EQ(safety->findings()->model()->rowCount(), 1);
    EXPECT_TRUE(safety->clearFilter());
    EXPECT_EQ(safety->findings()->model()->rowCount(), 2);
    EXPECT_FALSE(safety->clearFilter());
}

TEST_F(SafetyTest, CopiesTheReport)
{
    SafetyPage* safety = openSafety(hostileRun());
    const std::string text = safety->copyText(true).toStdString();
    EXPECT_THAT(text, HasSubstr("Dangerous."));
    EXPECT_THAT(text, HasSubstr("5 C6 calls posix.system('touch x') (global_step3/evil.pkl @27)"));
    EXPECT_THAT(text, HasSubstr("3 G3 imports train.Arguments"));
}

TEST_F(SafetyTest, SaysWhereThereIsNoPickle)
{
    write("model.safetensors", std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
    SafetyPage* safety = openSafety(QString::fromStdString(m_folder.file("model.safetensors")));
    EXPECT_EQ(cell(safety->files(), 0, SafetyFiles::Verdict), "no pickle");
    EXPECT_EQ(SafetyWords::sentence(*safety->document()->safety()->report()), "These files hold no code: there is no pickle in them.");
    EXPECT_EQ(safety->opcodes()->model()->rowCount(), 0);
}

TEST_F(SafetyTest, TheOverviewHasTheVerdictAndLeadsToThePage)
{
    open(hostileRun());
    auto* overview = page<OverviewPage>();
    ASSERT_NE(overview, nullptr);
    ASSERT_TRUE(waitFor([&] { return overview->document()->safety()->report() != nullptr; }));
    EXPECT_THAT(overview->safetyLine()->text().toStdString(), HasSubstr("Dangerous."));
    emit overview->safetyLine()->opened();
    EXPECT_NE(page<SafetyPage>(), nullptr);
}

TEST_F(SafetyTest, TheSourceCheckOfAConversionSaysTheVerdict)
{
    const auto saysIn = [this](const char* text) {
        auto* step = m_window->currentWorkspace()->currentPage()->findChild<ConvertCheckStep*>();
        const auto labels = step->findChildren<QLabel*>();
        return std::any_of(labels.begin(), labels.end(), [text](const QLabel* label) { return label->text().contains(QLatin1String(text)); });
    };
    open(samplePath(), QStringLiteral("convert"));
    EXPECT_TRUE(waitFor([&] { return saysIn("No file holds code that runs on loading: 4 pickles in 5 files."); }));
    open(hostileRun(), QStringLiteral("convert"));
    EXPECT_TRUE(waitFor([&] { return saysIn("evil.pkl: imports posix.system"); }));
}

TEST_F(SafetyTest, AFileThatIsNoCheckpointCanBeScanned)
{
    write("evil.pkl", "cposix\nsystem\n(S'touch x'\ntR.");
    m_window->openPath(QString::fromStdString(m_folder.file("evil.pkl")));
    Workspace* workspace = m_window->currentWorkspace();
    ASSERT_TRUE(waitFor([&] { return workspace->document()->state() == Document::State::Failed; }));
    workspace->showPage(QStringLiteral("safety"));
    auto* safety = workspace->findChild<SafetyPage*>();
    ASSERT_NE(safety, nullptr);
    ASSERT_TRUE(waitFor([&] { return safety->findings()->model()->rowCount() == 2; }));
    picture(QStringLiteral("safety-no-checkpoint"));
}

TEST_F(SafetyTest, AFolderThatIsNoCheckpointIsScannedWhereThePageIsAskedFor)
{
    std::filesystem::create_directory(m_folder.path() / "downloads");
    write("downloads/evil.pkl", "cposix\nsystem\n(S'touch x'\ntR.");
    write("downloads/notes.txt", "nothing");
    m_window->openPath(QString::fromStdString(m_folder.file("downloads")), QStringLiteral("safety"));
    Workspace* workspace = m_window->currentWorkspace();
    ASSERT_TRUE(waitFor([&] { return workspace->document()->state() == Document::State::Failed; }));
    auto* safety = page<SafetyPage>();
    ASSERT_NE(safety, nullptr) << "without a click";
    ASSERT_TRUE(waitFor([&] { return safety->findings()->model()->rowCount() == 2; }));
    picture(QStringLiteral("safety-folder"));
    auto* rail = m_window->findChild<Rail*>();
    const auto items = rail->findChildren<QAbstractButton*>();
    const auto enabled = std::count_if(items.begin(), items.end(), [](const QAbstractButton* item) { return item->isEnabled(); });
    EXPECT_EQ(enabled, 3) << "safety, jobs and settings";
}

TEST_F(SafetyTest, TheBoxSaysWhetherHarmlessFindingsAreListed)
{
    SafetyPage* safety = openSafety(hostileRun());
    EXPECT_FALSE(safety->harmless()->isChecked());
    EXPECT_TRUE(safety->harmless()->isEnabled());
    for (int row = 0; row < safety->files()->model()->rowCount(); ++row)
        if (cell(safety->files(), row, SafetyFiles::Verdict) == "known classes only")
            safety->files()->setCurrentIndex(safety->files()->model()->index(row, 0));
    EXPECT_GT(safety->findings()->model()->rowCount(), 0);
    EXPECT_TRUE(safety->harmless()->isChecked());
    EXPECT_FALSE(safety->harmless()->isEnabled());
    safety->files()->setCurrentIndex(safety->files()->model()->index(0, 0));
    EXPECT_FALSE(safety->harmless()->isChecked());
}

TEST_F(SafetyTest, NoVerdictIsCut)
{
    m_window->resize(1024, 640);
    SafetyPage* safety = openSafety(hostileRun());
    QTest::qWait(50);
    const QModelIndex worst = safety->files()->model()->index(0, SafetyFiles::Verdict);
    EXPECT_GE(safety->files()->columnWidth(SafetyFiles::Verdict), safety->files()->sizeHintForIndex(worst).width());
    const QHeaderView* header = safety->findings()->horizontalHeader();
    EXPECT_GE(header->sectionSize(SafetyFindings::What), header->sectionSizeHint(SafetyFindings::What));
}

TEST_F(SafetyTest, AScanThatIsCancelledCanBeTakenUpAgain)
{
    SafetyCheck check(hostileRun());
    check.start();
    EXPECT_TRUE(check.isRunning());
    check.cancel();
    EXPECT_FALSE(check.isRunning());
    EXPECT_EQ(check.errorText(), "The scan was cancelled.");
    check.start();
    EXPECT_TRUE(waitFor([&] { return check.report() != nullptr; }));
    check.reset();
    EXPECT_EQ(check.report(), nullptr);
}

TEST_F(SafetyTest, AScanOfNothingSaysWhy)
{
    SafetyCheck check(QString::fromStdString(m_folder.file("missing")));
    check.start();
    ASSERT_TRUE(waitFor([&] { return !check.isRunning(); }));
    EXPECT_THAT(check.errorText().toStdString(), HasSubstr("no such file"));
}

std::shared_ptr<const PickleListing> millionOpcodes()
{
    std::vector<std::byte> bytes(1'000'000, std::byte{'N'});
    bytes.push_back(std::byte{'.'});
    auto listing = PickleListing::of(std::make_shared<const std::vector<std::byte>>(std::move(bytes)));
    return std::make_shared<const PickleListing>(listing.take());
}

TEST(SafetyModels, KeepTheRules)
{
    OpcodeLines lines;
    ModelTester tester(&lines, ModelTester::FailureReportingMode::Fatal);
    lines.show(millionOpcodes());
    EXPECT_EQ(lines.rowCount(), 1'000'001);
    EXPECT_EQ(lines.index(1'000'000, OpcodeLines::Opcode).data().toString(), "STOP");
    EXPECT_FALSE(lines.data(lines.index(1'000'001, 0), Qt::DisplayRole).isValid());
    lines.mark(5);
    EXPECT_TRUE(lines.index(5, 0).data(Qt::FontRole).value<QFont>().bold());
    lines.show(nullptr);
    EXPECT_EQ(lines.rowCount(), 0);

    SafetyFiles files;
    SafetyFindings findings;
    ModelTester fileTester(&files, ModelTester::FailureReportingMode::Fatal);
    ModelTester findingTester(&findings, ModelTester::FailureReportingMode::Fatal);
    const auto report = std::make_shared<ScanReport>();
    report->files = {{"a", "a", 1, "pickle", 1, true, 1}, {"b", "b", 1, "pickle", 5, false, 1}};
    report->findings = {{1, "x/data.pkl", kNoStream, {5, "A5", 0, 0, "cut"}}, {1, "", kNoStream, {1, "G1", 9, 0, "imports"}}, {0, "", kNoStream, {1, "G1", 9, 0, "imports"}}};
    files.show(report);
    EXPECT_EQ(files.index(0, SafetyFiles::File).data().toString(), "b");
    EXPECT_EQ(files.index(0, SafetyFiles::Verdict).data().toString(), "runs code on loading, not read in full");
    findings.show(report, 1, {}, false);
    EXPECT_EQ(findings.rowCount(), 1) << "harmless findings are left out beside others";
    EXPECT_EQ(findings.index(0, SafetyFindings::Member).data().toString(), "data.pkl");
    findings.show(report, 1, {}, true);
    EXPECT_EQ(findings.rowCount(), 2);
    findings.show(report, 0, {}, false);
    EXPECT_EQ(findings.rowCount(), 1) << "and shown where there is nothing else";
    findings.show(nullptr, std::nullopt, {}, false);
    EXPECT_EQ(findings.rowCount(), 0);
}

} // namespace
} // namespace shardlens::ui::test
