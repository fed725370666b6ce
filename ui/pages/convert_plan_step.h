#pragma once

#include "ui/pages/convert_planner.h"
#include "ui/pages/convert_step.h"

#include <QGridLayout>

namespace shardlens::ui {

class Banner;
class Card;
class ChangeLines;
class ConvertPrecision;
class PlanPicture;
class TextLabel;

// Pairs of label and value, one below the other.
class FactGrid : public QWidget {
    Q_OBJECT
public:
    explicit FactGrid(QWidget* parent = nullptr);
    void setFacts(const std::vector<std::pair<QString, QString>>& facts);

private:
    QGridLayout* m_grid;
    std::vector<std::pair<TextLabel*, TextLabel*>> m_rows;
};

// "The plan. Nothing has been written yet.": what will be read and written, what changes, and the picture of it.
class ConvertPlanStep : public ConvertStep {
    Q_OBJECT
public:
    explicit ConvertPlanStep(QWidget* parent = nullptr);

    void load(const JobDraft& draft, const StepFacts& facts) override;
    [[nodiscard]] QString summary(const JobDraft& draft, const StepFacts& facts) const override;

    // nullptr: still planning; what showed stays, and loses its banner. `rate`: measured on the target's disk, bytes a second.
    void showPlan(std::shared_ptr<const PlannedJob> job, std::optional<double> rate);
    [[nodiscard]] const std::shared_ptr<const PlannedJob>& planned() const { return m_job; }
    [[nodiscard]] ConvertPrecision* precision() const { return m_precision; }

signals:
    void tensorChosen(const QString& name); // of those that lose something

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    void showBanner();
    void showFigures();
    void showTime();
    [[nodiscard]] QString sentence() const;
    // Weights of these names stay as they are, besides those that did already.
    void keepThese(const QString& pattern);

    QVBoxLayout* m_bannerPlace;
    QBoxLayout* m_cards = nullptr;
    Banner* m_banner = nullptr;
    QWidget* m_rest;
    TextLabel* m_sentence;
    PlanPicture* m_picture;
    FactGrid* m_reads;
    FactGrid* m_space;
    TextLabel* m_time;
    FactGrid* m_times;
    ConvertPrecision* m_precision;
    ChangeLines* m_lines;
    std::shared_ptr<const PlannedJob> m_job;
    std::optional<double> m_rate;
};

} // namespace shardlens::ui
