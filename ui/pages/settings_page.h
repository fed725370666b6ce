#pragma once

#include <QVariant>
#include <QWidget>

#include <functional>
#include <vector>

class QVBoxLayout;

namespace shardlens::ui {

// One page, no dialog: changes act at once, each can be undone (design.md §3, Settings).
class SettingsPage : public QWidget {
    Q_OBJECT
public:
    explicit SettingsPage(QWidget* parent = nullptr);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    struct Row {
        QString key;
        QVariant standard;
        std::function<void(const QVariant&)> show; // puts a value into the control
        QVariant before = {};      // when the window opened
        QWidget* undo = nullptr;   // hidden while there is nothing to undo
    };

    void addChoice(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, const QStringList& names, const QStringList& values);
    void addNumber(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, int low, int high, int standard, int step, const QString& suffix, const QString& zero = {});
    void finishRow(QVBoxLayout* column, const QString& label, const QString& why, QWidget* control, Row row);
    void store(const QString& key, const QVariant& value);
    static void apply(const QString& key, const QVariant& value);
    void restoreDefaults();

    std::vector<Row> m_rows;
};

} // namespace shardlens::ui
