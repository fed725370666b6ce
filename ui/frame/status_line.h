#pragma once

#include <QWidget>

namespace shardlens::ui {

class Document;
class TextLabel;

// The lowest line: path · size · format at the left, findings at the right; a page's hint takes the left while it lasts.
class StatusLine : public QWidget {
    Q_OBJECT
public:
    explicit StatusLine(QWidget* parent = nullptr);
    void show(const Document* document);
    void showHint(const QString& hint); // empty: back to the document

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    TextLabel* m_left;
    TextLabel* m_right;
    QString m_facts;
};

} // namespace shardlens::ui
