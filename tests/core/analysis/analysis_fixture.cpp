#include "tests/core/analysis/analysis_fixture.h"

#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <fstream>

namespace shardlens::test {

void AnalysisTest::writeRun() const
{
    ZeroTestRun run;
    run.world = 3;
    run.parameters = {{"embed", {7, 5}}, {"bias", {4}}};
    run.write(path("run"), "step3");
}

CheckpointPtr AnalysisTest::openRun() const
{
    JobContext job;
    auto opened = openCheckpoint(path("run"), {}, job);
    EXPECT_TRUE(opened.ok()) << opened.error().text();
    return opened ? opened.take() : nullptr;
}

TensorId AnalysisTest::tensorNamed(const Checkpoint& checkpoint, const std::string& fullName)
{
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.fullName(idAt<TensorId>(i)) == fullName)
            return idAt<TensorId>(i);
    ADD_FAILURE() << "no tensor " << fullName;
    return kNoTensor;
}

void AnalysisTest::overwrite(const std::string& fullName, std::uint64_t index, const std::vector<std::uint8_t>& bytes) const
{
    const CheckpointPtr checkpoint = openRun();
    const TensorId tensor = tensorNamed(*checkpoint, fullName);
    for (std::size_t row = checkpoint->pieces().firstOf(tensor); row < checkpoint->pieces().lastOf(tensor); ++row) {
        const Piece piece = checkpoint->pieces().at(idAt<PieceId>(row));
        const auto* range = std::get_if<FlatRange>(&piece.region);
        if (range == nullptr || index < range->begin || index >= range->end)
            continue;
        std::fstream file(checkpoint->file(checkpoint->stream(piece.source.stream).file).path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(piece.source.offset + (index - range->begin) * bytes.size()));
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        EXPECT_TRUE(file.good());
        return;
    }
    ADD_FAILURE() << "nothing holds element " << index << " of " << fullName;
}

CheckpointPtr AnalysisTest::made(const std::string& payload, const std::function<void(CheckpointBuilder&, FileId)>& fill) const
{
    std::ofstream(path("data.bin"), std::ios::binary) << payload;
    CheckpointBuilder builder(path("data.bin"), m_folder.path().string());
    const auto stamp = stampOf(path("data.bin"));
    EXPECT_TRUE(stamp.ok());
    File row;
    row.path = path("data.bin");
    row.name = "data.bin";
    row.size = stamp->sizeBytes;
    row.modifiedNs = stamp->modifiedNs;
    fill(builder, builder.addFile(row));
    return std::move(builder).finish();
}

VerifyReport AnalysisTest::verified(const CheckpointPtr& checkpoint, const VerifyOptions& options)
{
    InlineExecutor executor;
    JobContext job;
    auto report = verifyCheckpoint(checkpoint, options, executor, job);
    EXPECT_TRUE(report.ok()) << report.error().text();
    return report ? report.take() : VerifyReport{};
}

std::vector<std::string> AnalysisTest::findingsOf(const CheckpointPtr& checkpoint, const VerifyOptions& options)
{
    constexpr const char* kWords[] = {"info", "warning", "error"};
    std::vector<std::string> out;
    for (const Finding& finding : verified(checkpoint, options).findings) {
        if (finding.code == "no-checksums") // the test writer leaves them out
            continue;
        out.push_back(fmt::format("{} {}", kWords[static_cast<std::size_t>(finding.severity)], finding.code));
        if (finding.tensor != kNoTensor)
            out.back() += fmt::format(" {}", checkpoint->fullName(finding.tensor));
    }
    return out;
}

} // namespace shardlens::test
