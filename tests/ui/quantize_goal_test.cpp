#include "core/format/format.h"
#include "core/job/job_context.h"
#include "tests/support/colossalai_test_run.h"
#include "tests/ui/ui_fixture.h"
#include "ui/jobs/device_probe.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"
#include "ui/pages/convert_precision.h"
#include "ui/pages/convert_quantize_option.h"
#include "ui/widgets/depth_plot.h"

#include <gmock/gmock.h>

#include <QCheckBox>
#include <QComboBox>
#include <QPushButton>
#include <QTest>

#include <fmt/format.h>

#include <algorithm>
#include <random>

// Weights of Linear layers that are quantized by the wizard, what that loses, and the way back.
namespace shardlens::ui::test {
namespace {

using shardlens::test::ValuesTensor;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kLayers = 6;

std::vector<float> normal(std::size_t count, std::uint32_t seed)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> values(0, 0.05f);
    std::vector<float> out(count);
    std::generate(out.begin(), out.end(), [&] { return values(random); });
    return out;
}

class QuantizeGoalTest : public WindowTest {
protected:
    // A model of six layers, one of whose weights has values far from its others.
    QString model() const
    {
        std::vector<ValuesTensor> tensors{{"model.embed_tokens.weight", {32, 128}, normal(32 * 128, 1)}};
        for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
            const std::string name = fmt::format("model.layers.{}.", layer);
            tensors.push_back({name + "self_attn.q_proj.weight", {64, 128}, normal(64 * 128, 10 + layer)});
            tensors.push_back({name + "mlp.down_proj.weight", {128, 128}, normal(128 * 128, 20 + layer)});
            tensors.push_back({name + "input_layernorm.weight", {128}, normal(128, 30 + layer)});
        }
        std::vector<float>& wild = tensors[1 + 3 * 4 + 1].values; // layers.4.mlp.down_proj
        for (std::size_t i = 0; i < wild.size(); i += 37)
            wild[i] *= 40;
        tensors.push_back({"lm_head.weight", {32, 128}, normal(32 * 128, 2)});
        const QString path = QString::fromStdString(m_folder.file("model.safetensors"));
        shardlens::test::writeValues(path.toStdString(), tensors);
        return path;
    }

    ConvertPage* options(const QString& source)
    {
        ConvertPage* convert = convertPage(source);
        if (convert != nullptr)
            convert->goTo(ConvertPage::Options);
        return convert;
    }

    static ConvertQuantizeOption* option(ConvertPage* convert) { return convert->optionsStep()->quantize(); }

    // The plan is there, and what it loses has been measured.
    static bool measured(ConvertPage* convert)
    {
        convert->goTo(ConvertPage::Plan);
        return waitFor([&] { return convert->planStep()->planned() && !convert->planStep()->precision()->tensors().empty(); });
    }

    static bool runs(ConvertPage* convert)
    {
        convert->goTo(ConvertPage::Plan);
        EXPECT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr && convert->nextButton()->isEnabled(); }));
        QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
        if (convert->job() == nullptr || !waitFor([&] { return convert->job()->isOver(); }))
            return false;
        EXPECT_EQ(convert->job()->state(), Job::State::Done) << convert->job()->report().error.toStdString();
        return convert->job()->state() == Job::State::Done;
    }
};

TEST_F(QuantizeGoalTest, CardsSaySizesAndAreChosenByKey)
{
    ConvertPage* convert = options(model());
    ASSERT_NE(convert, nullptr);
    GoalCard* none = option(convert)->card({});
    GoalCard* int4 = option(convert)->card(QStringLiteral("int4-g128"));
    ASSERT_TRUE(none != nullptr && int4 != nullptr);
    EXPECT_TRUE(none->isVisible() && none->isChecked());
    ASSERT_TRUE(waitFor([&] { return int4->accessibleDescription().contains(QLatin1String("KiB")); }));
    EXPECT_EQ(option(convert)->card(QStringLiteral("sdloader-int8")), nullptr) << "a scheme of tensor-parallel files";
    EXPECT_FALSE(option(convert)->devices()->isVisible()) << "nothing is computed yet";
    int4->setFocus();
    QTest::keyClick(int4, Qt::Key_Return);
    EXPECT_EQ(convert->draft().scheme, "int4-g128");
    EXPECT_TRUE(option(convert)->devices()->isVisible());
    EXPECT_THAT(convert->optionsStep()->summary(convert->draft(), convert->facts()).toStdString(), HasSubstr("int4-g128"));
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--quantize int4-g128"));
    EXPECT_THAT(convert->draft().target.toStdString(), HasSubstr("-int4-g128"));
    ASSERT_TRUE(waitFor([&] { return option(convert)->devices()->itemText(1).contains(QLatin1String("free")); })) << "the CPU's memory";
    pictures(QStringLiteral("quantize-options"));
    none->click();
    EXPECT_THAT(convert->copyText(false).toStdString(), Not(HasSubstr("--quantize")));
}

