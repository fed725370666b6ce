#include "tests/core/encoding/encoding_fixture.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

namespace shardlens::test {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr int kDeepest = 8;

int digitOf(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string quoted(std::string_view text)
{
    return fmt::format("'{}'", printable(text));
}

std::string items(Value sequence, int depth)
{
    std::string out;
    for (std::size_t i = 0; i < sequence.size(); ++i)
        out += fmt::format("{}{}", i == 0 ? "" : ", ", shown(sequence.at(i), depth + 1));
    return out;
}

std::string entries(Value mapping, int depth)
{
    std::string out = "{";
    for (std::size_t i = 0; i < mapping.size(); ++i)
        out += fmt::format("{}{}: {}", i == 0 ? "" : ", ", shown(mapping.keyAt(i), depth + 1), shown(mapping.valueAt(i), depth + 1));
    return out + "}";
}

std::string raw(Value bytes)
{
    const auto held = *bytes.asBytes();
    std::string out;
    for (const std::byte byte : held)
        out += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return out;
}

std::string call(Value value, int depth)
{
    const char* const made = value.kind() == Kind::NewObject ? "new " : "";
    std::string out = fmt::format("{}{}({}", made, shown(value.callable(), depth + 1), items(value.args(), depth));
    if (value.kwargs())
        out += fmt::format(", **{}", shown(value.kwargs(), depth + 1));
    out += ")";
    if (value.isMapping())
        out += entries(value, depth);
    else if (value.isSequence())
        out += fmt::format("[{}]", items(value, depth));
    if (value.state())
        out += fmt::format(" state {}", shown(value.state(), depth + 1));
    return out;
}

} // namespace

std::vector<std::byte> toBytes(std::string_view text)
{
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

std::shared_ptr<const MemorySource> memory(std::string_view text)
{
    return std::make_shared<const MemorySource>(toBytes(text));
}

std::string textAt(const ByteSource& source, std::uint64_t offset, std::uint64_t count)
{
    std::string out(count, '?');
    const Status read = source.readAt(offset, std::as_writable_bytes(std::span(out)));
    return read ? out : "error: " + read.error().text();
}

std::string readFile(const std::string& path)
{
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
}

std::string fromHex(std::string_view digits)
{
    std::string out;
    int high = -1;
    for (const char c : digits) {
        if (c == ' ' || c == '\n')
            continue;
        const int digit = digitOf(c);
        if (digit < 0)
            return {};
        if (high >= 0)
            out += static_cast<char>(high * 16 + digit);
        high = high >= 0 ? -1 : digit;
    }
    return high < 0 ? out : std::string{};
}

std::string fromBase64(std::string_view text)
{
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    std::uint32_t held = 0;
    int bits = 0;
    for (const char c : text) {
        if (c == '\n' || c == '=')
            continue;
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos)
            return {};
        held = (held << 6 | static_cast<std::uint32_t>(value)) & 0xFFFFF;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out += static_cast<char>(held >> bits & 0xFF);
        }
    }
    return out;
}

std::string smallestTorchFile()
{
    return fromHex(
        "504b0304000008080000000000000000000000000000000000000a0018006d2f646174612e706b6c464214005a5a5a5a"
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a80027d7100580100000077710163746f7263682e5f7574696c730a5f72656275"
        "696c645f74656e736f725f76320a71022828580700000073746f72616765710363746f7263680a466c6f617453746f72"
        "6167650a71045801000000307105580300000063707571064b06747107514b004b024b038671084b034b018671098963"
        "636f6c6c656374696f6e730a4f726465726564446963740a710a2952710b74710c52710d732e504b070886a4f98fa600"
        "0000a6000000504b030400000808000000000000000000000000000000000000080024006d2f646174612f3046422000"
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a000000000000803f0000004000004040"
        "000080400000a040504b07081790e7911800000018000000504b03040000080800000000000000000000000000000000"
        "0000090031006d2f76657273696f6e46422d005a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a330a504b0708d19e67550200000002000000504b010200000000080800000000"
        "000086a4f98fa6000000a60000000a00000000000000000000000000000000006d2f646174612e706b6c504b01020000"
        "000008080000000000001790e79118000000180000000800000000000000000000000000f60000006d2f646174612f30"
        "504b0102000000000808000000000000d19e675502000000020000000900000000000000000000000000680100006d2f"
        "76657273696f6e504b06062c000000000000001e032d00000000000000000003000000000000000300000000000000a5"
        "00000000000000d201000000000000504b060700000000770200000000000001000000504b05060000000003000300a5"
        "000000d20100000000");
}

