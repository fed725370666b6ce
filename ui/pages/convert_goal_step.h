#pragma once

#include "ui/pages/convert_step.h"

#include <QAbstractButton>

#include <vector>

namespace shardlens::ui {

// A goal as a card that is chosen like a radio button: title, sentence, and the size that the result will have.
class GoalCard : public QAbstractButton {
    Q_OBJECT
public:
    GoalCard(std::string format, const QString& title, const QString& sentence, QWidget* parent = nullptr);
    [[nodiscard]] const std::string& format() const { return m_format; }
    void setSize(const QString& size);
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
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

private:
    void add(GoalCard* card);

    std::vector<GoalCard*> m_cards;
};

} // namespace shardlens::ui
