#include "core/format/format.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint_builder.h"
#include "tests/ui/ui_fixture.h"
#include "ui/models/atlas_model.h"
#include "ui/pages/atlas_page.h"
#include "ui/widgets/atlas_layout.h"
#include "ui/widgets/atlas_view.h"

#include <gmock/gmock.h>

#include <QComboBox>
#include <QTest>

#include <set>

// Lanes of the atlas under a header for each rank of an axis, or each layer.
namespace shardlens::ui::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CheckpointPtr caseAt(const char* path)
{
    JobContext job;
    auto opened = openCheckpoint(std::string(SHARDLENS_CASES "/") + path, {}, job);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().sentence());
    return opened ? opened.take() : nullptr;
}

AtlasModelPtr grouped(const CheckpointPtr& checkpoint, AtlasGrouping by, AtlasAcross across = AtlasAcross::OffsetInFile)
{
    AtlasOptions options;
    options.rows = by.rows;
    options.axis = by.axis;
    options.across = across;
    options.fold = false;
    return AtlasModel::build(checkpoint, options);
}

std::vector<std::string> titlesOf(const AtlasModel& model)
{
    std::vector<std::string> out;
    for (const AtlasGroup& group : model.groups())
        out.push_back(group.title.toStdString());
    return out;
}

// A file without a topology whose layers are listed as text sorts them.
CheckpointPtr layersInTextOrder(std::size_t layers)
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "model.safetensors";
    file.size = 100 * (layers + 2);
    const StreamId stream = builder.streamOf(builder.addFile(file));
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    std::vector<std::string> names{"lm_head.weight", "model.embed.weight"};
    for (std::size_t i = 0; i < layers; ++i)
        names.push_back("model.layers." + std::to_string(i) + ".weight");
    std::sort(names.begin(), names.end());
    std::uint64_t at = 0;
    for (const std::string& name : names) {
        EXPECT_TRUE(builder.addWhole(builder.addTensor({builder.parameter(name), role, DType::F32, Combine::Exclusive, true, {20}}),
                                     {stream, at, builder.holder({}), {}}));
        at += 100; // 20 bytes between are nobody's
    }
    builder.addFileSpan({idAt<FileId>(0), 80, 20, FileSpan::Kind::Padding});
    return std::move(builder).finish();
}

TEST(AtlasGrouping, OffersTheAxesThatTheCheckpointHas)
{
    const auto keys = [](const CheckpointPtr& checkpoint) {
        std::vector<std::string> out;
        for (const AtlasGrouping& one : groupingsOf(*checkpoint))
            out.push_back(one.rows == AtlasRows::Axis    ? nameOf(one.axis)
                          : one.rows == AtlasRows::Layer ? "layer"
                          : one.rows == AtlasRows::File  ? "file"
                                                         : "rank");
        return out;
    };
    EXPECT_THAT(keys(caseAt("pipeline/pp2-dp2-zero1-tied/source")), ElementsAre("rank", "file", "pp", "dp", "layer"));
    EXPECT_THAT(keys(caseAt("pipeline/pp2-tp2-zero1/source")), ElementsAre("rank", "file", "pp", "tp", "layer"));
    EXPECT_THAT(keys(caseAt("deepspeed/moe-zero2-w4/source")), ElementsAre("rank", "file", "dp", "ep", "layer"));
    EXPECT_THAT(keys(caseAt("pytorch/zip-views/source")), ElementsAre("rank", "file"));
}

class AtlasGroupingOfCases : public testing::TestWithParam<std::tuple<const char*, AtlasGrouping, AtlasAcross>> {};

