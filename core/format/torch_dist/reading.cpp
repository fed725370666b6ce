#include "core/format/torch_dist/reading.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/format/opened_file.h"
#include "core/format/torch_dist/key_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace shardlens::torch_dist {
namespace {

constexpr std::uint64_t kMostIndexBytes = 4ull << 30;
constexpr std::size_t kMostObjectsRead = 10'000;
constexpr std::size_t kNodesOfObject = 2'000;
constexpr std::size_t kMostIntegrityBytes = 64u << 20;
constexpr std::size_t kNamesSaid = 4;

MetaNode dictNode(std::string key, std::vector<MetaNode> children)
{
    MetaNode out{MetaNode::Kind::Dict, std::move(key), plural(children.size(), "entry", "entries"), "dict", {}};
    out.children = std::move(children);
    return out;
}

// The object of an entry for people; what cannot be read is a finding.
Result<MetaNode> objectNode(Reading& reading, const DcpEntry& entry, JobContext& job)
{
    auto file = reading.folder->object(entry, job);
    if (file) {
        const pickle::Value root = (*file)->root();
        if (entry.key.find("optimizer.distributed.") != std::string::npos && entry.key.find(".optimizer/") != std::string::npos && root.size() > 0 && root.at(0).isMapping())
            reading.optimizers.push_back({*file, root.at(0), reading.folder->fileOf(entry.item.file), entry.item.offset, true});
        MetaNode out = describe(**file, kNodesOfObject);
        out.key = printable(entry.key);
        return out;
    }
    if (file.error().code() == ErrorCode::Cancelled)
        return file.takeError();
    reading.builder.addFinding({Severity::Warning, "unreadable-object", fmt::format("{} is an object of its own and cannot be read: {}.", printable(entry.key), file.error().text()), kNoTensor, kNoFile, std::nullopt});
    return MetaNode{MetaNode::Kind::Opaque, printable(entry.key), "cannot be read", "object", {}};
}

// What common.pt and the container's entry both say is read from the file, as Megatron does.
Status readCommon(Reading& reading, JobContext& job)
{
    SHARDLENS_ASSIGN(reading.common, readCommonFile(reading.iteration, reading.builder, job));
    SHARDLENS_ASSIGN(CommonState ofEntry, readCommonEntry(*reading.folder, job));
    if (reading.common && ofEntry)
        reading.builder.addFinding({Severity::Warning, "common-twice", fmt::format("{} lies beside an entry {} of the container: the folder was saved into twice, by different versions. {} is read, as Megatron does.", kCommonFile,
                                                                                  kCommonState, kCommonFile),
                                    kNoTensor, reading.common.id, std::nullopt});
    if (!reading.common)
        reading.common = std::move(ofEntry);
    if (!reading.common && reading.iteration.entry(kCommonFile) == nullptr)
        reading.builder.addFinding({Severity::Info, "no-common", fmt::format("There is no {} and no entry {}: the arguments of the run are not known. The weights do not depend on them.", kCommonFile, kCommonState), kNoTensor, kNoFile,
                                    std::nullopt});
    if (reading.common)
        reading.facts = megatronFacts(reading.common.root.find("args"));
    for (const char* name : {"iteration", "checkpoint_version"})
        if (const auto text = reading.common ? factText(reading.common.root.find(name)) : std::nullopt; text && *text != "None")
            reading.facts[name == std::string_view("iteration") ? "iteration" : "version"] = *text;
    return {};
}

std::string someNames(const std::vector<std::string>& names)
{
    std::string out;
    for (std::size_t i = 0; i < std::min(names.size(), kNamesSaid); ++i)
        out += (i == 0 ? "" : ", ") + printable(names[i]);
    return names.size() > kNamesSaid ? out + " …" : out;
}

// integrity.json lists every file of the folder with its sha256 (§6.7). Sums are not compared on opening; which files there are is.
void addIntegrity(Reading& reading)
{
    const DirectoryEntry* entry = reading.iteration.entry(kIntegrityFile);
    if (entry == nullptr)
        return;
    auto opened = openFile(reading.iteration.path + "/" + kIntegrityFile, kIntegrityFile);
    const auto bytes = opened ? readBytes(*opened->source, 0, opened->source->size(), kMostIntegrityBytes) : Result<std::vector<std::byte>>(opened.error());
    auto json = bytes ? parseJson({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, kMostIntegrityBytes, 8) : Result<nlohmann::ordered_json>(bytes.error());
    File row = opened ? opened->row : missingFile(reading.iteration.path + "/" + kIntegrityFile, kIntegrityFile);
    row.container = "json";
    row.holds = "checksums";
    row.state = json ? File::State::Read : File::State::Unreadable;
    const FileId id = reading.builder.addFile(std::move(row));
    const auto find = [&](Severity severity, const char* code, std::string text) { reading.builder.addFinding({severity, code, std::move(text), kNoTensor, id, std::nullopt}); };
    if (!json || !json->is_object() || !json->contains("files") || !(*json)["files"].is_object()) {
        find(Severity::Warning, "integrity", fmt::format("{} cannot be read ({}): its checksums say nothing.", kIntegrityFile, json ? "it has no files" : json.error().text()));
        return;
    }
    for (std::size_t i = 0; i < reading.builder.fileCount(); ++i) { // which are compared when somebody asks for it
        File& file = reading.builder.file(idAt<FileId>(i));
        if (const auto sum = (*json)["files"].find(file.name); sum != (*json)["files"].end() && sum->is_string())
            file.sha256 = sum->get<std::string>();
    }
    std::vector<std::string> missing;
    std::vector<std::string> unlisted;
    for (const auto& [name, sum] : (*json)["files"].items())
        if (reading.iteration.entry(name) == nullptr)
            missing.push_back(name);
    for (const DirectoryEntry& file : reading.iteration.entries)
        if (!file.isFolder && file.name != kIntegrityFile && !(*json)["files"].contains(file.name))
            unlisted.push_back(file.name);
    if (!missing.empty())
        find(Severity::Warning, "integrity", fmt::format("{} names {} that {} not there: {}.", kIntegrityFile, plural(missing.size(), "file", "files"), missing.size() == 1 ? "is" : "are", someNames(missing)));
    if (!unlisted.empty())
        find(Severity::Info, "integrity", fmt::format("{} has no checksum of {}, added after the save: {}.", kIntegrityFile, plural(unlisted.size(), "file", "files"), someNames(unlisted)));
}

void addBackend(Reading& reading)
{
    const auto find = [&](Severity severity, const char* code, std::string text) { reading.builder.addFinding({severity, code, std::move(text), kNoTensor, kNoFile, std::nullopt}); };
    if (auto opened = openFile(reading.iteration.path + "/" + kBackendFile, kBackendFile)) {
        opened->row.container = "json";
        opened->row.holds = "names the backend";
        reading.builder.addFile(std::move(opened->row));
    }
    if (reading.iteration.backend && *reading.iteration.backend != kBackend)
        find(Severity::Warning, "other-backend", fmt::format("{} names the backend {}, which is not known; the container is read as {}.", kBackendFile, printable(*reading.iteration.backend), kBackend));
    if (!reading.iteration.backend)
        find(Severity::Warning, "no-backend", fmt::format("{} {}: it is written last, so the save may not be finished.", kBackendFile, reading.iteration.entry(kBackendFile) == nullptr ? "is not there" : "names no backend"));
}

} // namespace

Result<DcpMetadata> readIndex(Reading& reading, JobContext& job)
{
    auto opened = openFile(reading.iteration.path + "/" + kIndexFile, kIndexFile);
    if (!opened)
        return opened.takeError().within(kIndexFile);
    auto bytes = readBytes(*opened->source, 0, opened->source->size(), kMostIndexBytes);
    auto parsed = bytes ? DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(bytes.take()), job) : Result<DcpMetadata>(bytes.takeError());
    if (!parsed)
        return parsed.takeError().within(kIndexFile);
    if (parsed->transforms.size() > 1) // megatron-core writes none (formats/megatron.md §6.3)
        return Error{ErrorCode::Unsupported, fmt::format(".metadata says that items were transformed by {}, which megatron-core does not write", printable(fmt::format("{}", fmt::join(parsed->transforms.back(), ", "))))};
    opened->row.container = "pickle";
    opened->row.holds = fmt::format("metadata of {}", plural(parsed->entries.size(), "key", "keys"));
    reading.index = reading.builder.addFile(std::move(opened->row));
    return parsed;
}

