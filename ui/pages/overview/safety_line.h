#pragma once

#include <QWidget>

namespace shardlens::ui {

class Link;
class SafetyCheck;
class TextLabel;
class ToneIcon;

// The verdict on a document's pickles in one line, with a way to its page.
class SafetyLine : public QWidget {
    Q_OBJECT
public:
    // The check must outlive it.
    explicit SafetyLine(const SafetyCheck* check, QWidget* parent = nullptr);
    [[nodiscard]] QString text() const;

signals:
    void opened();

private:
    void follow();

    const SafetyCheck* m_check;
    Link* m_open;
    ToneIcon* m_icon;
    TextLabel* m_text;
};

} // namespace shardlens::ui