std::string smallLegacyFile()
{
    return fromHex(
        "80028a0a6cfc9c46f9206aa850192e80024de9032e80027d710028581000000070726f746f636f6c5f76657273696f6e"
        "71014de903580d0000006c6974746c655f656e6469616e710288580a000000747970655f73697a657371037d71042858"
        "0500000073686f727471054b025803000000696e7471064b0458040000006c6f6e6771074b0475752e80027d71002858"
        "0100000077710163746f7263682e5f7574696c730a5f72656275696c645f74656e736f725f76320a7102282858070000"
        "0073746f72616765710363746f7263680a466c6f617453746f726167650a710458090000003838383035383635367105"
        "580300000063707571064b064e747107514b004b024b038671084b034b018671098963636f6c6c656374696f6e730a4f"
        "726465726564446963740a710a2952710b74710c52710d580100000076710e6802282868036804580900000038383830"
        "3538363536710f68064b064e747110514b024b028571114b0185711289680a2952711374711452711558010000006271"
        "1668022828680363746f7263680a42466c6f6174313653746f726167650a711758090000003832353633353834307118"
        "68064b014e747119514b004b0185711a4b0185711b89680a2952711c74711d52711e752e80025d710028580900000038"
        "3235363335383430710158090000003838383035383635367102652e0100000000000000c03f06000000000000000000"
        "00000000803f0000004000004040000080400000a040");
}

std::string codeName(ErrorCode code)
{
    switch (code) {
    case ErrorCode::NotFound: return "NotFound";
    case ErrorCode::Io: return "Io";
    case ErrorCode::Corrupt: return "Corrupt";
    case ErrorCode::Unsupported: return "Unsupported";
    case ErrorCode::LimitExceeded: return "LimitExceeded";
    case ErrorCode::Refused: return "Refused";
    case ErrorCode::Cancelled: return "Cancelled";
    }
    return "no code";
}

std::string shown(Value value, int depth)
{
    if (!value)
        return "absent";
    if (depth > kDeepest)
        return "...";
    switch (value.kind()) {
    case Kind::None: return "None";
    case Kind::Bool: return *value.asBool() ? "True" : "False";
    case Kind::Int: return std::to_string(*value.asInt());
    case Kind::BigInt: return value.asInt() ? std::to_string(*value.asInt()) : "a big number";
    case Kind::Float: return fmt::format("{:.17g}f", *value.asFloat());
    case Kind::Text: return quoted(*value.asText());
    case Kind::Bytes: return fmt::format("b:{}", raw(value));
    case Kind::ByteArray: return fmt::format("bytearray:{}", raw(value));
    case Kind::Tuple: return fmt::format("({})", items(value, depth));
    case Kind::List: return fmt::format("[{}]", items(value, depth));
    case Kind::Dict: return entries(value, depth);
    case Kind::Set: return fmt::format("set{{{}}}", items(value, depth));
    case Kind::FrozenSet: return fmt::format("frozenset{{{}}}", items(value, depth));
    case Kind::Global: return printable(value.globalModule()) + "." + printable(value.globalName());
    case Kind::Reduce:
    case Kind::NewObject: return call(value, depth);
    case Kind::PersistentId: return fmt::format("pid({})", shown(value.persistentId(), depth + 1));
    case Kind::Extension: return "extension";
    case Kind::Buffer: return "buffer";
    }
    return "no kind";
}

std::string shownPickle(std::string_view bytes)
{
    const auto graph = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes)));
    if (!graph)
        return codeName(graph.error().code()) + ": " + graph.error().text();
    return shown((*graph)->root());
}

} // namespace shardlens::test