// Whatever the grouping: the same pieces, each once, under a header that its holder or its name allows.
TEST_P(AtlasGroupingOfCases, HoldsEveryPieceOnceUnderItsGroup)
{
    const auto& [path, by, across] = GetParam();
    const CheckpointPtr checkpoint = caseAt(path);
    ASSERT_NE(checkpoint, nullptr);
    const auto model = grouped(checkpoint, by, across);
    const auto plain = grouped(checkpoint, {}, across);
    std::multiset<PieceId> expected;
    for (const AtlasLane& lane : plain->lanes())
        expected.insert(lane.pieces.begin(), lane.pieces.end());
    std::multiset<PieceId> found;
    std::uint32_t lanes = 0;
    for (const AtlasGroup& group : model->groups()) {
        EXPECT_EQ(group.firstLane, lanes);
        EXPECT_GT(group.lanes, 0u);
        lanes += group.lanes;
        for (std::uint32_t i = group.firstLane; i < group.firstLane + group.lanes; ++i) {
            const AtlasLane& lane = model->lanes()[i];
            EXPECT_EQ(lane.group, group.title);
            for (const PieceId piece : lane.pieces) {
                found.insert(piece);
                const Holder& holder = checkpoint->holder(checkpoint->pieces().at(piece).holder);
                const auto at = std::find_if(holder.coordinates.begin(), holder.coordinates.end(),
                                             [&](const auto& one) { return one.axis == by.axis; });
                const std::string title = group.title.toStdString();
                if (by.rows == AtlasRows::Layer) {
                    EXPECT_EQ(checkpoint->parameterOf(model->tensorOf(piece)).find(title.starts_with("layer ") ? title.substr(6) : title),
                              0u)
                        << title;
                } else {
                    const bool isAny = at == holder.coordinates.end();
                    EXPECT_THAT(title, HasSubstr(isAny ? "any " : axisTitle(by.axis).toStdString() + " " + std::to_string(at->index)));
                }
            }
        }
    }
    EXPECT_EQ(lanes, model->lanes().size());
    EXPECT_EQ(found, expected);
}

INSTANTIATE_TEST_SUITE_P(Cases, AtlasGroupingOfCases,
                         testing::Combine(testing::Values("pipeline/pp2-dp2-zero1-tied/source", "pipeline/pp2-tp2-zero1/source",
                                                          "deepspeed/moe-zero2-w4/source", "sdloader/v2-tp4-views/source"),
                                          testing::Values(AtlasGrouping{AtlasRows::Axis, Axis::Dp},
                                                          AtlasGrouping{AtlasRows::Axis, Axis::Tp},
                                                          AtlasGrouping{AtlasRows::Axis, Axis::Pp},
                                                          AtlasGrouping{AtlasRows::Axis, Axis::Ep}, AtlasGrouping{AtlasRows::Layer}),
                                          testing::Values(AtlasAcross::OffsetInFile, AtlasAcross::ParameterOrder)));

TEST(AtlasGrouping, LayersStandInTheirOrderAndTheRestLast)
{
    const auto model = grouped(layersInTextOrder(11), {AtlasRows::Layer});
    std::vector<std::string> expected{"lm_head", "model.embed"};
    for (int i = 0; i < 11; ++i)
        expected.push_back("model.layers." + std::to_string(i));
    expected.emplace_back("no layer: headers, padding, files without tensors");
    EXPECT_EQ(titlesOf(*model), expected);
    EXPECT_EQ(model->groups()[3].bytes, 80u) << "of the layer's pieces, not of its file";
    EXPECT_EQ(model->groups().back().bytes, 20u);
    EXPECT_EQ(model->lanes()[3].length, 1300u) << "the lane is as long as the file: offsets stay comparable";
}

TEST(AtlasGrouping, AnAxisComesFirstAndWhatEveryRankHoldsLast)
{
    const auto model = grouped(caseAt("pipeline/pp2-dp2-zero1-tied/source"), {AtlasRows::Axis, Axis::Pp});
    EXPECT_THAT(titlesOf(*model), ElementsAre("pipeline stage 0", "pipeline stage 1", "any pipeline stage: the same on each, or not said"));
    EXPECT_TRUE(grouped(caseAt("pipeline/pp2-dp2-zero1-tied/source"), {})->groups().empty());
}

