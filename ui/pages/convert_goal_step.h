#pragma once

#include "ui/pages/convert_step.h"

#include <QAbstractButton>

#include <vector>

class QPushButton;

namespace shardlens::ui {

// A goal as a card that is chosen like a radio button: title, sentence, and the size that the result will have. Its texts wrap.
class GoalCard : public QAbstractButton {
    Q_OBJECT
public:
    GoalCard(std::string format, const QString& title, const QString& sentence, QWidget* parent = nullptr);
    [[nodiscard]] const std::string& format() const { return m_format; }
    void setTitle(const QString& title);
    void setSize(const QString& size);
    void setSentence(const QString& sentence);
    [[nodiscard]] const QString& sentence() const { return m_sentence; }
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] int heightForWidth(int width) const override;

protected:
    void paintEvent(QPaintEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override; // Enter chooses, as Space does

private:
    struct Heights { // of the wrapped texts
        int title;
        int sentence;
    };

    [[nodiscard]] int sizeRoom() const;
    [[nodiscard]] Heights heightsAt(int width) const;
    void describe();

    std::string m_format;
    QString m_sentence;
    QString m_size;
};

// "What do you need?"
class ConvertGoalStep : public ConvertStep {
    Q_OBJECT
public:
    explicit ConvertGoalStep(QWidget* parent = nullptr);
    void load(const JobDraft& draft, const StepFacts& facts) override;
    [[nodiscard]] QString summary(const JobDraft& draft, const StepFacts& facts) const override;
    [[nodiscard]] QString obstacle(const JobDraft& draft, const StepFacts& facts) const override;
    [[nodiscard]] GoalCard* card(const std::string& format) const; // nullptr: no goal makes that

signals:
    void openJobFile();

private:
    void add(GoalCard* card);
    void loadRun(const StepFacts& facts);
    void loadLayout(GoalCard* card, const StepFacts& facts);
    void loadSharded(GoalCard* card, const StepFacts& facts);
    void loadMindSpore(const JobDraft& draft, const StepFacts& facts);

    std::vector<GoalCard*> m_cards;
    QPushButton* m_jobFile;
};

} // namespace shardlens::ui
