#include "tests/support/colossalai_test_run.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/model_profile.h"
#include "ui/pages/model_page.h"
#include "ui/widgets/depth_plot.h"
#include "ui/widgets/link.h"

#include <gmock/gmock.h>

#include <QComboBox>
#include <QTest>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <random>

// Values over the depth of a model: what is odd, from a sample and from every value.
namespace shardlens::ui::test {
namespace {

using shardlens::test::ValuesTensor;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr std::uint32_t kLayers = 8;

std::vector<float> normalValues(std::size_t count, float deviation, std::uint32_t seed)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> values(0, deviation);
    std::vector<float> out(count);
    for (float& one : out)
        one = values(random);
    return out;
}

std::string weightOf(std::uint32_t layer)
{
    return fmt::format("layers.{}.up.weight", layer);
}

class ModelPageTest : public WindowTest {
protected:
    // Eight layers of a matrix and a norm.
    std::vector<ValuesTensor> layers() const
    {
        std::vector<ValuesTensor> out;
        for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
            out.push_back({weightOf(layer), {64, 64}, normalValues(64 * 64, 0.05f, layer)});
            out.push_back({fmt::format("layers.{}.norm.weight", layer), {64}, normalValues(64, 0.01f, 100 + layer)});
        }
        return out;
    }

    QString file(const std::vector<ValuesTensor>& tensors) const
    {
        const std::string path = m_folder.file("model.safetensors");
        shardlens::test::writeValues(path, tensors);
        return QString::fromStdString(path);
    }

    ModelPage* opened(const std::vector<ValuesTensor>& tensors)
    {
        open(file(tensors), QStringLiteral("model"));
        auto* model = page<ModelPage>();
        EXPECT_NE(model, nullptr);
        EXPECT_TRUE(waitFor([&] { return model->profile() != nullptr; }));
        return model;
    }
};

TEST(KindOfName, HasAStarForTheFirstNumberAlone)
{
    EXPECT_EQ(kindOfName("model.layers.17.mlp.up.weight"), "model.layers.*.mlp.up.weight");
    EXPECT_EQ(kindOfName("layers.3.experts.5.w1"), "layers.*.experts.5.w1");
    EXPECT_EQ(kindOfName("h2.weight"), "h2.weight");
    EXPECT_EQ(kindOfName("0"), "*");
    EXPECT_EQ(kindOfName(""), "");
    EXPECT_EQ(kindOfName("a..1."), "a..*.");
}

TEST_F(ModelPageTest, LayersThatAreAlikeAreNotOdd)
{
    ModelPage* model = opened(layers());
    EXPECT_TRUE(model->profile()->odd.empty()) << model->copyText(false).toStdString();
    EXPECT_TRUE(model->profile()->isExact) << "they are smaller than a sample";
    EXPECT_EQ(model->status(), "of every value");
    EXPECT_FALSE(model->action()->isVisible());
    EXPECT_THAT(model->plot(ModelPage::Deviation)->points(), SizeIs(2 * kLayers));
    EXPECT_THAT(model->profile()->kinds, SizeIs(2));
    EXPECT_FALSE(model->plot(ModelPage::NonFinite)->isVisible()) << "there is none";
    EXPECT_THAT(model->copyText(true).toStdString(), HasSubstr("model.safetensors"));
    pictures(QStringLiteral("model-alike"));
}