TEST(AtlasGrouping, FilesOfNoRankAreToldApartByName)
{
    const auto model = grouped(caseAt("pipeline/pp2-dp2-zero1-tied/source"), {});
    std::vector<std::string> names;
    for (const AtlasLane& lane : model->lanes())
        if (!lane.rank)
            names.push_back(lane.title.toStdString() + ", " + lane.note.toStdString());
    EXPECT_THAT(names, ElementsAre("layer_00, model_states", "layer_01, model_states", "layer_03, model_states", "layer_04, model_states"));
}

TEST(AtlasGrouping, AClosedGroupShowsItsHeaderAlone)
{
    const CheckpointPtr checkpoint = caseAt("pipeline/pp2-dp2-zero1-tied/source");
    AtlasOptions options;
    options.rows = AtlasRows::Axis;
    options.axis = Axis::Pp;
    const auto open = AtlasModel::build(checkpoint, options);
    options.closed = {QStringLiteral("pipeline stage 0"), open->groups().back().title};
    const auto model = AtlasModel::build(checkpoint, options);
    EXPECT_EQ(titlesOf(*model), titlesOf(*open));
    EXPECT_EQ(model->lanes().size(), open->groups()[1].lanes);
    EXPECT_EQ(model->length(), open->length()) << "the ruler stays";
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(model->groups()[i].bytes, open->groups()[i].bytes);
        EXPECT_EQ(model->groups()[i].allLanes, open->groups()[i].lanes);
        EXPECT_EQ(model->groups()[i].lanes, i == 1 ? open->groups()[1].lanes : 0u);
    }
    EXPECT_EQ(model->groups()[2].firstLane, model->lanes().size());
    std::size_t placed = 0;
    for (std::size_t i = 0; i < checkpoint->pieces().size(); ++i)
        placed += model->placeOf(idAt<PieceId>(i)) ? 1 : 0;
    std::size_t drawn = 0;
    for (const AtlasLane& lane : model->lanes())
        drawn += lane.size() * (1 + lane.foldedRanks.size());
    EXPECT_EQ(placed, drawn);
}

TEST(AtlasGrouping, RowsAndHeadersShareOutTheHeight)
{
    AtlasLayout::Request request{QSizeF(1000, 700), 1, 20, 12, 0, 26, false, true, 128, {0, 0, 3, 4, 4, 4, 11, 20}};
    for (const double scroll : {0.0, 7.0, 133.0}) {
        request.scrollY = scroll;
        const AtlasLayout layout(request);
        double bottom = layout.lanes().top() - scroll;
        std::size_t group = 0;
        for (std::size_t lane = 0; lane < 20; ++lane) {
            while (group < request.groups.size() && request.groups[group] == lane) {
                EXPECT_DOUBLE_EQ(layout.groupHeader(group).top(), bottom);
                bottom = layout.groupHeader(group).bottom();
                const double middle = layout.groupHeader(group).center().y();
                const bool shows = middle >= layout.lanes().top() && middle < layout.lanes().bottom();
                EXPECT_EQ(layout.laneAt(middle), std::nullopt) << "a header is no lane";
                EXPECT_EQ(layout.groupAt(middle), shows ? std::optional(group) : std::nullopt);
                ++group;
            }
            EXPECT_DOUBLE_EQ(layout.row(lane).top(), bottom);
            bottom = layout.row(lane).bottom();
            const double middle = layout.row(lane).center().y();
            const bool shows = middle >= layout.lanes().top() && middle < layout.lanes().bottom();
            EXPECT_EQ(layout.laneAt(middle), shows ? std::optional(lane) : std::nullopt) << lane;
            const auto [first, last] = layout.visible();
            const bool overlaps = layout.row(lane).bottom() > layout.lanes().top() && layout.row(lane).top() < layout.lanes().bottom();
            EXPECT_EQ(lane >= first && lane < last, overlaps) << lane;
        }
        ASSERT_EQ(group, 7u);
        EXPECT_DOUBLE_EQ(layout.groupHeader(7).top(), bottom) << "of a group without lanes at the end";
        bottom = layout.groupHeader(7).bottom();
        EXPECT_DOUBLE_EQ(bottom, layout.lanes().top() - scroll + layout.contentHeight());
    }
}

