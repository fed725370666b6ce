#include "tests/ui/atlas_sample.h"
#include "ui/models/atlas_table.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_view.h"

#include <gtest/gtest.h>

#include <QAbstractItemModelTester>
#include <QApplication>
#include <QMouseEvent>
#include <QScrollBar>
#include <QSignalSpy>
#include <QTest>
#include <QWheelEvent>

namespace shardlens::ui {
namespace {

// A view of the sample, 1000 × 700, that takes every selection it asks for, as a page does.
class AtlasViewTest : public testing::Test {
protected:
    void SetUp() override { show(test::makeAtlasSample()); }

    void show(const CheckpointPtr& checkpoint, const AtlasOptions& options = {})
    {
        m_checkpoint = checkpoint;
        m_model = AtlasModel::build(checkpoint, options);
        m_palette = AtlasPalette::build(*m_model, AtlasColour::Parameter, ParameterClasses::builtIn());
        m_view.resize(1000, 700);
        m_view.setModel(m_model, m_palette);
        m_view.show();
        QCoreApplication::processEvents();
        QObject::disconnect(m_connection);
        m_connection = QObject::connect(&m_view, &AtlasView::selectionRequested, &m_view, [this](const Selection& selection) {
            m_selection = selection;
            m_view.setSelection(selection);
        });
    }

    [[nodiscard]] QPointF centreOf(AtlasPlace place) const { return AtlasPainter(m_view.scene(), 1).rectOf(place, 1).center(); }

    void click(QPointF at, Qt::KeyboardModifiers modifiers = Qt::NoModifier) { QTest::mouseClick(m_view.viewport(), Qt::LeftButton, modifiers, at.toPoint()); }

    void moveTo(QPointF at)
    {
        QMouseEvent event(QEvent::MouseMove, at, m_view.viewport()->mapToGlobal(at), Qt::NoButton, Qt::NoButton, Qt::NoModifier);
        QApplication::sendEvent(m_view.viewport(), &event);
    }

    void wheel(QPointF at, int delta, Qt::KeyboardModifiers modifiers = Qt::NoModifier)
    {
        QWheelEvent event(at, m_view.viewport()->mapToGlobal(at), {}, {0, delta}, Qt::NoButton, modifiers, Qt::NoScrollPhase, false);
        QApplication::sendEvent(m_view.viewport(), &event);
    }

    // A place whose piece is at least 3 pixels wide.
    [[nodiscard]] AtlasPlace widePlace(std::uint32_t lane) const
    {
        const AtlasLane& in = m_model->lanes()[lane];
        for (std::uint32_t i = 5; i < in.size(); ++i)
            if (static_cast<double>(in.lengths[i]) > 3 * m_view.scene().scale.unitsPerPixel)
                return {lane, i};
        ADD_FAILURE() << "no wide piece in lane " << lane;
        return {};
    }

