#include "ui/theme/theme.h"

#include <gtest/gtest.h>

#include <QApplication>

int main(int argc, char** argv)
{
    if (!qEnvironmentVariableIsSet("QT_QPA_PLATFORM"))
        qputenv("QT_QPA_PLATFORM", "offscreen");
    testing::InitGoogleTest(&argc, argv);
    QApplication application(argc, argv);
    shardlens::ui::Theme theme;
    theme.setMode(shardlens::ui::Theme::Mode::Light);
    return RUN_ALL_TESTS();
}