class AtlasGroupingPage : public WindowTest {
protected:
    AtlasPage* opened(const char* path)
    {
        m_window->show();
        open(QStringLiteral(SHARDLENS_CASES "/") + QLatin1String(path), QStringLiteral("atlas"));
        auto* atlas = page<AtlasPage>();
        EXPECT_TRUE(waitFor([&] { return modelOf(*atlas) != nullptr; }));
        return atlas;
    }
    static const AtlasModel* modelOf(const AtlasPage& atlas) { return atlas.view()->scene().model.get(); }
    static QComboBox* rows(const AtlasPage& atlas)
    {
        for (auto* box : atlas.findChildren<QComboBox*>())
            if (box->accessibleName() == QLatin1String("Rows"))
                return box;
        return nullptr;
    }
};

TEST_F(AtlasGroupingPage, IsChosenByKeyAndRemembered)
{
    AtlasPage* atlas = opened("pipeline/pp2-tp2-zero1/source");
    QComboBox* box = rows(*atlas);
    ASSERT_NE(box, nullptr);
    EXPECT_EQ(box->currentText().toStdString(), "rank, file");
    EXPECT_TRUE(modelOf(*atlas)->groups().empty());
    box->setFocus();
    QTest::keyClick(box, Qt::Key_Down);
    QTest::keyClick(box, Qt::Key_Down);
    EXPECT_EQ(box->currentText().toStdString(), "pipeline stage (pp)");
    EXPECT_THAT(box->toolTip().toStdString(), HasSubstr("pipeline stage"));
    ASSERT_TRUE(waitFor([&] { return !modelOf(*atlas)->groups().empty(); }));
    EXPECT_EQ(modelOf(*atlas)->groups().front().title.toStdString(), "pipeline stage 0");
    pictures(QStringLiteral("atlas-stages"));
    const std::size_t lanes = modelOf(*atlas)->lanes().size();
    QTest::keyClick(atlas->view(), Qt::Key_G);
    ASSERT_TRUE(waitFor([&] { return modelOf(*atlas)->lanes().empty(); }));
    pictures(QStringLiteral("atlas-closed"));
    const QRectF header = atlas->view()->scene().layout.groupHeader(1);
    QTest::mouseClick(atlas->view()->viewport(), Qt::LeftButton, {}, header.center().toPoint());
    ASSERT_TRUE(waitFor([&] { return !modelOf(*atlas)->lanes().empty(); }));
    EXPECT_FALSE(modelOf(*atlas)->groups()[1].isClosed);
    EXPECT_LT(modelOf(*atlas)->lanes().size(), lanes);
    QTest::keyClick(atlas->view(), Qt::Key_G);
    QTest::keyClick(atlas->view(), Qt::Key_G);
    AtlasPage* other = opened("pipeline/pp2-dp2-zero1-tied/source");
    EXPECT_EQ(rows(*other)->currentText().toStdString(), "pipeline stage (pp)");
    EXPECT_FALSE(modelOf(*other)->groups().empty());
    AtlasPage* plain = opened("pytorch/zip-views/source");
    EXPECT_EQ(rows(*plain)->currentText().toStdString(), "rank, file") << "it has no stages";
    AtlasPage* again = opened("pipeline/pp2-tp2-zero1/source");
    EXPECT_EQ(rows(*again)->currentText().toStdString(), "pipeline stage (pp)") << "the choice stays";
}

} // namespace
} // namespace shardlens::ui::test
