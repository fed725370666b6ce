#pragma once

#include <QString>

namespace shardlens::ui {

// Where the bundled sample lies: installed beside the program, or in the source tree of a build; empty if nowhere.
[[nodiscard]] QString samplePath();

} // namespace shardlens::ui
