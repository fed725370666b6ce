#include "tests/core/convert/convert_fixture.h"

#include "core/base/text.h"
#include "core/encoding/tensor_reader.h"
#include "core/io/byte_source.h"
#include "core/io/checksum.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace shardlens::test {

std::vector<std::byte> bytesOfFloats(const std::vector<float>& values)
{
    std::vector<std::byte> out(values.size() * sizeof(float));
    std::memcpy(out.data(), values.data(), out.size());
    return out;
}

std::string readText(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Status ScriptedExecutor::forEach(std::size_t count, const Work& work)
{
    for (std::size_t i = 0; i < count; ++i) {
        m_before(i);
        SHARDLENS_TRY(work(i));
    }
    return {};
}

CheckpointPtr ConvertTest::tiny(const std::vector<TinyTensor>& tensors, const std::vector<std::pair<std::string, std::string>>& aliases)
{
    std::vector<std::byte> payload;
    std::vector<std::uint64_t> offsets;
    for (const TinyTensor& tensor : tensors) {
        const std::uint64_t count = elementCount(tensor.shape).value_or(0);
        std::vector<std::byte> bytes = tensor.bytes;
        for (std::size_t i = bytes.size(); i < bytesOf(tensor.dtype, count).value_or(0); ++i)
            bytes.push_back(static_cast<std::byte>(payload.size() + i));
        offsets.push_back(payload.size());
        payload.insert(payload.end(), bytes.begin(), bytes.end());
    }
    const std::string file = path("data.bin");
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(payload.data()), static_cast<std::streamsize>(payload.size()));
    CheckpointBuilder builder(file, m_folder.path().string());
    builder.setFormat("tiny", "a made-up format");
    builder.holder({}); // nobody in particular
    const auto stamp = stampOf(file);
    EXPECT_TRUE(stamp.ok());
    File row;
    row.path = file;
    row.name = "data.bin";
    row.size = stamp->sizeBytes;
    row.modifiedNs = stamp->modifiedNs;
    const FileId id = builder.addFile(row);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const RoleId role = builder.role(tensors[i].role, tensors[i].role == RoleKind::OptimizerState ? "exp_avg" : "weight");
        Tensor tensor;
        tensor.parameter = builder.parameter(tensors[i].name);
        tensor.role = role;
        tensor.dtype = tensors[i].dtype;
        tensor.shape = tensors[i].shape;
        EXPECT_TRUE(builder.addWhole(builder.addTensor(std::move(tensor)), {builder.streamOf(id), offsets[i], HolderId{}, {}}).ok());
    }
    for (const auto& [alias, name] : aliases)
        builder.addAlias(alias, builder.parameter(name));
    return std::move(builder).finish();
}

ZeroTestRun ConvertTest::writeRun(std::uint64_t scale) const
{
    ZeroTestRun run;
    run.world = 4;
    run.parameters = {{"embed.weight", {7 * scale, 5}}, {"up.weight", {3, 4}}, {"norm.bias", {5}}};
    run.write(path("run"), "step3");
    return run;
}

CheckpointPtr ConvertTest::openRun() const
{
    JobContext job;
    auto opened = openCheckpoint(path("run"), {}, job);
    EXPECT_TRUE(opened.ok()) << opened.error().text();
    return opened ? opened.take() : nullptr;
}

ConvertRequest ConvertTest::request(const std::string& target, const std::string& to) const
{
    ConvertRequest out;
    out.source = path("run");
    out.target = path(target);
    out.to = to;
    out.threads = 1;
    return out;
}

Result<Plan> ConvertTest::plan(const CheckpointPtr& source, const ConvertRequest& request)
{
    JobContext job;
    return planConversion(source, request, job);
}

std::vector<std::string> ConvertTest::planLinesOf(const CheckpointPtr& source, const ConvertRequest& request)
{
    const auto made = plan(source, request);
    if (!made)
        return {"error: " + made.error().text()};
    return planText(*made);
}

std::string ConvertTest::convert(const CheckpointPtr& source, const ConvertRequest& request)
{
    JobContext job;
    const auto made = planConversion(source, request, job);
    if (!made)
        return "error: " + made.error().text();
    InlineExecutor executor;
    auto report = executePlan(*made, executor, job);
    if (!report)
        return "error: " + report.error().text();
    m_report = report.take();
    return {};
}

std::vector<std::string> ConvertTest::names() const
{
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(m_folder.path()))
        out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<std::string> contentsOf(const CheckpointPtr& checkpoint)
{
    std::vector<std::string> out;
    const StreamSet streams(checkpoint);
    for (const SelectedTensor& selected : selectTensors(*checkpoint, {})) {
        const Tensor& tensor = checkpoint->tensor(selected.tensor);
        const auto reader = TensorReader::open(streams, selected.tensor);
        if (!reader) {
            out.push_back("error: " + reader.error().text());
            continue;
        }
        std::vector<std::byte> bytes(reader->sizeBytes());
        const Status read = reader->readAt(0, bytes);
        EXPECT_TRUE(read.ok()) << read.error().text();
        out.push_back(fmt::format("{} {} {} {:08x}", selected.name, nameOf(tensor.dtype), shapeText(tensor.shape), crc32Of(bytes)));
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<std::string> contentsOf(const std::string& path)
{
    JobContext job;
    const auto opened = openCheckpoint(path, {}, job);
    if (!opened)
        return {"error: " + opened.error().text()};
    return contentsOf(*opened);
}

} // namespace shardlens::test
