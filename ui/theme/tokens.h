#pragma once

#include "ui/theme/theme.h"

#include <array>
#include <vector>

namespace shardlens::ui {

constexpr int kTokenCount = static_cast<int>(Token::TierAlt) + 1;

// tokens.json, read once from the resources.
struct Tokens {
    struct Side {
        std::array<QColor, kTokenCount> colours;
        std::vector<QColor> categorical; // 12
        std::vector<QColor> sequential;  // 9
        std::vector<QColor> diverging;   // 9
    };
    Side light;
    Side dark;
    std::array<double, 8> typePixels{}; // by TextStyle

    [[nodiscard]] static Tokens read();
};

} // namespace shardlens::ui
