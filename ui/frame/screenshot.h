#pragma once

#include <QString>

namespace shardlens::ui {

class MainWindow;

// Waits until the current document is open (or failed, or scanned where its safety page is asked for), lets workers and painting settle, saves a picture
// and ends the application: exit code 0, or 1 where the document failed, a name to select was not found or the file cannot be written.
void saveWhenReady(MainWindow* window, const QString& page, const QString& file);

} // namespace shardlens::ui
