#pragma once

#include "core/numeric/quant_engine.h"

#include <memory>
#include <string>

namespace shardlens {

// The engine for what `--device` says; nothing for the processor. Nothing is loaded before its first values come: planning costs nothing. What chooseDevices() refuses is
// an error then; who wants to know earlier asks it.
[[nodiscard]] std::shared_ptr<const QuantEngine> deviceEngine(const std::string& asked);

} // namespace shardlens
