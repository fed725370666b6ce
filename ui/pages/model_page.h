#pragma once

#include "ui/models/model_profile.h"
#include "ui/models/runner.h"
#include "ui/pages/page.h"

#include <QTimer>

#include <array>

class QComboBox;
class QGridLayout;
class QLabel;
class QStackedWidget;
class QVBoxLayout;

namespace shardlens::ui {

class Card;
class DepthPlot;
class Link;
class PageBar;
class TextLabel;

// Which layer is odd? Mean, deviation, largest value, zeros and values that are not finite, over the depth of the model; a sample first, every value when asked.
class ModelPage : public Page {
    Q_OBJECT
public:
    enum Figure { Deviation, Largest, Mean, Zeros, NonFinite, FigureCount };

    explicit ModelPage(Document* document, QWidget* parent = nullptr);
    ~ModelPage() override;

    [[nodiscard]] QString id() const override { return QStringLiteral("model"); }
    [[nodiscard]] QString question() const override;
    void activate() override;
    // The odd tensors, a line each.
    [[nodiscard]] QString copyText(bool withPlace) const override;

    [[nodiscard]] const ModelProfilePtr& profile() const { return m_profile; } // nullptr until a first look is done
    [[nodiscard]] DepthPlot* plot(Figure figure) const { return m_plots[figure]; }
    [[nodiscard]] QComboBox* roles() const { return m_roles; }
    [[nodiscard]] QComboBox* kinds() const { return m_kinds; }
    [[nodiscard]] Link* action() const { return m_action; } // "Read every value (12.6 GiB)", or "Cancel"
    [[nodiscard]] QString status() const;

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;

private:
    void buildBar();
    [[nodiscard]] QWidget* buildBody();
    void rebuild();
    void loadRoles();
    void forget();
    void look(bool exact);
    void adopt(ModelProfilePtr profile);
    void cancel();
    void showStatus();
    void showAction();
    void showKinds();
    void showPlots();
    void clearOdd();
    void showOdd();
    void placePlots();
    void openTensor(std::size_t row);

    PageBar* m_bar = nullptr;
    QComboBox* m_roles = nullptr;
    QComboBox* m_kinds = nullptr;
    TextLabel* m_status = nullptr;
    Link* m_action = nullptr;
    QStackedWidget* m_stack;
    QLabel* m_empty;
    Card* m_oddCard = nullptr;
    QVBoxLayout* m_oddRows = nullptr;
    QGridLayout* m_grid = nullptr;
    std::array<DepthPlot*, FigureCount> m_plots{};
    std::array<Card*, FigureCount> m_cards{};
    std::vector<std::size_t> m_shown; // rows of the profile, by point
    ModelProfilePtr m_profile;
    CheckpointPtr m_builtFor;
    std::shared_ptr<ModelProfile::JobSlot> m_job;
    Runner m_run;
    QTimer m_poll;
    bool m_active = false;
    int m_columns = 0;
};

} // namespace shardlens::ui
