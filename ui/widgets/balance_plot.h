#pragma once

#include "ui/models/writer_uses.h"
#include "ui/widgets/hover_card.h"

#include <QTimer>
#include <QWidget>

#include <vector>

class QCPBars;
class QCPItemStraightLine;
class QCPItemText;
class QCustomPlot;

namespace shardlens::ui {

// Bytes of every file, or of every rank's files, as bars from 0, with the mean as a line. More than there is room for share bars: as high as the largest of
// them, filled up to the smallest. One bar is current: arrows, Home and End move it, Enter or a click chooses it.
class BalancePlot : public QWidget {
    Q_OBJECT
public:
    explicit BalancePlot(QWidget* parent = nullptr);

    void show(WriterUsesPtr uses, bool byRank);
    [[nodiscard]] const WriterBalance& balance() const { return m_balance; }
    // Bars that show; fewer than there are writers where several share one.
    [[nodiscard]] std::size_t bars() const { return m_groups.size(); }
    // A place in WriterUses::byFile or byRank becomes current, without a signal; nothing: none.
    void setCurrent(std::optional<std::size_t> use);
    [[nodiscard]] std::optional<std::size_t> current() const { return m_current; }
    // What is said of the bar under a point; empty beside the bars.
    [[nodiscard]] HoverCardContent cardAt(QPointF point) const;
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void chosen(std::size_t use);
    void hoverTextChanged(const QString& text);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

private:
    struct Group { // consecutive bars of the balance that share one
        std::size_t first = 0;
        std::size_t count = 1;
        std::size_t largest = 0;
        std::size_t smallest = 0;
    };
    void applyTheme();
    void place();
    void placeAxis();
    [[nodiscard]] double leastHeight() const; // bytes
    void markCurrent();
    void announce();
    void moveTo(std::ptrdiff_t bar);
    [[nodiscard]] const WriterUse& useOf(std::size_t bar) const;
    [[nodiscard]] std::optional<std::size_t> groupAt(QPointF point) const;
    [[nodiscard]] std::size_t groupOf(std::size_t bar) const;
    [[nodiscard]] QString shortLabel(std::size_t bar) const;
    [[nodiscard]] HoverCardContent cardOf(std::size_t group) const;
    [[nodiscard]] QString sentenceOf(std::size_t bar) const;

    WriterUsesPtr m_uses;
    bool m_byRank = false;
    WriterBalance m_balance;
    std::vector<Group> m_groups;
    QStringList m_labels; // short names of files, by bar
    std::optional<std::size_t> m_current; // of the uses
    QCustomPlot* m_plot; // a child widget
    QCPBars* m_largest;
    QCPBars* m_smallest;
    QCPBars* m_marked;
    QCPItemText* m_meanText; // below the line that it names
    QCPItemStraightLine* m_mean;
    HoverCard* m_card;
    QTimer m_hoverTimer;
    QPoint m_cursor;
};

} // namespace shardlens::ui
