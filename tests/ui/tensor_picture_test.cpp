#include "tests/ui/atlas_sample.h"
#include "ui/models/atlas_pieces.h"
#include "ui/theme/theme.h"
#include "ui/widgets/tensor_picture.h"

#include <gtest/gtest.h>

#include <QAbstractItemModelTester>
#include <QSignalSpy>
#include <QTest>

#include <numeric>

namespace shardlens::ui {
namespace {

TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& name)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == name)
            return idAt<TensorId>(i);
    ADD_FAILURE() << name;
    return {};
}

PictureBoxes boxesOf(const Checkpoint& checkpoint, TensorId tensor, const PictureRequest& request)
{
    return pictureBoxesOf(checkpoint, tensor, faultsOf(checkpoint, tensor), request);
}

std::uint64_t cellsOf(const PictureBoxes& boxes, std::optional<PieceId> piece)
{
    std::uint64_t out = 0;
    for (const PictureBox& box : boxes.boxes)
        if (box.piece == piece)
            out += box.rows * box.columns;
    return out;
}

TEST(PictureBoxes, AFlatPieceBecomesTheBoxesOfItsRows)
{
    const auto checkpoint = test::makeAtlasSample();
    const TensorId tensor = tensorNamed(*checkpoint, "model.layers.7.mlp.up_proj.weight");
    const PictureBoxes boxes = boxesOf(*checkpoint, tensor, {});
    EXPECT_EQ(boxes.rows, 11008u);
    EXPECT_EQ(boxes.columns, 4096u);
    ASSERT_EQ(boxes.boxes.size(), 4u); // two pieces, each a block of rows and a part of row 6018
    std::uint64_t all = 0;
    for (std::size_t row = checkpoint->pieces().firstOf(tensor); row < checkpoint->pieces().lastOf(tensor); ++row)
        all += cellsOf(boxes, idAt<PieceId>(row));
    EXPECT_EQ(all, 11008ull * 4096);
}

TEST(PictureBoxes, HolesAreBoxesOfNobody)
{
    const auto checkpoint = test::makeShapesSample(4);
    const PictureBoxes boxes = boxesOf(*checkpoint, tensorNamed(*checkpoint, "holed.weight"), {});
    EXPECT_EQ(cellsOf(boxes, std::nullopt), 3020u - 2010u);
}

TEST(PictureBoxes, EqualRegionsAreCountedAndSteppedThrough)
{
    const auto checkpoint = test::makeShapesSample(4);
    const TensorId tensor = tensorNamed(*checkpoint, "norm.weight");
    for (std::uint32_t copy = 0; copy < 4; ++copy) {
        const PictureBoxes boxes = boxesOf(*checkpoint, tensor, {copy, 0});
        EXPECT_EQ(boxes.copies, 4u);
        ASSERT_EQ(boxes.boxes.size(), 1u);
        EXPECT_EQ(checkpoint->rankOfPiece(checkpoint->pieces().at(*boxes.boxes[0].piece)), copy);
    }
}

TEST(PictureBoxes, ManyTilesAreCutOneAtATime)
{
    const auto checkpoint = test::makeShapesSample(1000);
    const TensorId tensor = tensorNamed(*checkpoint, "experts.w1");
    const PictureBoxes boxes = boxesOf(*checkpoint, tensor, {0, 777});
    EXPECT_EQ(boxes.tiles, 1000u);
    ASSERT_EQ(boxes.boxes.size(), 1u);
    EXPECT_EQ(boxes.boxes[0].tile, 777u);
    EXPECT_EQ(checkpoint->rankOfPiece(checkpoint->pieces().at(*boxes.boxes[0].piece)), 777u % 4);
}

TEST(PictureLayoutTest, IsTrueToScaleWhereItCan)
{
    PictureBoxes boxes;
    boxes.rows = 300;
    boxes.columns = 100;
    const PictureLayout layout(boxes, QRectF(0, 0, 500, 600), std::nullopt, 4);
    EXPECT_EQ(layout.note(), "to scale");
    EXPECT_NEAR(layout.tileRect(0).height() / layout.tileRect(0).width(), 3, 0.05);
}

