#include "tests/ui/ui_fixture.h"

#include "ui/pages/convert_page.h"
#include "ui/theme/theme.h"
#include "ui/widgets/text_label.h"

#include <QCoreApplication>
#include <QElapsedTimer>
#include <QPixmap>
#include <QSettings>
#include <QTest>
#include <QThread>

namespace shardlens::ui::test {
namespace {

constexpr int kPatienceMs = 10'000;

} // namespace

bool waitFor(const std::function<bool()>& done)
{
    QElapsedTimer clock;
    clock.start();
    while (!done()) {
        if (clock.elapsed() > kPatienceMs)
            return false;
        QCoreApplication::processEvents(QEventLoop::AllEvents, 20);
        QThread::msleep(1);
    }
    return true;
}

WindowTest::WindowTest()
{
    QSettings().clear();
    m_queue = std::make_unique<JobQueue>();
    m_queue->setProgram(QStringLiteral(SHARDLENS_PROGRAM));
    m_window = std::make_unique<MainWindow>(m_queue.get());
    m_window->resize(1440, 900);
    m_window->show();
    QCoreApplication::processEvents();
}

WindowTest::~WindowTest()
{
    m_window.reset();
    m_queue.reset();
}

Workspace* WindowTest::open(const QString& path, const QString& page)
{
    m_window->openPath(path, page);
    Workspace* workspace = m_window->currentWorkspace();
    EXPECT_TRUE(waitFor([&] { return workspace->document()->state() != Document::State::Opening; }));
    EXPECT_EQ(workspace->document()->state(), Document::State::Open) << workspace->document()->errorText().toStdString();
    return workspace;
}

void WindowTest::picture(const QString& name) const
{
    const QString folder = qEnvironmentVariable("SHARDLENS_UI_PICTURES");
    if (!folder.isEmpty()) {
        QCoreApplication::sendPostedEvents(); // layouts settle in several rounds
        QCoreApplication::processEvents();
        EXPECT_TRUE(m_window->grab().save(folder + QLatin1Char('/') + name + QStringLiteral(".png")));
    }
}

ConvertPage* WindowTest::convertPage(const QString& source)
{
    open(source, QStringLiteral("convert"));
    auto* convert = page<ConvertPage>();
    return convert != nullptr && waitFor([&] { return convert->facts().source && convert->facts().outlook; }) ? convert : nullptr;
}

std::string WindowTest::shownTexts(const QWidget& widget)
{
    QStringList out;
    for (const auto* label : widget.findChildren<TextLabel*>())
        if (label->isVisible())
            out << label->text();
    return out.join('\n').toStdString();
}

void WindowTest::pictures(const QString& name)
{
    if (!qEnvironmentVariableIsSet("SHARDLENS_UI_PICTURES"))
        return;
    for (const auto mode : {Theme::Mode::Light, Theme::Mode::Dark}) {
        Theme::current().setMode(mode);
        for (const QSize size : {QSize(1440, 900), QSize(1024, 700)}) {
            m_window->resize(size);
            QTest::qWait(50);
            picture(QStringLiteral("%1-%2-%3").arg(name, mode == Theme::Mode::Light ? "light" : "dark").arg(size.width()));
        }
    }
    Theme::current().setMode(Theme::Mode::Light);
    m_window->resize(1440, 900);
}

} // namespace shardlens::ui::test
