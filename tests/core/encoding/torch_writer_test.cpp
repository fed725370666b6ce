#include "core/encoding/torch_writer.h"

#include "core/encoding/torch_zip_layout.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/torch_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string pickleOf(const std::vector<StateDictEntry>& entries)
{
    const auto pickle = stateDictPickle(entries);
    if (!pickle)
        return codeName(pickle.error().code()) + ": " + pickle.error().text();
    return {reinterpret_cast<const char*>(pickle->data()), pickle->size()};
}

// A whole archive of these tensors; storage k is filled with bytes that count up from k.
std::string archiveOf(const std::vector<StateDictEntry>& entries, const std::vector<std::size_t>& storages)
{
    std::vector<std::string> contents{pickleOf(entries)};
    std::vector<TorchRecord> records{{"data.pkl", contents[0].size()}};
    for (std::size_t k = 0; k < storages.size(); ++k) {
        std::string bytes(storages[k], '\0');
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = static_cast<char>((i + k) % 251);
        records.push_back({fmt::format("data/{}", k), bytes.size()});
        contents.push_back(std::move(bytes));
    }
    records.push_back({"version", 2});
    contents.push_back("3\n");
    const auto layout = TorchZipLayout::layOut("archive", records);
    return assembled(*layout, contents);
}

TEST(TorchWriter, WritesThePickleOfAStateDict)
{
    EXPECT_EQ(shownPickle(pickleOf({{"w", DType::F32, {2, 3}, 0}, {"b", DType::BF16, {}, 1}, {"tied", DType::F32, {2, 3}, 0}})),
              "{'w': torch._utils._rebuild_tensor_v2(pid(('storage', torch.FloatStorage, '0', 'cpu', 6)), 0, (2, 3), (3, 1), False, collections.OrderedDict(){}), "
              "'b': torch._utils._rebuild_tensor_v2(pid(('storage', torch.BFloat16Storage, '1', 'cpu', 1)), 0, (), (), False, collections.OrderedDict(){}), "
              "'tied': torch._utils._rebuild_tensor_v2(pid(('storage', torch.FloatStorage, '0', 'cpu', 6)), 0, (2, 3), (3, 1), False, collections.OrderedDict(){})}");
    EXPECT_EQ(shownPickle(pickleOf({})), "{}");
    EXPECT_EQ(pickleOf({}).substr(0, 2), "\x80\x02"); // what weights_only knows
}

TEST(TorchWriter, RebuildsTypesWithoutAStorageClassByTheirName)
{
    EXPECT_EQ(shownPickle(pickleOf({{"q", DType::F8E4M3, {4}, 0}})),
              "{'q': torch._utils._rebuild_tensor_v3(pid(('storage', torch.storage.UntypedStorage, '0', 'cpu', 4)), 0, (4), (1), False, collections.OrderedDict(){}, "
              "torch.float8_e4m3fn)}");
    EXPECT_THAT(shownPickle(pickleOf({{"u", DType::U16, {2, 5}, 0}})), HasSubstr("'cpu', 20)), 0, (2, 5), (5, 1), False, collections.OrderedDict(){}, torch.uint16)"));
}

TEST(TorchWriter, WritesNumbersOfEveryLength)
{
    const auto line = [](const Shape& shape) { return shownPickle(pickleOf({{"w", DType::U8, shape, 0}})); };
    EXPECT_THAT(line({255}), HasSubstr("'cpu', 255)), 0, (255), (1)"));
    EXPECT_THAT(line({256}), HasSubstr("(256), (1)"));
    EXPECT_THAT(line({65'536}), HasSubstr("(65536), (1)"));
    EXPECT_THAT(line({2, 2'147'483'648}), HasSubstr("'cpu', 4294967296)), 0, (2, 2147483648), (2147483648, 1)"));
    EXPECT_THAT(line({2, 3, 4, 5, 6}), HasSubstr("(2, 3, 4, 5, 6), (360, 120, 30, 6, 1)"));
    EXPECT_THAT(line({3, 0, 4}), HasSubstr("'cpu', 0)), 0, (3, 0, 4), (4, 4, 1)")); // torch's strides of an empty tensor are no zeros
}

TEST(TorchWriter, WritesWhatItsReaderReads)
{
    std::vector<StateDictEntry> entries;
    std::vector<std::size_t> storages;
    std::vector<std::string> expected;
    for (const DTypeInfo& each : allDTypes()) {
        if (each.torchName.empty() || each.kind == DTypeKind::Quantized)
            continue;
        const Shape shape{3, 4};
        entries.push_back({std::string(each.name), each.dtype, shape, storages.size()});
        storages.push_back(*bytesOf(each.dtype, 12));
        expected.push_back(std::string(each.name) + " [3, 4]");
    }
    ASSERT_GT(entries.size(), 15u);
    const auto lines = tensorLines(archiveOf(entries, storages));
    ASSERT_EQ(lines.size(), entries.size());
    for (std::size_t i = 0; i < lines.size(); ++i)
        EXPECT_THAT(lines[i], HasSubstr(expected[i]));
}

TEST(TorchWriter, KeepsTiedTensorsTied)
{
    const std::string bytes = archiveOf({{"a", DType::F32, {2, 3}, 0}, {"b", DType::I64, {2}, 1}, {"c", DType::F32, {2, 3}, 0}, {"d", DType::F32, {0, 3}, 2}}, {24, 16, 0});
    const auto source = memory(bytes);
    JobContext job;
    const auto file = TorchFile::open(source, job);
    ASSERT_TRUE(file.ok()) << file.error().text();
    const auto storageOf = [&](const char* name) { return file->tensorOf(file->root().find(name)); };
    ASSERT_TRUE(storageOf("a").ok() && storageOf("b").ok() && storageOf("c").ok());
    EXPECT_EQ(storageOf("a")->storage, storageOf("c")->storage);
    EXPECT_NE(storageOf("a")->storage, storageOf("b")->storage);
    EXPECT_TRUE(storageOf("a")->contiguous);
    EXPECT_EQ(textAt(*source, file->storages()[storageOf("b")->storage].offset, 3), "\1\2\3");
    EXPECT_THAT(tensorLines(*file, source), ElementsAre(HasSubstr("a F32 [2, 3] strides [12, 4] at 0"), HasSubstr("b I64 [2] strides [8] at 0"),
                                                        HasSubstr("c F32 [2, 3] strides [12, 4] at 0"), "d F32 [0, 3] strides [12, 4] at 0 crc 00000000"));
}

TEST(TorchWriter, RefusesWhatTorchCannotHold)
{
    EXPECT_THAT(pickleOf({{"w", DType::F6E2M3, {4}, 0}}), HasSubstr("Refused: w: torch has no dtype F6_E2M3"));
    EXPECT_THAT(pickleOf({{"w", DType::F4, {2, 3}, 0}}), HasSubstr("Refused: w: torch packs F4 along the last dimension, and [2, 3] does not divide"));
    EXPECT_THAT(pickleOf({{"w", DType::F4, {}, 0}}), HasSubstr("Refused: w: torch packs F4"));
    EXPECT_THAT(pickleOf({{"w\xff", DType::F32, {2}, 0}}), HasSubstr("Refused: the name w"));
}

} // namespace
} // namespace shardlens::test
