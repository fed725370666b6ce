#pragma once

#include "ui/models/metadata_tree.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

class QCheckBox;
class QLabel;
class QLineEdit;
class QStackedWidget;
class QTreeView;

namespace shardlens::ui {

class MetadataModel;
class PageBar;

// What else is in the files (design.md §3): everything that is no tensor, as a searchable tree. Nothing in it was executed.
class MetadataPage : public Page {
    Q_OBJECT
public:
    explicit MetadataPage(Document* document, QWidget* parent = nullptr);
    ~MetadataPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("metadata"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    void focusFilter() override;
    bool clearFilter() override;
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] QTreeView* tree() const { return m_view; }
    [[nodiscard]] QLineEdit* filter() const { return m_filter; }
    [[nodiscard]] MetadataModel* model() const { return m_model; }

private:
    void rebuild();
    void applyFilter();
    void showFacts();
    void expandShort();

    PageBar* m_bar;
    QLineEdit* m_filter;
    QCheckBox* m_onlyDiffering;
    QLabel* m_count;
    QStackedWidget* m_stack;
    QTreeView* m_view;
    QLabel* m_empty;
    MetadataModel* m_model;
    CheckpointPtr m_builtFor;
    bool m_active = false;
    Runner m_run;
};

} // namespace shardlens::ui
