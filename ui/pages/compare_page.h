#pragma once

#include "ui/pages/compare/compare_run.h"
#include "ui/pages/page.h"

#include <array>
#include <memory>

class QCheckBox;
class QComboBox;
class QHBoxLayout;
class QLabel;
class QLineEdit;
class QMenu;
class QPushButton;
class QStackedWidget;
class QTableView;
class QVBoxLayout;

namespace shardlens::ui {

class Banner;
class CountChip;
class PageBar;
class SearchField;
class TextLabel;

// Is it the same model (design.md §3): this checkpoint, A, against another one, B: tensors and arguments in one table.
class ComparePage : public Page {
    Q_OBJECT
public:
    explicit ComparePage(Document* document, QWidget* parent = nullptr);

    [[nodiscard]] QString id() const override { return QStringLiteral("compare"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    // A path to compare with; the comparison starts.
    void choose(const QString& what) override;
    void focusFilter() override;
    bool clearFilter() override;
    [[nodiscard]] QString copyText(bool withPlace) const override;

    void start();
    void cancel();
    [[nodiscard]] bool isRunning() const { return m_run.isRunning(); }
    [[nodiscard]] const CompareModel& model() const { return *m_model; }
    [[nodiscard]] CompareRequest request() const;
    [[nodiscard]] CountChip* chip(std::size_t group) const { return m_chips[group]; }
    [[nodiscard]] QTableView* table() const { return m_table; }
    // What the page says instead of a table; empty where it shows one.
    [[nodiscard]] QString message() const;

protected:
    void dragEnterEvent(QDragEnterEvent* event) override;
    void dropEvent(QDropEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    void buildBar();
    void buildOptions();
    void buildResult();
    void fillChoices();
    void browse(bool folder);
    void showProgress(std::uint64_t done, std::uint64_t total);
    void showResult(const std::shared_ptr<const CompareResult>& result);
    void showFailure(const QString& sentence);
    void showIdle();
    void setBanner(Banner* banner);
    void applyFilter();
    void applyTheme();
    void fitColumns();
    void selectRow();

    PageBar* m_bar;
    QLineEdit* m_other; // path of B
    QPushButton* m_choose;
    QMenu* m_choices;
    QPushButton* m_start;
    TextLabel* m_progress;
    QWidget* m_options;
    QComboBox* m_select;
    QLineEdit* m_renames;
    QLineEdit* m_absolute;
    QLineEdit* m_relative;
    QCheckBox* m_ignoreDtype;
    QStackedWidget* m_stack;
    QLabel* m_message;
    QWidget* m_result;
    QVBoxLayout* m_resultColumn;
    Banner* m_banner = nullptr;
    std::array<CountChip*, kCompareGroups> m_chips{};
    SearchField* m_filter;
    QTableView* m_table;
    CompareModel* m_model;
    CompareRun m_run;
};

} // namespace shardlens::ui
