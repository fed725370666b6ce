#pragma once

#include "tests/support/temporary_folder.h"
#include "ui/frame/main_window.h"
#include "ui/frame/workspace.h"
#include "ui/jobs/job_queue.h"
#include "ui/models/document.h"

#include <gtest/gtest.h>

#include <QString>

#include <functional>
#include <memory>
#include <string>

namespace shardlens::ui {
class ConvertPage;
}

namespace shardlens::ui::test {

// Runs the event loop until `done` or, after ten seconds, gives up: false.
[[nodiscard]] bool waitFor(const std::function<bool()>& done);

// A window with a queue that runs the built `shardlens`, and a folder for what is written.
class WindowTest : public testing::Test {
protected:
    WindowTest();
    ~WindowTest() override;

    // Opens a path and waits until it is open. The workspace is the current one.
    Workspace* open(const QString& path, const QString& page = {});
    // The current page, as T.
    template <typename T>
    [[nodiscard]] T* page() const
    {
        return dynamic_cast<T*>(m_window->currentWorkspace()->currentPage());
    }
    // Opens a path at the convert page, and waits until that knows its source; nullptr where it does not.
    ConvertPage* convertPage(const QString& source);
    // The texts of the labels that show, a line each.
    [[nodiscard]] static std::string shownTexts(const QWidget& widget);
    // Saves a picture of the window where SHARDLENS_UI_PICTURES names a folder.
    void picture(const QString& name) const;
    // Likewise, in both themes at both sizes.
    void pictures(const QString& name);

    [[nodiscard]] static QString samplePath() { return QStringLiteral(SHARDLENS_SAMPLE); }

    shardlens::test::TemporaryFolder m_folder;
    std::unique_ptr<JobQueue> m_queue;
    std::unique_ptr<MainWindow> m_window;
};

} // namespace shardlens::ui::test
