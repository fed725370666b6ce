#include "tests/ui/ui_fixture.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"
#include "ui/pages/convert_rules_option.h"
#include "ui/widgets/text_label.h"

#include <gmock/gmock.h>

#include <array>

#include <QComboBox>
#include <QFile>
#include <QProcess>
#include <QPushButton>
#include <QSpinBox>
#include <QTest>

// A DeepSpeed run of tensor, pipeline and data ranks that is cut anew for others.
namespace shardlens::ui::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DeepSpeedLayoutTest : public WindowTest {
protected:
    static QString caseOf(const char* name) { return QStringLiteral(SHARDLENS_CASES "/pipeline/%1/source").arg(QLatin1String(name)); }

    // The options of the goal, once everything about the source is known.
    ConvertPage* optionsOf(const QString& source)
    {
        open(source, QStringLiteral("convert"));
        auto* convert = page<ConvertPage>();
        if (convert == nullptr || !waitFor([&] { return convert->facts().source && convert->facts().outlook; }))
            return nullptr;
        convert->setGoal(QStringLiteral("deepspeed"));
        convert->goTo(ConvertPage::Options);
        return waitFor([&] { return convert->facts().run != nullptr; }) ? convert : nullptr;
    }

    template <typename T>
    static T* control(const ConvertPage& convert, const char* name)
    {
        for (T* widget : convert.optionsStep()->findChildren<T*>())
            if (widget->accessibleName() == QLatin1String(name))
                return widget;
        return nullptr;
    }

    // Labels whose text needs more lines than there is room for.
    static std::string cutTexts(const QWidget& step)
    {
        QCoreApplication::sendPostedEvents();
        QCoreApplication::processEvents();
        QStringList out;
        for (const auto* label : step.findChildren<TextLabel*>())
            if (label->isVisible() && label->wordWrap() && label->height() < label->heightForWidth(label->width()))
                out << label->text();
        return out.join('\n').toStdString();
    }

    static bool settled(const ConvertPage& convert)
    {
        return waitFor([&] { return !convert.facts().isReading && convert.facts().run != nullptr; });
    }

    QString ruleFile(const char* name, const char* content)
    {
        QFile file(QString::fromStdString(m_folder.file(name)));
        EXPECT_TRUE(file.open(QIODevice::WriteOnly));
        file.write(content);
        return file.fileName();
    }
};

TEST_F(DeepSpeedLayoutTest, TheGoalSaysTheSizesThatTheSourceHas)
{
    open(caseOf("pp2-tp2-zero1"), QStringLiteral("overview"));
    const auto goal = [this](const char* title) {
        for (auto* button : m_window->currentWorkspace()->currentPage()->findChildren<QAbstractButton*>())
            if (button->text() == QLatin1String(title))
                return button;
        return static_cast<QAbstractButton*>(nullptr);
    };
    ASSERT_TRUE(waitFor([&] { return goal("Other parallel layout")->isVisible(); }));
    EXPECT_FALSE(goal("Continue on other ranks")->isVisible());
    goal("Other parallel layout")->click();
    auto* convert = page<ConvertPage>();
    ASSERT_NE(convert, nullptr);
    EXPECT_EQ(convert->draft().format, "deepspeed");
    ASSERT_TRUE(waitFor([&] { return convert->facts().outlook != nullptr; }));
    convert->goTo(ConvertPage::Goal);
    const GoalCard* card = convert->goalStep()->card("deepspeed");
    EXPECT_EQ(card->text().toStdString(), "Other parallel layout: DeepSpeed");
    EXPECT_TRUE(card->isEnabled());
    EXPECT_THAT(card->sentence().toStdString(), HasSubstr("DeepSpeed ZeRO-1 on 4 ranks (pp 2, dp 1, tp 2)"));
    EXPECT_FALSE(convert->goalStep()->card("megatron")->isVisible());
    pictures(QStringLiteral("deepspeed-goal"));
}

