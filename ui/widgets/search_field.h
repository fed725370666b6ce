#pragma once

#include <QLineEdit>

class QAction;

namespace shardlens::ui {

// A field for filtering, with a magnifier; optionally with a switch that makes the text a regular expression.
class SearchField : public QLineEdit {
    Q_OBJECT
public:
    explicit SearchField(const QString& placeholder, QWidget* parent = nullptr);
    void setRegexToggle(bool on);
    [[nodiscard]] bool isRegex() const;
    void setRegex(bool on);
    void setInvalid(bool on, const QString& why = {});

signals:
    void regexChanged(bool on);

protected:
    void keyPressEvent(QKeyEvent* event) override;

private:
    QAction* m_regex = nullptr;
};

} // namespace shardlens::ui
