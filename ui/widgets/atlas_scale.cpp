#include "ui/widgets/atlas_scale.h"

#include "ui/models/atlas_text.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kMostPixelsPerUnit = 8;
constexpr double kFitGap = 84; // pixels between labels for which the length is rounded
constexpr double kRelativeFrom = 2000; // first label / step: above it labels get too long to tell apart

struct Unit {
    double size;
    const char* name;
};
constexpr std::array<Unit, 5> kByteUnits{{{1, "B"}, {1024, "KiB"}, {1048576, "MiB"}, {1073741824, "GiB"}, {1099511627776, "TiB"}}};
constexpr std::array<Unit, 4> kCountUnits{{{1, ""}, {1e3, "k"}, {1e6, "M"}, {1e9, "B"}}};

const Unit& unitFor(double value, bool bytes)
{
    const Unit* best = bytes ? kByteUnits.data() : kCountUnits.data();
    const std::size_t count = bytes ? kByteUnits.size() : kCountUnits.size();
    const Unit* all = best;
    for (std::size_t i = 0; i < count; ++i)
        if (value >= all[i].size)
            best = all + i;
    return *best;
}

// The smallest round step that is at least `wanted`.
double roundStep(double wanted, bool bytes)
{
    if (wanted <= 1)
        return 1;
    double unit = unitFor(wanted, bytes).size;
    const double digits = wanted / unit;
    double power = 1;
    while (digits > power * 10)
        power *= 10;
    for (const double step : {1.0, 2.0, 5.0, 10.0})
        if (digits <= step * power) {
            // 1000 KiB would not be a round number of the next unit
            return bytes && step * power >= 1000 ? unit * 1024 : step * power * unit;
        }
    return unit * power * 10;
}

// In the unit of the step, so that neighbouring labels differ in round numbers; in a larger one where that stays exact.
QString tickText(double value, double step, bool bytes)
{
    if (value == 0)
        return QStringLiteral("0");
    const Unit* unit = &unitFor(step, bytes);
    const Unit& larger = unitFor(value, bytes);
    if (std::fmod(value, larger.size) == 0 && std::fmod(step, larger.size) == 0)
        unit = &larger;
    const QString number = numberText(static_cast<std::uint64_t>(std::llround(value / unit->size)));
    return unit->name[0] == '\0' ? number : number + QLatin1Char(' ') + QLatin1String(unit->name);
}

} // namespace

double roundedLength(std::uint64_t length, bool bytes)
{
    const auto exact = static_cast<double>(std::max<std::uint64_t>(length, 1));
    const double step = roundStep(exact / 40, bytes);
    return std::ceil(exact / step) * step;
}

AtlasScale AtlasScale::fit(std::uint64_t length, double width, bool bytes)
{
    return {0, roundedLength(length, bytes) / std::max(width, 1.0)};
}

AtlasScale AtlasScale::showing(double begin, double end, double width, double share)
{
    const double perPixel = std::max(end - begin, 1e-9) / std::max(width * share, 1.0);
    return {(begin + end) / 2 - perPixel * width / 2, perPixel};
}

AtlasScale AtlasScale::zoomed(double factor, double pixel) const
{
    const double perPixel = unitsPerPixel / factor;
    return {toUnit(pixel) - pixel * perPixel, perPixel};
}

AtlasScale AtlasScale::limited(std::uint64_t length, double width, bool bytes) const
{
    const AtlasScale whole = fit(length, width, bytes);
    AtlasScale out = *this;
    const double perPixel = std::clamp(unitsPerPixel, std::min(1 / kMostPixelsPerUnit, whole.unitsPerPixel), whole.unitsPerPixel);
    if (perPixel != unitsPerPixel) // keep the middle where the limit was met
        out.firstUnit = toUnit(width / 2) - perPixel * width / 2;
    out.unitsPerPixel = perPixel;
    const double last = roundedLength(length, bytes) - perPixel * width;
    out.firstUnit = std::clamp(out.firstUnit, 0.0, std::max(last, 0.0));
    return out;
}

std::vector<RulerTick> rulerTicks(const AtlasScale& scale, double width, double gap, bool bytes)
{
    std::vector<RulerTick> out;
    const double step = roundStep(scale.unitsPerPixel * gap, bytes);
    const double minor = step > 1 ? step / 2 : step;
    const double first = std::ceil(scale.firstUnit / step) * step;
    const double last = scale.toUnit(width) + scale.unitsPerPixel / 2;
    const bool relative = first / step > kRelativeFrom;
    const double from = std::ceil(scale.firstUnit / minor) * minor;
    for (int i = 0; i < 4096; ++i) {
        const double at = from + minor * i;
        if (at > last)
            break;
        const bool major = std::abs(std::remainder(at, step)) < step / 8;
        QString label;
        if (major && relative)
            label = at <= first + step / 8 ? numberText(static_cast<std::uint64_t>(at)) : QLatin1Char('+') + tickText(at - first, step, bytes);
        else if (major)
            label = tickText(at, step, bytes);
        out.push_back({at, label});
    }
    return out;
}

} // namespace shardlens::ui
