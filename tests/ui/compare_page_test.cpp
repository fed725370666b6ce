#include "tests/ui/ui_fixture.h"
#include "ui/pages/compare/count_chip.h"
#include "ui/pages/compare_page.h"
#include "ui/widgets/banner.h"
#include "ui/widgets/search_field.h"

#include <gmock/gmock.h>

#include <QAbstractItemModelTester>
#include <QDropEvent>
#include <QHeaderView>
#include <QLineEdit>
#include <QMimeData>
#include <QProcess>
#include <QTableView>
#include <QTest>
#include <QUrl>

namespace shardlens::ui::test {
namespace {

constexpr auto kValuesGroup = static_cast<std::size_t>(DiffState::Values);
constexpr auto kEqualGroup = static_cast<std::size_t>(DiffState::Equal);

class ComparePageTest : public WindowTest {
protected:
    // The sample in one file of another format.
    QString converted(const QStringList& options = {}) const
    {
        const QString out = QString::fromStdString(m_folder.file("model.safetensors"));
        EXPECT_EQ(QProcess::execute(QStringLiteral(SHARDLENS_PROGRAM), QStringList{"convert", samplePath(), out, "--progress", "none"} + options), 0);
        return out;
    }

    ComparePage* opened()
    {
        open(samplePath(), QStringLiteral("compare"));
        return page<ComparePage>();
    }

    static ComparePage* compared(ComparePage* page, const QString& with)
    {
        page->choose(with);
        EXPECT_TRUE(waitFor([&] { return !page->isRunning(); }));
        return page;
    }

    static QString cell(const CompareModel& model, int row, int column) { return model.index(row, column).data().toString(); }

