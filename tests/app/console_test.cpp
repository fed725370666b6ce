#include "app/cli/console.h"

#include "tests/app/captured_console.h"

#include <gtest/gtest.h>

#include <random>

namespace shardlens::cli {
namespace {

using test::CapturedConsole;

TEST(Elided, KeepsBothEndsInTheGivenColumns)
{
    EXPECT_EQ(elided("layers.7.weight", 20), "layers.7.weight");
    EXPECT_EQ(elided("model.layers.7.mlp.up_proj.weight", 15), "model.l….weight");
    EXPECT_EQ(elided("abc", 1), "…");
    EXPECT_EQ(elided("abc", 0), "");
}

TEST(Elided, NeverTakesMoreColumnsThanAskedNorCutsACharacter)
{
    const std::string samples[] = {"plain ascii text", "ähnlich über", "層の重み層の重み", "mixed 層 and ä", "e\xCC\x81"};
    for (const std::string& text : samples)
        for (std::size_t width = 0; width <= 20; ++width) {
            const std::string out = elided(text, width);
            EXPECT_LE(displayWidth(out), width) << text;
            EXPECT_TRUE(out.empty() || (static_cast<unsigned char>(out.back()) & 0xC0) != 0xC0) << text;
        }
}

TEST(Wrapped, BreaksAtSpaces)
{
    EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
    EXPECT_EQ(wrapped("a_very_long_word b", 5), (std::vector<std::string>{"a_very_long_word", "b"}));
    EXPECT_EQ(wrapped("", 5), (std::vector<std::string>{""}));
}

TEST(Table, AlignsAndFits)
{
    CapturedConsole captured;
    captured.console().fitLines();
    Table table({{"name", false, true}, {"bytes", true}});
    table.addRow({"w", "1,000"});
    table.addRow({std::string(200, 'x'), "2"});
    table.print(captured.console(), 2);
    const auto lines = captured.lines();
    ASSERT_EQ(lines.size(), 3u);
    for (const std::string& line : lines)
        EXPECT_LE(displayWidth(line), 100u);
    EXPECT_EQ(lines[0].substr(0, 6), "  name");
    EXPECT_EQ(lines[0].substr(lines[0].size() - 5), "bytes");
    EXPECT_EQ(lines[1].substr(lines[1].size() - 5), "1,000");
    EXPECT_NE(lines[2].find("…"), std::string::npos);
}

TEST(Table, SeveralColumnsGiveWayTogether)
{
    CapturedConsole captured;
    captured.console().fitLines();
    Table table({{"a", false, true}, {"b", false, true}, {"c"}});
    table.addRow({std::string(80, 'a'), std::string(70, 'b'), "kept whole"});
    table.print(captured.console());
    const std::string row = captured.lines()[1];
    EXPECT_EQ(displayWidth(row), 100u);
    EXPECT_NE(row.find("kept whole"), std::string::npos);
    EXPECT_NE(row.find("aaa"), std::string::npos);
    EXPECT_NE(row.find("bbb"), std::string::npos);
}

TEST(Table, ShortensNothingInAPipe)
{
    CapturedConsole captured;
    Table table({{"name", false, true}});
    table.addRow({std::string(300, 'x')});
    table.print(captured.console());
    EXPECT_EQ(captured.lines()[1], std::string(300, 'x'));
}

TEST(Console, HasNoColourWhereThereIsNoTerminal)
{
    CapturedConsole captured;
    captured.console().line(captured.console().styled(Style::Bad, "red"));
    captured.console().error("It is.");
    EXPECT_EQ(captured.results(), "red\n");
    EXPECT_EQ(captured.remarks(), "error: It is.\n");
    EXPECT_EQ(captured.console().width(), 100u);
}

TEST(Console, AFullDiskIsSaid)
{
    std::FILE* full = std::fopen("/dev/full", "w");
    ASSERT_NE(full, nullptr);
    {
        Console console(full, stderr);
        console.line("text");
        EXPECT_EQ(console.finish(), "No space left on device");
    }
    std::fclose(full);
}

} // namespace
} // namespace shardlens::cli
