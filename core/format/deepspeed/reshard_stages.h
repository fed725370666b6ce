#pragma once

#include "core/format/deepspeed/reshard.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// Which stage of the target holds what of a pipeline run. A run without pipeline has one stage that holds everything.
class StageMap {
public:
    // `pp` stages; as many as the source has keep the source's boundaries, another number is cut as PipelineModule's default method does (§11.5).
    [[nodiscard]] static Result<StageMap> of(const ParallelRun& run, const Checkpoint& joined, std::uint32_t pp);

    // Stages of a name, ascending: several for tied modules.
    [[nodiscard]] std::set<std::uint32_t> stagesOf(const std::string& name) const;
    // Notes for people: what had to be assumed.
    [[nodiscard]] const std::vector<std::string>& notes() const { return m_notes; }
    [[nodiscard]] const std::vector<std::uint32_t>& boundaries() const { return m_parts; }

private:
    [[nodiscard]] std::uint32_t stageOfLayer(std::uint32_t layer) const;
    void placeTied(const ParallelRun& run, const std::map<std::uint32_t, std::uint32_t>& sourceStages);

    std::uint32_t m_stages = 1;
    bool m_isPipeline = false;
    std::vector<std::uint32_t> m_parts;                           // boundaries of the stages, in layers
    std::map<std::string, std::set<std::uint32_t>> m_tiedStages; // "tied_modules.embed."
    std::vector<std::string> m_notes;
};

// "3" of "3.weight".
[[nodiscard]] std::optional<std::uint32_t> layerNumberOf(const std::string& name);
// "tied_modules.embed." of "tied_modules.embed.weight"; empty for others.
[[nodiscard]] std::string tiedPrefixOf(const std::string& name);

} // namespace shardlens::deepspeed
