#include "core/model/region.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

std::uint64_t product(ShapeView factors)
{
    std::uint64_t out = 1;
    for (const std::uint64_t factor : factors)
        out *= factor;
    return out;
}

// Splits [begin, end) of the sub-grid that starts at axis `axis` into boxes; `prefix` holds the fixed leading coordinates.
class FlatSplitter {
public:
    FlatSplitter(ShapeView shape, const std::function<void(const Box&)>& visit)
        : m_shape(shape), m_strides(rowMajorStrides(shape)), m_visit(visit), m_box{Shape(shape.size(), 0), Shape(shape.size(), 1)}
    {
    }

    void split(FlatRange range, std::size_t axis)
    {
        if (range.empty())
            return;
        if (axis == m_shape.size()) {
            m_visit(m_box);
            return;
        }
        const std::uint64_t step = m_strides[axis];
        const std::uint64_t first = range.begin / step;
        const std::uint64_t last = (range.end - 1) / step; // inclusive
        const std::uint64_t headOffset = range.begin - first * step;
        const std::uint64_t tailEnd = range.end - last * step;
        if (first == last && (headOffset != 0 || tailEnd != step)) {
            enter(axis, first, FlatRange{headOffset, tailEnd});
            return;
        }
        std::uint64_t fullBegin = first;
        std::uint64_t fullEnd = last + 1;
        if (headOffset != 0) {
            enter(axis, first, FlatRange{headOffset, step});
            ++fullBegin;
        }
        if (tailEnd != step)
            --fullEnd;
        if (fullBegin < fullEnd)
            emitSlab(axis, fullBegin, fullEnd);
        if (tailEnd != step)
            enter(axis, last, FlatRange{0, tailEnd});
    }

private:
    void enter(std::size_t axis, std::uint64_t at, FlatRange inner)
    {
        m_box.offset[axis] = at;
        m_box.extent[axis] = 1;
        split(inner, axis + 1);
    }

    void emitSlab(std::size_t axis, std::uint64_t begin, std::uint64_t end)
    {
        m_box.offset[axis] = begin;
        m_box.extent[axis] = end - begin;
        for (std::size_t inner = axis + 1; inner < m_shape.size(); ++inner) {
            m_box.offset[inner] = 0;
            m_box.extent[inner] = m_shape[inner];
        }
        m_visit(m_box);
    }

    ShapeView m_shape;
    Shape m_strides;
    const std::function<void(const Box&)>& m_visit;
    Box m_box;
};

} // namespace

std::uint64_t Box::volume() const
{
    return product(extent);
}

std::uint64_t BoxView::volume() const
{
    return product(extent);
}

RegionView viewOf(const Region& region)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return *flat;
    return BoxView{std::get<Box>(region)};
}

Region copyOf(const RegionView& region)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return *flat;
    const auto& box = std::get<BoxView>(region);
    return Box{Shape(box.offset.begin(), box.offset.end()), Shape(box.extent.begin(), box.extent.end())};
}

std::uint64_t volumeOf(const RegionView& region)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return flat->size();
    return std::get<BoxView>(region).volume();
}

bool isInside(const RegionView& region, ShapeView shape)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return flat->begin <= flat->end && flat->end <= product(shape);
    const auto& box = std::get<BoxView>(region);
    if (box.offset.size() != shape.size() || box.extent.size() != shape.size())
        return false;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        if (box.offset[axis] > shape[axis] || box.extent[axis] > shape[axis] - box.offset[axis])
            return false;
    return true;
}

FlatRange intersect(FlatRange a, FlatRange b)
{
    const FlatRange out{std::max(a.begin, b.begin), std::min(a.end, b.end)};
    return out.begin < out.end ? out : FlatRange{out.begin, out.begin};
}

Box intersect(const BoxView& a, const BoxView& b)
{
    Box out{Shape(a.offset.size()), Shape(a.offset.size())};
    for (std::size_t axis = 0; axis < a.offset.size(); ++axis) {
        const std::uint64_t begin = std::max(a.offset[axis], b.offset[axis]);
        const std::uint64_t end = std::min(a.offset[axis] + a.extent[axis], b.offset[axis] + b.extent[axis]);
        out.offset[axis] = begin;
        out.extent[axis] = end > begin ? end - begin : 0;
    }
    return out;
}

void forEachBox(FlatRange range, ShapeView shape, const std::function<void(const Box&)>& visit)
{
    if (!range.empty())
        FlatSplitter(shape, visit).split(range, 0);
}

FlatRange outlineOf(const RegionView& region, ShapeView shape)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return *flat;
    const auto& box = std::get<BoxView>(region);
    if (box.volume() == 0)
        return {0, 0};
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        first = first * shape[axis] + box.offset[axis];
        last = last * shape[axis] + box.offset[axis] + box.extent[axis] - 1;
    }
    return {first, last + 1};
}

namespace {

// Trailing axes that the box covers whole, and one more, form one run: the first of them.
std::size_t runAxisOf(const BoxView& box, ShapeView shape)
{
    std::size_t axis = shape.size();
    while (axis > 0 && box.extent[axis - 1] == shape[axis - 1])
        --axis;
    return axis == 0 ? 0 : axis - 1;
}

} // namespace

std::uint64_t runCountOf(const BoxView& box, ShapeView shape)
{
    return box.volume() == 0 ? 0 : elementCount(box.extent.first(runAxisOf(box, shape))).value_or(0); // no more than the volume, which fits
}

void forEachRun(const BoxView& box, ShapeView shape, const std::function<void(FlatRange)>& visit)
{
    if (box.volume() == 0)
        return;
    const Shape strides = rowMajorStrides(shape);
    const std::size_t runAxis = runAxisOf(box, shape);
    const std::uint64_t runLength = shape.empty() ? 1 : box.extent[runAxis] * strides[runAxis];
    std::uint64_t start = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        start += box.offset[axis] * strides[axis];
    Shape counter(runAxis, 0);
    while (true) {
        visit(FlatRange{start, start + runLength});
        std::size_t axis = runAxis;
        while (axis > 0) {
            --axis;
            start += strides[axis];
            if (++counter[axis] < box.extent[axis])
                break;
            start -= counter[axis] * strides[axis];
            counter[axis] = 0;
            if (axis == 0)
                return;
        }
        if (runAxis == 0)
            return;
    }
}

std::string regionText(const RegionView& region)
{
    if (const auto* flat = std::get_if<FlatRange>(&region)) {
        if (flat->size() == 1)
            return fmt::format("element {}", groupedText(flat->begin));
        return flat->empty() ? "no elements" : fmt::format("elements {} to {}", groupedText(flat->begin), groupedText(flat->end - 1));
    }
    const auto& box = std::get<BoxView>(region);
    std::string out = "[";
    for (std::size_t axis = 0; axis < box.offset.size(); ++axis)
        out += fmt::format("{}{}:{}", axis == 0 ? "" : ", ", box.offset[axis], box.offset[axis] + box.extent[axis]);
    return out + "]";
}

} // namespace shardlens
