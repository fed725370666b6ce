#include "core/encoding/pickle/instruction.h"

#include "core/encoding/pickle/opcodes.h"

#include <array>

namespace shardlens::pickle {
namespace {

struct OpcodeRow {
    std::uint8_t opcode;
    OpcodeInfo info;
};

constexpr std::array<OpcodeRow, 68> kOpcodeRows{{
    {op::kProto, {"PROTO", ArgumentKind::U1, true}}, {op::kFrame, {"FRAME", ArgumentKind::U8, false}},
    {op::kStop, {"STOP", ArgumentKind::None, true}}, {op::kMark, {"MARK", ArgumentKind::None, true}}, {op::kPop, {"POP", ArgumentKind::None, false}},
    {op::kPopMark, {"POP_MARK", ArgumentKind::None, false}}, {op::kDup, {"DUP", ArgumentKind::None, false}},
    {op::kNone, {"NONE", ArgumentKind::None, true}}, {op::kNewTrue, {"NEWTRUE", ArgumentKind::None, true}},
    {op::kNewFalse, {"NEWFALSE", ArgumentKind::None, true}}, {op::kInt, {"INT", ArgumentKind::Line, false}},
    {op::kBinInt, {"BININT", ArgumentKind::I4, true}}, {op::kBinInt1, {"BININT1", ArgumentKind::U1, true}},
    {op::kBinInt2, {"BININT2", ArgumentKind::U2, true}}, {op::kLong, {"LONG", ArgumentKind::Line, false}},
    {op::kLong1, {"LONG1", ArgumentKind::Counted1, true}}, {op::kLong4, {"LONG4", ArgumentKind::Counted4Signed, false}},
    {op::kFloat, {"FLOAT", ArgumentKind::Line, false}}, {op::kBinFloat, {"BINFLOAT", ArgumentKind::F8, true}},
    {op::kString, {"STRING", ArgumentKind::Line, false}}, {op::kBinString, {"BINSTRING", ArgumentKind::Counted4Signed, false}},
    {op::kShortBinString, {"SHORT_BINSTRING", ArgumentKind::Counted1, true}}, {op::kUnicode, {"UNICODE", ArgumentKind::Line, false}},
    {op::kBinUnicode, {"BINUNICODE", ArgumentKind::Counted4, true}}, {op::kShortBinUnicode, {"SHORT_BINUNICODE", ArgumentKind::Counted1, false}},
    {op::kBinUnicode8, {"BINUNICODE8", ArgumentKind::Counted8, false}}, {op::kBinBytes, {"BINBYTES", ArgumentKind::Counted4, false}},
    {op::kShortBinBytes, {"SHORT_BINBYTES", ArgumentKind::Counted1, false}}, {op::kBinBytes8, {"BINBYTES8", ArgumentKind::Counted8, false}},
    {op::kByteArray8, {"BYTEARRAY8", ArgumentKind::Counted8, false}}, {op::kNextBuffer, {"NEXT_BUFFER", ArgumentKind::None, false}},
    {op::kReadOnlyBuffer, {"READONLY_BUFFER", ArgumentKind::None, false}}, {op::kEmptyTuple, {"EMPTY_TUPLE", ArgumentKind::None, true}},
    {op::kTuple1, {"TUPLE1", ArgumentKind::None, true}}, {op::kTuple2, {"TUPLE2", ArgumentKind::None, true}},
    {op::kTuple3, {"TUPLE3", ArgumentKind::None, true}}, {op::kTuple, {"TUPLE", ArgumentKind::None, true}},
    {op::kEmptyList, {"EMPTY_LIST", ArgumentKind::None, true}}, {op::kList, {"LIST", ArgumentKind::None, false}},
    {op::kAppend, {"APPEND", ArgumentKind::None, true}}, {op::kAppends, {"APPENDS", ArgumentKind::None, true}},
    {op::kEmptyDict, {"EMPTY_DICT", ArgumentKind::None, true}}, {op::kDict, {"DICT", ArgumentKind::None, false}},
    {op::kSetItem, {"SETITEM", ArgumentKind::None, true}}, {op::kSetItems, {"SETITEMS", ArgumentKind::None, true}},
    {op::kEmptySet, {"EMPTY_SET", ArgumentKind::None, true}}, {op::kAddItems, {"ADDITEMS", ArgumentKind::None, false}},
    {op::kFrozenSet, {"FROZENSET", ArgumentKind::None, false}}, {op::kGet, {"GET", ArgumentKind::Line, false}},
    {op::kBinGet, {"BINGET", ArgumentKind::U1, true}}, {op::kLongBinGet, {"LONG_BINGET", ArgumentKind::U4, true}},
    {op::kPut, {"PUT", ArgumentKind::Line, false}}, {op::kBinPut, {"BINPUT", ArgumentKind::U1, true}},
    {op::kLongBinPut, {"LONG_BINPUT", ArgumentKind::U4, true}}, {op::kMemoize, {"MEMOIZE", ArgumentKind::None, false}},
    {op::kGlobal, {"GLOBAL", ArgumentKind::TwoLines, true}}, {op::kStackGlobal, {"STACK_GLOBAL", ArgumentKind::None, false}},
    {op::kExt1, {"EXT1", ArgumentKind::U1, false}}, {op::kExt2, {"EXT2", ArgumentKind::U2, false}}, {op::kExt4, {"EXT4", ArgumentKind::I4, false}},
    {op::kReduce, {"REDUCE", ArgumentKind::None, true}}, {op::kNewObj, {"NEWOBJ", ArgumentKind::None, true}},
    {op::kNewObjEx, {"NEWOBJ_EX", ArgumentKind::None, false}}, {op::kObj, {"OBJ", ArgumentKind::None, false}},
    {op::kInst, {"INST", ArgumentKind::TwoLines, false}}, {op::kBuild, {"BUILD", ArgumentKind::None, true}},
    {op::kPersId, {"PERSID", ArgumentKind::Line, false}}, {op::kBinPersId, {"BINPERSID", ArgumentKind::None, true}},
}};

constexpr std::array<OpcodeInfo, 256> opcodesByByte()
{
    std::array<OpcodeInfo, 256> out{};
    for (const OpcodeRow& row : kOpcodeRows)
        out[row.opcode] = row.info;
    return out;
}
constexpr std::array<OpcodeInfo, 256> kOpcodes = opcodesByByte();

std::size_t widthOf(ArgumentKind kind)
{
    switch (kind) {
    case ArgumentKind::None: case ArgumentKind::Line: case ArgumentKind::TwoLines: return 0;
    case ArgumentKind::U1: case ArgumentKind::Counted1: return 1;
    case ArgumentKind::U2: return 2;
    case ArgumentKind::U4: case ArgumentKind::I4: case ArgumentKind::Counted4: case ArgumentKind::Counted4Signed: return 4;
    case ArgumentKind::U8: case ArgumentKind::F8: case ArgumentKind::Counted8: return 8;
    }
    return 0;
}

bool isCounted(ArgumentKind kind)
{
    return kind >= ArgumentKind::Counted1;
}

// Takes `count` bytes; false, and Truncated, where there are fewer.
bool takeBytes(std::string_view& left, std::uint64_t count, std::string_view& out, Instruction& into)
{
    if (count > left.size()) {
        out = left;
        into.status = Instruction::Status::Truncated;
        into.needed = count;
        into.left = left.size();
        into.end += left.size();
        return false;
    }
    out = left.substr(0, count);
    left.remove_prefix(count);
    into.end += count;
    return true;
}

bool takeLine(std::string_view& left, std::string_view& out, Instruction& into)
{
    const std::size_t end = left.find('\n');
    if (end == std::string_view::npos)
        return takeBytes(left, left.size() + 1, out, into);
    out = left.substr(0, end);
    left.remove_prefix(end + 1);
    into.end += end + 1;
    if (end == 0)
        into.status = Instruction::Status::EmptyLine;
    return end != 0;
}

} // namespace

const OpcodeInfo* opcodeInfo(std::uint8_t opcode)
{
    return kOpcodes[opcode].name == nullptr ? nullptr : &kOpcodes[opcode];
}

Instruction readInstruction(std::span<const std::byte> bytes, std::size_t at)
{
    Instruction out;
    out.begin = at;
    out.end = at + 1;
    out.opcode = static_cast<std::uint8_t>(bytes[at]);
    const OpcodeInfo* const info = opcodeInfo(out.opcode);
    if (info == nullptr) {
        out.status = Instruction::Status::Unknown;
        return out;
    }
    std::string_view left(reinterpret_cast<const char*>(bytes.data()) + at + 1, bytes.size() - at - 1);
    if (info->argument == ArgumentKind::Line || info->argument == ArgumentKind::TwoLines) {
        if (takeLine(left, out.argument, out) && info->argument == ArgumentKind::TwoLines)
            takeLine(left, out.second, out);
        return out;
    }
    std::string_view field;
    if (!takeBytes(left, widthOf(info->argument), field, out))
        return out;
    for (std::size_t i = 0; i < field.size(); ++i)
        out.number |= static_cast<std::uint64_t>(static_cast<unsigned char>(field[i])) << (8 * i);
    if (info->argument == ArgumentKind::I4)
        out.number = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(out.number)));
    if (info->argument == ArgumentKind::Counted4Signed && out.number > 0x7FFFFFFF)
        out.status = Instruction::Status::NegativeLength;
    else if (isCounted(info->argument))
        takeBytes(left, out.number, out.argument, out);
    return out;
}

} // namespace shardlens::pickle
