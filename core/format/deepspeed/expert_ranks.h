#pragma once

#include <cstdint>
#include <vector>

namespace shardlens::deepspeed {

// How the data-parallel ranks of a run share its experts (formats/deepspeed.md §10.2): `size` of them hold the experts of a layer together, and
// world / size ranks hold the same ones. `size` divides `world`.
class ExpertRanks {
public:
    // `dataFirst`: use_data_before_expert_parallelism. The ranks with equal experts are then neighbours.
    ExpertRanks(std::uint32_t world, std::uint32_t size, bool dataFirst) : m_world(world), m_size(size), m_dataFirst(dataFirst) {}

    [[nodiscard]] std::uint32_t size() const { return m_size; }
    [[nodiscard]] std::uint32_t replicas() const { return m_world / m_size; }
    [[nodiscard]] bool dataFirst() const { return m_dataFirst; }
    [[nodiscard]] std::uint32_t expertRank(std::uint32_t dp) const { return m_dataFirst ? dp / replicas() : dp % m_size; }
    // Place among the ranks that hold the same experts.
    [[nodiscard]] std::uint32_t replica(std::uint32_t dp) const { return m_dataFirst ? dp % replicas() : dp / m_size; }
    // The ranks that hold the same experts, in the order of their places.
    [[nodiscard]] std::vector<std::uint32_t> ranksOf(std::uint32_t expertRank) const
    {
        std::vector<std::uint32_t> out;
        for (std::uint32_t place = 0; place < replicas(); ++place)
            out.push_back(m_dataFirst ? expertRank * replicas() + place : place * m_size + expertRank);
        return out;
    }

private:
    std::uint32_t m_world;
    std::uint32_t m_size;
    bool m_dataFirst;
};

} // namespace shardlens::deepspeed
