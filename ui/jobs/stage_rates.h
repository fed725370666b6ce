#pragma once

#include "ui/jobs/job_protocol.h"

#include <QWidget>

#include <array>

namespace shardlens::ui {

class TextLabel;

// Bytes that went through the stages while their threads spent that time in them.
struct StageSpan {
    JobStages stages;
    std::uint64_t bytesRead = 0;
    std::uint64_t bytesWritten = 0;
};

// One stage of a span: what share of the threads' time it took, and how fast each thread was in it.
struct StageRate {
    double share = 0;
    double bytesPerSecond = 0; // of one thread; computing counts the bytes that were read for it. 0: nothing went through
};
// Reading, computing, writing.
[[nodiscard]] std::array<StageRate, 3> stageRatesOf(const StageSpan& span);

// The three stages side by side; the one that takes the most time stands out, for it is what limits the job.
class StageRates : public QWidget {
    Q_OBJECT
public:
    explicit StageRates(QWidget* parent = nullptr);

    // Hides itself where no time was spent.
    void setSpan(const StageSpan& span);

private:
    struct Column {
        TextLabel* value;
        TextLabel* note;
    };
    std::array<Column, 3> m_columns{};
};

} // namespace shardlens::ui
