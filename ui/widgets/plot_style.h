#pragma once

class QCustomPlot;

namespace shardlens::ui {

// Surface, hairlines, tick labels and grid of a plot by the theme: called again when the theme changes.
void stylePlot(QCustomPlot& plot);

} // namespace shardlens::ui
