#include "tests/support/torch_test_file.h"
#include "tests/ui/ui_fixture.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"
#include "ui/pages/convert_planner.h"
#include "ui/pages/tensor/rule_view.h"
#include "ui/pages/tensor_page.h"
#include "ui/widgets/tensor_picture.h"

#include <gmock/gmock.h>

#include <QByteArray>
#include <QFile>
#include <QFileInfo>
#include <QSpinBox>
#include <QTableView>
#include <QTest>

// A run that is divided over tensor-parallel ranks by rules: what the window says of the rules, and the goal that divides it anew.
namespace shardlens::ui::test {
namespace {

using shardlens::test::Py;
using shardlens::test::pyDict;
using ::testing::HasSubstr;

class ParallelLayoutTest : public WindowTest {
protected:
    // Two ranks of a model of two layers with 8 columns; in version 0 rows of query, key and value are segments.
    QString list(int version = 0)
    {
        const std::string folder = m_folder.file("ranks");
        QDir().mkpath(QString::fromStdString(folder));
        for (int rank = 0; rank < 2; ++rank)
            writeRank(folder + "/mp_rank_0" + std::to_string(rank) + "_model_states.pt");
        QFile file(QString::fromStdString(folder + "/checkpoints.json"));
        EXPECT_TRUE(file.open(QIODevice::WriteOnly));
        file.write(R"({"type": "Megatron", "version": )" + QByteArray::number(version) + R"(,
                       "checkpoints": ["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"],
                       "parallelization": "tp", "mp_size": 2})");
        return file.fileName();
    }

    static void writeRank(const std::string& path)
    {
        std::vector<shardlens::test::TestStorage> storages;
        std::vector<std::pair<std::string, Py>> module;
        const auto fill = [](std::uint64_t offset, std::span<std::byte> out) {
            for (std::size_t i = 0; i < out.size(); ++i)
                out[i] = static_cast<std::byte>((offset + i) % 59);
        };
        const auto add = [&](const std::string& name, std::uint64_t rows, std::uint64_t columns) {
            module.emplace_back(name, Py{Py::Tensor{"FloatStorage", storages.size(), rows * columns, 0, {rows, columns}, {}}});
            storages.push_back({rows * columns * 4, fill});
        };
        add("word_embeddings.weight", 10, 8);
        for (const std::string layer : {"transformer.layers.0.", "transformer.layers.1."}) {
            add(layer + "attention.query_key_value.weight", 12, 8);
            add(layer + "attention.dense.weight", 8, 4);
            add(layer + "mlp.dense_h_to_4h.weight", 16, 8);
            add(layer + "mlp.dense_4h_to_h.weight", 8, 16);
        }
        add("transformer.final_layernorm.weight", 1, 8);
        shardlens::test::writeTorchFile(path, pyDict({{"module", pyDict(module)}, {"mp_world_size", Py{std::int64_t{2}}}}), storages);
    }

