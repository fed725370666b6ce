#pragma once

#include "core/layout/selection.h"
#include "core/model/checkpoint.h"
#include "core/numeric/quant_scheme.h"

#include <QString>

#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// What quantizing the weights of Linear layers in a scheme would make of a source.
struct SchemeOutlook {
    const QuantScheme* scheme = nullptr;
    std::size_t weights = 0;
    std::uint64_t before = 0; // bytes of all that is selected, as stored or cast
    std::uint64_t after = 0;
    QString refusal;          // a sentence; empty: it can be done
};

// The schemes that this page offers, in the order in which they are shown: those that most want first.
[[nodiscard]] const std::vector<const QuantScheme*>& offeredSchemes();
// How many of them show at once; the others are behind "All schemes".
[[nodiscard]] std::size_t firstSchemes();
// Of each offered scheme; for a worker: it looks at every tensor's name once a scheme.
[[nodiscard]] std::vector<SchemeOutlook> schemeOutlooks(const Checkpoint& source, Select select, std::optional<DType> dtype, const std::stop_token& stop);

} // namespace shardlens::ui