    static QString bannerText(const QWidget* inside)
    {
        for (const Banner* banner : inside->findChildren<Banner*>())
            if (banner->isVisible())
                return banner->accessibleName();
        return {};
    }
};

TEST_F(ComparePageTest, AsksForAnotherCheckpointFirst)
{
    ComparePage* page = opened();
    ASSERT_NE(page, nullptr);
    EXPECT_THAT(page->message().toStdString(), testing::HasSubstr("Drop another checkpoint here"));
    page->start();
    EXPECT_FALSE(page->isRunning()) << "there is nothing to compare with";
}

TEST_F(ComparePageTest, EqualModelsAreSaidToBeTheSame)
{
    ComparePage* page = compared(opened(), converted());
    EXPECT_EQ(page->message(), QString());
    EXPECT_THAT(bannerText(page).toStdString(), testing::HasSubstr("The same model."));
    EXPECT_EQ(page->chip(kEqualGroup)->count(), 15u);
    EXPECT_EQ(page->chip(kValuesGroup)->count(), 0u);
    for (int row = 0; row < page->model().rowCount(); ++row)
        EXPECT_EQ(cell(page->model(), row, CompareModel::What), "argument") << "only arguments are listed";
    page->chip(kEqualGroup)->click();
    EXPECT_EQ(page->model().rowCount(), 15);
    EXPECT_TRUE(page->clearFilter());
    EXPECT_FALSE(page->clearFilter());
    EXPECT_FALSE(page->chip(kEqualGroup)->isChecked());
}

TEST_F(ComparePageTest, DifferencesAreListedSortedFilteredAndLeadToTheTensor)
{
    ComparePage* page = compared(opened(), converted({"--dtype", "BF16", "--exclude", "^down"}));
    const QAbstractItemModelTester tester(page->table()->model(), QAbstractItemModelTester::FailureReportingMode::Fatal);
    EXPECT_GT(page->chip(kValuesGroup)->count(), 5u);
    EXPECT_EQ(page->chip(static_cast<std::size_t>(DiffState::OnlyInA))->count(), 2u);
    EXPECT_EQ(bannerText(page), QString());
    page->chip(kValuesGroup)->click();
    EXPECT_EQ(page->model().rowCount(), static_cast<int>(page->chip(kValuesGroup)->count()));
    page->table()->sortByColumn(CompareModel::MaxAbsolute, Qt::DescendingOrder);
    double last = page->model().rowAt(0)->maxAbsolute;
    EXPECT_GT(last, 0);
    for (int row = 1; row < page->model().rowCount(); ++row) {
        EXPECT_LE(page->model().rowAt(row)->maxAbsolute, last);
        last = page->model().rowAt(row)->maxAbsolute;
    }
    page->findChild<SearchField*>()->setText(QStringLiteral("UP.w"));
    ASSERT_EQ(page->model().rowCount(), 1);
    EXPECT_EQ(cell(page->model(), 0, CompareModel::Name), "up.weight");
    EXPECT_EQ(cell(page->model(), 0, CompareModel::InA), "F32 [11, 6]");
    EXPECT_EQ(cell(page->model(), 0, CompareModel::InB), "BF16 [11, 6]");
    EXPECT_TRUE(cell(page->model(), 0, CompareModel::Cosine).startsWith(QLatin1String("0.9999")) || cell(page->model(), 0, CompareModel::Cosine) == "1.000000");
    page->table()->selectRow(0);
    ASSERT_TRUE(page->document()->selection().tensor);
    EXPECT_EQ(page->document()->checkpoint()->fullName(*page->document()->selection().tensor), "up.weight");
    EXPECT_EQ(page->copyText(false), "up.weight");
    EXPECT_TRUE(page->copyText(true).startsWith(QLatin1String("up.weight\tvalues differ\tF32 [11, 6]\tBF16 [11, 6]\t")));
    page->clearFilter();
    picture(QStringLiteral("compare"));
}

TEST_F(ComparePageTest, AToleranceAndDtypesThatMayDifferMakeThemEqual)
{
    ComparePage* page = opened();
    const auto fields = page->findChildren<QLineEdit*>();
    const auto relative = std::find_if(fields.begin(), fields.end(), [](const QLineEdit* one) { return one->accessibleName() == "Relative tolerance"; });
    ASSERT_NE(relative, fields.end());
    (*relative)->setText(QStringLiteral("0.004"));
    page->findChild<QCheckBox*>()->setChecked(true);
    compared(page, converted({"--dtype", "BF16"}));
    EXPECT_EQ(page->request().tolerance.relative, 0.004);
    EXPECT_EQ(page->chip(kEqualGroup)->count(), 15u);
}

TEST_F(ComparePageTest, NamesThatAreStrangersComeTogetherByTheRuleItOffers)
{
    ComparePage* page = opened();
    const auto fields = page->findChildren<QLineEdit*>();
    const auto renames = std::find_if(fields.begin(), fields.end(), [](const QLineEdit* one) { return one->accessibleName() == "Rename"; });
    ASSERT_NE(renames, fields.end());
    (*renames)->setText(QStringLiteral("^=x. ; ^x\\.=y."));
    compared(page, converted());
    EXPECT_THAT(bannerText(page).toStdString(), testing::AllOf(testing::HasSubstr("The two share no name."), testing::HasSubstr("^y\\.=")));
    picture(QStringLiteral("compare-strangers"));
    const auto links = page->findChildren<QAbstractButton*>();
    const auto link = std::find_if(links.begin(), links.end(), [](const QAbstractButton* one) { return one->text() == "Compare with this rule" && one->isVisible(); });
    ASSERT_NE(link, links.end());
    (*link)->click();
    ASSERT_TRUE(waitFor([&] { return !page->isRunning(); }));
    EXPECT_EQ(page->chip(kEqualGroup)->count(), 15u);
    EXPECT_EQ((*renames)->text(), "^=x. ; ^x\\.=y.; ^y\\.=");
}

TEST_F(ComparePageTest, WhatCannotBeComparedIsASentence)
{
    ComparePage* page = compared(opened(), QStringLiteral("/nowhere/at/all"));
    EXPECT_THAT(page->message().toStdString(), testing::HasSubstr("/nowhere/at/all"));
    EXPECT_THAT(page->message().toStdString(), testing::EndsWith("."));
    EXPECT_EQ(page->model().rowCount(), 0);
}

TEST_F(ComparePageTest, BothSidesCanBeNamedAtTheStart)
{
    const QString other = converted();
    m_window->openPath(samplePath(), QStringLiteral("compare"));
    m_window->currentWorkspace()->chooseOnPage(QStringLiteral("compare"), other);
    ASSERT_TRUE(waitFor([&] { return page<ComparePage>() != nullptr; }));
    EXPECT_EQ(page<ComparePage>()->request().path, other);
    EXPECT_TRUE(waitFor([&] { return page<ComparePage>()->chip(kEqualGroup)->count() == 15; }));
    m_window->resize(1024, 640);
    QTest::qWait(50);
    const QTableView* table = page<ComparePage>()->table();
    EXPECT_LE(table->horizontalHeader()->length(), table->viewport()->width()) << "no column is cut";
    picture(QStringLiteral("compare-1024"));
}

TEST_F(ComparePageTest, CancelLeavesThePageAsItWas)
{
    ComparePage* page = opened();
    page->choose(samplePath());
    page->cancel();
    EXPECT_FALSE(page->isRunning());
    QTest::qWait(50);
    EXPECT_EQ(page->model().rowCount(), 0);
    EXPECT_THAT(page->message().toStdString(), testing::HasSubstr("Drop another checkpoint here"));
}

TEST_F(ComparePageTest, ADroppedCheckpointIsComparedInsteadOfOpened)
{
    ComparePage* page = opened();
    QMimeData data;
    data.setUrls({QUrl::fromLocalFile(converted())});
    QDragEnterEvent enter(QPoint(5, 5), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(page, &enter);
    EXPECT_TRUE(enter.isAccepted());
    QDropEvent drop(QPointF(5, 5), Qt::CopyAction, &data, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(page, &drop);
    ASSERT_TRUE(waitFor([&] { return !page->isRunning(); }));
    EXPECT_EQ(page->chip(kEqualGroup)->count(), 15u);
    EXPECT_EQ(m_window->currentWorkspace()->document()->path(), samplePath());
}

} // namespace
} // namespace shardlens::ui::test
