#include "ui/frame/english_plurals.h"
#include "ui/theme/theme.h"

#include <gtest/gtest.h>

#include <QApplication>
#include <QSettings>
#include <QStandardPaths>
#include <QTemporaryDir>

int main(int argc, char** argv)
{
    if (!qEnvironmentVariableIsSet("QT_QPA_PLATFORM"))
        qputenv("QT_QPA_PLATFORM", "offscreen");
    const QTemporaryDir home; // settings and history of the tests are nobody's
    qputenv("XDG_CONFIG_HOME", home.path().toUtf8());
    testing::InitGoogleTest(&argc, argv);
    QApplication application(argc, argv);
    QApplication::setApplicationName(QStringLiteral("shardlens-tests"));
    QApplication::setOrganizationName(QStringLiteral("shardlens-tests"));
    QStandardPaths::setTestModeEnabled(true); // puts settings where all tests of this user have theirs: beside each other they would clear each other's
    QSettings::setPath(QSettings::NativeFormat, QSettings::UserScope, home.path());
    shardlens::ui::EnglishPlurals plurals;
    QApplication::installTranslator(&plurals);
    shardlens::ui::Theme theme;
    const bool isDark = qEnvironmentVariable("SHARDLENS_UI_THEME") == QLatin1String("dark"); // for pictures
    theme.setMode(isDark ? shardlens::ui::Theme::Mode::Dark : shardlens::ui::Theme::Mode::Light);
    return RUN_ALL_TESTS();
}
