#pragma once

#include "ui/models/runner.h"
#include "ui/models/selection.h"
#include "ui/pages/page.h"
#include "ui/pages/tensors/tensor_index.h"

#include <vector>

class QComboBox;
class QLabel;
class QTableView;

namespace shardlens::ui {

class Link;
class PageBar;
class SearchField;
class Segments;
class TensorRows;
class TextLabel;

// Which tensors, how big, on whom? (design.md §3, Tensors)
class TensorsPage : public Page {
    Q_OBJECT
public:
    explicit TensorsPage(Document* document, QWidget* parent = nullptr);

    [[nodiscard]] QString id() const override { return QStringLiteral("tensors"); }
    [[nodiscard]] QString question() const override { return tr("Which tensors are there, how big are they, and on whom?"); }
    void activate() override;
    void focusFilter() override;
    bool clearFilter() override;
    bool undoView() override;
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] TensorRows* rows() const { return m_rows; }

protected:
    bool eventFilter(QObject* watched, QEvent* event) override;
    void paintEvent(QPaintEvent* event) override;

private:
    void buildTop();
    void buildTable();
    void buildFoot();
    void fillChoices();
    void queryChanged();
    void rankChosen();
    void followRank();
    void runQueryNow();
    void deliver(const RowQuery& query, RowResult result, double elapsedMs);
    void currentChanged();
    void followSelection(const Selection& selection);
    void clicked(const QModelIndex& index);
    bool keyPressed(class QKeyEvent* event);
    void showFoot();
    void exportCsv();
    void setQuery(const RowQuery& query);

    PageBar* m_bar;
    Segments* m_mode;
    SearchField* m_filter;
    QComboBox* m_dtype;
    QComboBox* m_state;
    QComboBox* m_rank;
    TextLabel* m_count;
    QTableView* m_table;
    TensorRows* m_rows;
    TextLabel* m_hidden;
    Link* m_clear;
    TextLabel* m_sum;
    QWidget* m_legend;

    std::shared_ptr<const TensorIndex> m_index;
    Runner m_indexRun;
    Runner m_queryRun;
    RowQuery m_query;
    RowResult m_result;
    std::vector<RowQuery> m_undo;
    bool m_quiet = false;
};

} // namespace shardlens::ui
