// Any bytes as a MindSpore weights file. What is read must lie in the file, be placed in tensors, and come back the same after being written.
#include "core/encoding/mindspore_ckpt.h"
#include "core/encoding/mindspore_pieces.h"
#include "core/encoding/mindspore_run.h"
#include "core/encoding/mindspore_writer.h"
#include "core/io/checksum.h"
#include "core/model/checkpoint_builder.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/walk_checkpoint.h"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <vector>

namespace shardlens::fuzz {
namespace {

using mindspore::CkptEntry;
using mindspore::CkptFile;
using mindspore::CkptOutput;

constexpr std::size_t kMaxTensors = 64;

// Every entry as a tensor of its own, and those with rows once more as the second half of a tensor of twice as many.
CheckpointPtr checkpointOf(const InputFile& input, const CkptFile& ckpt)
{
    CheckpointBuilder builder("input", ".");
    const FileId file = builder.addFile(input.row());
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    const mindspore::CkptPlace place{file, builder.holder({})};
    mindspore::addCkptSpans(builder, file, ckpt.entries);
    for (const CkptEntry& entry : ckpt.entries) {
        if (builder.tensorCount() >= kMaxTensors)
            break;
        const TensorId whole = builder.addTensor({builder.parameter(entry.name), role, entry.dtype, Combine::Exclusive, true, entry.shape});
        if (!mindspore::addWholeEntry(builder, whole, entry, place))
            std::abort(); // it was accepted, so its bytes lie in the file and fill its shape
        if (entry.shape.empty() || entry.shape.back() == 0 || entry.shape.back() > kMaxInput)
            continue;
        Box half{Shape(entry.shape.size(), 0), entry.shape};
        half.offset.back() = entry.shape.back();
        Shape twice = entry.shape;
        twice.back() *= 2;
        const TensorId wide = builder.addTensor({builder.parameter(entry.name + "/twice"), role, entry.dtype, Combine::Exclusive, true, twice});
        (void)mindspore::addEntryBox(builder, wide, entry, half, place);
    }
    return std::move(builder).finish();
}

// The values of an entry as the writer wants them: a wide bfloat16 by its upper halves.
std::vector<std::byte> valuesOf(const ByteSource& source, const CkptEntry& entry)
{
    std::vector<std::byte> out;
    for (const mindspore::CkptPiece& piece : entry.pieces) {
        const auto bytes = readBytes(source, piece.offset, piece.length, kMaxInput);
        if (!bytes)
            std::abort(); // outside the file
        for (std::size_t i = 0; i < bytes->size(); ++i)
            if (!entry.wideBFloat16 || i % 4 >= 2)
                out.push_back((*bytes)[i]);
    }
    return out;
}

std::vector<std::byte> filled(const mindspore::CkptLayout& layout, const std::vector<std::vector<std::byte>>& values)
{
    std::vector<std::byte> out(layout.sizeBytes);
    for (const mindspore::CkptLiteral& literal : layout.literals)
        std::copy(literal.bytes.begin(), literal.bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(literal.offset));
    for (const mindspore::CkptRun& run : layout.runs) {
        const auto from = std::span(values[run.entry]).subspan(run.firstByte, run.length);
        std::copy(from.begin(), from.end(), out.begin() + static_cast<std::ptrdiff_t>(run.offset));
    }
    return out;
}

bool isSame(const CkptEntry& a, const CkptEntry& b)
{
    if (a.kind == CkptEntry::Kind::Text) // which may have had more NULs at its end, or none
        return b.kind == a.kind && a.name == b.name && a.text == b.text;
    return a.kind == b.kind && a.name == b.name && a.dtype == b.dtype && a.shape == b.shape;
}

// What is read is written in records of 1,024 bytes, and read again: the same. A name that would lose a suffix once more is left out.
void writeAndReadAgain(const ByteSource& source, const CkptFile& ckpt)
{
    std::vector<CkptOutput> outputs;
    std::vector<std::vector<std::byte>> values;
    std::vector<const CkptEntry*> entries;
    for (const CkptEntry& entry : ckpt.entries) {
        if (auto output = mindspore::outputOf(entry); output && mindspore::nameOfTag(entry.name) == entry.name) {
            outputs.push_back(output.take());
            values.push_back(valuesOf(source, entry));
            entries.push_back(&entry);
        }
    }
    const auto layout = mindspore::layOutCkpt(outputs, 1024);
    if (!layout)
        std::abort(); // names are unique and of a size that was read
    if (outputs.empty())
        return;
    std::vector<std::byte> bytes = filled(*layout, values);
    const std::uint32_t crc = crc32Of(bytes); // with a trailer, else values at the end might look like one
    for (const char c : std::string_view("crc_num"))
        bytes.push_back(static_cast<std::byte>(c));
    bytes.resize(bytes.size() + 6);
    for (int shift = 24; shift >= 0; shift -= 8)
        bytes.push_back(static_cast<std::byte>(crc >> shift));
    const MemorySource written(std::move(bytes));
    const auto again = mindspore::readCkpt(written);
    if (!again || !again->lost.empty() || again->entries.size() != entries.size())
        std::abort();
    for (std::size_t i = 0; i < entries.size(); ++i)
        if (!isSame(*entries[i], again->entries[i]) || (entries[i]->kind != CkptEntry::Kind::Text && valuesOf(written, again->entries[i]) != values[i]))
            std::abort();
}

} // namespace
} // namespace shardlens::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const fuzz::InputFile input({data, size});
    const auto head = std::as_bytes(std::span(data, std::min<std::size_t>(size, 512)));
    (void)mindspore::mindSporeKindOf(head, size);
    const auto ckpt = mindspore::readCkpt(*input.source());
    if (!ckpt)
        return 0;
    JobContext job;
    if (ckpt->storedCrc)
        (void)mindspore::crcProblem(*ckpt, *mindspore::contentCrc(*input.source(), ckpt->contentEnd, job));
    fuzz::walkCheckpoint(fuzz::checkpointOf(input, *ckpt));
    fuzz::writeAndReadAgain(*input.source(), *ckpt);
    return 0;
}
