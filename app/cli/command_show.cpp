#include "app/cli/commands.h"
#include "app/cli/output_file.h"
#include "app/cli/value_text.h"
#include "app/cli/value_window.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace shardlens::cli {
namespace {

constexpr std::uint64_t kMaxShown = 10'000;   // values on the terminal
constexpr std::uint64_t kWholeBelow = 1'000;  // without --slice: the whole tensor up to here, else a corner
constexpr std::uint64_t kCornerRows = 8;
constexpr std::uint64_t kCornerColumns = 8;

struct ShowArguments {
    SourceArguments source;
    std::string tensor;
    std::string slice;
    std::string out;
};

bool endsWith(const std::string& text, std::string_view end)
{
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The first rows and columns, at index 0 of the axes before them.
Slice cornerOf(ShapeView shape)
{
    Slice out = wholeOf(shape);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        const std::size_t fromEnd = shape.size() - axis;
        const std::uint64_t most = fromEnd == 1 ? kCornerColumns : fromEnd == 2 ? kCornerRows : 1;
        out.box.extent[axis] = std::min(most, shape[axis]);
        out.isIndex[axis] = fromEnd > 2;
    }
    return out;
}

// Texts in rows and columns, and where they lie in their tensor.
struct Matrix {
    std::vector<std::string> texts;
    std::size_t columns;
    std::uint64_t firstRow;
    std::uint64_t firstColumn;
};

// Rows of values with the index of each, columns in blocks that fit the width.
void printMatrix(Console& console, const Matrix& matrix)
{
    const auto& [texts, columns, firstRow, firstColumn] = matrix;
    std::size_t cellWidth = 1;
    for (const std::string& text : texts)
        cellWidth = std::max(cellWidth, text.size());
    cellWidth = std::max(cellWidth, std::to_string(firstColumn + columns).size());
    const std::size_t rows = columns == 0 ? 0 : texts.size() / columns;
    const std::size_t indexWidth = std::to_string(firstRow + rows).size() + 2;
    const std::size_t perBlock = std::max<std::size_t>((console.width() - std::min(console.width(), indexWidth)) / (cellWidth + 2), 1);
    for (std::size_t from = 0; from < columns; from += perBlock) {
        const std::size_t to = std::min(columns, from + perBlock);
        std::string head(indexWidth, ' ');
        for (std::size_t column = from; column < to; ++column)
            head += fmt::format("  {:>{}}", firstColumn + column, cellWidth);
        console.line(console.styled(Style::Muted, head));
        for (std::size_t row = 0; row < rows; ++row) {
            std::string line = console.styled(Style::Muted, fmt::format("{:>{}}", firstRow + row, indexWidth));
            for (std::size_t column = from; column < to; ++column)
                line += fmt::format("  {:>{}}", texts[row * columns + column], cellWidth);
            console.line(line);
        }
    }
}

void printValues(Console& console, const Box& box, DType dtype, const std::vector<std::byte>& bytes)
{
    const std::size_t rank = box.extent.size();
    const std::size_t step = info(dtype).bytesPerBlock;
    const std::size_t columns = rank == 0 ? 1 : box.extent[rank - 1];
    const std::size_t rows = rank < 2 ? 1 : box.extent[rank - 2];
    const std::size_t plane = std::max<std::size_t>(rows * columns, 1);
    const std::size_t planes = bytes.size() / step / plane;
    const Shape leading(box.extent.begin(), box.extent.begin() + static_cast<std::ptrdiff_t>(rank < 2 ? 0 : rank - 2));
    const Shape strides = rowMajorStrides(leading);
    for (std::size_t index = 0; index < planes; ++index) {
        if (!leading.empty()) {
            std::string where;
            for (std::size_t axis = 0; axis < leading.size(); ++axis)
                where += fmt::format("{}, ", box.offset[axis] + index / strides[axis] % leading[axis]);
            console.line(console.styled(Style::Strong, "[" + where + ":, :]"));
        }
        Matrix matrix{{}, columns, rank < 2 ? 0 : box.offset[rank - 2], rank == 0 ? 0 : box.offset[rank - 1]};
        for (std::size_t i = 0; i < plane; ++i)
            matrix.texts.push_back(valueText(dtype, bytes.data() + (index * plane + i) * step, false));
        printMatrix(console, matrix);
    }
}

Status writeNumpy(std::FILE* file, const TensorReader& reader, const Tensor& tensor, const Slice& slice, JobContext& job)
{
    const std::string header = numpyHeader(tensor.dtype, slice.shape());
    std::fwrite(header.data(), 1, header.size(), file);
    return forEachChunk(reader, slice.box, tensor.shape, job, [&](std::span<const std::byte> values) -> Status {
        const std::vector<std::byte> bytes = numpyBytes(tensor.dtype, values);
        std::fwrite(bytes.data(), 1, bytes.size(), file);
        return {};
    });
}

// One line a row of the last axis.
Status writeCsv(std::FILE* file, const TensorReader& reader, const Tensor& tensor, const Slice& slice, JobContext& job)
{
    const std::uint64_t columns = slice.box.extent.empty() ? 1 : slice.box.extent.back();
    const std::size_t step = info(tensor.dtype).bytesPerBlock;
    std::uint64_t column = 0;
    return forEachChunk(reader, slice.box, tensor.shape, job, [&](std::span<const std::byte> values) -> Status {
        std::string text;
        for (std::size_t at = 0; at < values.size(); at += step) {
            text += valueText(tensor.dtype, values.data() + at, true);
            column = column + 1 == columns ? 0 : column + 1;
            text += column == 0 ? '\n' : ',';
        }
        std::fwrite(text.data(), 1, text.size(), file);
        return {};
    });
}

Result<Slice> sliceOf(const ShowArguments& arguments, const Tensor& tensor)
{
    if (!arguments.slice.empty())
        return parseSlice(arguments.slice, tensor.shape);
    if (arguments.out.empty() && elementCount(tensor.shape).value_or(0) > kWholeBelow)
        return cornerOf(tensor.shape);
    return wholeOf(tensor.shape);
}

Status printPart(const TensorReader& reader, const Tensor& tensor, const Slice& slice, CommandContext& context)
{
    const std::uint64_t count = slice.box.volume();
    if (count > kMaxShown)
        return Error{ErrorCode::Refused,
                     fmt::format("{} values to print, at most {} here; narrow --slice, or write them with --out FILE.npy",
                                 groupedText(count), groupedText(kMaxShown))};
    std::vector<std::byte> bytes;
    SHARDLENS_TRY(forEachChunk(reader, slice.box, tensor.shape, context.job, [&](std::span<const std::byte> values) -> Status {
        bytes.insert(bytes.end(), values.begin(), values.end());
        return {};
    }));
    if (count == 0)
        context.console.line("no values");
    else
        printValues(context.console, slice.box, tensor.dtype, bytes);
    if (count < elementCount(tensor.shape).value_or(0))
        context.console.line(context.console.styled(
            Style::Muted, fmt::format("{} of {}; --slice chooses another part", regionText(BoxView(slice.box)), shapeText(tensor.shape))));
    return {};
}

Status show(const ShowArguments& arguments, CommandContext& context)
{
    const bool csv = endsWith(arguments.out, ".csv");
    if (!arguments.out.empty() && !csv && !endsWith(arguments.out, ".npy"))
        return Error{ErrorCode::Refused, "--out takes a name that ends in .npy or .csv"}.within(printable(arguments.out));
    SHARDLENS_ASSIGN(const CheckpointPtr checkpoint, arguments.source.open(context.job));
    SHARDLENS_ASSIGN(const TensorId id, findTensor(*checkpoint, arguments.tensor));
    const Tensor& tensor = checkpoint->tensor(id);
    const auto place = [&](Error error) {
        return std::move(error).within(printable(arguments.tensor)).within(printable(arguments.source.path));
    };
    if (info(tensor.dtype).valuesPerBlock != 1)
        return place({ErrorCode::Unsupported,
                      fmt::format("{} packs {} values into {} B; `show` reads types of one value a block", nameOf(tensor.dtype),
                                  info(tensor.dtype).valuesPerBlock, info(tensor.dtype).bytesPerBlock)});
    auto slice = sliceOf(arguments, tensor);
    if (!slice)
        return place(slice.takeError());
    const StreamSet streams(checkpoint);
    auto reader = TensorReader::open(streams, id);
    if (!reader)
        return reader.takeError().within(printable(arguments.source.path));
    if (!arguments.out.empty()) {
        SHARDLENS_TRY(writeNewFile(arguments.out, [&](std::FILE* file) {
            return csv ? writeCsv(file, *reader, tensor, *slice, context.job) : writeNumpy(file, *reader, tensor, *slice, context.job);
        }));
        const bool widened = !csv && numpyType(tensor.dtype).widened;
        context.console.line(fmt::format("{}: {} values {}{}", printable(arguments.out), groupedText(slice->box.volume()),
                                         shapeText(slice->shape()),
                                         widened ? fmt::format(" as float32 (NumPy has no {})", nameOf(tensor.dtype)) : ""));
        return {};
    }
    context.console.line(fmt::format("{}  {} {}", context.console.styled(Style::Strong, printable(arguments.tensor)), nameOf(tensor.dtype),
                                     shapeText(tensor.shape)));
    Status status = printPart(*reader, tensor, *slice, context);
    if (!status)
        return place(status.takeError());
    if (tensor.quantizedPart)
        context.console.line(context.console.styled(Style::Muted, "a part of a quantized weight; --dequantize shows the weight's values under its name"));
    return {};
}

} // namespace

void addShowCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<ShowArguments>();
    CLI::App* command = program.add_subcommand("show", "The values of one tensor, or of a part of it");
    addSourceArguments(*command, arguments->source);
    command->add_option("TENSOR", arguments->tensor, "The tensor's name, as `shardlens list` gives it")->required();
    command->add_option("--slice", arguments->slice, "The part, as in Python: 0:4,0:4 or -1 or 2,:,7")->type_name("SLICE");
    command->add_option("--out", arguments->out, "Write the values to FILE.npy or FILE.csv instead")->type_name("FILE");
    command->footer("Without --slice a large tensor shows its first corner.\n\n"
                    "Example: shardlens show /data/run model.embed_tokens.weight --slice 0:4,0:4");
    command->callback([arguments, &context] {
        if (const Status status = show(*arguments, context); !status)
            context.exitCode = reportFailure(context.console, status.error(), false);
    });
}

} // namespace shardlens::cli
