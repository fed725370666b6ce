#include "core/analysis/finding_log.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <cstring>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostOfAKind = 200;

} // namespace

void FindingLog::setPlace(std::uint64_t offset, std::uint8_t opcode)
{
    m_offset = offset;
    m_opcode = opcode;
}

std::uint64_t FindingLog::countOf(int level, const char* code) const
{
    for (const Kind& kind : m_kinds)
        if (kind.level == level && std::strcmp(kind.code, code) == 0)
            return kind.count;
    return 0;
}

bool FindingLog::wants(int level, const char* code) const
{
    return countOf(level, code) < kMostOfAKind;
}

void FindingLog::addAt(std::uint64_t offset, int level, const char* code, std::string what)
{
    for (Kind& kind : m_kinds)
        if (kind.level == level && std::strcmp(kind.code, code) == 0) {
            if (++kind.count <= kMostOfAKind)
                m_findings.push_back({level, code, offset, m_opcode, std::move(what)});
            return;
        }
    m_kinds.push_back({level, code, 1});
    m_findings.push_back({level, code, offset, m_opcode, std::move(what)});
}

std::vector<PickleFinding> FindingLog::take()
{
    for (const Kind& kind : m_kinds)
        if (kind.count > kMostOfAKind)
            m_findings.push_back({kind.level, kind.code, m_offset, 0, fmt::format("and {} more of this kind", groupedText(kind.count - kMostOfAKind))});
    return std::move(m_findings);
}

} // namespace shardlens
