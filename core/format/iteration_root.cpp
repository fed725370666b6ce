#include "core/format/iteration_root.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostTrackerBytes = 4096;
constexpr std::string_view kIterationPrefix = "iter_";

std::string iterationsText(const std::vector<std::string>& names)
{
    std::string out;
    for (const std::string& name : names)
        out += (out.empty() ? "" : ", ") + printable(name);
    return out.empty() ? "none" : out;
}

} // namespace

bool isIterationName(std::string_view name)
{
    return name == "release" || (name.starts_with(kIterationPrefix) && name.size() >= 12 && std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; }));
}

std::string iterationFolderName(std::uint64_t iteration)
{
    return fmt::format("{}{:07d}", kIterationPrefix, iteration);
}

std::string trackerText(std::string_view iteration)
{
    if (!iteration.starts_with(kIterationPrefix))
        return std::string(iteration);
    const std::size_t first = iteration.find_first_not_of('0', kIterationPrefix.size());
    return std::string(first == std::string_view::npos ? "0" : iteration.substr(first));
}

Result<std::string> trackedFolder(const Candidate& root)
{
    SHARDLENS_ASSIGN(const auto file, FileSource::open(root.path + "/" + kTrackerFile));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*file, 0, file->size(), kMostTrackerBytes));
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
    if (text == "release")
        return text;
    std::uint64_t number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (problem != std::errc{} || end != text.data() + text.size())
        return Error{ErrorCode::Corrupt, fmt::format("{} holds '{}'; a number or \"release\" is expected", kTrackerFile, printable(text))};
    return iterationFolderName(number);
}

Result<std::string> chooseIteration(const Candidate& root, const OpenOptions& options, const std::vector<std::string>& iterations)
{
    const auto isHere = [&](const std::string& name) { return std::find(iterations.begin(), iterations.end(), name) != iterations.end(); };
    if (options.tag) {
        if (!isHere(*options.tag))
            return Error{ErrorCode::NotFound, fmt::format("--tag names '{}', which is no iteration here; found: {}", printable(*options.tag), iterationsText(iterations))};
        return *options.tag;
    }
    if (root.entry(kTrackerFile) != nullptr) {
        SHARDLENS_ASSIGN(std::string name, trackedFolder(root));
        if (!isHere(name))
            return Error{ErrorCode::NotFound, fmt::format("the tracker points to {}, which is not here; found: {} (--tag opens one)", name, iterationsText(iterations))};
        return name;
    }
    if (iterations.size() == 1)
        return iterations.front();
    return Error{ErrorCode::Refused, fmt::format("{} and no {}: choose one with --tag, or open its folder: {}", plural(iterations.size(), "iteration", "iterations"),
                                                 kTrackerFile, iterationsText(iterations))};
}

} // namespace shardlens