Status readObjects(Reading& reading, JobContext& job)
{
    std::map<std::string, std::size_t> extras; // objects of a module's own, by key: for most models all the same
    std::vector<MetaNode> nodes;
    std::size_t more = 0;
    for (const DcpEntry& entry : reading.folder->metadata().entries) {
        if (entry.kind != DcpEntry::Kind::Bytes)
            continue;
        SHARDLENS_TRY(job.poll());
        const auto key = objectKeyOf(entry.key);
        if (key && key->key.ends_with(kExtraState)) {
            ++extras[key->key];
        } else if (nodes.size() >= kMostObjectsRead) {
            ++more;
        } else {
            SHARDLENS_ASSIGN(MetaNode node, objectNode(reading, entry, job));
            nodes.push_back(std::move(node));
        }
    }
    for (const auto& [key, count] : extras)
        nodes.push_back({MetaNode::Kind::Summary, printable(key), plural(count, "object", "objects"), "", {}});
    if (more > 0)
        nodes.push_back({MetaNode::Kind::Summary, "…", fmt::format("{} more objects", groupedText(more)), "", {}});
    MetaNode index = reading.folder->metadata().tree;
    index.key = "(metadata)";
    std::vector<MetaNode> root;
    root.push_back(dictNode("(objects)", std::move(nodes)));
    root.push_back(std::move(index));
    reading.builder.addMetadata({reading.index, dictNode("", std::move(root))});
    return readCommon(reading, job);
}

void addFolderFindings(Reading& reading)
{
    addBackend(reading);
    addIntegrity(reading);
    const auto& files = reading.folder->metadata().files;
    const std::set<std::string_view> named(files.begin(), files.end());
    for (const DirectoryEntry& entry : reading.iteration.entries) {
        if (entry.isFolder || !entry.name.ends_with(".distcp") || named.contains(entry.name) || entry.sizeBytes == 0)
            continue;
        auto opened = openFile(reading.iteration.path + "/" + entry.name, entry.name);
        File row = opened ? opened->row : missingFile(reading.iteration.path + "/" + entry.name, entry.name);
        row.holds = "not part of the checkpoint";
        row.container = "distcp";
        const FileId id = reading.builder.addFile(std::move(row));
        reading.builder.addFinding({Severity::Info, "leftover-file", fmt::format("{} ({}) is not named by {}: left over from an earlier save of more ranks into this folder. It is not read.", printable(entry.name),
                                                                                sizeText(entry.sizeBytes), kIndexFile),
                                    kNoTensor, id, std::nullopt});
    }
}

} // namespace shardlens::torch_dist