TEST_F(QuantizeGoalTest, SchemesThatAreSeldomWantedAreBehindACheck)
{
    ConvertPage* convert = options(model());
    ASSERT_NE(convert, nullptr);
    GoalCard* seldom = option(convert)->card(QStringLiteral("llm-int8"));
    ASSERT_NE(seldom, nullptr);
    EXPECT_FALSE(seldom->isVisible());
    const auto checks = convert->optionsStep()->findChildren<QCheckBox*>();
    const auto all = std::find_if(checks.begin(), checks.end(), [](const QCheckBox* one) { return one->text().contains(QLatin1String("schemes")); });
    ASSERT_NE(all, checks.end());
    (*all)->setChecked(true);
    EXPECT_TRUE(seldom->isVisible());
    seldom->click();
    (*all)->setChecked(false);
    EXPECT_TRUE(seldom->isVisible()) << "it is chosen";
}

TEST_F(QuantizeGoalTest, OtherGoalsHaveNoSchemes)
{
    ConvertPage* convert = options(samplePath());
    ASSERT_NE(convert, nullptr);
    option(convert)->card(QStringLiteral("int8-channel"))->click();
    for (const char* goal : {"deepspeed", "mindspore", "colossalai"}) {
        convert->setGoal(QLatin1String(goal));
        EXPECT_FALSE(option(convert)->card(QStringLiteral("int8-channel"))->isVisible()) << goal;
        EXPECT_THAT(convert->copyText(false).toStdString(), Not(HasSubstr("--quantize"))) << goal;
    }
    convert->setGoal(QStringLiteral("torch"));
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--quantize int8-channel"));
}

TEST_F(QuantizeGoalTest, ThePlanShowsWhatIsLostAndKeepsTheWorst)
{
    ConvertPage* convert = options(model());
    ASSERT_NE(convert, nullptr);
    option(convert)->card(QStringLiteral("int8-tensor"))->click();
    ASSERT_TRUE(measured(convert));
    ConvertPrecision* precision = convert->planStep()->precision();
    ASSERT_EQ(precision->tensors().size(), 2u * kLayers);
    EXPECT_EQ(precision->tensors().front().name, "model.layers.4.mlp.down_proj.weight");
    EXPECT_THAT(precision->plot()->points().front().words.toStdString(), HasSubstr("model.layers.0.self_attn.q_proj.weight")) << "in the model's order";
    EXPECT_THAT(shownTexts(*convert->planStep()), AllOf(HasSubstr("12 weights in int8-tensor"), HasSubstr("F32 to int8-tensor"), HasSubstr("Keep model.layers.4.mlp.down_proj.weight in F32")));
    EXPECT_THAT(shownTexts(*convert->planStep()), Not(HasSubstr("bit-exact")));
    EXPECT_THAT(precision->csv().toStdString(), HasSubstr("model.layers.4.mlp.down_proj.weight,int8-tensor"));
    pictures(QStringLiteral("quantize-plan"));
    m_window->resize(1440, 1500);
    picture(QStringLiteral("quantize-plan-whole"));
    m_window->resize(1440, 900);
    emit precision->tensorChosen(QStringLiteral("model.layers.4.mlp.down_proj.weight"));
    const Workspace* workspace = m_window->currentWorkspace();
    ASSERT_TRUE(workspace->document()->selection().tensor);
    EXPECT_EQ(workspace->currentPage()->id(), "tensor");
    EXPECT_EQ(workspace->document()->checkpoint()->fullName(*workspace->document()->selection().tensor), "model.layers.4.mlp.down_proj.weight");
    emit workspace->document()->pageRequested(QStringLiteral("convert"));
    const PlanPictureModel& picture = *convert->planStep()->planned()->picture;
    ASSERT_EQ(picture.before.size(), 1u);
    EXPECT_TRUE(std::all_of(picture.before[0].stretches.begin(), picture.before[0].stretches.end(), [](const PlanStretch& stretch) { return stretch.carried; })) << "codes come from the weights";
    std::uint64_t from = 0;
    for (const PlanBand& band : picture.bands)
        from = std::max(from, band.fromEnd);
    EXPECT_EQ(from, picture.before[0].bytes);
    ASSERT_TRUE(precision->keep()->isVisible());
    QTest::mouseClick(precision->keep(), Qt::LeftButton);
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--quantize-exclude"));
    ASSERT_TRUE(waitFor([&] { return precision->tensors().size() == 2u * kLayers - 1; }));
    EXPECT_NE(precision->tensors().front().name, "model.layers.4.mlp.down_proj.weight");
    EXPECT_FALSE(precision->keep()->isVisible()) << "nothing stands out any more";
}

