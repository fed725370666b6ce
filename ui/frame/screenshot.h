#pragma once

#include <QString>

namespace shardlens::ui {

class MainWindow;

// Waits until the current document is open (or failed), selects a tensor if one is named, lets workers and painting settle, saves a picture and ends
// the application: exit code 0, or 1 where the document failed or the file cannot be written.
void saveWhenReady(MainWindow* window, const QString& tensor, const QString& page, const QString& file);

} // namespace shardlens::ui
