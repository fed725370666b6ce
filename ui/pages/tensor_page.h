#pragma once

#include "core/model/checkpoint.h"
#include "ui/models/rule_book.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <optional>
#include <vector>

class QComboBox;
class QLabel;
class QSpinBox;
class QSplitter;
class QStackedWidget;
class QTableView;

namespace shardlens::ui {

class BytesView;
class FaultList;
class Link;
class NameDelegate;
class PageBar;
class RuleView;
class Segments;
class StatisticsView;
class TensorPicture;
class TensorPieces;
class TextLabel;
class ValuesView;

// How is this tensor cut, and what is in it (design.md §3, §5): picture with the list of its pieces, values, statistics, bytes.
class TensorPage : public Page {
    Q_OBJECT
public:
    explicit TensorPage(Document* document, QWidget* parent = nullptr);

    [[nodiscard]] QString id() const override { return QStringLiteral("tensor"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    void focusFilter() override; // the index field of the values, the offset field of the bytes
    [[nodiscard]] QString copyText(bool withPlace) const override;

    enum class View { Picture, Values, Statistics, Bytes, Rule };
    void setView(View view);
    [[nodiscard]] TensorPicture* picture() const { return m_picture; }
    [[nodiscard]] ValuesView* values() const { return m_values; }
    [[nodiscard]] StatisticsView* statistics() const { return m_statistics; }
    [[nodiscard]] BytesView* bytes() const { return m_bytes; }
    [[nodiscard]] RuleView* rule() const { return m_rule; }
    // How the tensor is divided, in a sentence; empty without one.
    [[nodiscard]] QString division() const;
    [[nodiscard]] QSpinBox* heads() const { return m_heads; }
    [[nodiscard]] QComboBox* states() const { return m_states; }
    [[nodiscard]] QComboBox* axes() const { return m_axes; } // which two the picture draws; hidden below three
    [[nodiscard]] FaultList* faultList() const { return m_faults; }

protected:
    void keyPressEvent(QKeyEvent* event) override;

private:
    void buildBody();
    void connectParts();
    void showTensor();
    void fillStates();
    void showControls();
    void buildDivision();
    void showDivision();
    void showBands();
    void readRules();
    void selectPiece(PieceId piece);
    [[nodiscard]] QWidget* bodyOf(View view) const;
    void selectFault(std::size_t fault);
    void fillAxes();
    void buildTileAxes();
    [[nodiscard]] std::uint64_t chosenTile() const;

    PageBar* m_bar;
    Segments* m_segments;
    QComboBox* m_states;
    QLabel* m_copyLabel;
    QSpinBox* m_copy;
    QLabel* m_axesLabel;
    QComboBox* m_axes;
    QLabel* m_headsLabel;
    QSpinBox* m_heads; // where the checkpoint does not say how many there are
    QLabel* m_note;
    QWidget* m_tileRow;
    std::vector<QSpinBox*> m_tileAxes;
    QStackedWidget* m_stack;
    QSplitter* m_split;
    TensorPicture* m_picture;
    FaultList* m_faults;
    QTableView* m_pieces;
    TensorPieces* m_piecesModel;
    NameDelegate* m_names = nullptr;
    ValuesView* m_values;
    StatisticsView* m_statistics;
    BytesView* m_bytes;
    RuleView* m_rule;
    QLabel* m_empty;
    QWidget* m_divisionRow = nullptr;
    TextLabel* m_division = nullptr;
    Link* m_toRule = nullptr;
    RuleBookPtr m_rules; // of m_checkpoint; nullptr: not read yet
    Runner m_rulesRun;
    CheckpointPtr m_checkpoint;
    std::optional<TensorId> m_tensor;
};

} // namespace shardlens::ui
