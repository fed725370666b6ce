#pragma once

#include "core/encoding/mindspore_run.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens::mindspore {

// Takes the records of a file in order and says what parameters they are. A name that comes again, not next to the first, replaces it
// (formats/mindspore.md §2.4).
class CkptCollector {
public:
    explicit CkptCollector(const ByteSource& source) : m_source(&source) {}

    // `problem` says why the record is not read whole; empty where it is.
    Status add(const RawRecord& record, const std::string& problem);
    // The file ends inside a record of this tag: the parameter is lost with the records of it that came before.
    Status loseCut(const std::string& tag, const std::string& problem);
    // Closes the last parameter; the second one only where it has another tag.
    Status finishRun();
    Status finishRunUnless(const std::string& tag);
    void note(CkptNote note);

    [[nodiscard]] std::size_t complete() const { return m_entries.size() - m_removed; }
    [[nodiscard]] const std::string& lastName() const { return m_lastName; } // of the parameter that was complete last
    [[nodiscard]] bool hasUncounted() const { return m_hasUncounted; }
    void moveInto(CkptFile& out);

private:
    template <typename Row>
    struct Kept {
        Row row;
        bool isRemoved = false;
    };
    struct Place {
        bool isLost = false;
        std::size_t index = 0;
    };

    void keep(CkptEntry entry);
    void lose(CkptLost lost);
    void remark(const CkptEntry& entry);
    void noteRepeated(const std::string& name, const Place& before, const std::string& after);

    const ByteSource* m_source;
    std::optional<RecordRun> m_run;
    std::vector<Kept<CkptEntry>> m_entries;
    std::vector<Kept<CkptLost>> m_lost;
    std::vector<CkptNote> m_notes;
    std::map<std::string, std::uint64_t> m_noted; // by code
    std::unordered_map<std::string, Place> m_places;
    std::size_t m_removed = 0; // entries
    std::string m_lastName;
    bool m_hasUncounted = false;
};

} // namespace shardlens::mindspore
