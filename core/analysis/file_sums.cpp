#include "core/analysis/file_sums.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

namespace shardlens {
namespace {

constexpr std::size_t kSumReadBytes = 1u << 20;

std::vector<FileId> summedFiles(const Checkpoint& checkpoint)
{
    std::vector<FileId> out;
    for (std::size_t i = 0; i < checkpoint.files().size(); ++i)
        if (const File& file = checkpoint.files()[i]; !file.sha256.empty() && file.state == File::State::Read)
            out.push_back(idAt<FileId>(i));
    return out;
}

Result<std::string> fileSum(const ByteSource& source, JobContext& job)
{
    const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> hash(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
    std::vector<std::byte> buffer(std::min<std::uint64_t>(kSumReadBytes, source.size()));
    for (std::uint64_t at = 0; at < source.size(); at += buffer.size()) {
        SHARDLENS_TRY(job.poll());
        const std::span<std::byte> part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), source.size() - at));
        SHARDLENS_TRY(source.readAt(at, part));
        EVP_DigestUpdate(hash.get(), part.data(), part.size());
        job.progress().bytesRead.fetch_add(part.size(), std::memory_order_relaxed);
        job.advance(part.size());
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> sum{};
    unsigned size = 0;
    EVP_DigestFinal_ex(hash.get(), sum.data(), &size);
    std::string out;
    for (unsigned i = 0; i < size; ++i)
        out += fmt::format("{:02x}", sum[i]);
    return out;
}

} // namespace

std::uint64_t summedBytes(const Checkpoint& checkpoint)
{
    std::uint64_t out = 0;
    for (const FileId id : summedFiles(checkpoint))
        out += checkpoint.file(id).size;
    return out;
}

Result<std::vector<Finding>> checkFileSums(const Checkpoint& checkpoint, Executor& executor, JobContext& job)
{
    const std::vector<FileId> files = summedFiles(checkpoint);
    std::vector<std::string> sums(files.size());
    SHARDLENS_TRY(executor.forEach(files.size(), [&](std::size_t i) -> Status {
        const auto source = FileSource::open(checkpoint.file(files[i]).path);
        auto sum = source ? fileSum(**source, job) : Result<std::string>(source.error());
        if (!sum && sum.error().code() == ErrorCode::Cancelled)
            return sum.takeError();
        sums[i] = sum ? sum.take() : std::string();
        return {};
    }));
    std::vector<Finding> out;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const File& file = checkpoint.file(files[i]);
        if (!sums[i].empty() && sums[i] != file.sha256)
            out.push_back({Severity::Warning, "sha256", fmt::format("{} has the sha256 {}…, and the checkpoint says {}…: its bytes are not those that were written.", printable(file.name), sums[i].substr(0, 16), printable(file.sha256.substr(0, 16))),
                           kNoTensor, files[i], file.rank});
    }
    return out;
}

} // namespace shardlens