TEST_F(ModelPageTest, AWideAZeroAndANonFiniteLayerAreNamedTheFurthestFirst)
{
    std::vector<ValuesTensor> tensors = layers();
    for (float& one : tensors[2 * 3].values)
        one *= 6;
    std::fill_n(tensors[2 * 5].values.begin(), 64 * 48, 0.0f);
    tensors[2 * 6 + 1].values[7] = std::numeric_limits<float>::quiet_NaN();
    ModelPage* model = opened(tensors);
    const ModelProfile& profile = *model->profile();
    ASSERT_GE(profile.odd.size(), 3u);
    EXPECT_EQ(profile.rows[profile.odd[0].row].name, "layers.6.norm.weight");
    EXPECT_THAT(profile.odd[0].why.toStdString(), HasSubstr("1 of 64 values are not finite"));
    EXPECT_EQ(profile.rows[profile.odd[1].row].name, weightOf(5));
    EXPECT_THAT(profile.odd[1].why.toStdString(), HasSubstr("75.0 % of its values are zero"));
    EXPECT_EQ(profile.rows[profile.odd[2].row].name, weightOf(3));
    EXPECT_THAT(profile.odd[2].why.toStdString(), AllOf(HasSubstr("deviation 0.3"), HasSubstr("times the median")));
    EXPECT_TRUE(model->plot(ModelPage::NonFinite)->isVisible());
    EXPECT_TRUE(model->plot(ModelPage::Deviation)->points()[6].isMarked);
    EXPECT_FALSE(model->plot(ModelPage::Deviation)->points()[4].isMarked);
    EXPECT_FALSE(model->plot(ModelPage::Zeros)->points()[6].isMarked) << "it has no more zeros than the others";
    EXPECT_TRUE(model->plot(ModelPage::Zeros)->points()[10].isMarked);
    EXPECT_THAT(model->copyText(false).toStdString(), HasSubstr(weightOf(3)));
    pictures(QStringLiteral("model-odd"));
}

TEST_F(ModelPageTest, GoesFromEmbeddingsOverLayersByNumberToTheHead)
{
    std::vector<ValuesTensor> tensors;
    for (const char* name : {"lm_head.weight", "model.embed_tokens.weight", "model.layers.0.up.weight", "model.layers.10.up.weight", "model.layers.2.up.weight", "model.norm.weight"})
        tensors.push_back({name, {8, 8}, normalValues(64, 0.05f, 3)});
    std::vector<std::string> names;
    for (const ProfileRow& row : opened(tensors)->profile()->rows)
        names.push_back(row.name);
    EXPECT_THAT(names, ElementsAre("model.embed_tokens.weight", "model.layers.0.up.weight", "model.layers.2.up.weight", "model.layers.10.up.weight", "lm_head.weight", "model.norm.weight"));
}

TEST_F(ModelPageTest, QuantizedWeightsAreSaidToBeLeftOut)
{
    open(QStringLiteral(SHARDLENS_QUANTIZED), QStringLiteral("model"));
    auto* model = page<ModelPage>();
    ASSERT_NE(model, nullptr);
    ASSERT_TRUE(waitFor([&] { return model->profile() != nullptr; }));
    EXPECT_THAT(model->status().toStdString(), HasSubstr("; without 4 tensors of quantized weights"));
}

TEST_F(ModelPageTest, OneKindIsShownAlone)
{
    ModelPage* model = opened(layers());
    const int at = model->kinds()->findData(QStringLiteral("layers.*.norm.weight"));
    ASSERT_GT(at, 0);
    model->kinds()->setCurrentIndex(at);
    ASSERT_THAT(model->plot(ModelPage::Mean)->points(), SizeIs(kLayers));
    EXPECT_THAT(model->plot(ModelPage::Mean)->points()[2].words.toStdString(), HasSubstr("layers.2.norm.weight"));
}

TEST_F(ModelPageTest, AClickAndAKeyOpenTheTensor)
{
    ModelPage* model = opened(layers());
    DepthPlot* plot = model->plot(ModelPage::Deviation);
    QCoreApplication::processEvents();
    QTest::mouseClick(plot, Qt::LeftButton, {}, plot->placeOf(4).toPoint());
    const auto selected = [&] { return m_window->currentWorkspace()->document()->checkpoint()->fullName(*m_window->currentWorkspace()->document()->selection().tensor); };
    ASSERT_TRUE(m_window->currentWorkspace()->document()->selection().tensor);
    EXPECT_EQ(selected(), weightOf(2));
    EXPECT_EQ(m_window->currentWorkspace()->currentPage()->id(), "tensor");
    m_window->currentWorkspace()->document()->pageRequested(QStringLiteral("model"));
    plot->setFocus();
    QTest::keyClick(plot, Qt::Key_Home);
    EXPECT_EQ(plot->current(), 0u);
    QTest::keyClick(plot, Qt::Key_Right);
    QTest::keyClick(plot, Qt::Key_Right);
    EXPECT_THAT(plot->accessibleDescription().toStdString(), HasSubstr(weightOf(1)));
    QTest::keyClick(plot, Qt::Key_Return);
    EXPECT_EQ(selected(), weightOf(1));
    QTest::keyClick(plot, Qt::Key_End);
    QTest::keyClick(plot, Qt::Key_Right);
    EXPECT_EQ(plot->current(), 2 * kLayers - 1) << "the last one is the last";
}

