#include "app/cli/value_window.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace shardlens::cli {
namespace {

constexpr std::uint64_t kChunkBytes = 8ull * 1024 * 1024;

std::string_view trimmed(std::string_view text)
{
    const std::size_t first = text.find_first_not_of(" []");
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(" []") - first + 1);
}

std::optional<std::int64_t> wholeNumber(std::string_view text)
{
    std::int64_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

struct AxisRange {
    std::uint64_t begin;
    std::uint64_t end;
    bool isIndex;
};

Error badSlice(std::size_t axis, std::string_view text, std::uint64_t extent)
{
    return {ErrorCode::Refused,
            fmt::format("slice of axis {}: {} does not fit an extent of {}; write it as 0:4, -2:, 7 or :", axis, printable(text), extent)};
}

// Python's meaning of begin, end and negative numbers; an end beyond the extent is cut, an index beyond it refused.
Result<AxisRange> parseAxis(std::string_view text, std::size_t axis, std::uint64_t extent)
{
    const auto limit = static_cast<std::int64_t>(extent);
    const auto placed = [limit](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + limit : at, 0, limit); };
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        const auto index = wholeNumber(text);
        if (!index || *index >= limit || *index < -limit)
            return badSlice(axis, text, extent);
        const auto at = static_cast<std::uint64_t>(placed(*index));
        return AxisRange{at, at + 1, true};
    }
    const std::string_view first = trimmed(text.substr(0, colon));
    const std::string_view last = trimmed(text.substr(colon + 1));
    const auto begin = first.empty() ? std::optional<std::int64_t>(0) : wholeNumber(first);
    const auto end = last.empty() ? std::optional<std::int64_t>(limit) : wholeNumber(last);
    if (!begin || !end || placed(*begin) >= placed(*end))
        return badSlice(axis, text, extent);
    return AxisRange{static_cast<std::uint64_t>(placed(*begin)), static_cast<std::uint64_t>(placed(*end)), false};
}

} // namespace

Shape Slice::shape() const
{
    Shape out;
    for (std::size_t axis = 0; axis < box.extent.size(); ++axis)
        if (!isIndex[axis])
            out.push_back(box.extent[axis]);
    return out;
}

Slice wholeOf(ShapeView shape)
{
    return {{Shape(shape.size(), 0), Shape(shape.begin(), shape.end())}, std::vector<bool>(shape.size(), false)};
}

Result<Slice> parseSlice(std::string_view text, ShapeView shape)
{
    Slice out = wholeOf(shape);
    const std::string_view whole = trimmed(text);
    std::size_t axis = 0;
    for (std::size_t at = 0; at <= whole.size() && !whole.empty(); ++axis) {
        const std::size_t comma = std::min(whole.find(',', at), whole.size());
        if (axis >= shape.size())
            return Error{ErrorCode::Refused,
                         fmt::format("slice {}: more axes than the {} of {}", printable(text), shape.size(), shapeText(shape))};
        SHARDLENS_ASSIGN(const AxisRange range, parseAxis(trimmed(whole.substr(at, comma - at)), axis, shape[axis]));
        out.box.offset[axis] = range.begin;
        out.box.extent[axis] = range.end - range.begin;
        out.isIndex[axis] = range.isIndex;
        at = comma + 1;
    }
    return out;
}

Status forEachChunk(const TensorReader& reader, const Box& box, ShapeView shape, JobContext& job,
                    const std::function<Status(std::span<const std::byte>)>& visit)
{
    const std::uint64_t cell = reader.cellBytes();
    const std::uint64_t most = std::max<std::uint64_t>(kChunkBytes / cell, 1);
    std::vector<std::byte> buffer;
    Status status;
    forEachRun(box, shape, [&](FlatRange run) {
        for (std::uint64_t at = run.begin; at < run.end && status; at += most) {
            const std::uint64_t cells = std::min(most, run.end - at);
            buffer.resize(cells * cell);
            status = job.poll();
            if (status)
                status = reader.readAt(at * cell, buffer);
            if (status)
                status = visit(buffer);
        }
    });
    return status;
}

} // namespace shardlens::cli
