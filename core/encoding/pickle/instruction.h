#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace shardlens::pickle {

enum class ArgumentKind : std::uint8_t { None, U1, U2, U4, U8, I4, F8, Line, TwoLines, Counted1, Counted4, Counted4Signed, Counted8 };

struct OpcodeInfo {
    const char* name = nullptr; // as pickletools has it
    ArgumentKind argument = ArgumentKind::None;
    bool weightsOnly = false; // known to torch.load(weights_only=True)
};

// One of the 68 opcodes (formats/pickle-safety.md §2); nullptr for any other byte.
[[nodiscard]] const OpcodeInfo* opcodeInfo(std::uint8_t opcode);

// One opcode with its argument, as it lies in the bytes. Texts point into them.
struct Instruction {
    enum class Status : std::uint8_t { Good, Unknown, Truncated, NegativeLength, EmptyLine };

    Status status = Status::Good;
    std::uint8_t opcode = 0;
    std::size_t begin = 0;
    std::size_t end = 0;       // just after the argument; where `status` is not Good: where reading stopped
    std::uint64_t number = 0;  // U1 to F8: the little-endian number (I4: extended by its sign; F8: the bits)
    std::string_view argument; // counted bytes, or the line; of what there is where Truncated
    std::string_view second;   // TwoLines
    std::uint64_t needed = 0;  // Truncated: bytes that the argument needs, and those that are left
    std::uint64_t left = 0;
};

// Reads the opcode at `at`, which lies inside `bytes`.
[[nodiscard]] Instruction readInstruction(std::span<const std::byte> bytes, std::size_t at);

} // namespace shardlens::pickle