TEST_F(QuantizeGoalTest, CastsAreMeasuredAndCopiesAreNot)
{
    ConvertPage* convert = options(model());
    ASSERT_NE(convert, nullptr);
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
    EXPECT_FALSE(convert->planStep()->precision()->isVisible());
    convert->goTo(ConvertPage::Options);
    const auto boxes = convert->optionsStep()->findChildren<QComboBox*>();
    const auto found = std::find_if(boxes.begin(), boxes.end(), [](const QComboBox* box) { return box->findText(QStringLiteral("BF16")) >= 0; });
    ASSERT_NE(found, boxes.end());
    QComboBox* dtype = *found;
    dtype->setCurrentIndex(dtype->findText(QStringLiteral("BF16")));
    ASSERT_EQ(convert->draft().dtype, DType::BF16);
    ASSERT_TRUE(measured(convert));
    EXPECT_TRUE(convert->planStep()->precision()->isVisible());
    EXPECT_EQ(convert->planStep()->precision()->tensors().front().scheme, "BF16");
    EXPECT_FALSE(convert->planStep()->precision()->keep()->isVisible()) << "a cast leaves nothing out";
}

TEST_F(QuantizeGoalTest, AWeightThatCannotBeIsRefusedByNameBeforeAnythingIsWritten)
{
    ConvertPage* convert = options(samplePath()); // whose rows are of 6 values
    ASSERT_NE(convert, nullptr);
    GoalCard* card = option(convert)->card(QStringLiteral("int4-g128"));
    ASSERT_TRUE(waitFor([&] { return card->sentence().contains(QLatin1String("left as they are")); }));
    EXPECT_THAT(card->toolTip().toStdString(), HasSubstr("no multiple of the group of 128"));
    card->click();
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    EXPECT_THAT(shownTexts(*convert), HasSubstr("no multiple of the group of 128"));
    pictures(QStringLiteral("quantize-refused"));
}

TEST_F(QuantizeGoalTest, TheResultOpensAndItsValuesAreTakenBack)
{
    const QString source = model();
    ConvertPage* convert = options(source);
    ASSERT_NE(convert, nullptr);
    EXPECT_FALSE(option(convert)->values()->isVisible()) << "nothing is quantized here";
    option(convert)->card(QStringLiteral("fp8-channel"))->click();
    convert->setTarget(QString::fromStdString(m_folder.file("small")));
    ASSERT_TRUE(runs(convert));
    convert = options(QString::fromStdString(m_folder.file("small")));
    ASSERT_NE(convert, nullptr);
    QCheckBox* values = option(convert)->values();
    EXPECT_TRUE(values->isVisible() && !values->isChecked());
    EXPECT_FALSE(option(convert)->card(QStringLiteral("fp8-channel"))->isVisible()) << "codes are not quantized once more";
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("codes and scales are copied"));
    pictures(QStringLiteral("quantize-values"));
    values->click();
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--dequantize"));
    EXPECT_TRUE(option(convert)->card(QStringLiteral("fp8-channel"))->isVisible());
    convert->setTarget(QString::fromStdString(m_folder.file("back")));
    ASSERT_TRUE(runs(convert));
    const CheckpointPtr back = open(QString::fromStdString(m_folder.file("back")))->document()->checkpoint();
    EXPECT_EQ(back->tensors().size(), 3u * kLayers + 2);
    EXPECT_TRUE(std::all_of(back->tensors().begin(), back->tensors().end(), [](const Tensor& tensor) { return isFloat(tensor.dtype); }));
}

