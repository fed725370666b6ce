// Items of DCP data files (formats/pytorch.md §9.4): where the values of a chunk lie, in whatever form torch wrote it.
#include "core/encoding/dcp_items.h"

#include "core/base/text.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/support/dcp_test_save.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>

namespace shardlens::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A data file in memory, and the items that were put into it.
class ItemsFile {
public:
    DcpItem add(const std::string& item)
    {
        const DcpItem place{0, 0, m_bytes.size(), item.size()};
        m_bytes += item;
        return place;
    }
    void pad(std::size_t count) { m_bytes.append(count, '\0'); }
    std::string& bytes() { return m_bytes; }

    // "F32 [2, 2] strides [8, 4]: 1 2 3 4", read from where the reader says that they are.
    std::string shown(const DcpItem& item, const std::string& key = "w")
    {
        if (!m_file)
            m_file.emplace(memory(m_bytes));
        JobContext job;
        const auto found = m_file->tensor(key, item, {}, job);
        if (!found)
            return codeName(found.error().code()) + ": " + found.error().text();
        std::string out = fmt::format("{} {}", nameOf(found->tensor.dtype), shapeText(found->tensor.shape));
        if (!found->tensor.contiguous)
            out += fmt::format(" strides [{}]", fmt::join(found->tensor.strides, ", "));
        if (found->tensor.flags.bigEndian)
            out += " big-endian";
        if (found->storage.deflated || found->storage.decoded)
            return out + " deflated";
        out += ":";
        for (std::uint64_t at = found->storage.offset; at < found->storage.offset + found->storage.sizeBytes; at += sizeof(float)) {
            std::string four = m_bytes.substr(at, sizeof(float));
            if (found->tensor.flags.bigEndian)
                std::reverse(four.begin(), four.end());
            float value = 0;
            std::memcpy(&value, four.data(), sizeof value);
            out += fmt::format(" {}", value);
        }
        return out;
    }

private:
    std::string m_bytes;
    std::optional<DcpDataFile> m_file;
};

TEST(DcpItems, OldAndNewArchives)
{
    ItemsFile file;
    ItemForm old;
    old.isOld = true;
    const DcpItem first = file.add(floatItem({2, 2}, {1, 2, 3, 4}, old));
    file.pad(7); // items need no alignment
    const DcpItem second = file.add(floatItem({3}, {5, 6, 7}));
    EXPECT_EQ(file.shown(first), "F32 [2, 2]: 1 2 3 4");
    EXPECT_EQ(file.shown(second), "F32 [3]: 5 6 7");
}

TEST(DcpItems, TransposedAndExpandedOnesKeepTheirStrides)
{
    ItemsFile file;
    ItemForm transposed;
    transposed.strides = {1, 2};
    ItemForm expanded;
    expanded.strides = {0, 1};
    const DcpItem first = file.add(floatItem({2, 3}, {1, 2, 3, 4, 5, 6}, transposed));
    const DcpItem second = file.add(floatItem({4, 2}, {8, 9}, expanded));
    EXPECT_EQ(file.shown(first), "F32 [2, 3] strides [4, 8]: 1 2 3 4 5 6");
    EXPECT_EQ(file.shown(second), "F32 [4, 2] strides [0, 4]: 8 9");
}

TEST(DcpItems, BigEndianAndRepackedOnesAreMarked)
{
    ItemsFile file;
    ItemForm big;
    big.isBigEndian = true;
    ItemForm oldBig = big;
    oldBig.isOld = true;
    ItemForm repacked;
    repacked.isDeflated = true;
    const DcpItem first = file.add(floatItem({2}, {1, 2}, big));
    const DcpItem second = file.add(floatItem({2}, {3, 4}, oldBig));
    const DcpItem third = file.add(floatItem({2}, {5, 6}, repacked));
    const DcpItem fourth = file.add(floatItem({2}, {5, 6}));
    EXPECT_EQ(file.shown(first), "F32 [2] big-endian: 1 2");
    EXPECT_EQ(file.shown(second), "F32 [2] big-endian: 3 4");
    EXPECT_EQ(file.shown(third), "F32 [2] deflated");
    EXPECT_EQ(file.shown(fourth), "F32 [2]: 5 6");
}

// ---- items that begin alike ----

