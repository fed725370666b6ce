#pragma once

#include "core/format/colossalai/dist_meta.h"
#include "core/layout/division.h"
#include "core/layout/rule_set.h"
#include "core/model/region.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens::colossalai {

// A dist id's box of a tensor.
struct DistPart {
    std::uint32_t dist = 0;
    std::uint32_t file = 0; // index into DistTable::files()
    std::size_t box = 0;    // first of offsets and lengths in the table's pool
};

// How the boxes of a tensor are to be read.
enum class PartOrder : std::uint8_t {
    Plain,  // a box is what the entry says
    Fused,  // equal slices along one dimension, each of which is a slice of every segment (§3.6)
    Padded, // longer than the tensor: only the lowest dist id of the stage holds real rows (§3.4)
};

struct DistTensor {
    std::string name;
    Shape global;
    std::vector<DistPart> parts; // ascending by dist id
    std::string problem;         // a sentence; empty where the tensor can be put together
    std::uint32_t problemDist = 0;
    PartOrder order = PartOrder::Plain;
    std::optional<std::size_t> dim; // along which the parts are equal slices, where they are
    std::uint32_t slices = 1;       // along it
    Division division;              // Fused
    bool overlaps = false;          // boxes that are not equal and share cells
    bool hasReplicas = false;       // boxes that are equal
};

// A tensor-parallel by pipeline grid of dist ids: dist id = tp · stage + rank. Nothing where boxes follow no such grid.
struct DistGrid {
    std::uint32_t tp = 1;
    std::uint32_t pp = 1;
    std::vector<std::uint32_t> missing; // dist ids without metadata, ascending

    [[nodiscard]] std::uint32_t count() const { return tp * pp; }
};

// All metadata of a checkpoint, by tensor. Dist ids must be added in ascending order.
class DistTable {
public:
    void add(std::uint32_t dist, DistMeta meta);
    // Judges every tensor by its boxes and the rules, and finds the grid.
    void finish(const RuleSet& rules, const std::set<std::uint32_t>& dists);

    [[nodiscard]] const std::vector<DistTensor>& tensors() const { return m_tensors; }
    [[nodiscard]] std::optional<std::size_t> find(const std::string& name) const;
    [[nodiscard]] const std::optional<DistGrid>& grid() const { return m_grid; }
    // Value of "file", and the dist ids whose metadata has it.
    struct FileValue {
        std::string value;
        std::uint32_t dist = 0;
    };
    [[nodiscard]] const std::vector<FileValue>& files() const { return m_files; }
    // Names that stand twice in one JSON, and the dist id.
    [[nodiscard]] const std::vector<std::pair<std::string, std::uint32_t>>& repeated() const { return m_repeated; }

    [[nodiscard]] ShapeView offsets(const DistTensor& tensor, const DistPart& part) const { return {m_pool.data() + part.box, tensor.global.size()}; }
    [[nodiscard]] ShapeView lengths(const DistTensor& tensor, const DistPart& part) const { return {m_pool.data() + part.box + tensor.global.size(), tensor.global.size()}; }
    // What a part is of the tensor: `from` in the part, `to` in the whole. Nothing for copies that count for nothing (Padded).
    [[nodiscard]] std::vector<Slab> slabs(const DistTensor& tensor, const DistPart& part) const;
    // The same for a dist id that is not there.
    [[nodiscard]] std::vector<Box> missingBoxes(const DistTensor& tensor, std::uint32_t dist) const;

private:
    void judge(DistTensor& tensor) const;
    void checkBoxes(DistTensor& tensor) const;
    void findSlices(DistTensor& tensor) const;
    void findOverlaps(DistTensor& tensor) const;
    void judgeFused(DistTensor& tensor, const RuleSet& rules) const;
    [[nodiscard]] std::optional<DistGrid> gridOf(const std::set<std::uint32_t>& dists) const;

    std::vector<DistTensor> m_tensors;
    std::unordered_map<std::string, std::size_t> m_byName;
    std::vector<std::uint64_t> m_pool;
    std::vector<FileValue> m_files;
    std::vector<std::pair<std::string, std::uint32_t>> m_repeated;
    std::optional<DistGrid> m_grid;
};

} // namespace shardlens::colossalai
