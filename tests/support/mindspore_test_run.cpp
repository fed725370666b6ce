#include "tests/support/mindspore_test_run.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace shardlens::test {
namespace {

std::string varint(std::uint64_t value)
{
    std::string out;
    for (; value >= 0x80; value >>= 7)
        out += static_cast<char>(value | 0x80);
    return out + static_cast<char>(value);
}

std::string number(std::uint32_t field, std::int64_t value)
{
    return varint(field << 3) + varint(static_cast<std::uint64_t>(value));
}

std::string bytes(std::uint32_t field, const std::string& content)
{
    return varint(field << 3 | 2) + varint(content.size()) + content;
}

std::uint64_t product(const std::vector<std::uint64_t>& numbers)
{
    return std::accumulate(numbers.begin(), numbers.end(), std::uint64_t{1}, std::multiplies<>());
}

// The coordinates of a rank, the last axis fastest.
std::vector<std::uint64_t> coordinates(const std::vector<std::uint64_t>& devices, std::uint64_t rank)
{
    std::vector<std::uint64_t> out(devices.size());
    for (std::size_t i = devices.size(); i-- > 0; rank /= devices[i])
        out[i] = rank % devices[i];
    return out;
}

// Number of the slice along a dimension, and how many there are.
std::pair<std::uint64_t, std::uint64_t> sliceAlong(const MindSporeLayout& layout, std::size_t dimension, std::uint64_t rank)
{
    const auto at = coordinates(layout.devices, rank);
    std::uint64_t index = 0;
    std::uint64_t count = 1;
    for (const std::uint32_t axis : layout.map[dimension]) {
        const std::size_t place = layout.devices.size() - 1 - axis;
        index = index * layout.devices[place] + at[place];
        count *= layout.devices[place];
    }
    return {index, count};
}

bool areReplicas(const MindSporeLayout& layout, std::uint64_t a, std::uint64_t b)
{
    for (std::size_t d = 0; d < layout.map.size(); ++d)
        if (sliceAlong(layout, d, a).first != sliceAlong(layout, d, b).first)
            return false;
    return true;
}

// Who repeats the slice of a rank, ascending.
std::vector<std::uint64_t> groupOf(const MindSporeLayout& layout, std::uint64_t rank)
{
    std::vector<std::uint64_t> out;
    for (std::uint64_t other = 0; other < product(layout.devices); ++other)
        if (areReplicas(layout, rank, other))
            out.push_back(other);
    return out;
}

std::uint64_t shardsOf(const MindSporeLayout& layout)
{
    if (layout.shardSize == 0)
        return 1;
    return layout.shardSize > 0 ? static_cast<std::uint64_t>(layout.shardSize) : groupOf(layout, 0).size();
}

std::string dims(const std::vector<std::int64_t>& numbers)
{
    std::string out;
    for (const std::int64_t one : numbers)
        out += number(1, one);
    return out;
}

std::string layoutBytes(const MindSporeLayout& layout)
{
    std::string out = bytes(1, dims({layout.devices.begin(), layout.devices.end()}));
    const bool isFlat = std::all_of(layout.map.begin(), layout.map.end(), [](const auto& axes) { return axes.size() < 2; });
    std::vector<std::int64_t> flat;
    for (const auto& axes : layout.map) {
        std::vector<std::int64_t> one(axes.begin(), axes.end());
        if (one.empty())
            one.push_back(-1);
        flat.insert(flat.end(), one.begin(), one.end());
        if (!isFlat)
            out += bytes(2, dims(one));
    }
    if (isFlat)
        out += bytes(2, dims(flat));
    else if (layout.map.size() == 1)
        out += bytes(2, "");
    const auto group = groupOf(layout, 0);
    const std::uint64_t step = layout.shardSize != 0 && group.size() > 1 ? (group.back() - group.front()) / (group.size() - 1) : 0;
    return out + bytes(3, "") + bytes(4, "") + number(5, 0) + number(6, static_cast<std::int64_t>(step)) + number(7, layout.shardSize);
}

// Sizes of axes with that product, ones left out.
std::vector<std::uint64_t> factored(std::mt19937& random, std::uint64_t count)
{
    std::vector<std::uint64_t> out;
    for (std::uint64_t divisor = 2; count > 1;) {
        if (count % divisor != 0) {
            ++divisor;
            continue;
        }
        count /= divisor;
        if (!out.empty() && random() % 3 == 0)
            out.back() *= divisor;
        else
            out.push_back(divisor);
    }
    std::shuffle(out.begin(), out.end(), random);
    return out.empty() ? std::vector<std::uint64_t>{1} : out;
}

MindSporeLayout randomLayout(std::mt19937& random, const std::vector<std::uint64_t>& shape, std::uint64_t deviceCount)
{
    MindSporeLayout out{factored(random, deviceCount), std::vector<std::vector<std::uint32_t>>(shape.size()), 0};
    std::vector<std::uint32_t> axes(out.devices.size());
    std::iota(axes.begin(), axes.end(), 0u);
    std::shuffle(axes.begin(), axes.end(), random);
    for (const std::uint32_t axis : axes)
        if (!shape.empty() && random() % 3 != 0)
            out.map[random() % shape.size()].push_back(axis);
    const std::uint64_t group = groupOf(out, 0).size();
    if (!shape.empty() && group > 1 && random() % 2 == 0) {
        out.shardSize = -1;
        if (group % 2 == 0 && random() % 2 == 0)
            out.shardSize = 2;
    }
    return out;
}

} // namespace