TEST_F(QuantizeGoalTest, AJobFileIsWrittenAndReadBack)
{
    JobContext job;
    const auto source = openCheckpoint(model().toStdString(), {}, job);
    ASSERT_TRUE(source.ok());
    JobDraft draft;
    draft.source = (*source)->path();
    draft.target = QStringLiteral("/data/out");
    draft.targetChosen = true;
    draft.scheme = "nf4";
    draft.quantizeExclude = QStringLiteral("layers\\.0\\.");
    draft.dequantize = true;
    draft.device = "cuda:1";
    JobDraft now;
    now.source = draft.source;
    const QString path = QString::fromStdString(m_folder.file("job.json"));
    ASSERT_TRUE(writeJobFile(path, requestOf(draft)).isEmpty());
    const auto request = readJobFile(path);
    ASSERT_TRUE(request.ok()) << request.error().sentence();
    const auto back = draftOf(*request, now, **source);
    ASSERT_TRUE(back.ok()) << back.error().sentence();
    EXPECT_EQ(*back, draft);

    const auto refusal = [&](auto change) {
        ConvertRequest other = *request;
        change(other);
        const auto made = draftOf(other, now, **source);
        return made ? std::string("nothing") : made.error().sentence();
    };
    EXPECT_THAT(refusal([](ConvertRequest& other) { other.quantize.tensorTypes = {"q_proj=int8-channel"}; }), HasSubstr("no field for its member tensor_types"));
    EXPECT_THAT(refusal([](ConvertRequest& other) { other.quantize.include = {"a"}; }), HasSubstr("quantize_include"));
    EXPECT_THAT(refusal([](ConvertRequest& other) { other.quantize.groups = 4; }), HasSubstr("member groups"));
    EXPECT_THAT(refusal([](ConvertRequest& other) { other.quantize.keepNonFinite = true; }), HasSubstr("non_finite"));
    EXPECT_THAT(refusal([](ConvertRequest& other) { other.quantize.exclude = {"a", "b"}; }), HasSubstr("quantize_exclude holds 2 patterns"));
    EXPECT_THAT(refusal([](ConvertRequest& other) { other.to = "deepspeed"; other.select = Select::All; }), Not(HasSubstr("nothing")));
}

TEST(DeviceReport, IsReadFromTheProgramsAnswer)
{
    const DeviceReport two = readDeviceReport(R"({"devices": [{"id": "cpu", "name": "A", "total_bytes": 100, "free_bytes": 50},
        {"id": "cuda:0", "name": "B", "total_bytes": 200, "free_bytes": 150, "compute_capability": "9.0"}], "remark": null})");
    ASSERT_EQ(two.devices.size(), 2u);
    EXPECT_EQ(two.devices[1].id, "cuda:0");
    EXPECT_EQ(two.devices[1].freeBytes, 150u);
    EXPECT_EQ(two.devices[1].capability, "9.0");
    EXPECT_TRUE(two.problem.isEmpty() && two.remark.isEmpty());
    EXPECT_FALSE(readDeviceReport("no answer").problem.isEmpty());
}

TEST_F(QuantizeGoalTest, DevicesThatComeAndGoKeepTheChoice)
{
    ConvertPage* convert = options(model());
    ASSERT_NE(convert, nullptr);
    option(convert)->card(QStringLiteral("nf4"))->click();
    ASSERT_TRUE(waitFor([&] { return option(convert)->devices()->itemText(1).contains(QLatin1String("free")); }));
    QComboBox* devices = option(convert)->devices();
    const DeviceRow cpu{"cpu", "A processor", 100, 50, {}};
    option(convert)->showDevices({{cpu, {"cuda:0", "A device", 1ull << 30, 1ull << 29, "9.0"}}, {}, {}});
    ASSERT_EQ(devices->count(), 3);
    EXPECT_EQ(devices->itemText(2), "cuda:0: A device, 512 MiB free");
    devices->setCurrentIndex(2);
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--device cuda:0"));
    pictures(QStringLiteral("quantize-device"));
    option(convert)->showDevices({{cpu}, "no libtorch", {}});
    EXPECT_EQ(devices->currentData().toString(), "cuda:0");
    EXPECT_THAT(devices->currentText().toStdString(), HasSubstr("not there"));
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("no libtorch"));
    option(convert)->card({})->click();
    EXPECT_THAT(convert->copyText(false).toStdString(), Not(HasSubstr("--device")));
}

} // namespace
} // namespace shardlens::ui::test
