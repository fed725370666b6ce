#include "core/base/text.h"
#include "core/encoding/torch_container.h"
#include "core/encoding/torch_rebuild.h"

#include <fmt/format.h>

#include <array>

namespace shardlens {
namespace {

using pickle::Value;

constexpr std::uint64_t kSlackBytes = 1u << 20;
constexpr std::uint64_t kMostKept = 256ull << 20; // of storages whose bytes are text in the file

// The bytes of one nested file: at a place of the source, or decoded.
struct NestedBytes {
    std::shared_ptr<const ByteSource> source;
    std::optional<std::uint64_t> at;
};

class NestedReader {
public:
    NestedReader(TorchContainer& container, std::shared_ptr<const ByteSource> source, JobContext& job) : m_out(container), m_source(std::move(source)), m_job(job) {}

    // Calls that share their argument share its storage, as they do once loaded.
    Status add(Value call)
    {
        const Value argument = call.args().at(0);
        if (const auto known = m_byArgument.find(argument.index()); known != m_byArgument.end()) {
            m_out.nested[call.index()] = m_out.nested.at(known->second);
            return {};
        }
        m_byArgument.emplace(argument.index(), call.index());
        return look(call);
    }

private:
    Status look(Value call)
    {
        auto bytes = bytesOf(call);
        if (!bytes)
            return keepProblem(call, bytes.takeError());
        m_looked += bytes->source->size();
        if (m_looked > 2 * m_source->size() + kSlackBytes) // every file inside lies in the pickle once
            return Error{ErrorCode::LimitExceeded, fmt::format("torch files inside the pickle hold more than {} in all", sizeText(2 * m_source->size() + kSlackBytes))};
        auto inner = openInner(bytes->source);
        if (!inner)
            return keepProblem(call, inner.takeError());
        const auto part = storagePart(*inner, inner->graph->root());
        if (!part)
            return keepProblem(call, Error{ErrorCode::Unsupported, "its root is no storage"});
        return take(call, *bytes, inner->storages[part->storage], *part);
    }

    // What cannot be read is said where the storage is asked for; only a cancel ends the whole.
    Status keepProblem(Value call, Error error)
    {
        if (error.code() == ErrorCode::Cancelled)
            return error;
        m_out.nested[call.index()] = {{}, false, fmt::format("a torch file inside the pickle: {}", error.text())};
        return {};
    }

    Result<NestedBytes> bytesOf(Value call)
    {
        const Value argument = call.args().at(0);
        const auto offset = m_out.graph->offsetOf(argument);
        const auto plain = argument.asBytes();
        if (plain && offset && m_out.pickleOffset) {
            const std::uint64_t at = *m_out.pickleOffset + *offset;
            return NestedBytes{std::make_shared<SliceSource>(m_source, at, plain->size()), at};
        }
        if (plain)
            return NestedBytes{std::make_shared<MemorySource>(std::vector<std::byte>(plain->begin(), plain->end())), std::nullopt};
        if (!argument.isCallOf("_codecs", "encode") || !argument.args().at(0).asText())
            return Error{ErrorCode::Corrupt, "no bytes"};
        const std::string decoded = pickle::latin1(*argument.args().at(0).asText());
        const auto* first = reinterpret_cast<const std::byte*>(decoded.data());
        return NestedBytes{std::make_shared<MemorySource>(std::vector<std::byte>(first, first + decoded.size())), std::nullopt};
    }

    Result<TorchContainer> openInner(const std::shared_ptr<const ByteSource>& source)
    {
        std::array<std::byte, 2> head{};
        if (source->size() < head.size())
            return Error{ErrorCode::Corrupt, "an empty file"};
        SHARDLENS_TRY(source->readAt(0, head));
        const bool isZip = head[0] == std::byte{'P'} && head[1] == std::byte{'K'};
        return isZip ? openTorchZip(source, TorchInside::Pickle, m_job) : openTorchLegacy(source, TorchInside::Pickle, m_job);
    }

    Status take(Value call, const NestedBytes& bytes, TorchStorage storage, TorchStoragePart part)
    {
        if (!bytes.at && storage.deflated)
            return keepProblem(call, Error{ErrorCode::Unsupported, "compressed twice"});
        if (bytes.at) {
            storage.offset += *bytes.at;
        } else {
            m_kept += storage.sizeBytes;
            if (m_kept > kMostKept)
                return Error{ErrorCode::LimitExceeded, fmt::format("tensors of more than {} inside a pickle as text or compressed", sizeText(kMostKept))};
            SHARDLENS_ASSIGN(auto values, readBytes(*bytes.source, storage.offset, storage.sizeBytes, kMostKept));
            storage.decoded = std::make_shared<const std::vector<std::byte>>(std::move(values));
            storage.offset = 0;
        }
        storage.record.clear();
        part.storage = m_out.storages.size();
        m_out.storages.push_back(std::move(storage));
        m_out.nested[call.index()] = {part, true, {}};
        return {};
    }

    TorchContainer& m_out;
    std::shared_ptr<const ByteSource> m_source;
    JobContext& m_job;
    std::unordered_map<std::uint32_t, std::uint32_t> m_byArgument; // the first call with it
    std::uint64_t m_looked = 0;
    std::uint64_t m_kept = 0;
};

} // namespace

Status addNestedStorages(TorchContainer& container, const std::shared_ptr<const ByteSource>& source, JobContext& job)
{
    NestedReader reader(container, source, job);
    for (std::size_t i = 0; i < container.graph->nodeCount(); ++i) {
        const Value value = container.graph->nodeAt(i);
        if (!value.isCallOf("torch.storage", "_load_from_bytes"))
            continue;
        SHARDLENS_TRY(job.poll());
        SHARDLENS_TRY(reader.add(value));
    }
    return {};
}

} // namespace shardlens
