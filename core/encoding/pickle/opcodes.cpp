#include "core/encoding/pickle/opcodes.h"

namespace shardlens::pickle {

OpcodeGroup groupOf(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kNone: case op::kNewTrue: case op::kNewFalse: case op::kBinInt: case op::kBinInt1: case op::kBinInt2: case op::kLong1:
    case op::kLong4: case op::kBinFloat: case op::kBinString: case op::kShortBinString: case op::kBinUnicode: case op::kShortBinUnicode:
    case op::kBinUnicode8: case op::kBinBytes: case op::kShortBinBytes: case op::kBinBytes8: case op::kByteArray8:
        return OpcodeGroup::Literal;
    case op::kInt: case op::kLong: case op::kFloat: case op::kString: case op::kUnicode: case op::kPersId:
        return OpcodeGroup::TextLiteral;
    case op::kEmptyTuple: case op::kTuple1: case op::kTuple2: case op::kTuple3: case op::kTuple: case op::kEmptyList: case op::kList:
    case op::kAppend: case op::kAppends: case op::kEmptyDict: case op::kDict: case op::kSetItem: case op::kSetItems: case op::kEmptySet:
    case op::kAddItems: case op::kFrozenSet:
        return OpcodeGroup::Container;
    case op::kGlobal: case op::kStackGlobal: case op::kExt1: case op::kExt2: case op::kExt4: case op::kReduce: case op::kNewObj:
    case op::kNewObjEx: case op::kObj: case op::kInst: case op::kBuild: case op::kBinPersId:
        return OpcodeGroup::Object;
    case op::kGet: case op::kBinGet: case op::kLongBinGet: case op::kPut: case op::kBinPut: case op::kLongBinPut: case op::kMemoize:
        return OpcodeGroup::Memo;
    case op::kProto: case op::kFrame: case op::kStop: case op::kMark: case op::kPop: case op::kPopMark: case op::kDup: case op::kNextBuffer:
    case op::kReadOnlyBuffer:
        return OpcodeGroup::Stack;
    default: return OpcodeGroup::Unknown;
    }
}

TextOpcode textOpcode(std::uint8_t opcode)
{
    switch (opcode) {
    case op::kBinString: return {Kind::Text, 4, true};
    case op::kShortBinString: return {Kind::Text, 1, false};
    case op::kShortBinUnicode: return {Kind::Text, 1, false};
    case op::kBinUnicode8: return {Kind::Text, 8, false};
    case op::kBinBytes: return {Kind::Bytes, 4, false};
    case op::kShortBinBytes: return {Kind::Bytes, 1, false};
    case op::kBinBytes8: return {Kind::Bytes, 8, false};
    case op::kByteArray8: return {Kind::ByteArray, 8, false};
    default: return {Kind::Text, 4, false}; // BINUNICODE
    }
}

} // namespace shardlens::pickle
