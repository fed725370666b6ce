#include "core/encoding/mindspore_collect.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kNotesOfACode = 20; // then a count
constexpr std::string_view kHostCacheMark = ".__param_key__";

std::string entryText(const CkptEntry& entry)
{
    if (entry.kind == CkptEntry::Kind::Text)
        return fmt::format("a string of {} B", groupedText(entry.sizeBytes));
    if (entry.kind == CkptEntry::Kind::Opaque)
        return fmt::format("{} of {} B", printable(entry.typeName), groupedText(entry.sizeBytes));
    const std::string place = entry.pieces.empty() ? "" : fmt::format(" at offset {}", groupedText(entry.pieces.front().offset));
    return fmt::format("{} {}{}", printable(entry.typeName), shapeText(entry.shape), place);
}

} // namespace

Status CkptCollector::add(const RawRecord& record, const std::string& problem)
{
    if (!m_run || !m_run->takes(record)) {
        SHARDLENS_TRY(finishRun());
        m_run.emplace(record);
    }
    if (!problem.empty())
        m_run->fail("mindspore-parameter", problem);
    m_run->add(record);
    return {};
}

Status CkptCollector::loseCut(const std::string& tag, const std::string& problem)
{
    SHARDLENS_TRY(finishRunUnless(tag));
    if (!m_run) {
        RawRecord nothing;
        nothing.tag = tag;
        m_run.emplace(nothing);
    }
    m_run->fail("mindspore-truncated", problem);
    return finishRun();
}

Status CkptCollector::finishRun()
{
    if (!m_run)
        return {};
    auto entries = m_run->finish(*m_source);
    if (!entries && entries.error().code() != ErrorCode::Corrupt)
        return entries.takeError();
    if (!entries)
        lose({nameOfTag(m_run->tag()), m_run->failureCode(), entries.error().message()});
    else
        for (CkptEntry& entry : *entries)
            keep(std::move(entry));
    m_run.reset();
    return {};
}

Status CkptCollector::finishRunUnless(const std::string& tag)
{
    return m_run && m_run->tag() != tag ? finishRun() : Status{};
}

void CkptCollector::keep(CkptEntry entry)
{
    remark(entry);
    m_lastName = entry.name;
    const auto [known, isNew] = m_places.try_emplace(entry.name, Place{false, m_entries.size()});
    if (!isNew) {
        noteRepeated(entry.name, known->second, entryText(entry));
        if (!known->second.isLost) {
            m_entries[known->second.index].row = std::move(entry);
            return;
        }
        m_lost[known->second.index].isRemoved = true;
        known->second = {false, m_entries.size()};
    }
    m_entries.push_back({std::move(entry), false});
}

void CkptCollector::lose(CkptLost lost)
{
    const auto [known, isNew] = m_places.try_emplace(lost.name, Place{true, m_lost.size()});
    if (!isNew) {
        noteRepeated(lost.name, known->second, "one that cannot be read");
        if (known->second.isLost) {
            m_lost[known->second.index].row = std::move(lost);
            return;
        }
        m_entries[known->second.index].isRemoved = true;
        ++m_removed;
        known->second = {true, m_lost.size()};
    }
    m_lost.push_back({std::move(lost), false});
}

void CkptCollector::noteRepeated(const std::string& name, const Place& before, const std::string& after)
{
    const std::string first = before.isLost ? "one that cannot be read" : entryText(m_entries[before.index].row);
    note({"mindspore-repeated-name", fmt::format("'{}' stands twice: {}, then {}; the last counts", printable(name), first, after), Severity::Warning});
}

// What a person should know about one entry.
void CkptCollector::remark(const CkptEntry& entry)
{
    const std::string name = printable(entry.name);
    m_hasUncounted = m_hasUncounted || entry.kind == CkptEntry::Kind::MapTensor || entry.typeName == "random_op";
    if (entry.kind == CkptEntry::Kind::Opaque && entry.typeName == "str")
        note({"mindspore-string", fmt::format("'{}' is a string of {} B that is not read: it is too long or no text", name, groupedText(entry.sizeBytes)),
              Severity::Warning});
    else if (entry.kind == CkptEntry::Kind::Opaque && entry.typeName != "random_op")
        note({"mindspore-type",
              fmt::format("'{}' is of type '{}', which is not known: {} B that stay as they are", name, printable(entry.typeName),
                          groupedText(entry.sizeBytes)),
              Severity::Warning});
    if (entry.tag.empty() && entry.name != "''")
        return;
    if (entry.tag.find(kHostCacheMark) != std::string::npos) {
        m_hasUncounted = true; // offloaded
        note({"mindspore-host-cache", fmt::format("'{}' is stored as '{}', a parameter with a host cache", name, printable(entry.tag)), Severity::Info});
    } else if (entry.kind != CkptEntry::Kind::MapTensor) {
        note({"mindspore-name", entry.tag.empty() ? "a parameter without a name" : fmt::format("the name of '{}' is no UTF-8", name), Severity::Warning});
    }
}

void CkptCollector::note(CkptNote note)
{
    if (++m_noted[note.code] <= kNotesOfACode)
        m_notes.push_back(std::move(note));
}

void CkptCollector::moveInto(CkptFile& out)
{
    out.entries.reserve(complete());
    for (auto& kept : m_entries)
        if (!kept.isRemoved)
            out.entries.push_back(std::move(kept.row));
    for (auto& kept : m_lost)
        if (!kept.isRemoved)
            out.lost.push_back(std::move(kept.row));
    out.notes = std::move(m_notes);
    for (const auto& [code, count] : m_noted)
        if (count > kNotesOfACode)
            out.notes.push_back({code, fmt::format("{} more like that", groupedText(count - kNotesOfACode)), Severity::Info});
    out.hasUncountedRecords = m_hasUncounted;
}

} // namespace shardlens::mindspore
