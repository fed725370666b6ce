#pragma once

#include <QWidget>

namespace shardlens::ui {

class Document;

// One page of a tab. It answers one question (design.md §3), shows the document's selection and changes it through Document::select.
// Owned by the tab's stack. The document outlives the page.
class Page : public QWidget {
    Q_OBJECT
public:
    explicit Page(Document* document, QWidget* parent = nullptr) : QWidget(parent), m_document(document) {}

    [[nodiscard]] virtual QString id() const = 0;       // "overview", "tensors", "atlas", "writers", "tensor", "topology", "pipeline", "model", "compare", "metadata", "safety", "convert"
    [[nodiscard]] virtual QString question() const = 0; // the rail's tooltip
    // The page has come to the front; work that was put off may start.
    virtual void activate() {}
    // What a request names beside the page, for example the goal of a conversion ("safetensors").
    virtual void choose(const QString& what) { Q_UNUSED(what) }
    // Ctrl+F: focus the page's filter, if it has one.
    virtual void focusFilter() {}
    // Esc: clears the filter; false if there was nothing to clear.
    virtual bool clearFilter() { return false; }
    // Ctrl+C, Ctrl+Shift+C: the selection as text; empty if the page has nothing better than the document's.
    [[nodiscard]] virtual QString copyText(bool withPlace) const { Q_UNUSED(withPlace) return {}; }
    // Ctrl+Z: undoes the last filter, sort or zoom; false if there is none.
    virtual bool undoView() { return false; }

    [[nodiscard]] Document* document() const { return m_document; }

private:
    Document* m_document;
};

} // namespace shardlens::ui
