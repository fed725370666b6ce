#include "core/encoding/pickle/disassembly.h"

#include "core/base/text.h"
#include "core/encoding/pickle/opcodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace shardlens::pickle {
namespace {

constexpr std::size_t kDisassemblyPollEvery = 65'536; // opcodes

std::string shortened(std::string_view text, std::size_t limit)
{
    if (text.size() <= limit)
        return "'" + printable(text) + "'";
    return fmt::format("'{}' … {} B", printable(text.substr(0, limit)), groupedText(text.size()));
}

std::string hexText(std::string_view bytes, std::size_t limit)
{
    std::string out = "0x";
    for (std::size_t i = std::min(bytes.size(), limit / 2); i-- > 0;) // the most significant byte comes last in the file
        out += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
    return bytes.empty() ? "0" : out;
}

// BINFLOAT is big-endian, and the number was read as little-endian.
double floatOf(std::uint64_t bits)
{
    std::uint64_t turned = 0;
    for (int i = 0; i < 8; ++i)
        turned = (turned << 8) | ((bits >> (8 * i)) & 0xFF);
    return std::bit_cast<double>(turned);
}

} // namespace

std::string argumentText(const Instruction& instruction, std::size_t limit)
{
    const OpcodeInfo* const info = opcodeInfo(instruction.opcode);
    switch (instruction.status) {
    case Instruction::Status::Unknown: return {};
    case Instruction::Status::Truncated:
        return fmt::format("cut off: needs {} B, {} left", groupedText(instruction.needed), groupedText(instruction.left));
    case Instruction::Status::NegativeLength: return "a negative length";
    case Instruction::Status::EmptyLine: return "an empty line";
    case Instruction::Status::Good: break;
    }
    switch (info->argument) {
    case ArgumentKind::None: return {};
    case ArgumentKind::U1: case ArgumentKind::U2: case ArgumentKind::U4: case ArgumentKind::U8: return std::to_string(instruction.number);
    case ArgumentKind::I4: return std::to_string(static_cast<std::int64_t>(instruction.number));
    case ArgumentKind::F8: return fmt::format("{}", floatOf(instruction.number));
    case ArgumentKind::Line: return printable(instruction.argument.substr(0, limit));
    case ArgumentKind::TwoLines: return printable(instruction.argument.substr(0, limit)) + "." + printable(instruction.second.substr(0, limit));
    case ArgumentKind::Counted1: case ArgumentKind::Counted4: case ArgumentKind::Counted4Signed: case ArgumentKind::Counted8: break;
    }
    const bool isNumber = instruction.opcode == op::kLong1 || instruction.opcode == op::kLong4;
    return isNumber ? hexText(instruction.argument, limit) : shortened(instruction.argument, limit);
}

Result<Disassembly> Disassembly::of(std::shared_ptr<const std::vector<std::byte>> bytes, std::size_t begin, std::size_t end, const JobContext* job)
{
    if (bytes->size() > std::numeric_limits<std::uint32_t>::max())
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B of opcodes, and 4 GiB can be listed", groupedText(bytes->size()))};
    Disassembly out;
    out.m_bytes = std::move(bytes);
    out.m_end = std::min(end, out.m_bytes->size());
    const std::span<const std::byte> range = std::span(*out.m_bytes).first(out.m_end);
    while (begin < range.size()) {
        if (job != nullptr && out.m_offsets.size() % kDisassemblyPollEvery == 0)
            SHARDLENS_TRY(job->poll());
        out.m_offsets.push_back(static_cast<std::uint32_t>(begin));
        const Instruction instruction = readInstruction(range, begin);
        if (instruction.status != Instruction::Status::Good)
            break;
        begin = instruction.end;
    }
    return out;
}

DisassemblyLine Disassembly::line(std::size_t index) const
{
    const Instruction instruction = readInstruction(std::span(*m_bytes).first(m_end), m_offsets[index]);
    const OpcodeInfo* const info = opcodeInfo(instruction.opcode);
    return {instruction.begin, info == nullptr ? fmt::format("unknown {:#04x}", instruction.opcode) : info->name, argumentText(instruction)};
}

std::size_t Disassembly::lineAt(std::uint64_t offset) const
{
    const auto after = std::ranges::upper_bound(m_offsets, offset);
    return after == m_offsets.begin() ? 0 : static_cast<std::size_t>(after - m_offsets.begin()) - 1;
}

} // namespace shardlens::pickle