TEST_F(DeepSpeedLayoutTest, TheControlsMakeTheRequestAndItsCommandLine)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-tp2-zero1"));
    ASSERT_NE(convert, nullptr);
    auto* tp = control<QSpinBox>(*convert, "Tensor-parallel ranks");
    auto* pp = control<QSpinBox>(*convert, "Pipeline stages");
    auto* dp = control<QSpinBox>(*convert, "Data-parallel ranks");
    ASSERT_TRUE(tp != nullptr && pp != nullptr && dp != nullptr);
    EXPECT_EQ((std::array{tp->value(), pp->value(), dp->value()}), (std::array{2, 2, 1}));
    EXPECT_TRUE(tp->isVisible() && pp->isVisible() && dp->isVisible());
    EXPECT_FALSE(control<QSpinBox>(*convert, "Expert-parallel ranks")->isVisible());
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("(pp 2, dp 1, tp 2), as before"));
    EXPECT_EQ(control<QComboBox>(*convert, "Rules for tensor-parallel ranks")->currentText().toStdString(), "As found");
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("universal_checkpoint_info"));
    tp->setValue(1);
    pp->setValue(4);
    dp->setFocus();
    QTest::keyClick(dp, Qt::Key_Up);
    ASSERT_TRUE(settled(*convert));
    EXPECT_EQ(convert->facts().run->refusal.toStdString(), "");
    EXPECT_THAT(shownTexts(*convert->optionsStep()),
                HasSubstr("on 4 ranks (pp 2, dp 1, tp 2) becomes DeepSpeed ZeRO-1 on 8 ranks (pp 4, dp 2, tp 1)"));
    pictures(QStringLiteral("deepspeed-options"));
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String("-tp1-pp4-dp2"))) << convert->draft().target.toStdString();
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--to deepspeed --dp 2 --tp 1 --pp 4"));
    tp->setValue(2);
    pp->setValue(2);
    dp->setValue(1);
    EXPECT_THAT(convert->copyText(false).toStdString(), Not(HasSubstr("--tp"))) << "as the source has it: no option";
}

TEST_F(DeepSpeedLayoutTest, RunsAndTheResultOpensOnTheNewRanks)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-tp2-zero1"));
    ASSERT_NE(convert, nullptr);
    control<QSpinBox>(*convert, "Tensor-parallel ranks")->setValue(1);
    control<QSpinBox>(*convert, "Pipeline stages")->setValue(3);
    control<QSpinBox>(*convert, "Data-parallel ranks")->setValue(2);
    const QString target = QString::fromStdString(m_folder.file("out"));
    convert->setTarget(target);
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->nextButton()->isEnabled(); })) << convert->nextButton()->toolTip().toStdString();
    EXPECT_THAT(shownTexts(*convert->planStep()), HasSubstr("4 before, 6 after"));
    EXPECT_EQ(cutTexts(*convert->planStep()), "");
    m_window->resize(1024, 700);
    EXPECT_EQ(cutTexts(*convert->planStep()), "");
    m_window->resize(1440, 900);
    pictures(QStringLiteral("deepspeed-plan"));
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    Job* job = convert->job();
    ASSERT_NE(job, nullptr);
    EXPECT_EQ(job->title().toStdString(), "source on tp 1, pp 3, dp 2");
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    ASSERT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_TRUE(job->report().verified);
    const Topology& topology = open(target)->document()->checkpoint()->topology();
    EXPECT_EQ((std::array{topology.sizeOf(Axis::Tp), topology.sizeOf(Axis::Pp), topology.sizeOf(Axis::Dp)}), (std::array{1u, 3u, 2u}));
}

TEST_F(DeepSpeedLayoutTest, AnotherStageIsChosenAlongWithTheSizes)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-tp2-zero1"));
    ASSERT_NE(convert, nullptr);
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("an engine resumes from all of it"));
    auto* stage = control<QComboBox>(*convert, "ZeRO stage");
    stage->setCurrentIndex(stage->findData(3u));
    ASSERT_TRUE(settled(*convert));
    EXPECT_THAT(convert->facts().run->refusal.toStdString(), HasSubstr("ZeRO-3 on pipeline stages"));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    stage->setCurrentIndex(stage->findData(1u));
    ASSERT_TRUE(settled(*convert));
    EXPECT_EQ(convert->facts().run->refusal.toStdString(), "");
}

TEST_F(DeepSpeedLayoutTest, SizesThatDoNotDivideAreRefusedWithTheTensor)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-tp2-zero1"));
    ASSERT_NE(convert, nullptr);
    control<QSpinBox>(*convert, "Tensor-parallel ranks")->setValue(4);
    ASSERT_TRUE(settled(*convert));
    EXPECT_THAT(convert->facts().run->refusal.toStdString(), HasSubstr("word_embeddings.weight"));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    EXPECT_THAT(convert->nextButton()->toolTip().toStdString(), HasSubstr("word_embeddings.weight"));
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("cannot be cut into 4 equal parts"));
    EXPECT_EQ(cutTexts(*convert->optionsStep()), "");
    m_window->resize(1024, 700);
    EXPECT_EQ(cutTexts(*convert->optionsStep()), "");
    pictures(QStringLiteral("deepspeed-refused"));
}

