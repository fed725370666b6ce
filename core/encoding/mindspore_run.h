#pragma once

#include "core/encoding/mindspore_record.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::mindspore {

// What a tag is called: without the suffix of a host cache (formats/mindspore.md §2.7), printable where it is no UTF-8 or empty.
[[nodiscard]] std::string nameOfTag(const std::string& tag);

// Neighbouring records of one tag: one parameter (§2.4), or the three tensors of a hash table (§2.7).
class RecordRun {
public:
    explicit RecordRun(const RawRecord& first) : m_tag(first.tag), m_isMap(first.isMap()) {}

    // Whether the record belongs to it. One that is not read whole goes by its tag alone.
    [[nodiscard]] bool takes(const RawRecord& record) const
    {
        return record.tag == m_tag && (record.isMap() == m_isMap || !(record.hasTensor || record.hasMap));
    }
    void add(const RawRecord& record);
    // The parameter cannot be given; the first reason counts.
    void fail(std::string code, std::string problem);
    [[nodiscard]] const std::string& tag() const { return m_tag; }
    [[nodiscard]] const std::string& failureCode() const { return m_code; }

    // What the records make together: one entry, or three. Corrupt: what makes the parameter lost. Reads the bytes of strings from `source`.
    [[nodiscard]] Result<std::vector<CkptEntry>> finish(const ByteSource& source);

private:
    void addTensor(const RawTensor& tensor);
    void addMap(const RawRecord& record);
    Result<std::vector<CkptEntry>> finishMap();
    Result<std::vector<CkptEntry>> finishTensor(const ByteSource& source);

    std::string m_tag;
    bool m_isMap;
    std::uint64_t m_records = 0;
    RawTensor m_first;
    std::vector<CkptPiece> m_pieces;
    std::uint64_t m_bytes = 0;
    std::vector<CkptEntry> m_map;    // keys, values, status
    std::uint64_t m_partialMaps = 0; // records of 1 and 2 tensors, which 2.0.0 wrote in front of the one of 3
    std::string m_code;
    std::string m_problem;
};

} // namespace shardlens::mindspore
