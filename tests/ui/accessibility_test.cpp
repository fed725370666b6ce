#include "tests/ui/ui_fixture.h"
#include "ui/theme/theme.h"

#include <gmock/gmock.h>

#include <QAbstractButton>
#include <QAbstractItemView>
#include <QComboBox>
#include <QCoreApplication>
#include <QApplication>
#include <QLineEdit>
#include <QSet>
#include <QSpinBox>
#include <QTest>

namespace shardlens::ui::test {
namespace {

// What a screen reader would say about a control; the framework's own children of composite controls speak through their parents.
bool hasName(const QWidget* widget)
{
    if (const auto* button = qobject_cast<const QAbstractButton*>(widget); button != nullptr && !button->text().isEmpty())
        return true;
    return !widget->accessibleName().isEmpty() || !widget->toolTip().isEmpty();
}

bool isFrameworksOwn(const QWidget* widget)
{
    const QString name = widget->objectName();
    return name.startsWith(QStringLiteral("qt_")) || qobject_cast<const QAbstractSpinBox*>(widget->parent()) != nullptr || qobject_cast<const QComboBox*>(widget->parent()) != nullptr ||
           qobject_cast<const QLineEdit*>(widget->parent()) != nullptr || qobject_cast<const QAbstractItemView*>(widget->parent()) != nullptr;
}

class AccessibilityTest : public WindowTest {};

TEST_F(AccessibilityTest, EveryControlOfEveryPageHasAName)
{
    open(samplePath());
    for (const char* id : {"overview", "tensors", "atlas", "writers", "tensor", "topology", "devices", "pipeline", "model", "compare", "metadata", "convert", "jobs", "settings"}) {
        m_window->showPage(QString::fromLatin1(id));
        QTest::qWait(100);
        for (const QWidget* widget : m_window->findChildren<QWidget*>()) {
            const bool isControl = qobject_cast<const QAbstractButton*>(widget) || qobject_cast<const QLineEdit*>(widget) || qobject_cast<const QComboBox*>(widget) ||
                                   qobject_cast<const QAbstractSpinBox*>(widget) || qobject_cast<const QAbstractItemView*>(widget);
            if (!isControl || !widget->isVisible() || isFrameworksOwn(widget))
                continue;
            EXPECT_TRUE(hasName(widget)) << id << ": " << widget->metaObject()->className() << " in " << widget->parent()->metaObject()->className();
        }
    }
}

TEST_F(AccessibilityTest, LargeTextCutsNoButton)
{
    open(samplePath());
    const auto cutButtons = [this] {
        QStringList out;
        for (const QAbstractButton* button : m_window->findChildren<QAbstractButton*>()) {
            if (!button->isVisible() || button->text().isEmpty() || isFrameworksOwn(button) || button->window() != m_window.get())
                continue;
            if (button->width() + 2 < button->fontMetrics().horizontalAdvance(button->text().remove('&')))
                out << button->text();
        }
        return out;
    };
    for (const int percent : {150, 200}) {
        Theme::current().setTextPercent(percent);
        for (const char* id : {"overview", "tensors", "atlas", "writers", "tensor", "topology", "devices", "pipeline", "model", "compare", "metadata", "convert", "settings"}) {
            m_window->showPage(QString::fromLatin1(id));
            QTest::qWait(20);
            (void)waitFor([&] { return cutButtons().isEmpty(); }); // layouts settle in the event loop
            EXPECT_EQ(cutButtons().join('|').toStdString(), "") << percent << " % " << id;
            picture(QStringLiteral("text-%1-%2").arg(percent).arg(QString::fromLatin1(id)));
        }
    }
    Theme::current().setTextPercent(100);
}

TEST_F(AccessibilityTest, TabReachesThePageFromTheTop)
{
    open(samplePath(), QStringLiteral("tensors"));
    m_window->activateWindow();
    QSet<const QWidget*> reached;
    for (int i = 0; i < 60; ++i) {
        QTest::keyClick(QApplication::focusWidget() ? QApplication::focusWidget() : m_window.get(), Qt::Key_Tab);
        reached.insert(QApplication::focusWidget());
    }
    EXPECT_GT(reached.size(), 10);
}

} // namespace
} // namespace shardlens::ui::test
