#include "tests/core/format/format_fixture.h"

#include "core/encoding/tensor_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <span>

namespace shardlens::test {
namespace {

std::uint64_t countOf(const std::vector<std::uint64_t>& shape)
{
    return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
}

std::string jsonOf(const std::vector<std::uint64_t>& shape)
{
    return fmt::format("[{}]", fmt::join(shape, ","));
}

} // namespace

Result<CheckpointPtr> openPath(const std::string& path, const OpenOptions& options)
{
    JobContext job;
    return openCheckpoint(path, options, job);
}

TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& fullName)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == fullName)
            return idAt<TensorId>(i);
    ADD_FAILURE() << "no tensor " << fullName;
    return kNoTensor;
}

std::vector<std::string> fullNamesOf(const Checkpoint& checkpoint)
{
    std::vector<std::string> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        out.push_back(checkpoint.fullName(idAt<TensorId>(i)));
    return out;
}

std::vector<std::string> findingsOf(const Checkpoint& checkpoint)
{
    std::vector<std::string> out;
    for (const Finding& finding : checkpoint.findings())
        out.push_back(finding.code + ": " + finding.text);
    return out;
}

std::vector<float> floatsOf(const CheckpointPtr& checkpoint, const std::string& fullName)
{
    const TensorId id = tensorNamed(*checkpoint, fullName);
    if (id == kNoTensor)
        return {};
    const StreamSet streams(checkpoint);
    auto reader = TensorReader::open(streams, id);
    EXPECT_TRUE(reader.ok()) << reader.error().text();
    if (!reader)
        return {};
    std::vector<float> values(reader->sizeBytes() / sizeof(float));
    const Status read = reader->readAt(0, std::as_writable_bytes(std::span(values)));
    EXPECT_TRUE(read.ok()) << read.error().text();
    return values;
}

void writeSafetensors(const std::string& path, const std::vector<FloatTensor>& tensors, const std::string& metadata)
{
    std::string header = metadata.empty() ? "{" : "{\"__metadata__\":" + metadata;
    std::uint64_t at = 0;
    for (const FloatTensor& tensor : tensors) {
        const std::uint64_t bytes = countOf(tensor.shape) * sizeof(float);
        header += fmt::format("{}\"{}\":{{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[{},{}]}}", header.size() > 1 ? "," : "", tensor.name, jsonOf(tensor.shape), at, at + bytes);
        at += bytes;
    }
    header += "}";
    const std::uint64_t length = header.size();
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header;
    for (const FloatTensor& tensor : tensors)
        for (std::uint64_t i = 0; i < countOf(tensor.shape); ++i) {
            const float value = tensor.first + static_cast<float>(i);
            out.write(reinterpret_cast<const char*>(&value), sizeof value);
        }
}

void writeText(const std::string& path, const std::string& text)
{
    std::ofstream(path, std::ios::binary) << text;
}

Py floatTensor(std::size_t storage, std::uint64_t count, const std::vector<std::uint64_t>& shape, std::uint64_t offset, const std::vector<std::uint64_t>& strides)
{
    return {Py::Tensor{"FloatStorage", storage, count, offset, shape, strides}};
}

TestStorage floatStorage(std::uint64_t count, float first)
{
    return {count * sizeof(float), [first](std::uint64_t offset, std::span<std::byte> out) {
                for (std::size_t i = 0; i + sizeof(float) <= out.size(); i += sizeof(float)) {
                    const float value = first + static_cast<float>((offset + i) / sizeof(float));
                    std::memcpy(out.data() + i, &value, sizeof value);
                }
            }};
}

} // namespace shardlens::test
