#include "core/convert/plan_memory.h"

#include "core/base/text.h"
#include "core/convert/stored_reads.h"
#include "core/encoding/value_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kSmallestBlock = 64u << 10;
constexpr std::uint64_t kLargestBlock = 1u << 20; // a block stays in the processor's cache between read and write
constexpr std::uint64_t kSpanBytes = 1u << 20;    // for cells that are read as one span and scattered (affine_read)
constexpr std::uint64_t kBlockStep = 4096;

// What an element of a container costs beside its text: the allocator's and the container's own share.
constexpr std::uint64_t kTextOverhead = 32;
constexpr std::uint64_t kPlanningTenths = 26;
constexpr std::uint64_t kVerifyingTenths = 5;

std::uint64_t sizeOf(const std::string& text)
{
    return text.size() + kTextOverhead;
}

std::uint64_t sizeOf(const MetaNode& node)
{
    std::uint64_t bytes = sizeof(MetaNode) + node.key.size() + node.value.size() + node.type.size();
    for (const MetaNode& child : node.children)
        bytes += sizeOf(child);
    return bytes;
}

std::uint64_t sizeOf(const Checkpoint& source)
{
    std::uint64_t bytes = source.pieces().bytesUsed() + source.inlineBytes().size();
    for (const std::string& name : source.parameters())
        bytes += sizeOf(name);
    for (const Tensor& tensor : source.tensors())
        bytes += sizeof(Tensor) + tensor.shape.size() * sizeof(std::uint64_t) + kTextOverhead;
    for (const File& file : source.files())
        bytes += sizeof(File) + sizeOf(file.path) + sizeOf(file.name);
    for (const FileMetadata& file : source.metadata())
        bytes += sizeOf(file.root);
    for (const Finding& finding : source.findings())
        bytes += sizeof(Finding) + sizeOf(finding.text);
    return bytes + source.streams().size() * sizeof(Stream) + source.fileSpans().size() * sizeof(FileSpan);
}

std::uint64_t sizeOf(const Plan& plan)
{
    std::uint64_t bytes = 0;
    for (const PlannedFile& file : plan.files) {
        bytes += sizeof(PlannedFile) + sizeOf(file.name);
        for (const PlannedBytes& literal : file.literals)
            bytes += sizeof(PlannedBytes) + literal.bytes.size();
        for (const PlannedTensor& tensor : file.tensors)
            bytes += sizeof(PlannedTensor) + sizeOf(tensor.name);
        bytes += file.records.size() * (sizeof(PlannedRecord) + kTextOverhead);
    }
    return bytes;
}

// Compressed members are decoded whole and kept: all of them at worst, and the packed bytes of one a thread on the way.
std::uint64_t decodedBytes(const Plan& plan, std::uint64_t threads)
{
    return plan.decodedBytes + plan.largestPacked * threads;
}

// What computing takes of a thread: values, the outputs of a step, and the same for what is computed below.
std::uint64_t computingBytes(const Computation& computation)
{
    std::uint64_t below = 0;
    for (const Computation* const one : computationsBelow(computation))
        below = std::max(below, computingBytes(*one));
    return computation.threadBytes() + below;
}

std::uint64_t computingBytes(const Plan& plan)
{
    std::uint64_t most = 0;
    for (const auto& computation : plan.prepared)
        most = std::max(most, computingBytes(*computation));
    return most;
}

std::uint64_t heldBytes(const Plan& plan)
{
    std::uint64_t bytes = 0;
    for (const auto& computation : plan.prepared)
        bytes += computation->heldBytes();
    return bytes;
}

// A thread holds a block of the output, what a cast reads for it, and a span.
std::uint64_t threadBytes(std::uint64_t blockBytes)
{
    return blockBytes + ValueReader::kCastBytes + kSpanBytes;
}

// Names and shapes live in several containers at once while files are opened and planned, and verifying opens the result as well. Measured on
// 200,000 and 400,000 tensors of both formats: 2.2 to 2.6 times what the containers hold, 0.2 to 0.5 more with verifying.
std::uint64_t describedBytes(const Plan& plan)
{
    const std::uint64_t held = sizeOf(*plan.source) + (plan.payload == plan.source ? 0 : sizeOf(*plan.payload)) + sizeOf(plan);
    return held * kPlanningTenths / 10 + (plan.request.verify ? held * kVerifyingTenths / 10 : 0);
}

} // namespace

Status planMemory(Plan& plan)
{
    const std::uint64_t threads = plan.request.threads;
    const std::uint64_t limit = plan.request.memoryLimit;
    const std::uint64_t decoded = decodedBytes(plan, threads);
    plan.metadataBytes = describedBytes(plan);
    const std::uint64_t held = heldBytes(plan);
    const std::uint64_t fixed = plan.metadataBytes + decoded + held;
    const std::uint64_t computing = computingBytes(plan);
    const std::uint64_t least = fixed + threads * (threadBytes(kSmallestBlock) + computing);
    if (least > limit)
        return Error{ErrorCode::Refused, fmt::format("--memory-limit {} is too small: {} are needed with {} ({} for what describes the checkpoint{}{})", exactSizeText(limit),
                                                     exactSizeText(least), plural(threads, "thread", "threads"), sizeText(plan.metadataBytes),
                                                     decoded == 0 ? std::string{} : fmt::format(", {} for compressed members", sizeText(decoded)), held == 0 ? std::string{} : fmt::format(", {} for scales that are kept", sizeText(held)))};
    const std::uint64_t room = (limit - fixed) / threads - threadBytes(0) - computing;
    plan.blockBytes = std::clamp(room / kBlockStep * kBlockStep, kSmallestBlock, kLargestBlock);
    plan.peakBufferBytes = decoded + held + threads * (threadBytes(plan.blockBytes) + computing);
    return {};
}

} // namespace shardlens
