#include "core/quantized/precision.h"

#include "core/base/shell_text.h"
#include "core/base/text.h"
#include "core/quantized/quantize_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace shardlens {
namespace {

constexpr std::size_t kMostKept = 8;
constexpr double kStandsOut = 4;      // times the error a byte that the rest has
constexpr double kWorthSaying = 0.05; // of the squared error

double errorOfByte(const TensorPrecision& one)
{
    return one.wholeError() / static_cast<double>(std::max<std::uint64_t>(one.storedBefore, 1));
}

// A pattern that finds these names and no others that are equal to their end.
std::string patternOf(const std::vector<std::string>& names)
{
    std::string out;
    for (const std::string& name : names) {
        out += out.empty() ? "^(" : "|";
        for (const char c : name) {
            if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos)
                out += '\\';
            out += c;
        }
    }
    return out + ")$";
}

std::string quoted(const std::string& text)
{
    if (text.find_first_of(",\"\n\r") == std::string::npos)
        return text;
    std::string out = "\"";
    for (const char c : text)
        out += c == '"' ? std::string("\"\"") : std::string(1, c);
    return out + "\"";
}

std::string number(const std::optional<double>& value)
{
    return value ? fmt::format("{:.9g}", *value) : std::string();
}

// A tensor and those that servers make one of with it: they are in one scheme, or none is.
std::vector<const TensorPrecision*> togetherWith(const TensorPrecision& tensor, const std::vector<const TensorPrecision*>& all)
{
    const std::string family = fusedFamilyOf(tensor.name);
    if (family.empty())
        return {&tensor};
    std::vector<const TensorPrecision*> out;
    std::copy_if(all.begin(), all.end(), std::back_inserter(out), [&](const TensorPrecision* one) { return fusedFamilyOf(one->name) == family; });
    return out;
}

} // namespace

const char* gradeOf(std::optional<double> signalToNoise)
{
    if (!signalToNoise || *signalToNoise >= 40)
        return "as good as lossless";
    if (*signalToNoise >= 30)
        return "safe: 8 bits";
    if (*signalToNoise >= 20)
        return "good for 5 to 6 bits";
    if (*signalToNoise >= 15)
        return "normal for 4 bits";
    if (*signalToNoise >= 8)
        return "expect a loss: smaller groups or more bits";
    return "broken: look at this tensor";
}

PrecisionAdvice adviseOn(const std::vector<TensorPrecision>& tensors)
{
    PrecisionAdvice out;
    double total = 0;
    std::uint64_t bytes = 0;
    std::vector<const TensorPrecision*> order;
    if (std::any_of(tensors.begin(), tensors.end(), [](const TensorPrecision& one) { return !one.problem.empty(); }))
        return out; // it is not known yet what will be
    for (const TensorPrecision& one : tensors) {
        if (!one.quantized)
            continue;
        total += one.wholeError();
        bytes += one.storedBefore;
        order.push_back(&one);
    }
    if (total == 0) {
        out.text = order.empty() ? "" : "No weight changes.";
        return out;
    }
    std::sort(order.begin(), order.end(), [](const TensorPrecision* a, const TensorPrecision* b) { return errorOfByte(*a) > errorOfByte(*b); });
    double error = 0;
    std::uint64_t kept = 0;
    const std::size_t most = std::min(order.size() / 2, kMostKept); // of half and more nothing stands out
    for (std::size_t i = 0; i < order.size() && out.keep.size() < most; ++i) {
        if (std::find(out.keep.begin(), out.keep.end(), order[i]->name) != out.keep.end())
            continue; // with one before it
        const double rest = (total - error - order[i]->wholeError()) / static_cast<double>(std::max<std::uint64_t>(bytes - kept - order[i]->storedBefore, 1));
        const std::vector<const TensorPrecision*> together = togetherWith(*order[i], order);
        if (errorOfByte(*order[i]) < kStandsOut * rest || out.keep.size() + together.size() > most)
            break;
        for (const TensorPrecision* const one : together) {
            error += one->wholeError();
            kept += one->storedBefore;
            out.extraBytes += one->storedBefore - std::min(one->storedBefore, one->storedAfter);
            out.keep.push_back(one->name);
        }
    }
    out.share = error / total;
    if (out.share < kWorthSaying) {
        out = {};
        out.text = "The error is spread evenly: no few tensors stand out.";
        return out;
    }
    std::sort(out.keep.begin(), out.keep.end(), naturalLess);
    const bool one = out.keep.size() == 1;
    out.text = fmt::format("Keep {} in {}: {:.0f} % of the squared error, for {} more.", one ? printable(out.keep.front()) : fmt::format("these {} tensors", out.keep.size()),
                           nameOf(order.front()->from), 100 * out.share, sizeText(out.extraBytes));
    out.pattern = patternOf(out.keep);
    out.option = "--quantize-exclude " + shellQuoted(out.pattern);
    return out;
}

std::string precisionCsv(const std::vector<TensorPrecision>& tensors)
{
    std::string out = "name,scheme,dtype,shape,values,measured,min,max,mean_square,outliers,overflow,non_finite,max_error,rms_error,cosine,snr_db,squared_error,bytes_before,bytes_after,problem\n";
    for (const TensorPrecision& one : tensors)
        out += fmt::format("{},{},{},{},{},{},{:.9g},{:.9g},{:.9g},{},{},{},{:.9g},{:.9g},{},{},{:.9g},{},{},{}\n", quoted(one.name), one.scheme, nameOf(one.from), quoted(shapeText(one.shape)), one.values, one.looked,
                           one.least, one.greatest, one.meanSquare(), one.outliers, one.overflow, one.nonFinite, one.largestError, one.rmsError(), number(one.cosine()), number(one.signalToNoise()),
                           one.wholeError(), one.storedBefore, one.storedAfter, quoted(one.problem));
    return out;
}

} // namespace shardlens