TEST(DcpItems, OnesThatBeginAlikeAreParsedOnceAndNeverMixedUp)
{
    ItemsFile file;
    ItemForm turned;
    turned.strides = {1, 2};
    std::vector<std::pair<DcpItem, std::string>> items;
    for (int round = 0; round < 3; ++round) {
        const auto at = static_cast<float>(10 * round);
        items.emplace_back(file.add(floatItem({2, 2}, {at, at + 1, at + 2, at + 3})), fmt::format("F32 [2, 2]: {} {} {} {}", at, at + 1, at + 2, at + 3));
        items.emplace_back(file.add(floatItem({2, 2}, {at, at + 1, at + 2, at + 3}, turned)), fmt::format("F32 [2, 2] strides [4, 8]: {} {} {} {}", at, at + 1, at + 2, at + 3));
        items.emplace_back(file.add(floatItem({4, 1}, {at, at + 1, at + 2, at + 3})), fmt::format("F32 [4, 1]: {} {} {} {}", at, at + 1, at + 2, at + 3));
        items.emplace_back(file.add(tensorItem("IntStorage", 4, {2, 2}, bytesOfFloatsLe({at, at, at, at}))), fmt::format("I32 [2, 2]: {0} {0} {0} {0}", at));
        items.emplace_back(file.add(floatItem({2}, {at, at + 1})), fmt::format("F32 [2]: {} {}", at, at + 1));
    }
    for (int again = 0; again < 2; ++again)
        for (const auto& [item, says] : items)
            EXPECT_EQ(file.shown(item), says);
}

TEST(DcpItems, MoreFormsThanAreRemembered)
{
    ItemsFile file;
    std::vector<std::pair<DcpItem, std::string>> items;
    for (std::uint64_t size = 1; size <= 40; ++size)
        items.emplace_back(file.add(floatItem({size, 1}, std::vector<float>(size, 1))), fmt::format("F32 [{}, 1]:", size));
    for (int again = 0; again < 2; ++again)
        for (const auto& [item, says] : items)
            EXPECT_THAT(file.shown(item), ::testing::StartsWith(says));
}

// The same beginning and the same length, and the pickle behind the values.
TEST(DcpItems, WhatStandsBehindTheValuesCountsToo)
{
    ItemForm last;
    last.isOld = true;
    last.pickleLast = true;
    ItemForm turned = last;
    turned.strides = {1, 2};
    const std::string one = floatItem({2, 2}, {1, 2, 3, 4}, last);
    const std::string other = floatItem({2, 2}, {1, 2, 3, 4}, turned);
    ASSERT_EQ(one.size(), other.size());
    ASSERT_EQ(one.substr(0, 128), other.substr(0, 128));
    ItemsFile file;
    const DcpItem first = file.add(one);
    const DcpItem second = file.add(other);
    EXPECT_EQ(file.shown(first), "F32 [2, 2]: 1 2 3 4");
    EXPECT_EQ(file.shown(second), "F32 [2, 2] strides [4, 8]: 1 2 3 4");
}

TEST(DcpItems, OneThatBeginsAlikeAndIsShorterIsParsedAnew)
{
    ItemsFile file;
    const DcpItem whole = file.add(floatItem({2, 2}, {1, 2, 3, 4}));
    DcpItem cut = file.add(floatItem({2, 2}, {5, 6, 7, 8}));
    cut.length -= 30;
    EXPECT_EQ(file.shown(whole), "F32 [2, 2]: 1 2 3 4");
    EXPECT_THAT(file.shown(cut), HasSubstr("truncated"));
}

// ---- what is no item ----

TEST(DcpItems, WhatLeavesTheFileIsRefused)
{
    ItemsFile file;
    const DcpItem good = file.add(floatItem({2}, {1, 2}));
    const std::uint64_t size = file.bytes().size();
    EXPECT_EQ(file.shown({0, 0, 0, size + 1}), fmt::format("Corrupt: the metadata say {} B at offset 0, and the file ends at {}", groupedText(size + 1), groupedText(size)));
    EXPECT_THAT(file.shown({0, 0, size + 1, 0}), HasSubstr("and the file ends at"));
    EXPECT_THAT(file.shown({0, 0, ~std::uint64_t{0}, ~std::uint64_t{0}}), HasSubstr("and the file ends at"));
    EXPECT_THAT(file.shown({0, 0, 8, ~std::uint64_t{0} - 4}), HasSubstr("and the file ends at"));
    EXPECT_THAT(file.shown({0, 0, size, 0}), HasSubstr("there is no torch.save archive"));
    EXPECT_EQ(file.shown(good), "F32 [2]: 1 2");
}