TEST_F(ModelPageTest, LargeTensorsAreSampledFirstAndReadWhenAsked)
{
    std::vector<ValuesTensor> tensors;
    for (std::uint32_t layer = 0; layer < 5; ++layer)
        tensors.push_back({weightOf(layer), {512, 512}, normalValues(512 * 512, 0.05f, layer)});
    tensors[2].values[512 * 300 + 7] = 80; // between the blocks of a sample
    ModelPage* model = opened(tensors);
    EXPECT_FALSE(model->profile()->isExact);
    EXPECT_EQ(model->status(), "of a sample of each tensor");
    EXPECT_EQ(model->action()->text(), "Read every value (5.00 MiB)");
    model->action()->click();
    ASSERT_TRUE(waitFor([&] { return model->profile()->isExact; }));
    ASSERT_THAT(model->profile()->odd, SizeIs(1));
    EXPECT_EQ(model->profile()->odd[0].row, 2u);
    EXPECT_THAT(model->profile()->odd[0].why.toStdString(), HasSubstr("largest value 80"));
    EXPECT_FALSE(model->action()->isVisible());
}

TEST_F(ModelPageTest, ARunHasAStateForEachOfItsCopies)
{
    open(samplePath(), QStringLiteral("model"));
    auto* model = page<ModelPage>();
    ASSERT_NE(model, nullptr);
    ASSERT_TRUE(waitFor([&] { return model->profile() != nullptr; }));
    EXPECT_GT(model->roles()->count(), 2) << "master, module copy, moments";
    const std::size_t weights = model->profile()->rows.size();
    const int moments = model->roles()->findText(QStringLiteral("exp_avg_sq"));
    ASSERT_GE(moments, 0);
    model->roles()->setCurrentIndex(moments);
    ASSERT_TRUE(waitFor([&] { return model->profile() != nullptr; }));
    EXPECT_LE(model->profile()->rows.size(), weights);
    EXPECT_TRUE(std::all_of(model->profile()->rows.begin(), model->profile()->rows.end(), [](const ProfileRow& row) { return row.values.min >= 0; })) << "squares";
}

TEST_F(ModelPageTest, WhileAnotherStateIsReadNothingOfTheLastOneCanBeOpened)
{
    open(samplePath(), QStringLiteral("model"));
    auto* model = page<ModelPage>();
    ASSERT_TRUE(waitFor([&] { return model->profile() != nullptr; }));
    DepthPlot* plot = model->plot(ModelPage::Deviation);
    ASSERT_FALSE(plot->points().empty());
    const QPoint place = plot->placeOf(0).toPoint();
    model->roles()->setCurrentIndex(1);
    ASSERT_EQ(model->profile(), nullptr);
    QTest::mouseClick(plot, Qt::LeftButton, {}, place);
    EXPECT_EQ(m_window->currentWorkspace()->currentPage()->id(), "model");
    EXPECT_TRUE(plot->points().empty());
    model->action()->click(); // cancelled
    EXPECT_EQ(model->status(), "cancelled");
    EXPECT_TRUE(model->action()->isVisible()) << "it can be read after all";
}

TEST_F(ModelPageTest, IntegersAloneLeaveNothingToShow)
{
    const std::string path = m_folder.file("table.safetensors");
    std::string header = R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})";
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    QFile out(QString::fromStdString(path));
    ASSERT_TRUE(out.open(QIODevice::WriteOnly));
    out.write(QByteArray::fromStdString(bytes + header + std::string(8, '\1')));
    out.close();
    open(QString::fromStdString(path), QStringLiteral("model"));
    auto* model = page<ModelPage>();
    ASSERT_NE(model, nullptr);
    EXPECT_FALSE(model->plot(ModelPage::Mean)->isVisible());
    EXPECT_FALSE(model->action()->isVisible());
    EXPECT_EQ(model->copyText(false), QString());
}

} // namespace
} // namespace shardlens::ui::test
