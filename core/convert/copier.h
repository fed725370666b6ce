#pragma once

#include "core/convert/blocks.h"
#include "core/convert/file_writer.h"
#include "core/convert/plan.h"
#include "core/encoding/value_reader.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace shardlens {

// Reads, fills and writes all that a plan says: blocks of files, and steps of computations. One object a run; safe from several threads.
class Copier {
public:
    Copier(const Plan& plan, const std::string& folder, JobContext& job);

    Status run(Executor& executor);
    [[nodiscard]] std::uint64_t bytesRead() const { return m_bytesRead.load(); }
    // What casts lost, for people.
    [[nodiscard]] std::vector<PlanLine> overflowLines() const;

private:
    struct Step {
        std::size_t computation = 0; // of Plan::computed
        std::uint64_t number = 0;    // of its steps
        std::size_t firstWrite = 0;  // of its writes: indices in their files lie in m_writeIndex
    };

    void addSteps(std::vector<std::size_t>& counts);
    Status prepareComputations(Executor& executor);
    Status copyBlock(std::size_t index);
    Status computeStep(const Step& step);
    void countDone();
    Status fill(const PlannedFile& file, const Block& block, std::span<std::byte> out);
    Status fillTensor(const PlannedTensor& tensor, const Block& block, std::span<std::byte> out);
    void addRead(std::uint64_t bytes);
    Status write(std::size_t index, const Block& block, std::span<const std::byte> bytes);

    const Plan& m_plan;
    JobContext& m_job;
    ValueReader m_values;
    std::vector<Block> m_blocks;
    std::vector<std::size_t> m_numberInFile; // of each block
    std::vector<Step> m_steps;
    std::vector<std::size_t> m_writeIndex;
    std::vector<std::unique_ptr<FileWriter>> m_files;
    std::atomic<std::uint64_t> m_bytesRead{0};
    std::atomic<std::size_t> m_done{0};
    mutable std::mutex m_mutex;
    std::map<std::pair<DType, std::string>, CastCounts> m_lost; // by the dtype cast to, and tensor
};

} // namespace shardlens
