#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/instruction.h"
#include "core/job/job_context.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace shardlens::pickle {

// One line of a listing.
struct DisassemblyLine {
    std::uint64_t offset = 0; // of the opcode, in the bytes
    std::string opcode;       // "BINUNICODE", "unknown 0xc8"
    std::string argument;     // printable and shortened; empty without one
};

// The opcodes of pickles as a list that a view can page through: only their offsets are kept, a line is made when somebody asks for it. The bytes are
// shared. Reads pickle after pickle until bytes are no opcode, which is the last line. 10⁶ opcodes take about 20 ms. Immutable: read from any thread.
class Disassembly {
public:
    // From `begin` to `end` of the bytes; Cancelled where the job is told to stop. LimitExceeded where `bytes` has 2^32 or more.
    [[nodiscard]] static Result<Disassembly> of(std::shared_ptr<const std::vector<std::byte>> bytes, std::size_t begin, std::size_t end,
                                                const JobContext* job = nullptr);

    [[nodiscard]] std::size_t lines() const { return m_offsets.size(); }
    // `index` below lines().
    [[nodiscard]] DisassemblyLine line(std::size_t index) const;
    // The line that holds the byte at `offset`; the nearest one where none does. 0 for an empty listing.
    [[nodiscard]] std::size_t lineAt(std::uint64_t offset) const;

private:
    std::shared_ptr<const std::vector<std::byte>> m_bytes;
    std::size_t m_end = 0;
    std::vector<std::uint32_t> m_offsets;
};

// An instruction's argument as text for people: at most `limit` bytes of it, the rest as a count.
[[nodiscard]] std::string argumentText(const Instruction& instruction, std::size_t limit = 120);

} // namespace shardlens::pickle
