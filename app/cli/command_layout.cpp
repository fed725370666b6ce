#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/output_file.h"
#include "app/cli/piece_picture.h"
#include "core/base/text.h"
#include "core/encoding/tensor_reader.h"
#include "core/model/coverage.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace shardlens::cli {
namespace {

constexpr std::size_t kHolesShown = 64;

struct LayoutArguments {
    SourceArguments source;
    std::string tensor;
    std::string svg;
    bool json = false;
};

const char* streamKindName(Stream::Kind kind)
{
    switch (kind) {
    case Stream::Kind::File: return "file";
    case Stream::Kind::Deflated: return "deflated";
    case Stream::Kind::Inline: return "inline";
    case Stream::Kind::Missing: return "missing";
    case Stream::Kind::Computed: return "computed";
    }
    return "";
}

// The files that a computed stream is made of, each once.
std::vector<std::string> filesBelow(const Checkpoint& checkpoint, const Stream& stream)
{
    StoredTensors below;
    addStored(*checkpoint.computations()[stream.computation], below);
    std::vector<std::string> out;
    for (const auto& [base, tensors] : below)
        for (const TensorId tensor : tensors)
            for (std::size_t row = base->pieces().firstOf(tensor); row < base->pieces().lastOf(tensor); ++row) {
                const FileId file = base->stream(base->pieces().at(idAt<PieceId>(row)).source.stream).file;
                if (file != kNoFile && std::find(out.begin(), out.end(), base->file(file).name) == out.end())
                    out.push_back(base->file(file).name);
            }
    return out;
}

Json pieceJson(const Checkpoint& checkpoint, const Piece& piece, std::uint64_t cellBytes)
{
    const Stream& stream = checkpoint.stream(piece.source.stream);
    const auto rank = checkpoint.rankOfPiece(piece);
    Json out{{"rank", rank ? Json(*rank) : Json()},
             {"holder", checkpoint.topology().textOf(checkpoint.holder(piece.holder))},
             {"region", regionJson(piece.region)},
             {"source", streamKindName(stream.kind)},
             {"file", stream.file == kNoFile ? Json() : Json(checkpoint.file(stream.file).name)},
             {"offset", piece.source.offset},
             {"length", piece.spanBytes(cellBytes)}};
    if (stream.kind == Stream::Kind::Computed)
        out["computed_from"] = filesBelow(checkpoint, stream);
    if (!piece.source.strides.empty()) {
        Json strides = Json::array();
        for (const std::int64_t stride : piece.source.strides)
            strides.push_back(stride);
        out["strides"] = std::move(strides);
    }
    if (piece.source.flags.bigEndian)
        out["big_endian"] = true;
    return out;
}

Json holeJson(const Checkpoint& checkpoint, const Hole& hole)
{
    Json out{{"region", regionJson(viewOf(hole.region))}};
    if (!hole.expected)
        return out;
    const Piece piece = checkpoint.pieces().at(*hole.expected);
    const Stream& stream = checkpoint.stream(piece.source.stream);
    if (stream.file != kNoFile)
        out["file"] = checkpoint.file(stream.file).name;
    if (const auto rank = checkpoint.rankOfPiece(piece))
        out["rank"] = *rank;
    return out;
}

void printLayoutJson(Console& console, const Checkpoint& checkpoint, TensorId id)
{
    const Tensor& tensor = checkpoint.tensor(id);
    const PieceStore& pieces = checkpoint.pieces();
    Json answer = answerJson();
    answer["name"] = checkpoint.fullName(id);
    answer["role"] = checkpoint.roleOf(id).name;
    answer["dtype"] = shardlens::nameOf(tensor.dtype);
    answer["shape"] = shapeJson(tensor.shape);
    answer["bytes"] = checkpoint.bytesOf(id);
    Json rows = Json::array();
    for (std::size_t row = pieces.firstOf(id); row < pieces.lastOf(id); ++row)
        rows.push_back(pieceJson(checkpoint, pieces.at(idAt<PieceId>(row)), info(tensor.dtype).bytesPerBlock));
    answer["pieces"] = std::move(rows);
    const Coverage coverage = coverageOf(checkpoint, id, kHolesShown, kAsBoxes);
    Json holes = Json::array();
    for (const Hole& hole : coverage.holes)
        holes.push_back(holeJson(checkpoint, hole));
    answer["missing_values"] = coverage.missingCells * info(tensor.dtype).valuesPerBlock;
    answer["holes"] = std::move(holes);
    if (coverage.scattered)
        answer["scattered"] = true;
    printJson(console, answer);
}

void printHoles(Console& console, const Checkpoint& checkpoint, TensorId id)
{
    const Coverage coverage = coverageOf(checkpoint, id, kHolesShown, kAsBoxes);
    if (coverage.scattered)
        return console.line("  " + console.styled(Style::Bad, scatteredText(checkpoint, id)));
    for (const Hole& hole : coverage.holes) {
        std::string text = "missing: " + regionText(viewOf(hole.region));
        if (hole.expected) {
            const Stream& stream = checkpoint.stream(checkpoint.pieces().at(*hole.expected).source.stream);
            if (stream.file != kNoFile)
                text += ", expected in " + printable(checkpoint.file(stream.file).name);
        }
        console.line("  " + console.styled(Style::Bad, text));
    }
}

void printLayout(Console& console, const Checkpoint& checkpoint, TensorId id)
{
    const Tensor& tensor = checkpoint.tensor(id);
    const PieceStore& pieces = checkpoint.pieces();
    console.line(fmt::format("{}  {} {} {}, {} in {}", console.styled(Style::Strong, printable(checkpoint.fullName(id))),
                             printable(checkpoint.roleOf(id).name), shardlens::nameOf(tensor.dtype), shapeText(tensor.shape),
                             exactSizeText(checkpoint.bytesOf(id)), plural(pieces.countOf(id), "piece", "pieces")));
    Table table({{"rank", true}, {"region", false, true}, {"file", false, true}, {"offset", true}, {"length", true}});
    for (std::size_t row = pieces.firstOf(id); row < pieces.lastOf(id); ++row) {
        const Piece piece = pieces.at(idAt<PieceId>(row));
        const Stream& stream = checkpoint.stream(piece.source.stream);
        const auto rank = checkpoint.rankOfPiece(piece);
        std::string file = stream.file == kNoFile ? "" : printable(checkpoint.file(stream.file).name);
        if (stream.kind == Stream::Kind::Computed)
            for (const std::string& one : filesBelow(checkpoint, stream))
                file += (file.empty() ? "from " : ", ") + printable(one);
        if (stream.kind != Stream::Kind::File)
            file += fmt::format(" ({})", streamKindName(stream.kind));
        const bool hasPlace = stream.kind != Stream::Kind::Computed;
        table.addRow({rank ? std::to_string(*rank) : "any", regionText(piece.region), file, hasPlace ? groupedText(piece.source.offset) : "",
                      hasPlace ? groupedText(piece.spanBytes(info(tensor.dtype).bytesPerBlock)) : ""},
                     stream.kind == Stream::Kind::Missing ? Style::Bad : Style::Plain);
    }
    if (!table.empty())
        table.print(console, 2);
    printHoles(console, checkpoint, id);
}

Status layout(const LayoutArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(const CheckpointPtr checkpoint, arguments.source.open(context.job));
    SHARDLENS_ASSIGN(const TensorId id, findTensor(*checkpoint, arguments.tensor));
    if (const std::string own = checkpoint->fullName(id); own != arguments.tensor)
        context.console.remark(fmt::format("{} is tied to {}: they share these bytes.", printable(arguments.tensor), printable(own)));
    if (!arguments.svg.empty())
        SHARDLENS_TRY(writeNewFile(arguments.svg, [&](std::FILE* file) -> Status {
            const std::string picture = pieceSvg(*checkpoint, id);
            std::fwrite(picture.data(), 1, picture.size(), file);
            return {};
        }));
    arguments.json ? printLayoutJson(context.console, *checkpoint, id) : printLayout(context.console, *checkpoint, id);
    if (!arguments.svg.empty())
        context.console.remark("Picture: " + printable(arguments.svg));
    return {};
}

} // namespace

void addLayoutCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<LayoutArguments>();
    CLI::App* command = program.add_subcommand("layout", "Which rank and file hold which part of one tensor");
    addSourceArguments(*command, arguments->source);
    command->add_option("TENSOR", arguments->tensor, "The tensor's name, as `shardlens list` gives it")->required();
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->add_option("--svg", arguments->svg, "Also draw the pieces into this file")->type_name("FILE");
    command->footer("Example: shardlens layout /data/run model.layers.7.mlp.up_proj.weight --svg up_proj.svg");
    command->callback([arguments, &context] {
        if (const Status status = layout(*arguments, context); !status)
            context.exitCode = reportFailure(context.console, status.error(), arguments->json);
    });
}

} // namespace shardlens::cli
