#pragma once

#include "core/analysis/scan.h"
#include "core/base/result.h"
#include "core/job/job_context.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace shardlens {

namespace pickle {
class Disassembly;
}

// The opcodes of one pickle of a report, as a list that a view can page through. A line is made when somebody asks for it. Cheap to copy; read from any thread.
class PickleListing {
public:
    struct Line {
        std::uint64_t offset = 0; // as findings count it
        std::string opcode;       // "BINUNICODE"
        std::string argument;     // printable and shortened; empty without one
    };

    // Reads the bytes again: Io and Corrupt where the file changed, Unsupported for a pickle inside the data of another one, LimitExceeded above 512 MiB,
    // Cancelled.
    [[nodiscard]] static Result<PickleListing> of(const ScanReport& report, const ScanStream& stream, const JobContext* job = nullptr);
    // The same of bytes; offsets count from the first.
    [[nodiscard]] static Result<PickleListing> of(std::shared_ptr<const std::vector<std::byte>> bytes);

    [[nodiscard]] std::size_t lines() const;
    [[nodiscard]] Line line(std::size_t index) const; // below lines()
    // The line that holds the byte at `offset`; the nearest one where none does. 0 for an empty listing.
    [[nodiscard]] std::size_t lineAt(std::uint64_t offset) const;

private:
    explicit PickleListing(std::shared_ptr<const pickle::Disassembly> lines) : m_lines(std::move(lines)) {}
    std::shared_ptr<const pickle::Disassembly> m_lines;
};

// "REDUCE"; empty for a byte that is no opcode, and for 0: what concerns the container.
[[nodiscard]] std::string_view opcodeName(std::uint8_t opcode);

} // namespace shardlens
