#include "core/base/endian.h"
#include "tests/ui/ui_fixture.h"
#include "ui/pages/tensor/bytes_view.h"
#include "ui/pages/tensor/statistics_view.h"
#include "ui/pages/tensor_page.h"
#include "ui/widgets/hex_view.h"
#include "ui/widgets/histogram_plot.h"

#include <gmock/gmock.h>

#include <QCheckBox>
#include <QTest>

#include <fstream>

namespace shardlens::ui::test {
namespace {

TensorId tensorCalled(const Checkpoint& checkpoint, const std::string& name)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == name)
            return idAt<TensorId>(i);
    ADD_FAILURE() << "no tensor " << name;
    return kNoTensor;
}

class TensorViewsTest : public WindowTest {
protected:
    TensorPage* shown(const QString& path, const std::string& tensor, TensorPage::View view)
    {
        open(path, QStringLiteral("tensor"));
        auto* opened = page<TensorPage>();
        opened->document()->selectTensor(tensorCalled(*opened->document()->checkpoint(), tensor));
        opened->setView(view);
        return opened;
    }

    // One F32 vector "ramp" in a safetensors file: values i / 4.
    QString rampFile(std::uint64_t count) const
    {
        std::string header = R"({"ramp":{"dtype":"F32","shape":[)" + std::to_string(count) + R"(],"data_offsets":[0,)" + std::to_string(count * 4) + "]}}";
        header.resize((header.size() + 7) / 8 * 8, ' ');
        std::string bytes(8, '\0');
        storeLe(reinterpret_cast<std::byte*>(bytes.data()), static_cast<std::uint64_t>(header.size()));
        bytes += header;
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto value = static_cast<float>(i) / 4;
            bytes.append(reinterpret_cast<const char*>(&value), 4);
        }
        std::ofstream(m_folder.file("ramp.safetensors"), std::ios::binary) << bytes;
        return QString::fromStdString(m_folder.file("ramp.safetensors"));
    }
};

TEST_F(TensorViewsTest, StatisticsOfASmallTensorAreExactAtOnce)
{
    const TensorPage* page = shown(samplePath(), "up.weight", TensorPage::View::Statistics);
    StatisticsView* view = page->statistics();
    ASSERT_TRUE(waitFor([&] { return view->isExact(); }));
    EXPECT_EQ(view->status(), "exact");
    EXPECT_FALSE(view->isRunning());
    std::uint64_t sum = 0;
    for (const HistogramBin& bin : view->plot()->bins())
        sum += bin.count;
    EXPECT_EQ(sum, 66u);
    EXPECT_FALSE(view->plot()->accessibleDescription().isEmpty());
    picture(QStringLiteral("tensor-statistics"));
    QTest::keyClick(view, Qt::Key_Y);
    EXPECT_TRUE(view->findChild<QCheckBox*>()->isChecked());
    QTest::qWait(50); // the plot draws when the window's thread is idle
    picture(QStringLiteral("tensor-statistics-logarithmic"));
}

TEST_F(TensorViewsTest, StatisticsOfALargeTensorAreSampledThenExact)
{
    constexpr std::uint64_t kCount = 3'000'000;
    StatisticsView* view = shown(rampFile(kCount), "ramp", TensorPage::View::Statistics)->statistics();
    ASSERT_TRUE(waitFor([&] { return !view->plot()->bins().empty(); }));
    ASSERT_TRUE(waitFor([&] { return view->isExact(); }));
    std::uint64_t sum = 0;
    for (const HistogramBin& bin : view->plot()->bins())
        sum += bin.count;
    EXPECT_EQ(sum, kCount);
}

TEST_F(TensorViewsTest, StatisticsCanBeCalledOffAndAskedForAgain)
{
    StatisticsView* view = shown(rampFile(1'000'000), "ramp", TensorPage::View::Statistics)->statistics();
    view->cancel();
    EXPECT_FALSE(view->isRunning());
    QTest::qWait(30);
    EXPECT_FALSE(view->isExact()) << "nothing is read again unasked";
    for (QAbstractButton* link : view->findChildren<QAbstractButton*>())
        if (link->text().startsWith(QLatin1String("Read all of it")))
            link->click();
    EXPECT_TRUE(waitFor([&] { return view->isExact(); }));
}

