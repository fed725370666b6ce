#include "core/base/endian.h"
#include "core/numeric/cast.h"
#include "ui/models/values_source.h"

#include <fmt/format.h>

#include <QStringList>

#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kDigits = 4;

QString withTrueMinus(std::string text)
{
    return QString::fromStdString(text).replace(QLatin1Char('-'), QChar(0x2212));
}

std::string floatWords(double value)
{
    if (std::isnan(value))
        return "NaN";
    if (std::isinf(value))
        return value < 0 ? "-Inf" : "Inf";
    return fmt::format("{:.{}g}", value, kDigits);
}

// Shortest text that reads back as the same value of the type.
std::string exactFloat(double value, bool isDouble)
{
    if (std::isnan(value))
        return "nan";
    if (std::isinf(value))
        return value < 0 ? "-inf" : "inf";
    return isDouble ? fmt::format("{}", value) : fmt::format("{}", static_cast<float>(value));
}

struct Complex {
    double real;
    double imaginary;
};

Complex complexAt(DType dtype, const std::byte* at)
{
    const DType part = dtype == DType::C32 ? DType::F16 : dtype == DType::C64 ? DType::F32 : DType::F64;
    return {toDouble(part, at), toDouble(part, at + info(part).bytesPerBlock)};
}

std::string integerText(DType dtype, const std::byte* at)
{
    if (dtype == DType::I64)
        return fmt::format("{}", loadLe<std::int64_t>(at));
    if (dtype == DType::U64)
        return fmt::format("{}", loadLe<std::uint64_t>(at));
    return fmt::format("{}", static_cast<std::int64_t>(toDouble(dtype, at)));
}

std::string textOf(DType dtype, const std::byte* at, bool exact)
{
    switch (info(dtype).kind) {
    case DTypeKind::Bool: return exact ? (toDouble(dtype, at) != 0 ? "True" : "False") : (toDouble(dtype, at) != 0 ? "true" : "false");
    case DTypeKind::Integer:
    case DTypeKind::Quantized: return integerText(dtype, at);
    case DTypeKind::Float: return exact ? exactFloat(toDouble(dtype, at), dtype == DType::F64) : floatWords(toDouble(dtype, at));
    case DTypeKind::Complex: {
        const Complex value = complexAt(dtype, at);
        const bool isDouble = dtype == DType::C128;
        const std::string real = exact ? exactFloat(value.real, isDouble) : floatWords(value.real);
        const std::string imaginary = exact ? exactFloat(value.imaginary, isDouble) : floatWords(value.imaginary);
        return fmt::format("{}{}{}j", real, imaginary.starts_with('-') ? "" : "+", imaginary);
    }
    }
    return {};
}

// What NumPy calls a type; BF16 and F8 have no name there and become float32.
QString numpyName(DType dtype)
{
    switch (dtype) {
    case DType::Bool: return QStringLiteral("bool");
    case DType::F16:
    case DType::F64:
    case DType::I8:
    case DType::I16:
    case DType::I32:
    case DType::I64:
    case DType::U8:
    case DType::U16:
    case DType::U32:
    case DType::U64:
    case DType::C64:
    case DType::C128: {
        const std::string_view torchName = info(dtype).torchName;
        return QString::fromUtf8(torchName.data(), static_cast<qsizetype>(torchName.size()));
    }
    default: return info(dtype).kind == DTypeKind::Complex ? QStringLiteral("complex64") : QStringLiteral("float32");
    }
}

QString numpyRow(const QStringList& cells)
{
    QStringList out;
    for (const QString& cell : cells)
        out << (cell == QLatin1String("nan") ? QStringLiteral("np.nan") : cell == QLatin1String("inf") ? QStringLiteral("np.inf") : cell == QLatin1String("-inf") ? QStringLiteral("-np.inf") : cell);
    return out.join(QStringLiteral(", "));
}

} // namespace

QString valueText(DType dtype, const std::byte* at)
{
    return withTrueMinus(textOf(dtype, at, false));
}

QString exactValueText(DType dtype, const std::byte* at)
{
    return QString::fromStdString(textOf(dtype, at, true));
}

QString copyText(const ValuesGrid& grid, const ValuesBlock& block, ValuesCopyFormat format)
{
    QStringList lines;
    QStringList flat;
    for (std::uint64_t row = block.box.row; row < block.box.row + block.box.rows; ++row) {
        QStringList cells;
        for (std::uint64_t column = block.box.column; column < block.box.column + block.box.columns; ++column)
            if (grid.elementAt(row, column))
                cells << exactValueText(block.dtype, block.at(row, column));
        flat << cells;
        if (format == ValuesCopyFormat::NumPy)
            lines << QLatin1Char('[') + numpyRow(cells) + QLatin1Char(']');
        else
            lines << cells.join(format == ValuesCopyFormat::Csv ? QLatin1Char(',') : QLatin1Char('\t'));
    }
    if (format != ValuesCopyFormat::NumPy)
        return lines.join(QLatin1Char('\n'));
    const QString body = grid.isVector() ? QLatin1Char('[') + numpyRow(flat) + QLatin1Char(']') : QLatin1Char('[') + lines.join(QStringLiteral(",\n       ")) + QLatin1Char(']');
    return QStringLiteral("np.array(%1, dtype=np.%2)").arg(body, numpyName(block.dtype));
}

} // namespace shardlens::ui
