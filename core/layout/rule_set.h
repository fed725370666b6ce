#pragma once

#include "core/base/regex.h"
#include "core/base/result.h"
#include "core/layout/division.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// What a run says about its model, for the conditions and sizes of rules: "version" → "2", "swiglu" → "true", "heads" → "32". Numbers without ".0".
using Facts = std::map<std::string, std::string, std::less<>>;

// How the parameters whose names match a pattern lie over the tensor-parallel ranks (resources/rules/README.md).
struct ShardRule {
    std::string pattern;
    Division::Kind kind = Division::Kind::Replicated;
    std::size_t dim = 0;                             // Split: the dimension that is cut
    std::uint64_t equalSegments = 1;                 // Split: the whole is so many equal segments along it, each cut by itself
    std::vector<std::string> segmentSizes;           // or segments of these sizes: a number, or names of facts joined with *
    std::vector<std::vector<std::uint64_t>> widths;  // or exactly these: [segment][rank]
    std::vector<std::string> segmentNames;           // "q", "k", "v": what the segments, or the parts of a head, are; for people
    bool perHead = false;                            // the names follow each other within every head, not as segments: nothing to cut apart
    bool vocabulary = false;                         // rows are words, filled up to a multiple that the number of ranks divides
    std::vector<std::pair<std::string, std::vector<std::string>>> when; // each fact has one of the values; a fact that is not there has none
    std::optional<Regex> regex;                      // of the pattern; empty: the rule for everything else

    [[nodiscard]] bool applies(const Facts& facts) const;
    // A part is a slice of every segment, and no box of the whole.
    [[nodiscard]] bool isSegmented() const { return kind == Division::Kind::Split && (equalSegments > 1 || segmentSizes.size() > 1); }
    // "dimension 0, cut over the ranks in 3 segments (q, k, v)"
    [[nodiscard]] std::string text() const;
};

// Which stage of a pipeline holds the parameters whose names match.
struct StageRule {
    enum class Place : std::uint8_t { First, Last };
    Regex pattern;
    Place place;
};

// A parameter that is another one's copy on the last stage.
struct TiedRule {
    std::string copy;
    std::string original;
};

// Shapes that prove or disprove that an MLP is gated (formats/megatron.md §5.5): a first matrix with as many rows as the second has columns is not gated,
// one with twice as many is. `columns` is made of what `rows` matched ($1).
struct GatingProof {
    std::string fact;
    Regex rows;
    std::string columns;
    bool transposed = false; // matrices are stored [in, out]: columns of the first, rows of the second
};

// A size that a shape says: of the first parameter that the pattern matches, in a rank's part; so of a dimension that is not cut.
struct MeasuredFact {
    std::string fact;
    Regex pattern;
    std::size_t dim = 0;
};

// Fused matrices whose rows old versions keep in another order than [head, part, element] (formats/megatron.md §5.4).
struct HeadOrder {
    Regex of;
    std::uint64_t parts = 3;
};

// Tensors that hold the same matrix of all experts of a rank, and what each expert's is called (formats/megatron.md §5.6).
struct GroupedExperts {
    // Columns, Rows: a matrix that is to be read as a stack of [in, out], one an expert; its columns (weight1) or rows (weight2) are the experts' together.
    // Stack: [experts, out, in].
    enum class Along : std::uint8_t { Columns, Rows, Stack };
    Regex of;
    std::string name; // $1 and so on: what a group of `of` matched; {}: the number of the expert
    Along along = Along::Stack;
};

// The rules of a family of models. Immutable.
struct RuleSet {
    std::string id;        // "deepspeed-megatron"
    std::string title;
    std::string about;     // a paragraph for people
    std::string reference; // "formats/deepspeed.md §16.3"
    std::string origin;    // "built in", or the file
    bool firstMatchWins = true; // else two rules that match one name are an error
    std::vector<ShardRule> rules;
    std::optional<ShardRule> otherwise; // what matches no rule; nothing: it is refused
    std::vector<Regex> layers;          // group 1: the number of the layer
    std::vector<Regex> experts;         // group 1: the number of the expert
    std::vector<StageRule> stages;
    std::vector<TiedRule> tied;
    std::optional<GatingProof> gating;
    std::vector<MeasuredFact> measured;
    std::vector<HeadOrder> headOrders;
    std::vector<GroupedExperts> groupedExperts;
    std::vector<Regex> buffers;         // tensors of the model that are no parameters: optimizers have no states of them
    std::vector<Regex> undecayed;       // parameters that scripts usually put into a group of their own, without weight decay

    // The rule for a name; nothing where none matches and there is no rule for the rest. Refused where two match and the first does not win.
    [[nodiscard]] Result<const ShardRule*> ruleFor(std::string_view name, const Facts& facts) const;
    // The name matches rules, and each of them is for other facts: a version that is not known.
    [[nodiscard]] bool isOutOfCondition(std::string_view name, const Facts& facts) const;
    // The rule is one that the name matched, not the one for everything else.
    [[nodiscard]] bool isNamed(const ShardRule* rule) const { return rule != nullptr && (!otherwise || rule != &*otherwise); }
};

// A whole tensor of that shape over `ranks`. Refused: sizes that do not divide, a dimension that it has not, a fact that is not known.
[[nodiscard]] Result<Division> divisionOf(const ShardRule& rule, ShapeView whole, std::uint32_t ranks, const Facts& facts);
// The shape of the whole whose parts are those (one a rank), and how it is divided. Refused where the parts do not fit each other or the rule.
struct JoinedShape {
    Shape whole;
    Division division;
};
[[nodiscard]] Result<JoinedShape> joinedShape(const ShardRule& rule, std::span<const Shape> parts, const Facts& facts);

// What the shapes of a rank's parts prove.
struct GatingFound {
    bool isGated = false;
    std::string first;  // the matrix whose rows were counted (columns where transposed)
    std::string second; // the one whose columns were (rows)
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
};
// Nothing where no pair of names matches, or the numbers prove neither.
[[nodiscard]] std::optional<GatingFound> findGating(const GatingProof& proof, const std::map<std::string, Shape, std::less<>>& shapes);
// Adds the set's measured facts, and the gating's where the shapes prove it. `shapes` are those of a rank's parts.
void addFactsOfShapes(const RuleSet& set, const std::map<std::string, Shape, std::less<>>& shapes, Facts& facts);

// A rule file (resources/rules/README.md). Unknown members, wrong types and patterns that do not compile are refused by name.
[[nodiscard]] Result<RuleSet> parseRules(std::string_view json, std::string origin);

} // namespace shardlens
