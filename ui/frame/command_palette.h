#pragma once

#include "core/model/checkpoint.h"
#include "ui/models/selection.h"

#include <QAction>
#include <QLineEdit>
#include <QPointer>

#include <vector>

class QListWidget;

namespace shardlens::ui {

class Document;

// One field that finds tensors, files, ranks and actions (design.md §2). `>` actions only, `@` ranks, `#` files.
// Enter selects and stays on the page, Alt+Enter goes to the tensor.
class CommandPalette : public QLineEdit {
    Q_OBJECT
public:
    explicit CommandPalette(QWidget* parent = nullptr);
    void setDocument(Document* document);
    // Every action with a name can be found; the list is asked for anew each time.
    void setActions(std::vector<QAction*> actions) { m_actions = std::move(actions); }
    void start(const QString& prefix = {});

signals:
    void tensorChosen(bool openPage);

protected:
    bool event(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

private:
    struct Hit {
        QString section;
        QString text;
        QString detail;
        Selection selection;
        QAction* action = nullptr;
    };

    void search(const QString& text);
    void fill(const std::vector<Hit>& hits);
    void choose(bool openPage);
    void indexNames();
    std::vector<Hit> tensorHits(const QString& text) const;
    std::vector<Hit> otherHits(const QString& text, QChar kind) const;

    QPointer<Document> m_document;
    QListWidget* m_list;
    std::vector<QAction*> m_actions;
    std::vector<Hit> m_hits;
    std::vector<QString> m_names; // lower-cased parameters, by ParameterId
    std::vector<TensorId> m_tensorOf;
    std::vector<std::string> m_shown; // by index into m_names
};

} // namespace shardlens::ui
