#pragma once

#include <QAbstractButton>
#include <QWidget>

#include <vector>

class QVBoxLayout;

namespace shardlens::ui {

class TextLabel;

// One line of the list of steps: number or check mark, name, what was chosen.
class ConvertStepItem : public QAbstractButton {
    Q_OBJECT
public:
    enum class State { Ahead, Current, Done };

    ConvertStepItem(int number, const QString& name, bool last, QWidget* parent = nullptr);
    void show(State state, const QString& note);
    [[nodiscard]] State state() const { return m_state; }
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    void paintMark(QPainter& painter, const QRectF& circle) const;

    int m_number;
    bool m_last;
    State m_state = State::Ahead;
    QString m_note;
};

// The steps of the convert page, at its left. Any step that can be reached can be clicked; Up and Down move between them.
class ConvertStepList : public QWidget {
    Q_OBJECT
public:
    explicit ConvertStepList(const QStringList& names, QWidget* parent = nullptr);

    void setSubject(const QString& subject); // "llama-7b, global_step12000"
    void showStep(int index, ConvertStepItem::State state, const QString& note, bool reachable);
    [[nodiscard]] int count() const { return static_cast<int>(m_items.size()); }
    [[nodiscard]] ConvertStepItem* item(int index) const { return m_items[static_cast<std::size_t>(index)]; }

signals:
    void chosen(int index);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QVBoxLayout* m_layout;
    TextLabel* m_subject;
    std::vector<ConvertStepItem*> m_items;
};

} // namespace shardlens::ui
