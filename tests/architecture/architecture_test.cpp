#include "tests/architecture/include_table.h"
#include "tests/architecture/source_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace shardlens::architecture {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::filesystem::path kRoot = SHARDLENS_SOURCE_DIR;

std::string contentOf(const std::filesystem::path& file)
{
    std::ifstream in(file, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

// Paths relative to the root of all .h and .cpp files below the folders, sorted.
std::vector<std::string> sources(std::initializer_list<const char*> folders)
{
    std::vector<std::string> out;
    for (const char* folder : folders)
        for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot / folder))
            if (entry.path().extension() == ".h" || entry.path().extension() == ".cpp")
                out.push_back(std::filesystem::relative(entry.path(), kRoot).generic_string());
    std::sort(out.begin(), out.end());
    return out;
}

std::string joined(const std::vector<std::string>& lines)
{
    std::string out;
    for (const std::string& line : lines)
        out += line + "\n";
    return out;
}

IncludeTable ownTable()
{
    return IncludeTable::parse(contentOf(kRoot / "tests/architecture/include_table.txt"));
}

TEST(Architecture, EveryIncludeIsInTheTable)
{
    const IncludeTable table = ownTable();
    EXPECT_EQ(joined(table.problems()), "");
    const std::vector<std::string> files = sources({"core", "ui", "app"});
    ASSERT_GT(files.size(), 50u) << "the tree was not found at " << kRoot;
    std::vector<std::string> all;
    for (const std::string& file : files)
        for (const std::string& one : table.violations(file, contentOf(kRoot / file)))
            all.push_back(one);
    EXPECT_EQ(joined(all), "");
}

TEST(Architecture, FilesAndFunctionsStaySmall)
{
    std::vector<std::string> all;
    for (const std::string& file : sources({"core", "ui", "app", "tests"}))
        for (const std::string& one : sizeViolations(file, contentOf(kRoot / file)))
            all.push_back(one);
    EXPECT_EQ(joined(all), "");
}

TEST(Architecture, ColoursAreInTheTokensOnly)
{
    std::vector<std::string> all;
    for (const std::string& file : sources({"core", "ui", "app"}))
        for (const std::string& one : colourViolations(file, contentOf(kRoot / file)))
            all.push_back(one);
    EXPECT_EQ(joined(all), "");
}

struct BadInclude {
    const char* name;
    const char* path;
    const char* text;
    const char* says;
};

class IncludeTableRejects : public testing::TestWithParam<BadInclude> {};

TEST_P(IncludeTableRejects, ByItsRule)
{
    const BadInclude& row = GetParam();
    EXPECT_THAT(ownTable().violations(row.path, row.text), ElementsAre(HasSubstr(row.says)));
}

INSTANTIATE_TEST_SUITE_P(
    Own, IncludeTableRejects,
    testing::Values(
        BadInclude{"QtInCore", "core/model/shape.h", "#include <QString>\n", "may not use qt"},
        BadInclude{"TorchInConvert", "core/convert/plan.cpp", "#include <torch/torch.h>\n", "may not use torch"},
        BadInclude{"UpwardsFromBase", "core/base/text.cpp", "#include \"core/io/byte_source.h\"\n",
                   "may not include core/io/byte_source.h"},
        BadInclude{"FamilyToFamily", "core/format/torch/a.cpp", "#include \"core/format/deepspeed/names.h\"\n", "may not include"},
        BadInclude{"ConvertToFamily", "core/convert/plan.cpp", "#include \"core/format/torch/torch_format.h\"\n", "may not include"},
        BadInclude{"ExecutorInWindow", "ui/pages/page.h", "#include \"core/convert/execute.h\"\n", "may not include"},
        BadInclude{"ComputeInWindow", "ui/pages/page.h", "#include \"core/compute/devices.h\"\n", "may not include"},
        BadInclude{"MoreOfModelThanDType", "core/numeric/cast.h", "#include \"core/model/checkpoint.h\"\n", "may not include"},
        BadInclude{"NotFromTheRoot", "core/base/text.cpp", "#include \"text.h\"\n", "not from the root"},
        BadInclude{"UnknownLibrary", "core/base/text.cpp", "#  include <boost/any.hpp>\n", "no library of the table"},
        BadInclude{"UnknownFolder", "core/extra/a.cpp", "", "not in the table"}),
    [](const auto& row) { return row.param.name; });

TEST(IncludeTable, AllowsWhatItNames)
{
    const IncludeTable table = ownTable();
    EXPECT_THAT(table.violations("core/format/torch/a.cpp",
                                 "#include \"core/format/torch/b.h\"\n#include \"core/format/format.h\"\n#include <vector>\n"
                                 "#include <sys/stat.h>\n#include <fmt/format.h>\n"),
                IsEmpty());
    EXPECT_THAT(table.violations("core/numeric/cast.h", "#include \"core/model/dtype.h\"\n"), IsEmpty());
}

TEST(SourceRules, CountsFunctionsFilesAndGuards)
{
    std::string longFunction = "#pragma once\nvoid f()\n{\n";
    for (std::size_t i = 0; i + 2 < kMaxFunctionLines; ++i)
        longFunction += "    g();\n";
    EXPECT_THAT(sizeViolations("a.h", longFunction + "}\n"), IsEmpty());
    EXPECT_THAT(sizeViolations("a.h", longFunction + "    g();\n}\n"), ElementsAre(HasSubstr("a function of 81 lines")));
    EXPECT_THAT(sizeViolations("a.h", "int a;\n"), ElementsAre(HasSubstr("#pragma once")));
    std::string longFile;
    for (std::size_t i = 0; i <= kMaxFileLines; ++i)
        longFile += "int a;\n";
    EXPECT_THAT(sizeViolations("a.cpp", longFile), Contains(HasSubstr("701 lines")));
}

TEST(SourceRules, FindsColours)
{
    EXPECT_THAT(colourViolations("a.cpp", "QColor(\"#2E8C7C\")"), ElementsAre(HasSubstr("#2E8C7C")));
    EXPECT_THAT(colourViolations("a.cpp", "#include <x>\n#define A\n// issue #123456a\n"), IsEmpty());
}

} // namespace
} // namespace shardlens::architecture
