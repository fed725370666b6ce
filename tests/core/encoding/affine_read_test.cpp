#include "core/encoding/affine_read.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardlens::test {
namespace {

using Dim = AffineCopy::Dim;

// Bytes that differ from their neighbours, and a count of what was asked for.
class CountedSource final : public ByteSource {
public:
    explicit CountedSource(std::uint64_t size) : m_size(size) {}
    [[nodiscard]] std::uint64_t size() const override { return m_size; }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override
    {
        if (offset > m_size || out.size() > m_size - offset)
            return Error{ErrorCode::Io, "past the end"};
        ++reads;
        bytesRead += out.size();
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = at(offset + i);
        return {};
    }
    static std::byte at(std::uint64_t offset) { return static_cast<std::byte>(offset * 0x9E3779B97F4A7C15u >> 56); }

    mutable std::uint64_t reads = 0;
    mutable std::uint64_t bytesRead = 0;

private:
    std::uint64_t m_size;
};

struct Nest {
    const char* name;
    std::vector<Dim> dims; // outermost of the target first
    std::uint64_t cell;
    std::uint64_t mostReads;
    std::uint64_t mostBytes; // of the source
};

// One cell after the other.
void placePlainly(const Nest& shape, std::size_t axis, std::uint64_t source, std::uint64_t target, std::vector<std::byte>& out)
{
    if (axis == shape.dims.size()) {
        for (std::uint64_t i = 0; i < shape.cell; ++i)
            out[target + i] = CountedSource::at(source + i);
        return;
    }
    const Dim& dim = shape.dims[axis];
    for (std::uint64_t i = 0; i < dim.count; ++i)
        placePlainly(shape, axis + 1, source + i * static_cast<std::uint64_t>(dim.sourceStride), target + i * static_cast<std::uint64_t>(dim.targetStride), out);
}

class AffineReadOf : public testing::TestWithParam<Nest> {};

TEST_P(AffineReadOf, EveryCellArrivesByFewReads)
{
    constexpr std::uint64_t kFirst = 40;
    const Nest& shape = GetParam();
    std::uint64_t extent = shape.cell;
    std::uint64_t wanted = shape.cell;
    for (const Dim& dim : shape.dims) {
        extent += (dim.count - 1) * static_cast<std::uint64_t>(dim.sourceStride);
        wanted *= dim.count;
    }
    const CountedSource source(kFirst + extent); // and not a byte more
    std::vector<std::byte> got(wanted);
    std::vector<std::byte> expected(wanted);
    placePlainly(shape, 0, kFirst, 0, expected);
    const Status status = readAffine(source, {kFirst, 0, shape.dims}, {got, shape.cell, shape.cell == 4 ? DType::F32 : DType::U8, {}});
    ASSERT_TRUE(status) << status.error().text();
    EXPECT_TRUE(got == expected);
    EXPECT_LE(source.reads, shape.mostReads);
    EXPECT_LE(source.bytesRead, shape.mostBytes);
}

constexpr std::uint64_t kMiB = 1u << 20;

INSTANTIATE_TEST_SUITE_P(Affine, AffineReadOf, testing::Values(
    Nest{"EverySecondValue", {{1'000'000, 8, 4}}, 4, 9, 8 * kMiB},
    Nest{"ColumnsOfAThinMatrix", {{2, 4, 2'000'000}, {500'000, 8, 4}}, 4, 8, 8 * kMiB},
    Nest{"OneColumnOfNarrowRows", {{20'000, 256, 4}}, 4, 6, 6 * kMiB},
    Nest{"OneColumnOfWideRows", {{300, 100'000, 4}}, 4, 300, 1200},
    Nest{"Transposed", {{1024, 4, 4096}, {1024, 4096, 4}}, 4, 5, 4 * kMiB},
    Nest{"PartOfTheTransposed", {{64, 4, 16'384}, {4096, 40'000, 4}}, 4, 4096, kMiB},
    Nest{"Permuted", {{40, 4, 120'000}, {60, 16'000, 2000}, {500, 160, 4}}, 4, 60, 6 * kMiB},
    Nest{"RowsRepeated", {{3, 0, 2'000'000}, {500'000, 4, 4}}, 4, 3, 6 * kMiB},
    Nest{"CellsRepeated", {{500'000, 4, 12}, {3, 0, 4}}, 4, 12, 8 * kMiB},
    Nest{"OneValueForAll", {{1000, 0, 4000}, {1000, 0, 4}}, 4, 1, 4},
    Nest{"LongRowsFarApart", {{20, 300'000, 100'000}, {25'000, 4, 4}}, 4, 20, 2 * kMiB},
    Nest{"WindowsThatOverlap", {{100'000, 4, 12}, {3, 4, 4}}, 4, 2, kMiB},
    Nest{"SingleBytes", {{3, 1, 700'000}, {700'000, 3, 1}}, 1, 12, 7 * kMiB},
    Nest{"OneCell", {}, 4, 1, 4}),
    [](const auto& row) { return row.param.name; });

TEST(AffineRead, UndoesFlagsOfScatteredCells)
{
    const CountedSource source(4'000'000);
    std::vector<std::byte> got(400'000);
    ASSERT_TRUE(readAffine(source, {8, 0, {{100'000, 32, 4}}}, {got, 4, DType::F32, {.bigEndian = true, .conjugate = false, .negate = true}}));
    for (std::uint64_t i = 0; i < 100'000; ++i)
        for (std::uint64_t byte = 0; byte < 4; ++byte)
            ASSERT_EQ(got[4 * i + byte], CountedSource::at(8 + 32 * i + 3 - byte) ^ (byte == 3 ? std::byte{0x80} : std::byte{})) << i;
}

TEST(AffineRead, SaysWhatTheSourceSays)
{
    const CountedSource source(1'000'000);
    std::vector<std::byte> out(400'000);
    EXPECT_FALSE(readAffine(source, {8, 0, {{100'000, 32, 4}}}, {out, 4, DType::F32, {}}));
}

} // namespace
} // namespace shardlens::test
