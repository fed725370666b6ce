#pragma once

#include <QAbstractButton>

namespace shardlens::ui {

// One thing that a person may want to do with the checkpoint: icon, title, what it would give.
class GoalButton : public QAbstractButton {
    Q_OBJECT
public:
    GoalButton(const QString& icon, const QString& title, QWidget* parent = nullptr);
    void setNote(const QString& note);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QString m_icon;
    QString m_note;
};

} // namespace shardlens::ui
