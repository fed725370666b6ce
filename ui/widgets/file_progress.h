#pragma once

#include "ui/jobs/job.h"

#include <QWidget>

#include <vector>

namespace shardlens::ui {

// The files of a job as bars to one scale, filling in the order in which they are written, in the colours of the ranks that the bytes come from.
// As tall as its rows; meant for a scroll area: only rows that show are painted.
class FileProgress : public QWidget {
    Q_OBJECT
public:
    enum class Stage { Waiting, Writing, Checking, Over };

    explicit FileProgress(QWidget* parent = nullptr);

    void setFiles(const std::vector<JobFile>& files);
    // `bytesWritten` of all files together; Over: all of them, where `complete`.
    void setProgress(std::uint64_t bytesWritten, Stage stage, bool complete);

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return sizeHint().boundedTo(QSize(200, 1 << 24)); }
    // What a row says at its right: "written", "checked", "78 %"; empty before its turn.
    [[nodiscard]] QString stateText(std::size_t row) const;

protected:
    void paintEvent(QPaintEvent* event) override;
    bool event(QEvent* event) override;

private:
    [[nodiscard]] int rowHeight() const;
    [[nodiscard]] std::uint64_t writtenOf(std::size_t row) const;
    void paintRow(QPainter& painter, std::size_t row, const QRect& where) const;
    void paintBar(QPainter& painter, std::size_t row, const QRectF& room) const;

    std::vector<JobFile> m_files;
    std::vector<std::uint64_t> m_before; // bytes of the files before each
    std::uint64_t m_largest = 0;
    std::uint64_t m_written = 0;
    Stage m_stage = Stage::Waiting;
    bool m_complete = false;
};

} // namespace shardlens::ui
