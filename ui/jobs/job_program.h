#pragma once

#include <QProcessEnvironment>
#include <QString>

namespace shardlens::ui {

// The path of `shardlens`: beside the running executable, else on PATH, else `configured`. Empty where there is none.
[[nodiscard]] QString findJobProgram(const QString& configured = {});
// What it is started with: this process's own, and the device module that the settings name, unless SHARDLENS_TORCH_MODULE names one already.
[[nodiscard]] QProcessEnvironment jobEnvironment();
// Of the settings: where the device module lies; empty: where the program looks for it.
inline constexpr const char* kTorchModuleSetting = "jobs/torchModule";

} // namespace shardlens::ui
