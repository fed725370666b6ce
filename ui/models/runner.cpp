#include "ui/models/runner.h"

#include <QCoreApplication>

namespace shardlens::ui {

QObject* Runner::application()
{
    return QCoreApplication::instance();
}

} // namespace shardlens::ui
