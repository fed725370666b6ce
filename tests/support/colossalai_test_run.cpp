#include "tests/support/colossalai_test_run.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shardlens::test {
namespace {

std::uint64_t cellsOfShape(const std::vector<std::uint64_t>& shape)
{
    std::uint64_t out = 1;
    for (const std::uint64_t extent : shape)
        out *= extent;
    return out;
}

std::string numbersText(const std::vector<std::uint64_t>& numbers)
{
    std::string out = "[";
    for (std::size_t i = 0; i < numbers.size(); ++i)
        out += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
    return out + "]";
}

std::string fiveDigits(std::uint32_t number)
{
    char text[16];
    std::snprintf(text, sizeof text, "%05u", number);
    return text;
}

// The values of a box, one cell after another.
std::vector<float> boxValues(const DistTestTensor& tensor, const DistTestBox& box)
{
    std::vector<float> out;
    std::vector<std::uint64_t> at(box.lengths.size(), 0);
    for (std::uint64_t i = 0; i < cellsOfShape(box.lengths); ++i) {
        std::uint64_t flat = 0;
        for (std::size_t dim = 0; dim < at.size(); ++dim)
            flat = flat * tensor.shape[dim] + box.offsets[dim] + at[dim];
        out.push_back(tensor.first + static_cast<float>(flat) + box.added);
        for (std::size_t dim = at.size(); dim > 0 && ++at[dim - 1] == box.lengths[dim - 1]; --dim)
            at[dim - 1] = 0;
    }
    return out;
}

} // namespace

DistTestTensor slicedTensor(std::string name, std::vector<std::uint64_t> shape, float first, std::size_t dim, std::uint32_t tp, std::uint32_t stage)
{
    DistTestTensor out{std::move(name), shape, first, {}};
    for (std::uint32_t rank = 0; rank < tp; ++rank) {
        DistTestBox box{stage * tp + rank, std::vector<std::uint64_t>(shape.size(), 0), shape, 0};
        box.lengths[dim] = shape[dim] / tp;
        box.offsets[dim] = box.lengths[dim] * rank;
        out.boxes.push_back(std::move(box));
    }
    return out;
}

DistTestTensor copiedTensor(std::string name, std::vector<std::uint64_t> shape, float first, std::uint32_t tp, std::uint32_t stage)
{
    DistTestTensor out{std::move(name), shape, first, {}};
    for (std::uint32_t rank = 0; rank < tp; ++rank)
        out.boxes.push_back({stage * tp + rank, std::vector<std::uint64_t>(shape.size(), 0), shape, 0});
    return out;
}

std::string DistTestRun::metaName(std::uint32_t dist) const
{
    return "pytorch_model-meta-dist-" + fiveDigits(dist) + (safetensors ? ".index.json" : ".json");
}

std::string DistTestRun::shardName(std::uint32_t dist) const
{
    return (safetensors ? "model-dist-" : "pytorch_model-dist-") + fiveDigits(dist) + "-shard-00000" + (safetensors ? ".safetensors" : ".bin");
}

std::string DistTestRun::metaText(std::uint32_t dist) const
{
    std::string entries;
    for (const DistTestTensor& tensor : tensors)
        for (const DistTestBox& box : tensor.boxes)
            if (box.dist == dist)
                entries += (entries.empty() ? "\n  \"" : ",\n  \"") + tensor.name + "\": {\"offsets\": " + numbersText(box.offsets) + ", \"lengths\": " + numbersText(box.lengths) + ", \"global_shape\": "
                           + numbersText(tensor.shape) + ", \"file\": \"" + filePath + shardName(dist) + "\", \"rank\": " + std::to_string(dist * 2) + "}";
    return "{\"checkpoint_version\": \"1.0\", \"total_size\": 0.25, \"metadata\": {" + entries + "}}";
}

void DistTestRun::write(const std::string& folder) const
{
    std::filesystem::create_directories(folder);
    for (std::uint32_t dist = 0; dist < count; ++dist) {
        std::ofstream(folder + "/" + metaName(dist), std::ios::binary) << metaText(dist);
        std::vector<ValuesTensor> held;
        for (const DistTestTensor& tensor : tensors)
            for (const DistTestBox& box : tensor.boxes)
                if (box.dist == dist)
                    held.push_back({tensor.name, box.lengths, boxValues(tensor, box)});
        for (const auto& [name, first] : buffers)
            held.push_back({name, {3}, {first, first + 1, first + 2}});
        if (safetensors)
            writeValues(folder + "/" + shardName(dist), held);
        else
            writeTorchValues(folder + "/" + shardName(dist), held);
    }
}

void writeValues(const std::string& path, const std::vector<ValuesTensor>& tensors)
{
    std::string header = "{";
    std::uint64_t at = 0;
    for (const ValuesTensor& tensor : tensors) {
        const std::uint64_t bytes = tensor.values.size() * sizeof(float);
        header += (header.size() > 1 ? ",\"" : "\"") + tensor.name + "\":{\"dtype\":\"F32\",\"shape\":" + numbersText(tensor.shape) + ",\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
        at += bytes;
    }
    header += "}";
    const std::uint64_t length = header.size();
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header;
    for (const ValuesTensor& tensor : tensors)
        out.write(reinterpret_cast<const char*>(tensor.values.data()), static_cast<std::streamsize>(tensor.values.size() * sizeof(float)));
}

TestStorage valuesStorage(std::vector<float> values)
{
    return {values.size() * sizeof(float), [values](std::uint64_t offset, std::span<std::byte> out) { std::memcpy(out.data(),
                                                                                                                  reinterpret_cast<const std::byte*>(values.data()) + offset, out.size()); }};
}

void writeTorchValues(const std::string& path, const std::vector<ValuesTensor>& tensors)
{
    Py::Dict root;
    std::vector<TestStorage> storages;
    for (const ValuesTensor& tensor : tensors) {
        root.items.emplace_back(Py{tensor.name}, Py{Py::Tensor{"FloatStorage", storages.size(), tensor.values.size(), 0, tensor.shape, {}}});
        storages.push_back(valuesStorage(tensor.values));
    }
    writeTorchFile(path, Py{std::move(root)}, storages);
}

} // namespace shardlens::test