TEST_F(DeepSpeedLayoutTest, AParameterWithoutARuleIsNamedAndAFileOfRulesHelps)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-dp2-zero1-tied"));
    ASSERT_NE(convert, nullptr);
    control<QSpinBox>(*convert, "Tensor-parallel ranks")->setValue(2);
    ASSERT_TRUE(settled(*convert));
    EXPECT_THAT(convert->facts().run->refusal.toStdString(), HasSubstr("no tensor-parallel rule of"));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    pictures(QStringLiteral("deepspeed-no-rule"));
    const QString rules =
        ruleFile("mine.json", R"({"shardlens_rules": 1, "id": "mine", "rules": [{"pattern": "norm", "ranks": "replicated"}],
                                                   "otherwise": {"ranks": "replicated"}})");
    convert->optionsStep()->rules()->chooseFile(rules);
    EXPECT_FALSE(convert->nextButton()->isEnabled()) << "the source is being read";
    ASSERT_TRUE(settled(*convert));
    EXPECT_EQ(convert->facts().run->refusal.toStdString(), "");
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--rules " + rules.toStdString()));
    EXPECT_TRUE(convert->nextButton()->isEnabled()) << convert->nextButton()->toolTip().toStdString();
    pictures(QStringLiteral("deepspeed-rules"));
    convert->setTarget(QString::fromStdString(m_folder.file("out")));
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->nextButton()->isEnabled(); })) << convert->nextButton()->toolTip().toStdString();
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    ASSERT_TRUE(waitFor([&] { return convert->job()->isOver(); }));
    EXPECT_EQ(convert->job()->state(), Job::State::Done) << convert->job()->report().error.toStdString();
}

TEST_F(DeepSpeedLayoutTest, ABadFileOfRulesIsSaidInPlaceAndTakenBack)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-tp2-zero1"));
    ASSERT_NE(convert, nullptr);
    convert->optionsStep()->rules()->chooseFile(
        ruleFile("bad.json", R"({"shardlens_rules": 1, "id": "bad", "rules": [{"pattern": "(", "ranks": "split", "dim": 0}]})"));
    ASSERT_TRUE(settled(*convert));
    EXPECT_THAT(convert->facts().rulesProblem.toStdString(), HasSubstr("bad.json"));
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr(convert->facts().rulesProblem.toStdString()));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    pictures(QStringLiteral("deepspeed-bad-rules"));
    control<QComboBox>(*convert, "Rules for tensor-parallel ranks")->setCurrentIndex(0);
    ASSERT_TRUE(settled(*convert));
    EXPECT_TRUE(convert->facts().rulesProblem.isEmpty());
    EXPECT_EQ(convert->draft().rules, std::nullopt);
    EXPECT_TRUE(convert->nextButton()->isEnabled()) << convert->nextButton()->toolTip().toStdString();
}

TEST_F(DeepSpeedLayoutTest, AJobFileWithRulesIsTakenOver)
{
    ConvertPage* convert = optionsOf(caseOf("pp2-tp2-zero1"));
    ASSERT_NE(convert, nullptr);
    ConvertRequest wanted;
    wanted.source = caseOf("pp2-tp2-zero1").toStdString();
    wanted.target = m_folder.file("out");
    wanted.to = "deepspeed";
    wanted.tp = 1;
    wanted.pp = 2; // the source's, said all the same
    wanted.open.rules = "megatron-deepspeed";
    const QString path = QString::fromStdString(m_folder.file("job.json"));
    ASSERT_EQ(writeJobFile(path, wanted).toStdString(), "");
    convert->openJobFile(path);
    EXPECT_EQ(requestToJson(requestOf(convert->draft())), requestToJson(wanted));
    ASSERT_TRUE(settled(*convert));
    EXPECT_EQ(control<QComboBox>(*convert, "Rules for tensor-parallel ranks")->currentText().toStdString(), "megatron-deepspeed");
    EXPECT_EQ(control<QSpinBox>(*convert, "Tensor-parallel ranks")->value(), 1);
}

TEST_F(DeepSpeedLayoutTest, ASourceThatDoesNotSayItsSizesKeepsThemUntilOthersAreChosen)
{
    // Made of the case here: the window reads it as any universal checkpoint.
    const std::string universal = m_folder.file("universal");
    QProcess program;
    program.start(QStringLiteral(SHARDLENS_PROGRAM), {QStringLiteral("convert"), caseOf("pp2-tp2-zero1"), QString::fromStdString(universal),
                                                      QStringLiteral("--to"), QStringLiteral("universal")});
    ASSERT_TRUE(program.waitForFinished());
    ASSERT_EQ(program.exitCode(), 0) << program.readAllStandardError().toStdString();
    ConvertPage* convert = optionsOf(QString::fromStdString(universal));
    ASSERT_NE(convert, nullptr);
    auto* tp = control<QSpinBox>(*convert, "Tensor-parallel ranks");
    EXPECT_TRUE(tp->isVisible());
    EXPECT_EQ(tp->text().toStdString(), "as the source");
    EXPECT_THAT(convert->copyText(false).toStdString(), Not(HasSubstr("--tp")));
    tp->setValue(1);
    ASSERT_TRUE(settled(*convert));
    EXPECT_EQ(convert->facts().run->refusal.toStdString(), "");
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--tp 1"));
    pictures(QStringLiteral("universal-options"));
}

} // namespace
} // namespace shardlens::ui::test
