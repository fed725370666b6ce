#include "core/convert/plan_tensors.h"

#include "core/base/text.h"
#include "core/encoding/tensor_reader.h"
#include "core/layout/selection.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <unordered_set>

namespace shardlens {
namespace {

constexpr std::uint64_t kWidestSpan = 8; // strided cells are read as one span while that is at most this many times as long (affine_read)

Error nothingSelected(const Checkpoint& source, const ConvertRequest& request, const SelectionOptions& options)
{
    if (const auto lost = selectLost(source, options); !lost.empty()) {
        const std::string& problem = source.lostTensors()[lost.front()].problem;
        return {ErrorCode::Refused, "nothing is selected: " + problem.substr(0, problem.find_last_not_of('.') + 1)};
    }
    for (const Finding& finding : source.findings()) // a lost file says more than that nothing is left
        if (finding.severity == Severity::Error && finding.tensor == kNoTensor && !finding.lost)
            return {ErrorCode::Refused, "nothing is selected: " + finding.text.substr(0, finding.text.find_last_not_of('.') + 1)};
    std::string text = fmt::format("nothing is selected: {} holds no {}", plural(source.tensors().size(), "tensor", "tensors"), nameOf(chosen(request)));
    if (source.tensors().size() != 1)
        text = fmt::format("nothing is selected: of {} none is {}", plural(source.tensors().size(), "tensor", "tensors"), nameOf(chosen(request)));
    if (!request.include.empty() || !request.exclude.empty())
        text += " and passes --include and --exclude";
    return {ErrorCode::Refused, text + "; `shardlens list` shows what is there"};
}

Result<DType> outputDType(const Checkpoint& source, const SelectedTensor& selected, const ConvertRequest& request)
{
    const std::optional<DType>& wanted = request.dtype;
    const DType own = source.tensor(selected.tensor).dtype;
    if (source.tensor(selected.tensor).quantizedPart && wanted) {
        if (request.quantize.isAsked()) // its weight was cast before it was quantized
            return own;
        return Error{ErrorCode::Refused, fmt::format("{} is a part of a quantized weight, and --dtype casts numbers, not codes: --dequantize makes values of them first", printable(selected.name))};
    }
    if (!wanted || !isFloat(own) || own == *wanted)
        return own;
    if (!canCast(own, *wanted))
        return Error{ErrorCode::Refused, fmt::format("{} is {} and cannot be cast to {}; leave it out with --exclude, or leave --dtype out",
                                                     printable(selected.name), nameOf(own), nameOf(*wanted))};
    return *wanted;
}

// Bytes that reading a segment moves: gaps between strided cells are read along while they are small.
std::uint64_t bytesRead(const Piece& piece, std::uint64_t cells, std::uint64_t cellBytes)
{
    const std::uint64_t wanted = volumeOf(piece.region) * cellBytes;
    const std::uint64_t span = piece.spanBytes(cellBytes);
    if (wanted == 0 || span <= wanted || span / kWidestSpan > wanted)
        return cells * cellBytes;
    return static_cast<std::uint64_t>(static_cast<double>(cells * cellBytes) * (static_cast<double>(span) / static_cast<double>(wanted)));
}

// Names go into JSON and pickles as text, each once.
Status checkNames(const std::vector<SelectedTensor>& selection)
{
    std::unordered_set<std::string_view> seen;
    seen.reserve(selection.size());
    for (const SelectedTensor& selected : selection) {
        if (!isUtf8(selected.name))
            return Error{ErrorCode::Refused, fmt::format("the name {} is no UTF-8; leave it out with --exclude", printable(selected.name))};
        if (!seen.insert(selected.name).second)
            return Error{ErrorCode::Refused, fmt::format("two tensors are named {}; leave it out with --exclude", printable(selected.name))};
    }
    return {};
}

} // namespace

Status compilePatterns(const std::vector<std::string>& patterns, const char* option, std::vector<Regex>& into)
{
    for (const std::string& pattern : patterns) {
        auto compiled = Regex::compile(pattern);
        if (!compiled)
            return compiled.takeError().within(fmt::format("{} {}", option, printable(pattern)));
        into.push_back(compiled.take());
    }
    return {};
}

Result<SelectionOptions> selectionOf(const ConvertRequest& request)
{
    SelectionOptions out;
    out.select = chosen(request);
    SHARDLENS_TRY(compilePatterns(request.include, "--include", out.include));
    SHARDLENS_TRY(compilePatterns(request.exclude, "--exclude", out.exclude));
    out.partsPass = request.quantize.isAsked(); // planQuantization() quantizes those alone that the patterns choose
    return out;
}

Result<OutputTensors> planTensors(const CheckpointPtr& source, const ConvertRequest& request, JobContext& job)
{
    if (request.dtype && !canCast(DType::F32, *request.dtype))
        return Error{ErrorCode::Refused, fmt::format("--dtype {} is no type to cast to; F32, F16, BF16, F64 and the 8-bit floats are", nameOf(*request.dtype))};
    SHARDLENS_ASSIGN(const SelectionOptions options, selectionOf(request));
    const std::vector<SelectedTensor> selection = selectTensors(*source, options);
    if (selection.empty())
        return nothingSelected(*source, request, options);
    SHARDLENS_TRY(checkNames(selection));
    const StreamSet streams(source);
    OutputTensors out;
    for (const SelectedTensor& selected : selection) {
        SHARDLENS_TRY(job.poll());
        SHARDLENS_ASSIGN(const DType dtype, outputDType(*source, selected, request));
        SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(streams, selected.tensor)); // refuses a hole
        out.reads.add(*source, reader);
        std::uint64_t readBytes = 0;
        reader.forEachPiece([&](PieceId id, std::uint64_t cells) {
            const Piece piece = source->pieces().at(id);
            const Stream& stream = source->stream(piece.source.stream);
            readBytes += stream.kind == Stream::Kind::Computed ? 0 : bytesRead(piece, cells, reader.cellBytes());
        });
        const std::uint64_t sizeBytes = reader.sizeBytes() / reader.cellBytes() * info(dtype).bytesPerBlock;
        out.tensors.push_back({selected.name, selected.tensor, dtype, sizeBytes, readBytes, selected.repeats});
    }
    return out;
}

} // namespace shardlens