std::string ckptRecord(const std::string& name, const std::string& type, const std::vector<std::uint64_t>& shape, const std::string& content)
{
    std::string tensor;
    for (const std::uint64_t extent : shape)
        tensor += number(1, static_cast<std::int64_t>(extent));
    tensor += bytes(2, type) + bytes(3, content);
    return bytes(1, bytes(1, name) + bytes(2, tensor));
}

std::string ckptText(const std::string& name, const std::string& ascii)
{
    std::string content;
    for (const char c : ascii)
        content += std::string{c, 0, 0, 0};
    return ckptRecord(name, "str", {0}, content);
}

std::string crcTrailerText(std::uint32_t crc)
{
    std::string out = "crc_num";
    for (int i = 9; i >= 0; --i)
        out += i >= 4 ? '\0' : static_cast<char>(crc >> (8 * i));
    return out;
}

void writeBytes(const std::string& path, const std::string& content)
{
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

std::string MindSporeTestRun::valuesOf(const MindSporeTensor& tensor)
{
    std::uint32_t seed = 17;
    for (const char c : tensor.name)
        seed = seed * 31 + static_cast<unsigned char>(c);
    std::string out(product(tensor.shape) * tensor.cell, '\0');
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<char>((i * 2'654'435'761u + seed) >> 11 & 0x3f); // small exponents: all finite as floats
    return out;
}

std::vector<std::uint64_t> MindSporeTestRun::sliceShape(const MindSporeLayout& layout, std::vector<std::uint64_t> shape)
{
    for (std::size_t d = 0; d < shape.size(); ++d)
        shape[d] /= sliceAlong(layout, d, 0).second;
    if (!shape.empty())
        shape[0] /= shardsOf(layout);
    return shape;
}

std::vector<std::uint64_t> MindSporeTestRun::elementsOf(const MindSporeLayout& layout, const std::vector<std::uint64_t>& shape, std::uint64_t localRank)
{
    const auto group = groupOf(layout, localRank);
    const std::uint64_t shards = shardsOf(layout);
    const auto place = static_cast<std::uint64_t>(std::find(group.begin(), group.end(), localRank) - group.begin()) % shards;
    std::vector<std::uint64_t> out;
    for (std::uint64_t element = 0; element < product(shape); ++element) {
        std::uint64_t rest = element;
        bool isHeld = true;
        for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) {
            const auto [slice, count] = sliceAlong(layout, d, localRank);
            const std::uint64_t width = shape[d] / count;
            const std::uint64_t at = rest % shape[d];
            isHeld = isHeld && at / width == slice && (d > 0 || (at % width) / (width / shards) == place);
        }
        if (isHeld)
            out.push_back(element);
    }
    return out;
}

std::string MindSporeTestRun::fileOf(std::uint64_t rank) const
{
    const auto stage = static_cast<std::uint32_t>(rank / devices);
    std::string out;
    for (const MindSporeTensor& tensor : tensors) {
        const std::string values = valuesOf(tensor);
        const auto layout = tensor.layouts.find(stage);
        if (layout == tensor.layouts.end()) {
            if (tensor.layouts.empty())
                out += ckptRecord(tensor.name, tensor.type, tensor.shape, values);
            continue;
        }
        std::string slice;
        for (const std::uint64_t element : elementsOf(layout->second, tensor.shape, rank % devices))
            slice += values.substr(element * tensor.cell, tensor.cell);
        out += ckptRecord(tensor.name, tensor.type, sliceShape(layout->second, tensor.shape), slice);
    }
    for (const auto& [name, text] : texts)
        out += ckptText(name, text);
    return out;
}

std::string MindSporeTestRun::strategyBytes() const
{
    std::string out = number(1, 1);
    for (std::uint32_t stage = 0; stage < stages; ++stage)
        out += bytes(2, bytes(1, "MatMul_" + std::to_string(stage)) + bytes(2, number(1, stage) + bytes(2, dims({1, 1}))));
    for (std::uint32_t stage = 0; stage < stages; ++stage)
        for (const MindSporeTensor& tensor : tensors)
            if (const auto layout = tensor.layouts.find(stage); layout != tensor.layouts.end())
                out += bytes(3, bytes(1, (stages > 1 ? std::to_string(stage) + "-" : "") + tensor.name) + bytes(2, layoutBytes(layout->second)));
    return out;
}

void MindSporeTestRun::write(const std::string& root, const std::string& stem, const std::string& ending) const
{
    for (std::uint64_t rank = 0; rank < world(); ++rank)
        writeBytes(root + "/rank_" + std::to_string(rank) + "/" + stem + std::to_string(rank) + ending, fileOf(rank));
}

void MindSporeTestRun::writeStrategy(const std::string& path) const
{
    writeBytes(path, strategyBytes());
}

void MindSporeTestRun::shuffle(std::mt19937& random, std::uint32_t stageCount, std::uint64_t deviceCount)
{
    stages = stageCount;
    devices = deviceCount;
    std::uint32_t stage = 0;
    for (MindSporeTensor& tensor : tensors) {
        if (tensor.layouts.empty())
            continue;
        tensor.layouts.clear();
        tensor.layouts.emplace(stage++ % stages, randomLayout(random, tensor.shape, devices));
        if (random() % 4 == 0) // shared between stages
            tensor.layouts.emplace(static_cast<std::uint32_t>(random() % stages), randomLayout(random, tensor.shape, devices));
    }
}

} // namespace shardlens::test
