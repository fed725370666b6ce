#pragma once

#include <QString>

namespace shardlens::ui {

// The path of `shardlens`: beside the running executable, else on PATH, else `configured`. Empty where there is none.
[[nodiscard]] QString findJobProgram(const QString& configured = {});

} // namespace shardlens::ui
