#pragma once

#include "core/model/checkpoint.h"
#include "ui/models/selection.h"

#include <QPointer>
#include <QWidget>

class QScrollArea;
class QVBoxLayout;

namespace shardlens::ui {

class Document;

// What is known about the selection: a tensor with its picture and where it lies, a rank, or a file (design.md §2).
class Inspector : public QWidget {
    Q_OBJECT
public:
    explicit Inspector(QWidget* parent = nullptr);
    void setDocument(Document* document);

signals:
    void closeRequested();

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void rebuild();
    void addFile(const File& file);
    void showNothing();
    void showTensor(TensorId tensor);
    void showRank(std::uint32_t rank);
    void showFile(FileId file);
    void addFact(const QString& name, const QString& value);
    void addSection(const QString& title, const QString& detail = {});
    void addPieceTable(ParameterId parameter);
    void addButtons(TensorId tensor);

    QPointer<Document> m_document;
    QWidget* m_content = nullptr;
    QVBoxLayout* m_column = nullptr;
    QScrollArea* m_scroll;
};

} // namespace shardlens::ui
