#pragma once

#include "core/encoding/tensor_reader.h"

#include <QString>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace shardlens::ui {

// The values of a tensor as a table: the last two axes are rows and columns, the leading ones are held at an index; a vector is broken into rows.
struct ValuesGrid {
    static constexpr std::uint64_t kVectorColumns = 16;

    Shape shape;
    DType dtype = DType::F32;
    Shape leading; // an index per leading axis, all below their extents

    // Index zero of a tensor; Unsupported where its values do not have bytes of their own (packed types).
    [[nodiscard]] static Result<ValuesGrid> of(const Tensor& tensor);

    [[nodiscard]] bool isVector() const { return shape.size() < 2; }
    [[nodiscard]] std::uint64_t rows() const;
    [[nodiscard]] std::uint64_t columns() const;
    // Of a cell in row-major order of the whole tensor; nullopt behind the end of a vector's last row.
    [[nodiscard]] std::optional<std::uint64_t> elementAt(std::uint64_t row, std::uint64_t column) const;
    // The leading index and the cell of "7, 12" (one number per axis) or "123456" (row-major order). An error says what is allowed.
    struct Place {
        Shape leading;
        std::uint64_t row = 0;
        std::uint64_t column = 0;
    };
    [[nodiscard]] Result<Place> parseIndex(const QString& text) const;
};

// A rectangle of a grid.
struct ValuesBox {
    std::uint64_t row = 0;
    std::uint64_t column = 0;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;

    [[nodiscard]] bool contains(std::uint64_t r, std::uint64_t c) const { return r >= row && r - row < rows && c >= column && c - column < columns; }
    [[nodiscard]] bool contains(const ValuesBox& other) const;
    bool operator==(const ValuesBox&) const = default;
};

// The values of a rectangle, little-endian and packed row by row. Cells behind the end of a vector are there, as zero bytes.
struct ValuesBlock {
    ValuesBox box;
    DType dtype = DType::F32;
    Shape leading;
    std::vector<std::byte> bytes;

    // At a cell of the grid that the box contains.
    [[nodiscard]] const std::byte* at(std::uint64_t row, std::uint64_t column) const;
};

// A tensor opened for reading values. Owns its streams; safe from several threads.
class ValuesSource {
public:
    // Values of one block are never more than this: limits memory whatever the window asks for.
    static constexpr std::uint64_t kMostValues = 4'000'000;

    [[nodiscard]] static Result<std::shared_ptr<const ValuesSource>> open(std::shared_ptr<const StreamSet> streams, TensorId tensor);
    // The box must lie in the grid. LimitExceeded above kMostValues; Cancelled when stopped.
    [[nodiscard]] Result<ValuesBlock> read(const ValuesGrid& grid, const ValuesBox& box, const std::stop_token& stop) const;

private:
    ValuesSource(std::shared_ptr<const StreamSet> streams, TensorReader reader) : m_streams(std::move(streams)), m_reader(std::move(reader)) {}

    std::shared_ptr<const StreamSet> m_streams;
    TensorReader m_reader;
};

// One value for the eye: 4 significant digits, a true minus sign ("−1.2e−06", "NaN", "Inf").
[[nodiscard]] QString valueText(DType dtype, const std::byte* at);
// One value for the clipboard: as many digits as it takes to read it back, C locale ("nan", "-inf").
[[nodiscard]] QString exactValueText(DType dtype, const std::byte* at);

enum class ValuesCopyFormat { Text, Csv, NumPy };
// A block as text: tab-separated, comma-separated, or np.array([...], dtype=...).
[[nodiscard]] QString copyText(const ValuesGrid& grid, const ValuesBlock& block, ValuesCopyFormat format);

} // namespace shardlens::ui
