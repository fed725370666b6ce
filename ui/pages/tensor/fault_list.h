#pragma once

#include "ui/models/tensor_faults.h"

#include <QWidget>

class QTableView;

namespace shardlens::ui {

class Link;
class TextLabel;

// The holes of a tensor and what is held twice, as a list beside its picture. Hidden where there are none.
class FaultList : public QWidget {
    Q_OBJECT
public:
    explicit FaultList(QWidget* parent = nullptr);

    void show(const CheckpointPtr& checkpoint, TensorId tensor, const TensorFaults& faults);
    // Selects a row without saying so; nothing: none.
    void setCurrent(std::optional<std::size_t> fault);
    [[nodiscard]] std::optional<std::size_t> current() const;
    // The list for the clipboard.
    [[nodiscard]] QString text() const;
    [[nodiscard]] QString sentence() const;
    [[nodiscard]] QTableView* table() const { return m_table; }

signals:
    void chosen(std::size_t fault); // by pointer or keys

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void follow();
    void fit();
    void showDetail();

    TensorFaultRows* m_rows;
    TextLabel* m_sentence;
    Link* m_copy;
    QTableView* m_table;
    TextLabel* m_detail; // the current row, else the first, in one sentence
    bool m_quiet = false;
};

} // namespace shardlens::ui
