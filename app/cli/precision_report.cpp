#include "app/cli/precision_report.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::cli {
namespace {

constexpr std::size_t kMostRows = 10;

Json optionalJson(const std::optional<double>& value)
{
    return value ? Json(*value) : Json(nullptr);
}

std::string noiseText(const std::optional<double>& value)
{
    return value ? fmt::format("{:.1f} dB", *value) : std::string("exact");
}

std::string notesOf(const TensorPrecision& one)
{
    if (!one.problem.empty())
        return one.problem;
    std::string out;
    const auto add = [&out](std::uint64_t count, const char* what) {
        if (count != 0)
            out += fmt::format("{}{} {}", out.empty() ? "" : ", ", groupedText(count), what);
    };
    add(one.overflow, "overflow");
    add(one.nonFinite, "not finite");
    add(one.outliers, one.outliers == 1 ? "outlier" : "outliers");
    return out;
}

Json tensorJson(const TensorPrecision& one)
{
    return Json{{"name", one.name}, {"scheme", one.scheme}, {"dtype", nameOf(one.from)}, {"shape", shapeJson(one.shape)}, {"values", one.values}, {"measured", one.looked},
                {"min", one.least}, {"max", one.greatest}, {"outliers", one.outliers}, {"overflow", one.overflow}, {"non_finite", one.nonFinite},
                {"max_error", one.largestError}, {"rms_error", one.rmsError()}, {"cosine", optionalJson(one.cosine())}, {"snr_db", optionalJson(one.signalToNoise())},
                {"squared_error", one.wholeError()}, {"bytes_before", one.storedBefore}, {"bytes_after", one.storedAfter}, {"problem", one.problem.empty() ? Json(nullptr) : Json(one.problem)}};
}

} // namespace

Json precisionJson(const std::vector<TensorPrecision>& tensors)
{
    Json rows = Json::array();
    for (const TensorPrecision& one : tensors)
        rows.push_back(tensorJson(one));
    const PrecisionAdvice advice = adviseOn(tensors);
    return Json{{"tensors", std::move(rows)}, {"keep", advice.keep}, {"keep_share", advice.share}, {"keep_extra_bytes", advice.extraBytes}, {"advice", advice.text}};
}

void printPrecision(Console& console, const std::vector<TensorPrecision>& tensors)
{
    const bool exact = std::all_of(tensors.begin(), tensors.end(), [](const TensorPrecision& one) { return one.isExact(); });
    console.line(console.styled(Style::Strong, "Precision") + fmt::format(" of {}, {}, the worst first", plural(tensors.size(), "tensor", "tensors"), exact ? "every value" : "errors of a sample of values (--precision exact reads all)"));
    Table table({{"tensor", false, true}, {"to", false, false}, {"signal/noise", true, false}, {"cosine", true, false}, {"largest error", true, false}, {"range", false, false}, {"", false, false}});
    for (std::size_t i = 0; i < std::min(tensors.size(), kMostRows); ++i) {
        const TensorPrecision& one = tensors[i];
        const auto cosine = one.cosine();
        table.addRow({printable(one.name), one.scheme, one.problem.empty() ? noiseText(one.signalToNoise()) : "", cosine ? fmt::format("{:.5f}", *cosine) : "", fmt::format("{:.3g}", one.largestError),
                      fmt::format("{:.3g} … {:.3g}", one.least, one.greatest), notesOf(one)});
    }
    table.print(console, 2);
    if (tensors.size() > kMostRows)
        console.line(fmt::format("  … and {} more; --precision-csv FILE has all", groupedText(tensors.size() - kMostRows)));
    const PrecisionAdvice advice = adviseOn(tensors);
    for (const std::string& line : advice.text.empty() ? std::vector<std::string>() : wrapped(advice.text, console.width() - 2))
        console.line("  " + console.styled(advice.keep.empty() ? Style::Muted : Style::Strong, line));
    if (!advice.option.empty())
        console.line("  " + advice.option);
}

} // namespace shardlens::cli
