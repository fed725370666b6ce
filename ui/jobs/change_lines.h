#pragma once

#include "ui/jobs/job_protocol.h"

#include <QWidget>

#include <vector>

namespace shardlens::ui {

// What a conversion keeps, drops and changes: a line each, with icon, topic and sentence. Long sentences wrap.
class ChangeLines : public QWidget {
    Q_OBJECT
public:
    static constexpr std::size_t kMostLines = 200; // then one line counts the rest

    explicit ChangeLines(QWidget* parent = nullptr);
    void setLines(const std::vector<JobReportLine>& lines);
    // For the clipboard: "topic: text", a line each.
    [[nodiscard]] static QString asText(const std::vector<JobReportLine>& lines);

private:
    void addRow(int row, const JobReportLine& line);
};

} // namespace shardlens::ui
