#include "core/format/colossalai/file_names.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kFewestDigits = 5;
constexpr std::size_t kMostDigits = 9;

struct BaseName {
    std::string_view text;
    FileKind kind;
    Container container;
};
// The base of tensor files, and with their extension of indexes.
constexpr std::array<BaseName, 4> kBases{{{"pytorch_model", FileKind::Model, Container::Bin},
                                          {"model", FileKind::Model, Container::Safetensors},
                                          {"pytorch_optim", FileKind::Optimizer, Container::Bin},
                                          {"optimizer", FileKind::Optimizer, Container::Safetensors}}};

std::optional<std::uint32_t> counter(std::string_view digits)
{
    std::uint32_t out = 0;
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    if (digits.size() < kFewestDigits || digits.size() > kMostDigits || problem != std::errc{} || end != digits.data() + digits.size())
        return std::nullopt;
    return out;
}

// Takes "-00012" off the end.
std::optional<std::uint32_t> takeCounter(std::string_view& stem)
{
    const std::size_t dash = stem.rfind('-');
    const auto number = dash == std::string_view::npos ? std::nullopt : counter(stem.substr(dash + 1));
    if (number)
        stem = stem.substr(0, dash);
    return number;
}

bool takeEnd(std::string_view& stem, std::string_view end)
{
    if (!stem.ends_with(end))
        return false;
    stem.remove_suffix(end.size());
    return true;
}

// The numbers behind the base, innermost last: [-dist-D] | [-stage-S[-E]], then [-shard]-N.
bool takeNumbers(std::string_view& stem, ShardFile& out)
{
    const auto last = takeCounter(stem);
    if (!last)
        return false;
    if (takeEnd(stem, "-dist")) {
        out.dist = last;
        return true;
    }
    out.shard = last;
    if (!takeEnd(stem, "-shard"))
        return true; // pytorch_model-00001
    const auto second = takeCounter(stem);
    if (!second)
        return false;
    if (takeEnd(stem, "-dist")) {
        out.dist = second;
        return true;
    }
    if (takeEnd(stem, "-stage")) {
        out.stage = second;
        return true;
    }
    out.expert = second;
    out.stage = takeCounter(stem);
    return out.stage && takeEnd(stem, "-stage");
}

// "NAME" or "NAME.PFX"
bool takeBase(std::string_view stem, std::string_view base, std::string& prefix)
{
    if (!stem.starts_with(base))
        return false;
    stem.remove_prefix(base.size());
    if (stem.empty())
        return true;
    if (stem.front() != '.' || stem.size() == 1)
        return false;
    prefix = std::string(stem.substr(1));
    return true;
}

std::string withPrefix(const char* base, const std::string& prefix)
{
    return prefix.empty() ? std::string(base) : fmt::format("{}.{}", base, prefix);
}

} // namespace

const char* extensionOf(Container container)
{
    return container == Container::Bin ? ".bin" : ".safetensors";
}

std::optional<std::uint32_t> metaDistId(std::string_view fileName)
{
    constexpr std::string_view kStart = "pytorch_model-meta-dist-";
    if (!fileName.starts_with(kStart) || !takeEnd(fileName, ".json"))
        return std::nullopt;
    takeEnd(fileName, ".index");
    return fileName.size() <= kStart.size() ? std::nullopt : counter(fileName.substr(kStart.size()));
}

std::optional<ShardFile> shardFileOf(std::string_view fileName)
{
    ShardFile out;
    if (takeEnd(fileName, ".safetensors"))
        out.container = Container::Safetensors;
    else if (!takeEnd(fileName, ".bin"))
        return std::nullopt;
    if (!takeNumbers(fileName, out))
        return std::nullopt;
    for (const BaseName& base : kBases)
        if (takeBase(fileName, base.text, out.prefix)) { // unsharded safetensors of a dist id and the MoE plugin's are called pytorch_model too
            out.kind = base.kind;
            return out;
        }
    return std::nullopt;
}

std::optional<IndexFile> indexFileOf(std::string_view fileName)
{
    if (!takeEnd(fileName, ".json"))
        return std::nullopt;
    for (const BaseName& base : kBases) {
        const std::string start = fmt::format("{}{}.index", base.text, extensionOf(base.container));
        IndexFile out{base.kind, base.container, {}};
        if (takeBase(fileName, start, out.prefix))
            return out;
    }
    return std::nullopt;
}

std::optional<StageIndexFile> stageIndexFileOf(std::string_view fileName)
{
    if (!takeEnd(fileName, ".json"))
        return std::nullopt;
    auto stage = takeCounter(fileName);
    if (stage && !takeEnd(fileName, "-stage")) { // -stage-S-E
        stage = takeCounter(fileName);
        if (stage && !takeEnd(fileName, "-stage"))
            return std::nullopt;
    }
    if (!stage)
        return std::nullopt;
    const auto index = indexFileOf(std::string(fileName) + ".json");
    return index ? std::optional(StageIndexFile{*index, *stage}) : std::nullopt;
}

std::string metaName(std::uint32_t dist, Container container)
{
    return fmt::format("pytorch_model-meta-dist-{:05d}{}.json", dist, container == Container::Safetensors ? ".index" : "");
}

std::string distShardName(const std::string& prefix, std::uint32_t dist, std::size_t shard, Container container)
{
    return fmt::format("{}-dist-{:05d}-shard-{:05d}{}", withPrefix(container == Container::Bin ? "pytorch_model" : "model", prefix), dist, shard, extensionOf(container));
}

std::string optimizerShardName(const std::string& prefix, std::size_t shard, Container container)
{
    return fmt::format("{}-{:05d}{}", withPrefix(container == Container::Bin ? "pytorch_optim" : "optimizer", prefix), shard, extensionOf(container));
}

std::string optimizerIndexName(const std::string& prefix, Container container)
{
    return withPrefix(container == Container::Bin ? "pytorch_optim.bin.index" : "optimizer.safetensors.index", prefix) + ".json";
}

std::string optimizerGroupName(const std::string& prefix)
{
    return withPrefix("pytorch_optim_group", prefix) + ".bin";
}

} // namespace shardlens::colossalai
