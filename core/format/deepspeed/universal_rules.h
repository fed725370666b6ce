#pragma once

#include "core/base/regex.h"
#include "core/encoding/pickle/graph.h"
#include "core/model/shape.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// How an entry of a universal checkpoint is to be divided over tensor-parallel ranks (formats/deepspeed.md §14.2).
struct UniversalDivision {
    enum class Kind : std::uint8_t { Whole, Cut, CutInTwo, CutByParts };
    Kind kind = Kind::Cut;         // Whole: every rank has all of it; CutInTwo: two parts of it, end to end on dim 0, are cut each
    pickle::Value parts;           // CutByParts: its row of parameter_with_sub_params
    int dim = 0;                   // cat_dim
    bool isVocabulary = false;
};

// The patterns of `universal_checkpoint_info`, the first that matches the start of a name counts; without them everything is cut on dim 0.
class UniversalRules {
public:
    // Refused: a pattern that does not compile.
    [[nodiscard]] static Result<UniversalRules> of(pickle::Value info);

    [[nodiscard]] UniversalDivision divisionOf(const std::string& parameter) const;

private:
    enum class List : std::uint8_t { Replicated, Averaged, TwoParts, SubParameters, RowParallel, Vocabulary };
    struct Pattern {
        List list;
        Regex regex;
        pickle::Value row; // of parameter_with_sub_params
    };

    [[nodiscard]] const Pattern* find(List list, const std::string& parameter) const;

    std::vector<Pattern> m_patterns;
};

// The extents of a row of parameter_with_sub_params as current DeepSpeed reads them, for a parameter of that shape: along partition_dim the widths of the
// sub-parameters; a number there, of versions before 0.4, is how many equal ones there are (§14.4). Refused where they do not describe the shape.
struct SubParameterExtents {
    std::size_t dim = 0;
    std::vector<std::int64_t> other;   // as written, −1 too; at `dim` unused
    std::vector<std::uint64_t> widths;
};
[[nodiscard]] Result<SubParameterExtents> subParameterExtents(pickle::Value row, ShapeView shape);

} // namespace shardlens::deepspeed
