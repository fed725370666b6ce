#pragma once

#include "ui/models/overview_summary.h"

#include <QRectF>

class QPainter;

namespace shardlens::ui {

// Fills a swatch or bar of OverviewSummary::states[state]. Where larger states have the same colour (one name in two dtypes), a texture tells them apart.
void fillState(QPainter& painter, const QRectF& room, const Checkpoint& checkpoint, const OverviewSummary& summary, std::size_t state);

} // namespace shardlens::ui
