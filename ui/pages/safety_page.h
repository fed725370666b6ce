#pragma once

#include "core/analysis/scan.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <memory>
#include <optional>

class QCheckBox;
class QLabel;
class QLineEdit;
class QSplitter;
class QStackedWidget;
class QTableView;
class QVBoxLayout;

namespace shardlens::ui {

class Link;
class NameDelegate;
class OpcodeLines;
class PageBar;
class SafetyCheck;
class SafetyFiles;
class SafetyFindings;
class TextLabel;

// May these files be loaded elsewhere? (design.md §8): a verdict for every file, what was found in it, and the opcodes there.
class SafetyPage : public Page {
    Q_OBJECT
public:
    explicit SafetyPage(Document* document, QWidget* parent = nullptr);
    ~SafetyPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("safety"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    void focusFilter() override;
    bool clearFilter() override;
    // The report as text; with places, of all files.
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] QTableView* files() const { return m_files; }
    [[nodiscard]] QTableView* findings() const { return m_findings; }
    [[nodiscard]] QTableView* opcodes() const { return m_opcodes; }
    [[nodiscard]] QLineEdit* filter() const { return m_filter; }
    [[nodiscard]] QCheckBox* harmless() const { return m_all; }

private:
    QWidget* buildBody();
    QWidget* buildListing();
    void follow();
    void showReport();
    void showFile();
    void showFinding();
    void list(const ScanFinding& finding);
    void markAt(std::uint64_t offset);
    void goTo();
    [[nodiscard]] std::optional<std::size_t> currentFile() const;

    PageBar* m_bar;
    QLineEdit* m_filter;
    QCheckBox* m_all;
    QStackedWidget* m_stack;
    QWidget* m_body = nullptr;
    QWidget* m_wait = nullptr;
    QLabel* m_message;
    Link* m_action;
    QVBoxLayout* m_verdict = nullptr;
    QTableView* m_files = nullptr;
    NameDelegate* m_names = nullptr;
    QTableView* m_findings = nullptr;
    QTableView* m_opcodes = nullptr;
    TextLabel* m_what = nullptr;
    TextLabel* m_where = nullptr;
    QLineEdit* m_goTo = nullptr;
    SafetyFiles* m_fileModel;
    SafetyFindings* m_findingModel;
    OpcodeLines* m_opcodeModel;
    SafetyCheck* m_check;
    std::shared_ptr<const ScanReport> m_shown;
    std::optional<std::size_t> m_listed; // stream whose opcodes are shown
    bool m_wantsHarmless = false;
    Runner m_run;
};

} // namespace shardlens::ui
