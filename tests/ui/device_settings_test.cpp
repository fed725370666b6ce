#include "tests/ui/ui_fixture.h"
#include "ui/jobs/job_program.h"
#include "ui/pages/settings_page.h"

#include <gmock/gmock.h>

#include <QLineEdit>
#include <QSettings>
#include <QTest>

// Where the device module lies, and what it finds.
namespace shardlens::ui::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DeviceSettingsTest : public WindowTest {
protected:
    DeviceSettingsTest() { qunsetenv("SHARDLENS_TORCH_MODULE"); }
    ~DeviceSettingsTest() override
    {
        qunsetenv("SHARDLENS_TORCH_MODULE");
        QSettings().clear();
    }
};

TEST_F(DeviceSettingsTest, JobsAreToldTheModuleUnlessTheEnvironmentNamesOne)
{
    const QString name = QStringLiteral("SHARDLENS_TORCH_MODULE");
    EXPECT_FALSE(jobEnvironment().contains(name));
    QSettings().setValue(QLatin1String(kTorchModuleSetting), QStringLiteral("/a.so"));
    EXPECT_EQ(jobEnvironment().value(name), QStringLiteral("/a.so"));
    qputenv("SHARDLENS_TORCH_MODULE", "/b.so");
    EXPECT_EQ(jobEnvironment().value(name), QStringLiteral("/b.so"));
}

TEST_F(DeviceSettingsTest, ThePageShowsDevicesAndWhyAModuleDoesNotLoad)
{
    m_window->showPage(QStringLiteral("settings"));
    auto* settings = m_window->findChild<SettingsPage*>();
    ASSERT_NE(settings, nullptr);
    ASSERT_TRUE(waitFor([&] { return settings->devices().contains(QLatin1String("cpu: ")); }));
    EXPECT_THAT(settings->devices().toStdString(), HasSubstr(" free of "));
    pictures(QStringLiteral("settings-devices"));
    auto* field = settings->findChild<QLineEdit*>(QStringLiteral("torchModule"));
    ASSERT_NE(field, nullptr);
    field->setFocus();
    const QString path = QString::fromStdString(m_folder.file("no-module.so"));
    QTest::keyClicks(field, path);
    QTest::keyClick(field, Qt::Key_Return);
    EXPECT_EQ(QSettings().value(QLatin1String(kTorchModuleSetting)).toString(), path);
    ASSERT_TRUE(waitFor([&] { return settings->devices().contains(QLatin1String("no-module.so")); })) << settings->devices().toStdString();
    EXPECT_THAT(settings->devices().toStdString(), HasSubstr("cpu: ")) << "the processor is always there";
    pictures(QStringLiteral("settings-no-module"));
}

} // namespace
} // namespace shardlens::ui::test
