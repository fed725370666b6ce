#include "core/encoding/pickle/disassembly.h"

#include <fmt/format.h>
#include <gmock/gmock.h>


namespace shardlens::test {
namespace {

using namespace std::string_literals;

std::shared_ptr<const std::vector<std::byte>> heldBytes(const std::string& text)
{
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return std::make_shared<const std::vector<std::byte>>(begin, begin + text.size());
}

std::vector<std::string> listed(const std::string& text)
{
    const auto listing = pickle::Disassembly::of(heldBytes(text), 0, text.size());
    std::vector<std::string> out;
    for (std::size_t i = 0; listing && i < listing->lines(); ++i) {
        const pickle::DisassemblyLine line = listing->line(i);
        out.push_back(fmt::format("{} {} {}", line.offset, line.opcode, line.argument));
    }
    return out;
}

TEST(Disassembly, NamesOpcodesWithTheirArguments)
{
    EXPECT_THAT(listed("\x80\x04\x95\x02\0\0\0\0\0\0\0cos\nsystem\nX\2\0\0\0lsJ\xfe\xff\xff\xff\x8a\2\0\x01G\x3f\xf8\0\0\0\0\0\0Vab\nq\7R."s),
                ::testing::ElementsAre("0 PROTO 4", "2 FRAME 2", "11 GLOBAL os.system", "22 BINUNICODE 'ls'", "29 BININT -2", "34 LONG1 0x0100", "38 BINFLOAT 1.5",
                                       "47 UNICODE ab", "51 BINPUT 7", "53 REDUCE ", "54 STOP "));
}

TEST(Disassembly, EndsAtWhatIsNoOpcode)
{
    EXPECT_THAT(listed("N\xc8N."), ::testing::ElementsAre("0 NONE ", "1 unknown 0xc8 "));
    EXPECT_THAT(listed("NX\xff\0\0\0ab"s), ::testing::ElementsAre("0 NONE ", "1 BINUNICODE cut off: needs 255 B, 2 left"));
    EXPECT_THAT(listed("cos\nsys"), ::testing::ElementsAre(::testing::StartsWith("0 GLOBAL cut off")));
    EXPECT_THAT(listed("I\n."), ::testing::ElementsAre("0 INT an empty line"));
    EXPECT_THAT(listed("T\xff\xff\xff\xff."), ::testing::ElementsAre("0 BINSTRING a negative length"));
    EXPECT_TRUE(listed("").empty());
}

TEST(Disassembly, GoesOnBehindAPickle)
{
    EXPECT_THAT(listed("N.\x88."), ::testing::ElementsAre("0 NONE ", "1 STOP ", "2 NEWTRUE ", "3 STOP "));
}

TEST(Disassembly, ShortensLongTexts)
{
    EXPECT_EQ(listed("X\x10\x27\0\0"s + std::string(10'000, 'x') + ".").front(), "0 BINUNICODE '" + std::string(120, 'x') + "' … 10,000 B");
}

TEST(Disassembly, FindsTheLineOfAnOffset)
{
    const auto listing = pickle::Disassembly::of(heldBytes("\x80\x02X\2\0\0\0abN."s), 0, 11);
    ASSERT_TRUE(listing.ok());
    EXPECT_EQ(listing->lineAt(0), 0u);
    EXPECT_EQ(listing->lineAt(5), 1u) << "inside the argument";
    EXPECT_EQ(listing->lineAt(9), 2u);
    EXPECT_EQ(listing->lineAt(99), 3u);
}

TEST(Disassembly, KnowsAllOpcodes)
{
    int known = 0;
    int allowed = 0;
    for (int byte = 0; byte < 256; ++byte) {
        const pickle::OpcodeInfo* const info = pickle::opcodeInfo(static_cast<std::uint8_t>(byte));
        known += info != nullptr ? 1 : 0;
        allowed += info != nullptr && info->weightsOnly ? 1 : 0;
    }
    EXPECT_EQ(known, 68);
    EXPECT_EQ(allowed, 34) << "of torch.load(weights_only=True)";
}

TEST(Disassembly, IsCancelled)
{
    std::stop_source source;
    source.request_stop();
    const JobContext job(source.get_token());
    EXPECT_EQ(pickle::Disassembly::of(heldBytes("N."), 0, 2, &job).error().code(), ErrorCode::Cancelled);
}

} // namespace
} // namespace shardlens::test