TEST(PictureLayoutTest, SaysWhatWasBent)
{
    PictureBoxes boxes;
    boxes.rows = 160;
    boxes.columns = 15360;
    const PictureLayout layout(boxes, QRectF(0, 0, 800, 600), std::nullopt, 4);
    EXPECT_NEAR(layout.tileRect(0).width() / layout.tileRect(0).height(), 8, 0.1);
    EXPECT_EQ(layout.note().toStdString(), "height to scale, width drawn 12 times too short");
    std::swap(boxes.rows, boxes.columns);
    EXPECT_EQ(PictureLayout(boxes, QRectF(0, 0, 800, 600), std::nullopt, 4).note().toStdString(), "width to scale, height drawn 12 times too short");
}

TEST(PictureLayoutTest, APartialRowIsAtLeastAPixelHigh)
{
    PictureBoxes boxes;
    boxes.rows = 100000;
    boxes.columns = 100000;
    const PictureLayout layout(boxes, QRectF(0, 0, 400, 400), std::nullopt, 4);
    PictureBox sliver;
    sliver.row = 99999;
    sliver.rows = 1;
    sliver.columns = 50;
    EXPECT_GE(layout.rectOf(sliver).height(), 1);
    EXPECT_GE(layout.rectOf(sliver).width(), 1);
    EXPECT_LE(layout.rectOf(sliver).bottom(), layout.tileRect(0).bottom());
}

TEST(PictureLayoutTest, TilesFillTheRoomWithoutOverlap)
{
    PictureBoxes boxes;
    boxes.rows = 6;
    boxes.columns = 8;
    boxes.tiles = 60;
    const QRectF room(10, 20, 700, 500);
    const PictureLayout layout(boxes, room, std::nullopt, 5);
    ASSERT_EQ(layout.tiles(), 60u);
    for (std::uint64_t a = 0; a < 60; ++a) {
        EXPECT_TRUE(room.adjusted(-1, -1, 1, 1).contains(layout.tileRect(a)));
        const auto cell = layout.cellAt(layout.tileRect(a).center());
        ASSERT_TRUE(cell);
        EXPECT_EQ(cell->tile, a);
        EXPECT_EQ(cell->row, 3u);
        EXPECT_EQ(cell->column, 4u);
    }
}

TEST(TensorPictureTest, AClickNamesThePieceUnderIt)
{
    const auto checkpoint = test::makeAtlasSample();
    const TensorId tensor = tensorNamed(*checkpoint, "model.layers.7.mlp.up_proj.weight");
    TensorPicture picture;
    picture.resize(600, 700);
    picture.setTensor(checkpoint, tensor);
    picture.show();
    QSignalSpy clicks(&picture, &TensorPicture::pieceClicked);
    const QRectF tile = picture.pictureLayout().tileRect(0);
    QTest::mouseClick(&picture, Qt::LeftButton, Qt::NoModifier, (tile.topLeft() + QPointF(10, 10)).toPoint());
    QTest::mouseClick(&picture, Qt::LeftButton, Qt::NoModifier, (tile.bottomRight() - QPointF(10, 10)).toPoint());
    QTest::mouseClick(&picture, Qt::LeftButton, Qt::NoModifier, QPoint(1, 1));
    ASSERT_EQ(clicks.size(), 2);
    EXPECT_EQ(clicks[0][0].value<PieceId>(), idAt<PieceId>(checkpoint->pieces().firstOf(tensor)));
    EXPECT_EQ(clicks[1][0].value<PieceId>(), idAt<PieceId>(checkpoint->pieces().firstOf(tensor) + 1));
    EXPECT_EQ(picture.caption(), "[11008, 4096], cut into 2 pieces on 2 ranks");
}

