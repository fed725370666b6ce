#pragma once

#include "core/analysis/pickle_scan.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens {

// Findings of one pickle, at the opcode that is being looked at. The first of each kind are kept; what comes after them is only counted, so that a file
// cannot make the list grow without end.
class FindingLog {
public:
    void setPlace(std::uint64_t offset, std::uint8_t opcode);
    void add(int level, const char* code, std::string what) { addAt(m_offset, level, code, std::move(what)); }
    void addAt(std::uint64_t offset, int level, const char* code, std::string what);
    // Whether another finding of that kind would be kept: texts need not be made for those that would not.
    [[nodiscard]] bool wants(int level, const char* code) const;
    [[nodiscard]] std::uint64_t offset() const { return m_offset; }
    [[nodiscard]] std::vector<PickleFinding> take();

private:
    struct Kind {
        int level;
        const char* code;
        std::uint64_t count;
    };
    [[nodiscard]] std::uint64_t countOf(int level, const char* code) const;

    std::vector<PickleFinding> m_findings;
    std::vector<Kind> m_kinds;
    std::uint64_t m_offset = 0;
    std::uint8_t m_opcode = 0;
};

} // namespace shardlens
