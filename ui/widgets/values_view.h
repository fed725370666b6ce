#pragma once

#include "ui/models/runner.h"
#include "ui/models/values_model.h"

#include <QTimer>
#include <QWidget>

#include <memory>
#include <vector>

class QComboBox;
class QLabel;
class QLineEdit;
class QSpinBox;
class QTableView;
class QHBoxLayout;
class QToolButton;

namespace shardlens::ui {

// A tensor's values as a table (design.md §3, Values). Reads what shows and a margin of 64 rows on a worker; never blocks.
class ValuesView : public QWidget {
    Q_OBJECT
public:
    explicit ValuesView(QWidget* parent = nullptr);
    ~ValuesView() override;

    // nullptr: empty. Reading starts when the view is shown.
    void setTensor(std::shared_ptr<const StreamSet> streams, TensorId tensor);
    // True: cells of a few pixels, colours only.
    void setMap(bool map);
    [[nodiscard]] bool isMap() const { return m_map; }
    // Shows the cell, or says why not. "12, 7" or a place in row-major order.
    bool goTo(const QString& index);
    void focusIndexField();
    // Reads the selected rectangle on a worker and puts it on the clipboard.
    void copySelection(ValuesCopyFormat format);

    [[nodiscard]] QTableView* table() const { return m_table; }
    [[nodiscard]] ValuesModel* model() const { return m_model; }
    [[nodiscard]] QString message() const; // why nothing shows, or what the last action could not do

signals:
    void blockShown(); // values have arrived

protected:
    void showEvent(QShowEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    void buildControls();
    void buildLeadingAxes();
    void applyMetrics();
    void say(const QString& text, bool isError);
    void openSource();
    void scheduleRead();
    void readVisible();
    void updateNote();
    [[nodiscard]] ValuesBox visibleBox(int margin) const;

    std::shared_ptr<const StreamSet> m_streams;
    TensorId m_tensor{};
    std::shared_ptr<const ValuesSource> m_source;
    ValuesModel* m_model;
    QTableView* m_table;
    QHBoxLayout* m_controls;
    QLineEdit* m_index;
    QToolButton* m_numbers;
    QToolButton* m_mapButton;
    QLabel* m_note;
    QLabel* m_message;
    std::vector<QWidget*> m_axisWidgets;
    std::vector<QSpinBox*> m_axes;
    QTimer m_readTimer;
    bool m_map = false;
    Runner m_openRun;
    Runner m_readRun;
    Runner m_copyRun;
};

} // namespace shardlens::ui
