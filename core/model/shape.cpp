#include "core/model/shape.h"

#include "core/base/checked.h"

namespace shardlens {

std::optional<std::uint64_t> elementCount(ShapeView shape)
{
    return checkedProduct(shape);
}

Shape rowMajorStrides(ShapeView shape)
{
    Shape strides(shape.size());
    std::uint64_t step = 1;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        strides[axis] = step;
        step *= shape[axis];
    }
    return strides;
}

Shape indexAt(std::uint64_t flat, ShapeView shape)
{
    Shape index(shape.size());
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        index[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    return index;
}

Shape unitShape(ShapeView shape, DType dtype)
{
    const std::uint64_t values = info(dtype).valuesPerBlock;
    Shape units(shape.begin(), shape.end());
    if (values == 1)
        return units;
    if (!units.empty() && units.back() % values == 0) {
        units.back() /= values;
        return units;
    }
    return {elementCount(shape).value_or(0) / values};
}

} // namespace shardlens
