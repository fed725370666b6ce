#pragma once

#include <QRectF>
#include <QSizeF>

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace shardlens::ui {

// Where the parts of the atlas are, in pixels of its viewport. Pure geometry: no model, no theme but its factor.
class AtlasLayout {
public:
    static constexpr double kHeaderColumn = 128; // design pixels, unless more are asked for
    struct Request {
        QSizeF size;
        double factor = 1;       // of design pixels
        std::size_t lanes = 0;
        double laneHeight = 0;   // design pixels; 0: as much as there is room for, 12 to 68 (120 for a few lanes)
        double scrollY = 0;      // pixels
        double legendHeight = 26; // pixels
        bool lens = true;        // shown where there is room
        bool hints = true;
        double headerColumn = kHeaderColumn; // design pixels left of the lanes
        std::vector<std::size_t> groups =
            {}; // first lanes of groups, ascending: a header above each; groups without lanes have that of the next
    };
    AtlasLayout() = default;
    explicit AtlasLayout(const Request& request);

    [[nodiscard]] const QRectF& minimap() const { return m_minimap; }
    [[nodiscard]] const QRectF& ruler() const { return m_ruler; }
    [[nodiscard]] const QRectF& lanes() const { return m_lanes; }   // all rows, header column included
    [[nodiscard]] const QRectF& legend() const { return m_legend; }
    [[nodiscard]] const QRectF& lens() const { return m_lens; }     // empty: hidden
    [[nodiscard]] const QRectF& hints() const { return m_hints; }
    [[nodiscard]] double plotLeft() const { return m_plotLeft; }
    [[nodiscard]] double plotWidth() const { return m_plotWidth; }
    [[nodiscard]] double laneHeight() const { return m_laneHeight; } // pixels, without the gap
    [[nodiscard]] double gap() const { return m_gap; }
    [[nodiscard]] double pitch() const { return m_laneHeight + m_gap; }
    [[nodiscard]] double contentHeight() const { return m_contentHeight; } // of all lanes
    [[nodiscard]] double factor() const { return m_factor; }

    // Tiers of a lane; empty where there is no room for them.
    [[nodiscard]] QRectF row(std::size_t lane) const; // with half the gap above and below
    [[nodiscard]] QRectF lane(std::size_t lane) const;
    [[nodiscard]] QRectF stateTier(std::size_t lane) const;
    [[nodiscard]] QRectF moduleTier(std::size_t lane) const;
    [[nodiscard]] QRectF pieceTier(std::size_t lane) const;
    [[nodiscard]] std::optional<std::size_t> laneAt(double y) const;
    [[nodiscard]] QRectF groupHeader(std::size_t group) const;
    [[nodiscard]] std::optional<std::size_t> groupAt(double y) const;
    // [first, last) of the groups whose header shows.
    [[nodiscard]] std::pair<std::size_t, std::size_t> visibleGroups() const;
    // [first, last) of the lanes that show.
    [[nodiscard]] std::pair<std::size_t, std::size_t> visible() const;

private:
    [[nodiscard]] double topOf(std::size_t lane) const; // of its row, from the top of the content
    [[nodiscard]] std::size_t firstRowEndingAfter(double y) const; // in the content
    [[nodiscard]] bool hasStates() const;
    [[nodiscard]] bool hasModules() const;

    QRectF m_minimap, m_ruler, m_lanes, m_legend, m_lens, m_hints;
    double m_plotLeft = 0;
    double m_plotWidth = 1;
    double m_laneHeight = 68;
    double m_gap = 16;
    double m_contentHeight = 0;
    double m_scrollY = 0;
    double m_factor = 1;
    std::size_t m_count = 0;
    std::vector<std::size_t> m_groups;
    double m_groupHeight = 0; // of a header
};

} // namespace shardlens::ui
