#include "core/analysis/digest.h"

#include "core/encoding/tensor_reader.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <map>
#include <memory>

namespace shardlens {
namespace {

constexpr std::uint64_t kBlockBytes = 4u << 20;

using Hash = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

std::string hexadecimal(std::span<const unsigned char> bytes)
{
    std::string out;
    for (const unsigned char byte : bytes)
        out += fmt::format("{:02x}", byte);
    return out;
}

Result<std::string> sha256Of(const StreamSet& streams, TensorId tensor, JobContext& job)
{
    SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(streams, tensor));
    const Hash hash(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
    // Whole cells a block: a cell of 3 bytes must not be cut.
    const std::uint64_t block = kBlockBytes / reader.cellBytes() * reader.cellBytes();
    std::vector<std::byte> buffer(std::min(block, reader.sizeBytes()));
    for (std::uint64_t at = 0; at < reader.sizeBytes(); at += block) {
        SHARDLENS_TRY(job.poll());
        const std::span<std::byte> part = std::span(buffer).first(std::min(block, reader.sizeBytes() - at));
        SHARDLENS_TRY(reader.readAt(at, part));
        EVP_DigestUpdate(hash.get(), part.data(), part.size());
        job.advance(part.size());
    }
    std::array<unsigned char, 32> out{};
    EVP_DigestFinal_ex(hash.get(), out.data(), nullptr);
    return hexadecimal(out);
}

} // namespace

Result<std::vector<TensorDigest>> digestTensors(const CheckpointPtr& checkpoint, const std::vector<SelectedTensor>& selection, Executor& executor, JobContext& job)
{
    const StreamSet streams(checkpoint);
    std::map<TensorId, std::string> digests; // each tensor once, however many names it has
    std::uint64_t total = 0;
    for (const SelectedTensor& one : selection)
        if (digests.try_emplace(one.tensor).second)
            total += checkpoint->bytesOf(one.tensor);
    job.setTotal(total);
    std::vector<std::pair<const TensorId, std::string>*> work;
    for (auto& entry : digests)
        work.push_back(&entry);
    SHARDLENS_TRY(executor.forEach(work.size(), [&](std::size_t i) -> Status {
        SHARDLENS_ASSIGN(work[i]->second, sha256Of(streams, work[i]->first, job));
        return {};
    }));
    std::vector<TensorDigest> out;
    out.reserve(selection.size());
    for (const SelectedTensor& one : selection) {
        const Tensor& tensor = checkpoint->tensor(one.tensor);
        out.push_back({one.name, tensor.dtype, tensor.shape, digests.at(one.tensor)});
    }
    return out;
}

} // namespace shardlens
