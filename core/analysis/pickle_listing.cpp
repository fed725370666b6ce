#include "core/analysis/pickle_listing.h"

#include "core/encoding/pickle/disassembly.h"

namespace shardlens {

Result<PickleListing> PickleListing::of(const ScanReport& report, const ScanStream& stream, const JobContext* job)
{
    SHARDLENS_ASSIGN(auto bytes, bytesOfStream(report, stream));
    SHARDLENS_ASSIGN(auto lines, pickle::Disassembly::of(std::move(bytes), stream.begin, stream.end, job));
    return PickleListing(std::make_shared<const pickle::Disassembly>(std::move(lines)));
}

Result<PickleListing> PickleListing::of(std::shared_ptr<const std::vector<std::byte>> bytes)
{
    const std::size_t end = bytes->size();
    SHARDLENS_ASSIGN(auto lines, pickle::Disassembly::of(std::move(bytes), 0, end));
    return PickleListing(std::make_shared<const pickle::Disassembly>(std::move(lines)));
}

std::size_t PickleListing::lines() const
{
    return m_lines->lines();
}

PickleListing::Line PickleListing::line(std::size_t index) const
{
    pickle::DisassemblyLine line = m_lines->line(index);
    return {line.offset, std::move(line.opcode), std::move(line.argument)};
}

std::size_t PickleListing::lineAt(std::uint64_t offset) const
{
    return m_lines->lineAt(offset);
}

std::string_view opcodeName(std::uint8_t opcode)
{
    const pickle::OpcodeInfo* const info = pickle::opcodeInfo(opcode);
    return info == nullptr ? std::string_view{} : info->name;
}

} // namespace shardlens
