#include "core/format/mindspore/target_names.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::mindspore {
namespace {

constexpr std::string_view kRankMark = "_rank_";
constexpr const char* kStem = "model";

std::string_view endingOf(bool isSafetensors)
{
    return isSafetensors ? ".safetensors" : ".ckpt";
}

} // namespace

Result<TargetNames> TargetNames::make(const TargetOptions& options, std::string_view stem, bool isSafetensors)
{
    TargetNames out;
    out.m_file = options.fileName;
    out.m_isSafetensors = options.container ? *options.container == "safetensors" : isSafetensors;
    if (!out.m_file.empty()) {
        const bool saysSafetensors = out.m_file.ends_with(".safetensors") || out.m_file.ends_with(".sft");
        if (options.container && saysSafetensors != out.m_isSafetensors)
            return Error{ErrorCode::Refused, fmt::format("the target's name says {}, and --output-format says {}", saysSafetensors ? "safetensors" : "ckpt", *options.container)};
        out.m_isSafetensors = saysSafetensors;
    }
    std::string base(stem);
    if (base.ends_with(kRankMark))
        base.resize(base.size() - kRankMark.size());
    while (base.ends_with('_') || base.ends_with('-'))
        base.pop_back();
    if (base.empty())
        base = kStem;
    out.m_whole = base;
    const bool isPrefix = stem.ends_with('_') || stem.ends_with('-'); // of rank files already
    out.m_prefix = options.prefix ? *options.prefix : isPrefix ? std::string(stem) : base + std::string(kRankMark);
    const bool isHidden = out.m_prefix.starts_with('.'); // which no reader looks at
    if (isHidden || out.m_prefix.find('/') != std::string::npos || std::any_of(out.m_prefix.begin(), out.m_prefix.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
        return Error{ErrorCode::Refused, fmt::format("--prefix {}: it is the beginning of file names, without folders", printable(out.m_prefix))};
    return out;
}

std::string TargetNames::ofRank(std::uint64_t rank) const
{
    return m_file.empty() ? fmt::format("rank_{}/{}{}{}", rank, m_prefix, rank, endingOf(m_isSafetensors)) : m_file;
}

std::string TargetNames::ofWhole() const
{
    return m_file.empty() ? m_whole + std::string(endingOf(m_isSafetensors)) : m_file;
}

} // namespace shardlens::mindspore
