#pragma once

#include "ui/models/atlas_classes.h"
#include "ui/models/atlas_model.h"

#include <QString>

#include <cstdint>
#include <memory>
#include <vector>

namespace shardlens::ui {

enum class AtlasColour : std::uint8_t { Rank, Parameter, DType, State, File, Finding };

// What a class is painted in; the theme turns it into a colour.
struct AtlasInk {
    enum class Kind : std::uint8_t { Slot, State, Neutral, Severity };
    Kind kind = Kind::Neutral;
    int slot = 0;  // Slot: not reduced modulo 12, so that round k = slot / 12 can carry its mark
    QString state; // State: the name of the role
    Severity severity = Severity::Info;
};

struct AtlasClass {
    QString title;
    AtlasInk ink;
    std::uint64_t bytes = 0;
    std::uint64_t largestPiece = 0; // units of the model
};

// The classes of one colour mode and the class of every piece. Immutable; building is O(n) and meant for a worker.
class AtlasPalette {
public:
    [[nodiscard]] static std::shared_ptr<const AtlasPalette> build(const AtlasModel& model, AtlasColour colour, const ParameterClasses& rules);

    [[nodiscard]] AtlasColour colour() const { return m_colour; }
    [[nodiscard]] const std::vector<AtlasClass>& classes() const { return m_classes; }
    [[nodiscard]] std::uint16_t classOf(PieceId piece) const { return m_classOfPiece[indexOf(piece)]; }
    [[nodiscard]] const QString& note() const { return m_note; } // a sentence where the mode is not what was asked for, else empty
    // Classes of the legend's entries: at most 12, the last one "other" where there are more.
    struct Entry {
        QString title;
        AtlasInk ink;
        std::vector<std::uint16_t> classes;
    };
    [[nodiscard]] const std::vector<Entry>& legend() const { return m_legend; }

private:
    void colourByRank(const AtlasModel& model);
    void colourByParameter(const AtlasModel& model, const ParameterClasses& rules);
    void colourByTensor(const AtlasModel& model);
    void colourByFile(const AtlasModel& model);
    void colourByFinding(const AtlasModel& model);
    void weigh(const AtlasModel& model);
    void makeLegend();

    AtlasColour m_colour = AtlasColour::Parameter;
    std::vector<AtlasClass> m_classes;
    std::vector<std::uint16_t> m_classOfPiece;
    std::vector<Entry> m_legend;
    QString m_note;
};

using AtlasPalettePtr = std::shared_ptr<const AtlasPalette>;

} // namespace shardlens::ui
