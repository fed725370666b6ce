#pragma once

#include "core/base/result.h"
#include "core/format/target.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace shardlens::mindspore {

// What files of a target are called: rank_3/net_rank_3.ckpt, or net.ckpt where it is one model.
class TargetNames {
public:
    // `stem` is the source's, as WeightsName has it; empty where it has none. `isSafetensors` is the source's container, which counts where none is asked for.
    // Refused: a prefix with a folder in it, a container that the target's name contradicts.
    [[nodiscard]] static Result<TargetNames> make(const TargetOptions& options, std::string_view stem, bool isSafetensors);

    [[nodiscard]] bool isSafetensors() const { return m_isSafetensors; }
    [[nodiscard]] std::string ofRank(std::uint64_t rank) const;
    [[nodiscard]] std::string ofWhole() const;

private:
    std::string m_prefix;
    std::string m_whole;
    std::string m_file; // where the target is one file
    bool m_isSafetensors = false;
};

} // namespace shardlens::mindspore
