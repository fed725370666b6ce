#pragma once

#include "core/encoding/tensor_reader.h"
#include "core/model/checkpoint_builder.h"

#include <cstring>
#include <string>
#include <vector>

namespace shardlens::test {

// Numbers in row-major order with their shape: the plainest tensor there is.
struct Numbers {
    Shape shape;
    std::vector<float> values;
    bool operator==(const Numbers&) const = default;
};

// 0, 1, 2 … in that shape.
inline Numbers countingNumbers(const Shape& shape, float first = 0)
{
    Numbers out{shape, {}};
    std::uint64_t count = 1;
    for (const std::uint64_t extent : shape)
        count *= extent;
    for (std::uint64_t i = 0; i < count; ++i)
        out.values.push_back(first + static_cast<float>(i));
    return out;
}

// The entries of `picked`, in that order, along a dimension.
inline Numbers taken(const Numbers& from, std::size_t dim, const std::vector<std::uint64_t>& picked)
{
    Numbers out{from.shape, {}};
    out.shape[dim] = picked.size();
    std::uint64_t outer = 1;
    std::uint64_t inner = 1;
    for (std::size_t axis = 0; axis < from.shape.size(); ++axis)
        (axis < dim ? outer : inner) *= axis == dim ? 1 : from.shape[axis];
    for (std::uint64_t before = 0; before < outer; ++before)
        for (const std::uint64_t at : picked)
            for (std::uint64_t behind = 0; behind < inner; ++behind)
                out.values.push_back(from.values[(before * from.shape[dim] + at) * inner + behind]);
    return out;
}

// A checkpoint of one file that keeps its values inline.
class PartFile {
public:
    explicit PartFile(const std::string& name) : m_builder(name, ".")
    {
        File file;
        file.name = file.path = name;
        file.size = 1;
        m_file = m_builder.addFile(file);
    }
    TensorId add(const std::string& name, const Numbers& numbers, RoleKind kind = RoleKind::Weight, const std::string& role = "weight")
    {
        std::vector<std::byte> bytes(numbers.values.size() * sizeof(float));
        if (!bytes.empty())
            std::memcpy(bytes.data(), numbers.values.data(), bytes.size());
        const TensorId id = m_builder.addTensor({m_builder.parameter(name), m_builder.role(kind, role), DType::F32, Combine::Exclusive, true, numbers.shape});
        EXPECT_TRUE(m_builder.addWhole(id, {m_builder.addInline(m_file, bytes), 0, m_builder.holder({}), {}}).ok());
        return id;
    }
    [[nodiscard]] CheckpointBuilder& builder() { return m_builder; }
    [[nodiscard]] CheckpointPtr finish() { return std::move(m_builder).finish(); }

private:
    CheckpointBuilder m_builder;
    FileId m_file;
};

inline Numbers numbersOf(const CheckpointPtr& checkpoint, TensorId tensor)
{
    const StreamSet streams(checkpoint);
    const auto reader = TensorReader::open(streams, tensor);
    Numbers out{checkpoint->tensor(tensor).shape, {}};
    if (!reader) {
        ADD_FAILURE() << reader.error().text();
        return out;
    }
    out.values.resize(reader->sizeBytes() / sizeof(float));
    std::vector<std::byte> bytes(reader->sizeBytes());
    EXPECT_TRUE(reader->readAt(0, bytes).ok());
    if (!bytes.empty())
        std::memcpy(out.values.data(), bytes.data(), bytes.size());
    return out;
}

} // namespace shardlens::test
