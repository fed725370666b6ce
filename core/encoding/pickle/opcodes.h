#pragma once

#include "core/encoding/pickle/graph.h"

#include <cstddef>
#include <cstdint>

namespace shardlens::pickle {

// formats/pickle-safety.md §2: all 68.
namespace op {
constexpr std::uint8_t kProto = 0x80, kFrame = 0x95, kStop = '.', kMark = '(', kPop = '0', kPopMark = '1', kDup = '2';
constexpr std::uint8_t kNone = 'N', kNewTrue = 0x88, kNewFalse = 0x89, kInt = 'I', kBinInt = 'J', kBinInt1 = 'K', kBinInt2 = 'M', kLong = 'L',
                       kLong1 = 0x8A, kLong4 = 0x8B, kFloat = 'F', kBinFloat = 'G';
constexpr std::uint8_t kString = 'S', kBinString = 'T', kShortBinString = 'U', kUnicode = 'V', kBinUnicode = 'X', kShortBinUnicode = 0x8C,
                       kBinUnicode8 = 0x8D, kBinBytes = 'B', kShortBinBytes = 'C', kBinBytes8 = 0x8E, kByteArray8 = 0x96, kNextBuffer = 0x97,
                       kReadOnlyBuffer = 0x98;
constexpr std::uint8_t kEmptyTuple = ')', kTuple1 = 0x85, kTuple2 = 0x86, kTuple3 = 0x87, kTuple = 't', kEmptyList = ']', kList = 'l', kAppend = 'a',
                       kAppends = 'e', kEmptyDict = '}', kDict = 'd', kSetItem = 's', kSetItems = 'u', kEmptySet = 0x8F, kAddItems = 0x90,
                       kFrozenSet = 0x91;
constexpr std::uint8_t kGet = 'g', kBinGet = 'h', kLongBinGet = 'j', kPut = 'p', kBinPut = 'q', kLongBinPut = 'r', kMemoize = 0x94;
constexpr std::uint8_t kGlobal = 'c', kStackGlobal = 0x93, kExt1 = 0x82, kExt2 = 0x83, kExt4 = 0x84, kReduce = 'R', kNewObj = 0x81, kNewObjEx = 0x92,
                       kObj = 'o', kInst = 'i', kBuild = 'b', kPersId = 'P', kBinPersId = 'Q';
} // namespace op

enum class OpcodeGroup : std::uint8_t { Unknown, Literal, TextLiteral, Container, Object, Memo, Stack };
[[nodiscard]] OpcodeGroup groupOf(std::uint8_t opcode);

// Opcodes whose argument is a counted run of bytes.
struct TextOpcode {
    Kind kind;
    std::size_t lengthBytes;
    bool isSigned;
};
// Only for the opcodes of that kind.
[[nodiscard]] TextOpcode textOpcode(std::uint8_t opcode);

} // namespace shardlens::pickle
