#pragma once

#include "ui/models/device_map.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <optional>

class QBoxLayout;
class QLabel;
class QPushButton;
class QScrollArea;
class QStackedWidget;
class QTableView;

namespace shardlens::ui {

class Card;
class DeviceMatrixView;
class DeviceRows;
class PageBar;
class Segments;
class SlicePicture;
class TextLabel;

// Which device of a MindSpore run holds which slice of the selected tensor? A click on a device narrows every page to its rank.
class DevicesPage : public Page {
    Q_OBJECT
public:
    explicit DevicesPage(Document* document, QWidget* parent = nullptr);
    ~DevicesPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("devices"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    bool clearFilter() override;
    // The table as text.
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] DeviceMatrixView* matrix() const { return m_matrix; }
    [[nodiscard]] SlicePicture* picture() const { return m_picture; }
    [[nodiscard]] QTableView* table() const { return m_table; }
    [[nodiscard]] const DeviceMapPtr& map() const { return m_map; } // nullptr: the page says something instead
    // What the page says instead of devices; empty where it shows them.
    [[nodiscard]] QString message() const;
    // How the tensor is cut, in a sentence.
    [[nodiscard]] QString cut() const;
    // The lines about one device, from top to bottom.
    [[nodiscard]] QStringList details() const;
    // Asks for a strategy where the run has none; hidden elsewhere.
    [[nodiscard]] QPushButton* chooseButton() const { return m_choose; }

private:
    void buildBar();
    QWidget* buildMessage();
    QWidget* buildBody();
    QWidget* buildDetails();
    void buildTable();
    void adoptDocument();
    void showTensor();
    void say(const QString& text, bool asksForStrategy = false);
    void showMap();
    void showView();
    void followKept();
    void point(std::optional<std::uint32_t> rank);
    void pointSlice(std::optional<std::uint32_t> slice);
    void choose(std::uint32_t rank);

protected:
    void resizeEvent(QResizeEvent* event) override;

private:
    PageBar* m_bar;
    QStackedWidget* m_stack;
    QWidget* m_messagePage = nullptr;
    QLabel* m_message = nullptr;
    QPushButton* m_choose = nullptr;
    QPushButton* m_chooseFolder = nullptr;
    Segments* m_view = nullptr;
    TextLabel* m_facts = nullptr;
    QScrollArea* m_body = nullptr;
    TextLabel* m_cut = nullptr;
    QBoxLayout* m_pair = nullptr;
    Card* m_matrixCard = nullptr;
    Card* m_tensorCard = nullptr;
    DeviceMatrixView* m_matrix = nullptr;
    SlicePicture* m_picture = nullptr;
    TextLabel* m_who = nullptr;
    TextLabel* m_place = nullptr;
    TextLabel* m_where = nullptr;
    QTableView* m_table = nullptr;
    DeviceRows* m_rows;

    CheckpointPtr m_checkpoint; // that the strategy was read for
    std::optional<StrategyReading> m_strategy; // nothing: not read yet
    std::optional<TensorId> m_tensor;
    DeviceMapPtr m_map;
    Runner m_read;
};

} // namespace shardlens::ui
