#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/torch_container.h"
#include "core/encoding/torch_storage_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace shardlens {
namespace {

// Pickles: magic number, 1001, system facts, the object, the list of storage keys. Then for every key: i64 count, bytes (formats/pytorch.md §6.1).
constexpr std::uint64_t kFirstWindow = 1u << 20;
constexpr std::uint64_t kLargestWindow = 1ull << 30;
constexpr std::array<unsigned char, 10> kMagic{0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};
constexpr std::int64_t kProtocolVersion = 1001;

using Graph = std::shared_ptr<const pickle::Graph>;

struct Pickles {
    Graph object;
    bool isBare = false; // the first pickle is the object, and nothing comes after it
    Graph keys;
    std::uint64_t end = 0;
};

bool isMagic(const pickle::Value& value, const std::vector<std::byte>& head)
{
    // LONG1 of the ten bytes, the tenth being the sign's: the number is too long for 64 bits, so the bytes themselves are compared
    const auto at = std::search(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(head.size(), 40)), kMagic.begin(), kMagic.end(),
                                [](std::byte a, unsigned char b) { return static_cast<unsigned char>(a) == b; });
    return value.kind() == pickle::Kind::BigInt && at != head.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(head.size(), 40));
}

Result<Pickles> parseIn(std::shared_ptr<const std::vector<std::byte>> bytes, const JobContext& job)
{
    Pickles out;
    SHARDLENS_ASSIGN(const Graph magic, pickle::Graph::parse(bytes, 0, &job));
    if (!isMagic(magic->root(), *bytes)) {
        out.object = magic;
        out.isBare = true;
        out.end = magic->end();
        return out;
    }
    SHARDLENS_ASSIGN(const Graph protocol, pickle::Graph::parse(bytes, magic->end(), &job));
    if (protocol->root().asInt() != kProtocolVersion)
        return Error{ErrorCode::Unsupported, fmt::format("legacy protocol {}, and {} is known", protocol->root().asInt().value_or(-1), kProtocolVersion)};
    SHARDLENS_ASSIGN(const Graph facts, pickle::Graph::parse(bytes, protocol->end(), &job));
    SHARDLENS_ASSIGN(out.object, pickle::Graph::parse(bytes, facts->end(), &job));
    SHARDLENS_ASSIGN(out.keys, pickle::Graph::parse(bytes, out.object->end(), &job));
    out.end = out.keys->end();
    return out;
}

// Nothing says how long the pickles are, so a window is read and doubled while they run past it.
Result<Pickles> parsePickles(const ByteSource& source, JobContext& job)
{
    for (std::uint64_t window = kFirstWindow;; window *= 4) {
        SHARDLENS_TRY(job.poll());
        const std::uint64_t count = std::min(window, source.size());
        SHARDLENS_ASSIGN(auto bytes, readBytes(source, 0, count, kLargestWindow));
        auto parsed = parseIn(std::make_shared<const std::vector<std::byte>>(std::move(bytes)), job);
        if (parsed || count == source.size() || parsed.error().code() != ErrorCode::Corrupt || window >= kLargestWindow)
            return parsed;
    }
}

// Bytes an element of each storage takes: the persistent ids of the object name its class.
std::unordered_map<std::string, std::uint64_t> elementBytes(const pickle::Graph& graph)
{
    std::unordered_map<std::string, std::uint64_t> out;
    for (std::size_t i = 0; i < graph.nodeCount(); ++i) {
        const pickle::Value id = graph.nodeAt(i).persistentId();
        const auto key = id.at(2).asText();
        if (!id || !key || id.at(0).asText() != "storage")
            continue;
        const auto dtype = dtypeOfStorageClass(id.at(1).globalName());
        out.emplace(std::string(*key), dtype ? info(*dtype).bytesPerBlock : 1);
    }
    return out;
}

Status addStorages(TorchContainer& out, const ByteSource& source, const Pickles& pickles)
{
    const auto sizes = elementBytes(*pickles.object);
    std::uint64_t at = pickles.end;
    const pickle::Value keys = pickles.keys->root();
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const std::string key(keys.at(i).asText().value_or(""));
        const auto known = sizes.find(key);
        if (known == sizes.end())
            return Error{ErrorCode::Corrupt, fmt::format("storage {} is listed and nothing refers to it, so its size is unknown", printable(key))};
        std::array<std::byte, 8> field{};
        SHARDLENS_TRY(source.readAt(at, field));
        const std::uint64_t count = loadLe64(field.data());
        at += field.size();
        const std::uint64_t left = source.size() - at;
        if (count > left / known->second)
            return Error{ErrorCode::Corrupt, fmt::format("storage {}: {} elements declared, {} B left; the file is truncated", printable(key), groupedText(count), groupedText(left))};
        const std::uint64_t bytes = count * known->second;
        out.storageByKey.emplace(key, out.storages.size());
        out.storages.push_back({at, bytes, bytes, false, {}, nullptr});
        at += bytes;
    }
    if (at != source.size())
        out.notes.push_back({"trailing-bytes", fmt::format("{} B after the last storage", groupedText(source.size() - at))});
    return {};
}

bool isTar(const ByteSource& source)
{
    std::array<std::byte, 5> magic{};
    return source.size() > 512 && source.readAt(257, magic) && std::memcmp(magic.data(), "ustar", 5) == 0;
}

} // namespace

Result<TorchContainer> openTorchLegacy(std::shared_ptr<const ByteSource> source, TorchInside inside, JobContext& job)
{
    if (isTar(*source))
        return Error{ErrorCode::Unsupported, "a tar archive, perhaps of PyTorch 0.1, which is not read"};
    SHARDLENS_ASSIGN(const Pickles pickles, parsePickles(*source, job));
    TorchContainer out;
    out.kind = pickles.isBare ? TorchFile::Container::Pickle : TorchFile::Container::Legacy;
    out.graph = pickles.object;
    out.pickleOffset = 0; // the window that was parsed begins with the file
    if (!pickles.isBare)
        SHARDLENS_TRY(addStorages(out, *source, pickles));
    if (inside == TorchInside::File)
        SHARDLENS_TRY(addNestedStorages(out, source, job));
    if (pickles.isBare && out.storages.empty())
        return Error{ErrorCode::Unsupported, "a pickle without tensors that torch.save did not write; looked for a zip archive, the legacy magic number and tensors inside"};
    if (pickles.isBare && pickles.end != source->size())
        out.notes.push_back({"trailing-bytes", fmt::format("{} B after the pickle", groupedText(source->size() - pickles.end)), true});
    return out;
}

} // namespace shardlens
