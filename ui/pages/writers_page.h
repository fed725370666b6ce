#pragma once

#include "ui/models/runner.h"
#include "ui/models/writer_uses.h"
#include "ui/pages/page.h"

class QLabel;
class QSplitter;
class QStackedWidget;
class QTableView;

namespace shardlens::ui {

class BalancePlot;
class Link;
class NameDelegate;
class PageBar;
class SearchField;
class Segments;
class TextLabel;
class WriterRows;

// Who wrote what, and is it shared out evenly? Files, or the ranks that wrote them, as bars and as a table; a row selects its file everywhere.
class WritersPage : public Page {
    Q_OBJECT
public:
    explicit WritersPage(Document* document, QWidget* parent = nullptr);
    ~WritersPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("writers"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    void choose(const QString& what) override; // "rank": by rank
    void focusFilter() override;
    bool clearFilter() override;
    // The table as it is sorted and filtered.
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] WriterRows* rows() const { return m_rows; }
    [[nodiscard]] QTableView* table() const { return m_table; }
    [[nodiscard]] BalancePlot* plot() const { return m_plot; }
    [[nodiscard]] SearchField* filter() const { return m_filter; }
    [[nodiscard]] Segments* mode() const { return m_mode; }
    // How evenly the bytes are shared out.
    [[nodiscard]] QString sentence() const;
    [[nodiscard]] QString count() const;
    [[nodiscard]] bool isReady() const { return m_uses != nullptr; }

protected:
    void paintEvent(QPaintEvent* event) override;
    bool eventFilter(QObject* watched, QEvent* event) override; // the table's width decides on its columns

private:
    void buildBar();
    void buildTable();
    [[nodiscard]] QWidget* buildBalance();
    void rebuild();
    void show();
    void showCount();
    void followSelection();
    void followRank();
    void followTheme();
    void fitColumns();
    void applyFilter();
    void chooseUse(std::size_t use);
    void openAtlas();
    [[nodiscard]] bool isByRank() const;

    PageBar* m_bar = nullptr;
    Segments* m_mode = nullptr;
    SearchField* m_filter = nullptr;
    TextLabel* m_count = nullptr;
    QStackedWidget* m_stack;
    QLabel* m_empty;
    QSplitter* m_split;
    TextLabel* m_sentence = nullptr;
    TextLabel* m_hint = nullptr;
    BalancePlot* m_plot = nullptr;
    QTableView* m_table = nullptr;
    WriterRows* m_rows;
    NameDelegate* m_names = nullptr;
    WriterUsesPtr m_uses;
    CheckpointPtr m_builtFor;
    bool m_active = false;
    bool m_quiet = false; // the selection is set from outside
    Runner m_run;
};

} // namespace shardlens::ui
