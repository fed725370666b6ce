#pragma once

#include "core/encoding/tensor_reader.h"
#include "ui/models/runner.h"

#include <QAbstractScrollArea>
#include <QTimer>

#include <cstdint>
#include <memory>
#include <vector>

namespace shardlens::ui {

// The bytes that a hex view is about: a stream, and in it the part whose values are decoded beside the bytes.
struct HexPlace {
    std::shared_ptr<const StreamSet> streams; // nullptr: none
    StreamId stream{};
    std::uint64_t size = 0;  // of the stream, bytes
    std::uint64_t begin = 0; // of the part
    std::uint64_t end = 0;
    DType dtype = DType::U8;
    bool isDense = true;     // values lie one after another: they are decoded
    bool isBigEndian = false;
};

// Bytes of a whole stream, 16 to a row, with the values of a part decoded; what lies outside the part is dimmed. Only what shows is read, on a worker.
class HexView : public QAbstractScrollArea {
    Q_OBJECT
public:
    explicit HexView(QWidget* parent = nullptr);

    // Scrolls to the part's begin.
    void setPlace(HexPlace place);
    // The row of a byte comes to the top; false where the stream has no such byte.
    bool goTo(std::uint64_t offset);
    [[nodiscard]] std::uint64_t firstOffset() const; // of the row on top
    // "0x0000 0040  01 02 …  0.5 1": the rows that show, as text.
    [[nodiscard]] QStringList rowTexts() const;
    [[nodiscard]] const QString& problem() const { return m_problem; } // why nothing shows

signals:
    void blockShown(); // bytes have arrived, or a problem

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void scrollContentsBy(int dx, int dy) override;

private:
    struct Block {
        std::uint64_t begin = 0;
        std::vector<std::byte> bytes;
    };

    void applyTheme();
    void placeBars();
    void scheduleRead();
    void readVisible();
    [[nodiscard]] int rowHeight() const;
    [[nodiscard]] std::uint64_t visibleRows() const;
    [[nodiscard]] std::uint64_t rows() const;
    [[nodiscard]] bool isKnown(std::uint64_t begin, std::uint64_t end) const;
    [[nodiscard]] const std::byte* at(std::uint64_t offset) const;
    [[nodiscard]] QString valuesText(std::uint64_t row) const;
    void paintRow(QPainter& painter, std::uint64_t row, int y) const;

    HexPlace m_place;
    Block m_block;
    QString m_problem;
    std::uint64_t m_rowsPerStep = 1; // of the scroll bar, whose range is an int
    Runner m_run;
    QTimer m_delay;
};

// "0x0012 3456 789A"
[[nodiscard]] QString hexOffset(std::uint64_t offset);

} // namespace shardlens::ui
