#include "core/base/text.h"
#include "core/encoding/torch_container.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostCode = 64ull << 20; // of all files that are read; 100,000 classes take less
constexpr std::string_view kPackage = "__torch__";

// The texts in `["weight", "bias", ]`.
void addQuoted(std::string_view list, std::unordered_set<std::string>& out)
{
    for (std::size_t at = list.find('"'); at != std::string_view::npos; at = list.find('"', at)) {
        const std::size_t end = list.find('"', at + 1);
        if (end == std::string_view::npos)
            return;
        out.emplace(list.substr(at + 1, end - at - 1));
        at = end + 1;
    }
}

// `class NAME(Module):` and, inside, `__parameters__ = [...]` and `__buffers__ = [...]`, each on a line of its own as torch.jit.save writes them.
void readClasses(std::string_view code, const std::string& module, TorchScriptClasses& out)
{
    std::unordered_set<std::string>* current = nullptr;
    while (!code.empty()) {
        const std::size_t end = std::min(code.find('\n'), code.size());
        const std::string_view line = code.substr(0, end);
        code.remove_prefix(std::min(end + 1, code.size()));
        constexpr std::string_view kClass = "class ";
        if (line.starts_with(kClass)) {
            const std::string_view rest = line.substr(kClass.size());
            const std::size_t bracket = rest.find('(');
            const bool isModule = bracket != std::string_view::npos && rest.substr(bracket).starts_with("(Module)");
            current = isModule ? &out[fmt::format("{}.{}", module, rest.substr(0, bracket))] : nullptr;
        } else if (current != nullptr && (line.starts_with("  __parameters__ = [") || line.starts_with("  __buffers__ = ["))) {
            addQuoted(line, *current);
        }
    }
}

std::set<std::string> modulesOf(const pickle::Graph& graph)
{
    std::set<std::string> out;
    for (std::size_t i = 0; i < graph.nodeCount(); ++i)
        if (const pickle::Value value = graph.nodeAt(i); value.kind() == pickle::Kind::Global && value.globalModule().starts_with(kPackage))
            out.emplace(value.globalModule());
    return out;
}

} // namespace

Status addScriptClasses(TorchContainer& container, const ZipArchive& archive, const std::string& root, const JobContext& job)
{
    std::uint64_t left = kMostCode;
    for (const std::string& module : modulesOf(*container.graph)) {
        SHARDLENS_TRY(job.poll());
        std::string path = module; // "__torch__.net.layer" → "code/__torch__/net/layer.py"
        std::replace(path.begin(), path.end(), '.', '/');
        const ZipMember* member = archive.findExact(fmt::format("{}code/{}.py", root, path));
        if (member == nullptr)
            continue;
        auto bytes = archive.read(*member, left);
        if (!bytes)
            return bytes.takeError().within(printable(member->name));
        left -= bytes->size();
        readClasses({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, module, container.scriptClasses);
    }
    return {};
}

} // namespace shardlens
