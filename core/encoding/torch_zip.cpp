#include "core/base/text.h"
#include "core/encoding/torch_container.h"
#include "core/encoding/torch_rebuild.h"
#include "core/encoding/zip.h"

#include <fmt/format.h>

#include <algorithm>
#include <strings.h>

namespace shardlens {
namespace {

constexpr std::uint64_t kMaxPickleBytes = 512ull << 20; // decoded: a million tensors take less than half of it
constexpr std::uint64_t kBombSlack = 64ull << 20;
constexpr std::uint64_t kDeflatedSlack = 2ull << 20; // a pickle takes up to 16 times its bytes once parsed
constexpr std::uint64_t kDeflatedGain = 32;          // pickles of tensors compress by 5 to 15
constexpr std::uint64_t kMaxSmallRecord = 4096;
constexpr std::size_t kOversizedSaid = 4;

Error unsupported(std::string text)
{
    return {ErrorCode::Unsupported, std::move(text)};
}

// "archive/" of "archive/data.pkl"; the part before the member's own path.
Result<std::string> rootOf(const ZipArchive& archive)
{
    const auto endsIn = [&](std::string_view tail) -> const ZipMember* {
        for (const ZipMember& member : archive.members())
            if (member.name.ends_with(tail))
                return &member;
        return nullptr;
    };
    if (const ZipMember* pickle = endsIn("/data.pkl"))
        return pickle->name.substr(0, pickle->name.size() - std::string_view("data.pkl").size());
    if (endsIn(".npy") != nullptr)
        return unsupported("a NumPy archive (.npz), which holds no torch pickle");
    if (endsIn("model.json") != nullptr)
        return unsupported("a TorchScript archive from before PyTorch 1.4");
    if (endsIn("serialized_exported_program.json") != nullptr || endsIn("archive_format") != nullptr)
        return unsupported("an exported program (torch.export), which is no checkpoint");
    // torch.save matches names without regard to case
    constexpr std::string_view kPickle = "/data.pkl";
    for (const ZipMember& member : archive.members())
        if (member.name.size() >= kPickle.size() && ::strncasecmp(member.name.data() + member.name.size() - kPickle.size(), kPickle.data(), kPickle.size()) == 0)
            return member.name.substr(0, member.name.size() - kPickle.size() + 1);
    return unsupported("a zip archive without data.pkl, so not one that torch.save wrote");
}

Result<std::string> smallText(const ZipArchive& archive, const std::string& name)
{
    const ZipMember* member = archive.find(name);
    if (member == nullptr)
        return std::string{};
    SHARDLENS_ASSIGN(const auto bytes, archive.read(*member, kMaxSmallRecord));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Status addStorages(TorchContainer& out, const ZipArchive& archive, const std::string& root, JobContext& job)
{
    const std::string folder = root + "data/";
    bool repacked = false;
    for (const ZipMember& member : archive.members()) {
        if (!member.name.starts_with(folder) || member.name.size() == folder.size() || archive.find(member.name) != &member)
            continue;
        if (out.storages.size() % 4096 == 0)
            SHARDLENS_TRY(job.poll());
        if (member.method != 0 && member.method != 8)
            return unsupported(fmt::format("{} is compressed by method {}; stored and deflated are read", printable(member.name), member.method));
        SHARDLENS_ASSIGN(const std::uint64_t offset, archive.dataOffset(member));
        const bool deflated = member.method == 8;
        repacked = repacked || deflated;
        if (!deflated && member.storedBytes != member.sizeBytes)
            return Error{ErrorCode::Corrupt, fmt::format("{} is stored with {} B and says {} B", printable(member.name), groupedText(member.storedBytes), groupedText(member.sizeBytes))};
        out.storageByKey.emplace(member.name.substr(folder.size()), out.storages.size());
        out.storages.push_back({offset, member.sizeBytes, member.storedBytes, deflated, member.name.substr(root.size()), nullptr});
    }
    if (repacked)
        out.notes.push_back({"repacked", "some members are compressed, which torch.save never does: the archive was packed again by another tool"});
    return {};
}

// Records that hold more than the pickle says: PyTorch since 2.13 refuses them, and what is behind the values is nobody's.
Status addOversized(TorchContainer& out, const JobContext& job)
{
    std::vector<char> said(out.storages.size(), 0);
    std::size_t count = 0;
    for (std::size_t i = 0; i < out.graph->nodeCount(); ++i) {
        if (i % 65'536 == 0)
            SHARDLENS_TRY(job.poll());
        const pickle::Value value = out.graph->nodeAt(i);
        const auto claimed = value.kind() == pickle::Kind::PersistentId ? claimedBytes(out, value) : std::nullopt;
        if (!claimed || claimed->sizeBytes >= out.storages[claimed->storage].sizeBytes || said[claimed->storage] != 0)
            continue;
        said[claimed->storage] = 1;
        const TorchStorage& storage = out.storages[claimed->storage];
        if (++count <= kOversizedSaid)
            out.notes.push_back({"record-size",
                                 fmt::format("{} has {} B, and the pickle says {} B: PyTorch 2.13 refuses such a file, older releases read it", printable(storage.record),
                                             groupedText(storage.sizeBytes), groupedText(claimed->sizeBytes)),
                                 true});
    }
    if (count > kOversizedSaid)
        out.notes.push_back({"record-size", fmt::format("{} more records are longer than the pickle says", groupedText(count - kOversizedSaid)), true});
    return {};
}

} // namespace

Result<TorchContainer> openTorchZip(std::shared_ptr<const ByteSource> source, TorchInside inside, JobContext& job)
{
    SHARDLENS_ASSIGN(const ZipArchive archive, ZipArchive::open(*source, &job));
    TorchContainer out;
    for (const ZipNote& note : archive.notes())
        out.notes.push_back({note.code, note.text});
    SHARDLENS_ASSIGN(const std::string root, rootOf(archive));
    SHARDLENS_ASSIGN(const std::string byteOrder, smallText(archive, root + "byteorder"));
    out.bigEndian = byteOrder.starts_with("big");
    SHARDLENS_TRY(addStorages(out, archive, root, job));
    const ZipMember* pickle = archive.find(root + "data.pkl");
    // a member that decompresses to far more than the file is no pickle of tensors that the file holds
    const std::uint64_t most = pickle->method == 0 ? kBombSlack + source->size() : kDeflatedSlack + kDeflatedGain * pickle->storedBytes;
    SHARDLENS_ASSIGN(auto bytes, archive.read(*pickle, std::min(kMaxPickleBytes, most)));
    auto graph = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(std::move(bytes)), 0, &job);
    if (!graph)
        return graph.takeError().within(printable(pickle->name));
    out.graph = graph.take();
    SHARDLENS_TRY(addOversized(out, job));
    if (inside == TorchInside::Pickle)
        return out;
    if (pickle->method == 0) {
        SHARDLENS_ASSIGN(out.pickleOffset, archive.dataOffset(*pickle));
    }
    SHARDLENS_TRY(addNestedStorages(out, source, job));
    if (archive.find(root + "constants.pkl") != nullptr) {
        out.kind = TorchFile::Container::TorchScript;
        SHARDLENS_TRY(addScriptClasses(out, archive, root, job));
    }
    return out;
}

} // namespace shardlens
