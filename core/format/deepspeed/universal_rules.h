#pragma once

#include "core/base/regex.h"
#include "core/encoding/pickle/graph.h"

#include <string>
#include <utility>
#include <vector>

namespace shardlens::deepspeed {

// How an entry of a universal checkpoint is to be divided over tensor-parallel ranks (formats/deepspeed.md §14.2).
struct UniversalDivision {
    enum class Kind : std::uint8_t { Whole, Cut, CutInTwo };
    Kind kind = Kind::Cut;         // Whole: every rank has all of it; CutInTwo: two parts of it, end to end on dim 0, are cut each
    int dim = 0;                   // cat_dim
    bool isVocabulary = false;
};

// The patterns of `universal_checkpoint_info`, the first that matches the start of a name counts; without them everything is cut on dim 0.
class UniversalRules {
public:
    // Refused: a pattern that does not compile.
    [[nodiscard]] static Result<UniversalRules> of(pickle::Value info);

    // Refused: a parameter of several sub-parameters (parameter_with_sub_params).
    [[nodiscard]] Result<UniversalDivision> divisionOf(const std::string& parameter) const;

private:
    enum class List : std::uint8_t { Replicated, Averaged, TwoParts, SubParameters, RowParallel, Vocabulary };

    [[nodiscard]] bool matches(List list, const std::string& parameter) const;

    std::vector<std::pair<List, Regex>> m_patterns;
};

} // namespace shardlens::deepspeed