TEST_F(TensorViewsTest, BytesStandAtTheirOffsetWithTheirValues)
{
    const TensorPage* page = shown(rampFile(1'000), "ramp", TensorPage::View::Bytes);
    BytesView* view = page->bytes();
    ASSERT_TRUE(waitFor([&] { return !view->hex()->rowTexts().isEmpty(); }));
    EXPECT_THAT(view->placeText().toStdString(), testing::HasSubstr("ramp.safetensors: bytes 72 to 4,072 (3.91 KiB)"));
    EXPECT_EQ(view->hex()->firstOffset(), 64u) << "the row that the piece begins in";
    EXPECT_EQ(view->hex()->rowTexts().front().toStdString(), "0x0000 0040  34 30 30 30 5D 7D 7D 20 00 00 00 00 00 00 80 3E  0  0.25");
    EXPECT_EQ(view->hex()->rowTexts()[1].toStdString(), "0x0000 0050  00 00 00 3F 00 00 40 3F 00 00 80 3F 00 00 A0 3F  0.5  0.75  1  1.25");
    EXPECT_TRUE(view->goTo(QStringLiteral("0x0")));
    ASSERT_TRUE(waitFor([&] { return view->hex()->firstOffset() == 0 && !view->hex()->rowTexts().isEmpty(); }));
    EXPECT_TRUE(view->hex()->rowTexts().front().startsWith(QLatin1String("0x0000 0000  40 00 00"))) << "outside the piece nothing is decoded";
    EXPECT_TRUE(view->goTo(QStringLiteral("1,024")));
    EXPECT_EQ(view->hex()->firstOffset(), 1'024u);
    picture(QStringLiteral("tensor-bytes"));
}

TEST_F(TensorViewsTest, AnOffsetThatIsNoneIsSaidToBeNone)
{
    BytesView* view = shown(rampFile(1'000), "ramp", TensorPage::View::Bytes)->bytes();
    EXPECT_FALSE(view->goTo(QStringLiteral("9999999")));
    EXPECT_THAT(view->placeText().toStdString(), testing::HasSubstr("9,999,999 is past the end of the file"));
    EXPECT_FALSE(view->goTo(QStringLiteral("here")));
    EXPECT_THAT(view->placeText().toStdString(), testing::HasSubstr("is no offset"));
}

TEST_F(TensorViewsTest, BytesFollowTheSelectedPieceAndTheOtherWayRound)
{
    TensorPage* page = shown(samplePath(), "embed.weight", TensorPage::View::Bytes);
    const Checkpoint& checkpoint = *page->document()->checkpoint();
    const TensorId tensor = tensorCalled(checkpoint, "embed.weight");
    ASSERT_GT(checkpoint.pieces().countOf(tensor), 1u);
    const auto second = idAt<PieceId>(checkpoint.pieces().firstOf(tensor) + 1);
    page->document()->select({tensor, second, std::nullopt, std::nullopt});
    EXPECT_EQ(page->bytes()->piece(), second);
    page->bytes()->findChild<QSpinBox*>()->setValue(1);
    EXPECT_EQ(page->document()->selection().piece, idAt<PieceId>(checkpoint.pieces().firstOf(tensor)));
    ASSERT_TRUE(waitFor([&] { return !page->bytes()->hex()->rowTexts().isEmpty(); }));
    picture(QStringLiteral("tensor-bytes-run"));
}

TEST(HexOffset, IsGroupedByFour)
{
    EXPECT_EQ(hexOffset(0), "0x0000 0000");
    EXPECT_EQ(hexOffset(0x12345678), "0x1234 5678");
    EXPECT_EQ(hexOffset(0x123456789A), "0x0012 3456 789A");
}

} // namespace
} // namespace shardlens::ui::test