TEST(TensorPictureTest, PiecesAreInTheColoursOfTheirRanks)
{
    const auto checkpoint = test::makeAtlasSample();
    TensorPicture picture;
    picture.setCompact(true);
    picture.resize(84, 172);
    picture.setTensor(checkpoint, tensorNamed(*checkpoint, "model.layers.7.mlp.up_proj.weight"));
    const QImage image = picture.grab().toImage();
    const QRectF tile = picture.pictureLayout().tileRect(0);
    EXPECT_EQ(image.pixelColor((tile.topLeft() + QPointF(3, 3)).toPoint()), Theme::current().categorical(0));
    EXPECT_EQ(image.pixelColor((tile.bottomRight() - QPointF(3, 3)).toPoint()), Theme::current().categorical(1));
}

TEST(TensorPictureTest, ArrowsStepThroughThePieces)
{
    const auto checkpoint = test::makeShapesSample(4);
    const TensorId tensor = tensorNamed(*checkpoint, "experts.w1");
    TensorPicture picture;
    picture.setTensor(checkpoint, tensor);
    std::vector<PieceId> visited;
    QObject::connect(&picture, &TensorPicture::pieceClicked, &picture, [&](PieceId piece) {
        visited.push_back(piece);
        picture.setSelectedPiece(piece);
    });
    for (int i = 0; i < 6; ++i) // two more than there are
        QTest::keyClick(&picture, Qt::Key_Down);
    QTest::keyClick(&picture, Qt::Key_Up);
    const std::size_t first = checkpoint->pieces().firstOf(tensor);
    EXPECT_EQ(visited, (std::vector{idAt<PieceId>(first), idAt<PieceId>(first + 1), idAt<PieceId>(first + 2), idAt<PieceId>(first + 3), idAt<PieceId>(first + 2)}));
}

TEST(TensorPictureTest, NothingIsShownWithoutATensor)
{
    TensorPicture picture;
    picture.resize(300, 300);
    picture.grab();
    picture.setTensor(test::makeShapesSample(4), TensorId{0});
    picture.clear();
    picture.grab();
    EXPECT_EQ(picture.pieceAt({150, 150}), std::nullopt);
    EXPECT_TRUE(picture.caption().isEmpty());
}

TEST(TensorPiecesTest, MarksWhatIsMissing)
{
    test::AtlasSample with;
    with.missingRank = 2;
    const auto checkpoint = test::makeAtlasSample(with);
    TensorPieces pieces;
    bool seen = false;
    for (std::size_t i = 0; i < checkpoint->tensors().size() && !seen; ++i) {
        pieces.setTensor(checkpoint, idAt<TensorId>(i));
        for (int row = 0; row < pieces.rowCount(); ++row) {
            if (pieces.index(row, TensorPieces::Rank).data() != "2" || checkpoint->roleOf(idAt<TensorId>(i)).kind == RoleKind::Module)
                continue;
            seen = true;
            EXPECT_EQ(pieces.index(row, TensorPieces::Offset).data(), "missing");
            EXPECT_EQ(pieces.index(row, TensorPieces::Offset).data(Qt::ForegroundRole).value<QColor>(), Theme::current().colour(Token::Error));
        }
    }
    EXPECT_TRUE(seen);
}

TEST(TensorPiecesTest, ListsThePiecesOfTheTensor)
{
    TensorPieces pieces;
    const QAbstractItemModelTester tester(&pieces, QAbstractItemModelTester::FailureReportingMode::Fatal);
    const auto checkpoint = test::makeShapesSample(4);
    pieces.setTensor(checkpoint, tensorNamed(*checkpoint, "holed.weight"));
    ASSERT_EQ(pieces.rowCount(), 2);
    EXPECT_EQ(pieces.index(1, TensorPieces::Rank).data(), "1");
    EXPECT_EQ(pieces.index(0, TensorPieces::Box).data(), "row 0, to row 40, column 9");
    EXPECT_EQ(pieces.index(0, TensorPieces::Offset).data(), "2,097,152");
    EXPECT_EQ(pieces.rowOf(pieces.pieceAt(1)), 1);
    EXPECT_EQ(pieces.rowOf(PieceId{0}), -1);
    EXPECT_EQ(pieces.data(pieces.index(2, 0), Qt::DisplayRole), QVariant());
}

} // namespace
} // namespace shardlens::ui
