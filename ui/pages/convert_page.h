#pragma once

#include "ui/pages/convert_draft.h"
#include "ui/pages/convert_facts.h"
#include "ui/pages/convert_planner.h"
#include "ui/pages/page.h"

#include <QPointer>
#include <QTimer>

#include <array>

class QBoxLayout;
class QLineEdit;
class QPushButton;
class QStackedWidget;
class QVBoxLayout;

namespace shardlens::ui {

class Banner;
class ConvertGoalStep;
class ConvertOptionsStep;
class ConvertPlanStep;
class ConvertStepList;
class Job;
class JobQueue;
class TextLabel;

// From a goal to a running job in five steps, without a dialog (design.md §7). The draft lives as long as the tab; going back keeps everything.
// The page plans in this process and never executes: Start hands the job to the queue.
class ConvertPage : public Page {
    Q_OBJECT
public:
    enum Step { Goal, Check, Options, Plan, Run, StepCount };

    // Document and queue outlive the page.
    ConvertPage(Document* document, JobQueue* queue, QWidget* parent = nullptr);

    [[nodiscard]] QString id() const override { return QStringLiteral("convert"); }
    [[nodiscard]] QString question() const override { return tr("What shall it become, and what will that take?"); }
    void activate() override;
    [[nodiscard]] QString copyText(bool withPlace) const override; // the command line

    [[nodiscard]] const JobDraft& draft() const { return m_draft; }
    [[nodiscard]] Step step() const { return m_step; }
    void goTo(Step step);
    void setGoal(const QString& format);
    void choose(const QString& what) override { setGoal(what); }
    void setTarget(const QString& target);
    // Takes the choices of a job document and says so, or why not. The source stays the open checkpoint.
    void openJobFile(const QString& path);
    // nullptr until the first Start of this tab.
    [[nodiscard]] Job* job() const;
    [[nodiscard]] QPushButton* nextButton() const { return m_next; }
    [[nodiscard]] ConvertGoalStep* goalStep() const { return m_goal; }
    [[nodiscard]] ConvertOptionsStep* optionsStep() const { return m_options; }
    [[nodiscard]] const ConvertPlanStep* planStep() const { return m_plan; }
    [[nodiscard]] const StepFacts& facts() const { return m_facts->now(); }

signals:
    void jobStarted(shardlens::ui::Job* job);

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    QWidget* makeFooter();
    void adoptDocument();
    void adoptFacts();
    void adoptSettings();
    void propose();
    void loadSteps(const QObject* besides = nullptr);
    void take(const JobDraft& draft);
    void changed();
    void replan();
    void showAll();
    void showSteps();
    void showFooter();
    [[nodiscard]] QString obstacle() const;
    void next();
    void back();
    void start();
    void chooseTarget();
    void chooseJobFile();
    void saveJobFile();
    void openTensor(const QString& name);
    void copyCommandLine();
    void say(bool good, const QString& what, const QString& rest);

    JobQueue* m_queue;
    JobDraft m_draft;
    std::uint64_t m_settingMemory = kDefaultMemoryLimit; // as the settings said last
    std::uint32_t m_settingThreads = 0;
    ConvertFacts* m_facts;
    ConvertPlanner m_planner;
    QTimer m_replanSoon;
    Step m_step = Goal;
    QPointer<Job> m_job;
    ConvertStepList* m_list;
    QStackedWidget* m_stack;
    std::array<ConvertStep*, Run> m_steps{};
    ConvertGoalStep* m_goal;
    ConvertOptionsStep* m_options;
    ConvertPlanStep* m_plan;
    QVBoxLayout* m_bannerPlace;
    QPointer<Banner> m_banner;
    TextLabel* m_why = nullptr; // the next step cannot be taken
    QBoxLayout* m_footer;
    QLineEdit* m_target;
    QPushButton* m_choose;
    QPushButton* m_save;
    QPushButton* m_copy;
    QPushButton* m_back;
    QPushButton* m_next;
};

} // namespace shardlens::ui