TEST(DcpItems, WhatIsNoTensorIsSaid)
{
    ItemsFile file;
    const DcpItem object = file.add(objectItem({std::int64_t{7}}));
    const DcpItem noise = file.add(std::string(400, 'x'));
    const DcpItem meta = file.add(objectItem({Py::Call{{"torch._utils", "_rebuild_meta_tensor_no_storage"}, {{Py::Global{"torch", "float32"}}, pySize({2}), pySize({1}), {false}}}}));
    const DcpItem sparse = file.add(objectItem({Py::Call{{"torch._utils", "_rebuild_sparse_tensor"}, {{Py::Global{"torch", "sparse_coo"}}, {Py::Tuple{}}}}}));
    EXPECT_THAT(file.shown(object), AllOf(HasSubstr("Corrupt"), HasSubstr("is no tensor")));
    EXPECT_THAT(file.shown(noise), HasSubstr("there is no torch.save archive"));
    EXPECT_EQ(file.shown(meta), "Unsupported: a meta tensor: described, not stored");
    EXPECT_THAT(file.shown(sparse), ::testing::StartsWith("Unsupported"));
}

TEST(DcpItems, EveryPrefixOfAnItemFailsWithASentence)
{
    ItemForm old;
    old.isOld = true;
    for (const ItemForm& form : {ItemForm{}, old}) {
        const std::string whole = floatItem({2, 2}, {1, 2, 3, 4}, form);
        for (std::size_t length = 0; length < whole.size(); ++length) {
            ItemsFile file;
            const std::string shown = file.shown(file.add(whole.substr(0, length)));
            ASSERT_THAT(shown, ::testing::AnyOf(::testing::StartsWith("Corrupt: "), ::testing::StartsWith("Unsupported: "))) << length;
        }
    }
}

TEST(DcpItems, AnyByteOfAnItemMayBeWrong)
{
    const std::string whole = floatItem({2, 2}, {1, 2, 3, 4});
    for (std::size_t at = 0; at < whole.size(); ++at)
        for (const char wrong : {'\0', '\xff', static_cast<char>(whole[at] ^ 4)}) {
            std::string harmed = whole;
            harmed[at] = wrong;
            ItemsFile file;
            EXPECT_GT(file.shown(file.add(harmed)).size(), 8u) << at;
        }
}

TEST(DcpItems, ObjectsAreFilesOfTheirOwn)
{
    ItemsFile file;
    file.pad(100);
    const DcpItem item = file.add(objectItem({Py::Tuple{{{std::int64_t{7}}, {Py::Tensor{"FloatStorage", 0, 2, 0, {2}, {}}}}}}, {bytesOfFloatsLe({3, 4})}));
    JobContext job;
    const auto object = DcpDataFile(memory(file.bytes())).object(item, {}, job);
    ASSERT_TRUE(object.ok()) << object.error().text();
    EXPECT_EQ((*object)->root().at(0).asInt(), 7);
    const auto tensor = (*object)->tensorOf((*object)->root().at(1));
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(file.bytes().substr(item.offset + (*object)->storages().at(tensor->storage).offset, 8), bytesOfFloatsLe({3, 4}));
    EXPECT_FALSE(DcpDataFile(memory(file.bytes())).object({0, 0, item.offset, item.length + 1}, {}, job).ok());
}

// ---- serialization_format SAFETENSORS ----

std::string blobOf(const std::string& json, const std::string& data)
{
    std::string out;
    for (std::size_t byte = 0; byte < 8; ++byte)
        out += static_cast<char>(json.size() >> (8 * byte));
    return out + json + data;
}

TEST(DcpItems, TensorsInASafetensorsBlobAreFoundByTheirKey)
{
    ItemsFile file;
    file.add(objectItem({std::int64_t{7}}));
    DcpItem item = file.add(blobOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]}})", bytesOfFloatsLe({1, 2, 3})));
    for (const std::uint64_t length : {std::uint64_t{4}, std::uint64_t{0}, ~std::uint64_t{0}}) { // what the metadata say of the length means nothing
        item.length = length;
        EXPECT_EQ(file.shown(item, "a"), "F32 [2]: 1 2");
        EXPECT_EQ(file.shown(item, "b"), "F32 [1, 1]: 3");
        EXPECT_THAT(file.shown(item, "c"), HasSubstr("has no entry c"));
    }
}

TEST(DcpItems, ABlobThatIsHarmedIsSaid)
{
    ItemsFile file;
    const DcpItem item = file.add(blobOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234"));
    EXPECT_THAT(file.shown(item, "a"), HasSubstr("neither a torch.save archive nor a safetensors header"));
    EXPECT_THAT(file.shown(item, "a"), HasSubstr("neither a torch.save archive nor a safetensors header")); // the second time too
}

} // namespace
} // namespace shardlens::test