    CheckpointPtr m_checkpoint;
    AtlasModelPtr m_model;
    AtlasPalettePtr m_palette;
    AtlasView m_view;
    Selection m_selection;
    QMetaObject::Connection m_connection;
};

TEST_F(AtlasViewTest, EveryWidePieceIsHitAtItsCentre)
{
    std::size_t tried = 0;
    const auto [first, last] = m_view.scene().layout.visible();
    for (std::uint32_t lane = static_cast<std::uint32_t>(first); lane < last; ++lane)
        for (std::uint32_t i = 0; i < m_model->lanes()[lane].size(); ++i) {
            if (static_cast<double>(m_model->lanes()[lane].lengths[i]) < 2 * m_view.scene().scale.unitsPerPixel)
                continue;
            const AtlasHit hit = hitAt(m_view.scene(), centreOf({lane, i}));
            ASSERT_EQ(hit.kind, AtlasHit::Kind::Piece);
            ASSERT_EQ(hit.place(), (AtlasPlace{lane, i}));
            ++tried;
        }
    EXPECT_GT(tried, 500u);
}

TEST_F(AtlasViewTest, BelowAPixelTheColumnIsHitAndAClickZoomsIn)
{
    show(test::makeCrowdedSample(20000, 4));
    const QPointF at = centreOf({1, 2500});
    const AtlasHit hit = hitAt(m_view.scene(), at);
    ASSERT_EQ(hit.kind, AtlasHit::Kind::Column);
    EXPECT_GT(hit.piecesInColumn, 3u);
    EXPECT_TRUE(cardFor(m_view.scene(), hit).title.contains("pieces in this pixel"));
    const double before = m_view.scene().scale.unitsPerPixel;
    click(at);
    EXPECT_LT(m_view.scene().scale.unitsPerPixel, before / 4);
    EXPECT_TRUE(m_selection.isEmpty());
}

TEST_F(AtlasViewTest, AClickSelectsThePieceWithItsRankAndFile)
{
    const AtlasPlace place = widePlace(2);
    click(centreOf(place));
    const PieceId piece = m_model->lanes()[place.lane].pieces[place.index];
    EXPECT_EQ(m_selection.piece, piece);
    EXPECT_EQ(m_selection.tensor, m_model->tensorOf(piece));
    EXPECT_EQ(m_selection.rank, m_model->lanes()[place.lane].rank);
    EXPECT_EQ(m_selection.file, m_model->lanes()[place.lane].file);
    EXPECT_EQ(m_view.scene().focus, place);
    EXPECT_EQ(m_view.scene().selected, m_model->placesOf(m_model->parameterOf(piece)));
    EXPECT_EQ(m_view.accessibleDescription(), m_view.statusText());
    EXPECT_TRUE(m_view.statusText().startsWith("rank "));
}

TEST_F(AtlasViewTest, AClickOnALaneHeaderSelectsRankAndFile)
{
    click({40, m_view.scene().layout.lane(3).center().y()});
    EXPECT_EQ(m_selection, (Selection{std::nullopt, std::nullopt, 2u, m_model->lanes()[3].file}));
}

TEST_F(AtlasViewTest, OccurrencesAreVisitedInOrder)
{
    const AtlasPlace place = widePlace(1);
    click(centreOf(place));
    const auto places = m_view.scene().selected;
    ASSERT_GE(places.size(), 4u);
    const auto at = std::find(places.begin(), places.end(), place) - places.begin();
    QTest::keyClick(&m_view, Qt::Key_N);
    EXPECT_EQ(m_view.scene().focus, places[static_cast<std::size_t>(at) + 1]);
    QTest::keyClick(&m_view, Qt::Key_N, Qt::ShiftModifier);
    QTest::keyClick(&m_view, Qt::Key_N, Qt::ShiftModifier);
    EXPECT_EQ(m_view.scene().focus, places[static_cast<std::size_t>(at) - 1]);
}

TEST_F(AtlasViewTest, ArrowsAndBracketsMoveTheFocusPiece)
{
    const AtlasPlace place = widePlace(1);
    click(centreOf(place));
    QTest::keyClick(&m_view, Qt::Key_Right);
    EXPECT_EQ(m_view.scene().focus, (AtlasPlace{1, place.index + 1}));
    QTest::keyClick(&m_view, Qt::Key_BracketLeft);
    EXPECT_EQ(m_view.scene().focus, place);
    QTest::keyClick(&m_view, Qt::Key_Down);
    ASSERT_TRUE(m_view.scene().focus);
    EXPECT_EQ(m_view.scene().focus->lane, 2u);
    const AtlasLane& below = m_model->lanes()[2];
    const AtlasLane& above = m_model->lanes()[1];
    const std::uint64_t middle = above.starts[place.index] + above.lengths[place.index] / 2;
    EXPECT_EQ(m_view.scene().focus->index, below.pieceAt(middle));
}

TEST_F(AtlasViewTest, TheFocusPieceStaysInView)
{
    const AtlasPlace place = widePlace(1);
    click(centreOf(place));
    QTest::keyClick(&m_view, Qt::Key_F, Qt::ShiftModifier);
    QTRY_COMPARE_WITH_TIMEOUT(m_view.scene().scale.unitsPerPixel < 1e6, true, 2000);
    QTest::qWait(200); // the flight ends
    for (int i = 0; i < 6; ++i) {
        QTest::keyClick(&m_view, Qt::Key_Right);
        const QRectF rect = AtlasPainter(m_view.scene(), 1).rectOf(*m_view.scene().focus, 1);
        EXPECT_GE(rect.right(), m_view.scene().layout.plotLeft());
        EXPECT_LE(rect.left(), m_view.scene().layout.plotLeft() + m_view.scene().layout.plotWidth());
    }
}

TEST_F(AtlasViewTest, TheWheelZoomsAtTheCursorAndUndoComesBack)
{
    const AtlasScale before = m_view.scene().scale;
    const QPointF at(600, 300);
    const double unit = before.toUnit(at.x() - m_view.scene().layout.plotLeft());
    wheel(at, 120);
    EXPECT_NEAR(m_view.scene().scale.unitsPerPixel, before.unitsPerPixel / 1.25, 1);
    EXPECT_NEAR(m_view.scene().scale.toUnit(at.x() - m_view.scene().layout.plotLeft()), unit, before.unitsPerPixel);
    EXPECT_TRUE(m_view.undoView());
    EXPECT_EQ(m_view.scene().scale, before);
    EXPECT_FALSE(m_view.undoView());
}

TEST_F(AtlasViewTest, WithControlTheWheelChangesTheHeightOfLanes)
{
    const double before = m_view.scene().layout.laneHeight();
    wheel({600, 300}, -240, Qt::ControlModifier);
    EXPECT_LT(m_view.scene().layout.laneHeight(), before);
    wheel({600, 300}, 960, Qt::ControlModifier);
    EXPECT_GT(m_view.scene().layout.laneHeight(), before);
    EXPECT_GT(m_view.verticalScrollBar()->maximum(), 0);
}

TEST_F(AtlasViewTest, ShiftDragZoomsIntoTheBox)
{
    const double left = m_view.scene().layout.plotLeft();
    const AtlasScale before = m_view.scene().scale;
    m_view.hide(); // without a window nothing flies
    QTest::mousePress(m_view.viewport(), Qt::LeftButton, Qt::ShiftModifier, QPoint(static_cast<int>(left) + 100, 200));
    QMouseEvent move(QEvent::MouseMove, QPointF(left + 200, 260), QPointF(left + 200, 260), Qt::NoButton, Qt::LeftButton, Qt::ShiftModifier);
    QApplication::sendEvent(m_view.viewport(), &move);
    QTest::mouseRelease(m_view.viewport(), Qt::LeftButton, Qt::ShiftModifier, QPoint(static_cast<int>(left) + 200, 260));
    EXPECT_NEAR(m_view.scene().scale.firstUnit, before.toUnit(100), before.unitsPerPixel * 2);
    EXPECT_NEAR(m_view.scene().scale.toUnit(m_view.scene().layout.plotWidth()), before.toUnit(200), before.unitsPerPixel * 2);
}

TEST_F(AtlasViewTest, DraggingPansAndDoesNotSelect)
{
    wheel({600, 300}, 120 * 8);
    const AtlasScale before = m_view.scene().scale;
    QTest::mousePress(m_view.viewport(), Qt::LeftButton, Qt::NoModifier, QPoint(600, 300));
    QMouseEvent move(QEvent::MouseMove, QPointF(500, 300), QPointF(500, 300), Qt::NoButton, Qt::LeftButton, Qt::NoModifier);
    QApplication::sendEvent(m_view.viewport(), &move);
    QTest::mouseRelease(m_view.viewport(), Qt::LeftButton, Qt::NoModifier, QPoint(500, 300));
    EXPECT_NEAR(m_view.scene().scale.firstUnit, before.firstUnit + 100 * before.unitsPerPixel, before.unitsPerPixel);
    EXPECT_TRUE(m_selection.isEmpty());
}

TEST_F(AtlasViewTest, ALegendEntryAloneStaysInTheLightAndASecondClickBringsTheOthersBack)
{
    const auto rects = AtlasPainter::legendRects(*m_palette, Theme::current().px(16), m_view.scene().layout.legend().top(),
                                                 m_view.scene().layout.legend().width() - Theme::current().px(32));
    click(rects[1].center());
    ASSERT_EQ(m_view.scene().legendKept, 1u);
    for (std::size_t row = 0; row < m_checkpoint->pieces().size(); ++row)
        EXPECT_EQ(m_view.scene().dimmed[row] == 0, m_palette->classOf(idAt<PieceId>(row)) == m_palette->legend()[1].classes[0]);
    click(rects[1].center());
    EXPECT_EQ(m_view.scene().legendKept, std::nullopt);
    EXPECT_TRUE(m_view.scene().dimmed.empty());
}

TEST_F(AtlasViewTest, SearchDimsTheRestAndCountsTheSelectedAmongTheMatches)
{
    m_view.setSearch("UP_PROJ");
    EXPECT_EQ(m_view.matches().count, 32u);
    EXPECT_EQ(m_view.matches().current, 0u);
    m_view.goToMatch(true);
    EXPECT_EQ(m_view.matches().current, 1u);
    for (int i = 0; i < 7; ++i)
        m_view.goToMatch(true);
    EXPECT_EQ(m_view.matches().current, 8u);
    EXPECT_EQ(m_checkpoint->parameterOf(*m_selection.tensor), "model.layers.7.mlp.up_proj.weight");
    m_view.goToMatch(false);
    EXPECT_EQ(m_view.matches().current, 7u);
    std::size_t light = 0;
    for (const std::uint8_t dimmed : m_view.scene().dimmed)
        light += dimmed == 0;
    std::size_t expected = 0;
    for (std::size_t row = 0; row < m_checkpoint->pieces().size(); ++row)
        expected += m_checkpoint->parameters()[indexOf(m_model->parameterOf(idAt<PieceId>(row)))].find("up_proj") != std::string::npos;
    EXPECT_EQ(light, expected);
}

TEST_F(AtlasViewTest, TheCardAppearsBesideTheCursorAndNotOverTheLegend)
{
    const AtlasPlace place = widePlace(4);
    const QPointF at = centreOf(place);
    moveTo(at);
    EXPECT_FALSE(m_view.card().isVisible());
    QTRY_COMPARE_WITH_TIMEOUT(m_view.card().isVisible(), true, 2000);
    EXPECT_FALSE(m_view.card().geometry().contains(at.toPoint()));
    EXPECT_LT(m_view.card().geometry().bottom(), m_view.scene().layout.legend().top());
    EXPECT_TRUE(m_view.statusText().contains(m_view.card().content().title));
}

TEST_F(AtlasViewTest, ASelectedSliverIsOutlinedAndAttractsTheCursor)
{
    std::uint32_t norm = 0;
    const AtlasLane& lane = m_model->lanes()[1];
    while (static_cast<double>(lane.lengths[norm]) > m_view.scene().scale.unitsPerPixel / 100)
        ++norm;
    const PieceId piece = lane.pieces[norm];
    m_view.setSelection({m_model->tensorOf(piece), piece, std::nullopt, std::nullopt});
    const QPointF centre = centreOf({1, norm});
    EXPECT_EQ(hitAt(m_view.scene(), centre + QPointF(3, 0)).place(), (AtlasPlace{1, norm}));
    const QImage image = m_view.viewport()->grab().toImage();
    const QColor outline = Theme::current().colour(Token::Selection);
    bool found = false;
    for (int x = static_cast<int>(centre.x()) - 6; x <= static_cast<int>(centre.x()) + 6; ++x)
        found |= image.pixelColor(x, static_cast<int>(m_view.scene().layout.pieceTier(1).center().y())) == outline;
    EXPECT_TRUE(found);
}

TEST_F(AtlasViewTest, AMissingFileIsHatchedInRedWhateverTheColours)
{
    show(test::makeAtlasSample({.missingRank = 2}));
    const auto& lanes = m_model->lanes();
    const auto lane = std::find_if(lanes.begin(), lanes.end(), [](const AtlasLane& one) { return one.missing; }) - lanes.begin();
    const QRectF tier = m_view.scene().layout.pieceTier(static_cast<std::size_t>(lane));
    const QImage image = m_view.viewport()->grab().toImage();
    std::size_t red = 0;
    for (int x = static_cast<int>(tier.left()) + 2; x < static_cast<int>(tier.left()) + 102; ++x)
        red += image.pixelColor(x, static_cast<int>(tier.top())).rgb() == Theme::current().colour(Token::Hole).rgb();
    EXPECT_GT(red, 90u); // its upper edge
    const AtlasHit hit = hitAt(m_view.scene(), tier.center());
    EXPECT_TRUE(cardFor(m_view.scene(), hit).rows[2].second.contains("missing"));
}

TEST_F(AtlasViewTest, KeysAskThePageForWhatIsNotTheViews)
{
    QSignalSpy colours(&m_view, &AtlasView::colourRequested);
    QSignalSpy tables(&m_view, &AtlasView::tableRequested);
    QSignalSpy folds(&m_view, &AtlasView::foldingToggled);
    QSignalSpy tensors(&m_view, &AtlasView::tensorActivated);
    QTest::keyClick(&m_view, Qt::Key_3);
    QTest::keyClick(&m_view, Qt::Key_T);
    QTest::keyClick(&m_view, Qt::Key_U);
    QTest::keyClick(&m_view, Qt::Key_Return);
    EXPECT_EQ(colours.size(), 1);
    EXPECT_EQ(colours[0][0].toInt(), static_cast<int>(AtlasColour::DType));
    EXPECT_EQ(tables.size(), 1);
    EXPECT_EQ(folds.size(), 1);
    EXPECT_EQ(tensors.size(), 0); // nothing is selected
    click(centreOf(widePlace(0)));
    QTest::keyClick(&m_view, Qt::Key_Return);
    EXPECT_EQ(tensors.size(), 1);
}

TEST_F(AtlasViewTest, TheLensCanBePutAway)
{
    ASSERT_FALSE(m_view.scene().layout.lens().isEmpty());
    QTest::keyClick(&m_view, Qt::Key_L);
    EXPECT_TRUE(m_view.scene().layout.lens().isEmpty());
}

TEST_F(AtlasViewTest, APictureIsExportedAtTheAskedSize)
{
    const QImage image = m_view.exportImage(2);
    EXPECT_EQ(image.width(), m_view.viewport()->width() * 2);
    EXPECT_GT(image.height(), m_view.viewport()->height() * 2);
}

TEST_F(AtlasViewTest, WithoutAModelNothingHappens)
{
    m_view.setModel(nullptr, nullptr);
    m_view.viewport()->grab();
    moveTo({500, 300});
    click({500, 300});
    QTest::keyClick(&m_view, Qt::Key_N);
    wheel({500, 300}, 120);
    EXPECT_FALSE(m_view.undoView());
    EXPECT_TRUE(m_view.exportImage(1).isNull());
}

TEST(AtlasTableTest, ListsEveryPieceOfThePicture)
{
    AtlasTable table;
    const QAbstractItemModelTester tester(&table, QAbstractItemModelTester::FailureReportingMode::Fatal);
    EXPECT_EQ(table.rowCount(), 0);
    const auto checkpoint = test::makeAtlasSample({.ranks = 2, .layers = 2});
    const auto model = AtlasModel::build(checkpoint, {});
    table.setModel(model);
    ASSERT_EQ(table.rowCount(), static_cast<int>(checkpoint->pieces().size()));
    for (int row = 0; row < table.rowCount(); ++row)
        EXPECT_EQ(table.rowOf(table.pieceAt(row)), row);
    EXPECT_EQ(table.index(0, AtlasTable::State).data(), "module copy");
    EXPECT_EQ(table.index(0, AtlasTable::Offset).data(), "5,696");
    EXPECT_EQ(table.data(table.index(table.rowCount(), 0), Qt::DisplayRole), QVariant());
}

} // namespace
} // namespace shardlens::ui