    template <typename T>
    static T* control(const ConvertPage& convert, const char* name)
    {
        for (T* widget : convert.optionsStep()->findChildren<T*>())
            if (widget->accessibleName() == QLatin1String(name))
                return widget;
        return nullptr;
    }
};

TEST_F(ParallelLayoutTest, TheTensorPageSaysHowARuleDividesAndWhatElseItMatches)
{
    Workspace* workspace = open(list(), QStringLiteral("tensor"));
    m_window->show();
    workspace->selectNamed(QStringLiteral("transformer.layers.0.attention.query_key_value.weight"));
    auto* tensor = page<TensorPage>();
    ASSERT_NE(tensor, nullptr);
    ASSERT_TRUE(waitFor([&] { return tensor->division().contains(QStringLiteral("Rule")); })) << tensor->division().toStdString();
    EXPECT_THAT(tensor->division().toStdString(), HasSubstr("Cut along dimension 0, each of 3 segments by itself (query, key, value), over 2 ranks"));
    EXPECT_THAT(tensor->division().toStdString(), HasSubstr("query_key_value"));
    EXPECT_THAT(tensor->division().toStdString(), HasSubstr("deepspeed-megatron"));
    QTest::keyClick(tensor->picture(), Qt::Key_R);
    ASSERT_TRUE(tensor->rule()->isVisible());
    const QAbstractItemModel& matches = *tensor->rule()->table()->model();
    ASSERT_EQ(matches.rowCount(), 2);
    EXPECT_EQ(matches.index(1, RuleMatches::Name).data().toString(), "transformer.layers.1.attention.query_key_value.weight");
    EXPECT_EQ(matches.index(1, RuleMatches::Whole).data().toString(), "[24, 8]");
    EXPECT_EQ(matches.index(1, RuleMatches::Part).data().toString(), "[12, 8]");
    EXPECT_THAT(tensor->rule()->texts().at(2).toStdString(), HasSubstr("these 2 tensors"));
    pictures(QStringLiteral("rule"));
    QTest::mouseClick(tensor->rule()->table()->viewport(), Qt::LeftButton, {}, tensor->rule()->table()->visualRect(matches.index(1, 0)).center());
    const Checkpoint& checkpoint = *workspace->document()->checkpoint();
    EXPECT_EQ(checkpoint.parameterOf(*workspace->document()->selection().tensor), "transformer.layers.1.attention.query_key_value.weight");
    workspace->selectNamed(QStringLiteral("transformer.final_layernorm.weight"));
    EXPECT_THAT(tensor->division().toStdString(), HasSubstr("The same on every rank"));
    EXPECT_THAT(tensor->division().toStdString(), HasSubstr("everything else"));
}

TEST_F(ParallelLayoutTest, Version1KeepsThePartsOfAHeadRowByRow)
{
    Workspace* workspace = open(list(1), QStringLiteral("tensor"));
    workspace->selectNamed(QStringLiteral("transformer.layers.0.attention.query_key_value.weight"));
    auto* tensor = page<TensorPage>();
    ASSERT_TRUE(waitFor([&] { return tensor->picture()->bands().has_value(); }));
    tensor->heads()->setValue(4);
    const TensorBands& bands = *tensor->picture()->bands();
    ASSERT_EQ(bands.problem.toStdString(), "");
    ASSERT_EQ(bands.bands.size(), 4u);
    EXPECT_EQ(bands.bands[2].begin, 12u);
    EXPECT_EQ(bands.bands[2].part, std::nullopt);
    EXPECT_EQ(bands.textOf(bands.bands[2]).toStdString(), "query, key, value, row by row, head 2 of 4");
    tensor->heads()->setValue(10);
    EXPECT_THAT(tensor->picture()->bands()->problem.toStdString(), HasSubstr("24 rows do not divide into 10 heads"));
}

TEST_F(ParallelLayoutTest, WithoutRulesThePiecesSpeak)
{
    Workspace* workspace = open(samplePath(), QStringLiteral("tensor"));
    const Checkpoint& checkpoint = *workspace->document()->checkpoint();
    workspace->document()->selectTensor(idAt<TensorId>(0));
    auto* tensor = page<TensorPage>();
    EXPECT_EQ(tensor->division(), cutSentence(checkpoint, idAt<TensorId>(0)));
    EXPECT_FALSE(tensor->division().isEmpty());
    tensor->setView(TensorPage::View::Rule);
    EXPECT_TRUE(waitFor([&] { return tensor->rule()->texts().at(1).contains(QStringLiteral("No rule is needed")); }));
    EXPECT_EQ(tensor->rule()->table()->model()->rowCount(), 0);
}

TEST_F(ParallelLayoutTest, TheGoalCutsTheListForOtherRanks)
{
    m_window->show();
    open(list(), QStringLiteral("convert"));
    auto* convert = page<ConvertPage>();
    ASSERT_TRUE(waitFor([&] { return convert->facts().source && convert->facts().outlook; }));
    GoalCard* card = convert->goalStep()->card("sdloader");
    ASSERT_TRUE(card->isVisible());
    ASSERT_TRUE(card->isEnabled()) << card->sentence().toStdString();
    EXPECT_THAT(card->sentence().toStdString(), HasSubstr("on 2 ranks"));
    EXPECT_FALSE(convert->goalStep()->card("megatron")->isVisible());
    EXPECT_FALSE(convert->goalStep()->card("deepspeed")->isEnabled());
    pictures(QStringLiteral("layout-goal"));
    card->click();
    convert->goTo(ConvertPage::Options);
    auto* tp = control<QSpinBox>(*convert, "Tensor-parallel ranks");
    ASSERT_NE(tp, nullptr);
    EXPECT_TRUE(tp->isVisible());
    EXPECT_EQ(tp->value(), 2);
    EXPECT_FALSE(control<QSpinBox>(*convert, "Pipeline stages")->isVisible()) << "a list has none";
    EXPECT_FALSE(control<QSpinBox>(*convert, "Data-parallel ranks")->isVisible());
    tp->setValue(4);
    EXPECT_EQ(convert->draft().tp, 4u);
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String("-tp4"))) << convert->draft().target.toStdString();
    EXPECT_EQ(QFileInfo(convert->draft().target).absolutePath().toStdString(), m_folder.path().string())
        << "beside the folder of the files";
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_EQ(convert->facts().run->refusal, QString());
    EXPECT_EQ(convert->facts().run->after->ranks, 4u);
    pictures(QStringLiteral("layout-options"));
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--to sdloader --tp 4"));
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
    EXPECT_TRUE(convert->planStep()->planned()->canStart()) << convert->planStep()->planned()->refusal.toStdString();
    pictures(QStringLiteral("layout-plan"));
    convert->goTo(ConvertPage::Options);
    tp->setValue(3);
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_NE(convert->facts().run->refusal, QString()) << "10 rows do not divide by 3";
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    pictures(QStringLiteral("layout-refused"));
}

TEST_F(ParallelLayoutTest, TheGoalCutsMegatronRanksAlongEveryAxis)
{
    m_window->show();
    open(QStringLiteral(SHARDLENS_CASES "/megatron/mcore-tp2/source/torch"), QStringLiteral("convert"));
    auto* convert = page<ConvertPage>();
    ASSERT_TRUE(waitFor([&] { return convert->facts().source && convert->facts().outlook; }));
    const GoalCard* card = convert->goalStep()->card("megatron");
    ASSERT_TRUE(card->isEnabled()) << card->sentence().toStdString();
    convert->setGoal(QStringLiteral("megatron"));
    convert->goTo(ConvertPage::Options);
    control<QSpinBox>(*convert, "Tensor-parallel ranks")->setValue(1);
    control<QSpinBox>(*convert, "Pipeline stages")->setValue(2);
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_EQ(convert->facts().run->refusal.toStdString(), "");
    const std::string change = changeText(*convert->facts().run).toStdString();
    EXPECT_THAT(change, HasSubstr("on 2 ranks (tp 2) becomes"));
    EXPECT_THAT(change, HasSubstr("on 2 ranks (tp 1, pp 2)")) << "as many ranks, and not as before";
    pictures(QStringLiteral("megatron-options"));
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
    EXPECT_EQ(convert->planStep()->planned()->refusal.toStdString(), "");
    pictures(QStringLiteral("megatron-plan"));
}

} // namespace
} // namespace shardlens::ui::test
