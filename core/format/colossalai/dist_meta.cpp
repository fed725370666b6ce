#include "core/format/colossalai/dist_meta.h"

#include "core/base/json_text.h"
#include "core/base/text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>
#include <utility>

namespace shardlens::colossalai {
namespace {

constexpr std::uint64_t kMaxMetaBytes = 256ull << 20;
constexpr std::size_t kMaxNesting = 16;
constexpr std::size_t kMaxDimensions = 64;
constexpr std::uint64_t kMaxExtent = std::numeric_limits<std::int64_t>::max();

using Json = nlohmann::json;

enum Member : std::uint8_t { Offsets, Lengths, GlobalShape, FileMember, Rank, kMembers };
constexpr std::array<const char*, kMembers> kMemberNames{"offsets", "lengths", "global_shape", "file", "rank"};

// Takes the entries in their order; a document of them would look for each name among all before it.
class MetaReader final : public nlohmann::json_sax<Json> {
public:
    DistMeta out;
    bool isObject = false;
    bool hasMetadata = false;
    std::string metadataProblem;

    bool null() override { return wrongType("null"); }
    bool boolean(bool) override { return wrongType("true or false"); }
    bool number_integer(number_integer_t value) override { return isNumberWanted() ? complain(fmt::format("{} holds {}, and nothing below 0 is a place or a size", memberName(),
                                                                                                          value)) : other("a number"); }
    bool number_unsigned(number_unsigned_t value) override
    {
        if (!isNumberWanted())
            return other("a number");
        if (m_member == Rank) {
            m_seen[Rank] = true;
            return true;
        }
        if (value > kMaxExtent)
            return complain(fmt::format("{} holds {}, at most {} is possible", memberName(), value, kMaxExtent));
        Shape& list = listOf(m_member);
        if (list.size() == kMaxDimensions)
            return complain(fmt::format("{} has more than {} numbers", memberName(), kMaxDimensions));
        list.push_back(value);
        return true;
    }
    bool number_float(number_float_t, const string_t& text) override { return isNumberWanted()
                                                                      ? complain(fmt::format("{} holds {}, which is no whole number", memberName(),
                                                                                             printable(text))) : other("a number"); }
    bool binary(binary_t&) override { return true; }
    bool string(string_t& text) override
    {
        if (m_depth == 1 && m_key == "checkpoint_version")
            out.version = text;
        if (inEntry() && m_depth == 3 && m_member == FileMember) {
            m_seen[FileMember] = true;
            const auto [at, isNew] = m_files.try_emplace(text, static_cast<std::uint32_t>(out.files.size()));
            if (isNew)
                out.files.push_back(text);
            m_entry.file = at->second;
            return true;
        }
        return wrongType("text");
    }
    bool start_object(std::size_t) override
    {
        if (++m_depth == 1)
            isObject = true;
        else if (m_depth == 2 && m_key == "metadata") {
            hasMetadata = m_inMetadata = true;
            out.entries.clear(); // of two members of one name the last counts
            out.files.clear();
            m_files.clear();
        } else if (m_depth == 3 && m_inMetadata) {
            m_entry = {};
            m_entry.name = m_key;
            m_seen.fill(false);
            m_member = kMembers;
        } else if (m_depth > 3 && m_inMetadata)
            wrongTypeOfMember("an object");
        return true;
    }
    bool key(string_t& name) override
    {
        if (m_depth == 3 && m_inMetadata) {
            const auto at = std::find(kMemberNames.begin(), kMemberNames.end(), name);
            m_member = static_cast<Member>(at - kMemberNames.begin());
            return true;
        }
        if (m_depth <= 2)
            m_key = name;
        return true;
    }
    bool end_object() override
    {
        if (m_depth == 3 && m_inMetadata)
            finishEntry();
        if (--m_depth == 1)
            m_inMetadata = false;
        return true;
    }
    bool start_array(std::size_t) override
    {
        ++m_depth;
        if (m_depth == 2 && m_key == "metadata")
            metadataProblem = "a list";
        else if (m_depth == 3 && m_inMetadata)
            notAnEntry("a list");
        else if (m_depth == 4 && inEntry() && m_member <= GlobalShape) {
            m_seen[m_member] = true;
            listOf(m_member).clear();
        } else if (m_depth >= 4 && m_inMetadata)
            wrongTypeOfMember("a list");
        return true;
    }
    bool end_array() override
    {
        --m_depth;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override
    {
        errorAt = position;
        return false;
    }
    std::size_t errorAt = 0;

private:
    [[nodiscard]] bool inEntry() const { return m_inMetadata && m_depth >= 3; }
    [[nodiscard]] std::string memberName() const { return m_member < kMembers ? kMemberNames[m_member] : "a member"; }
    [[nodiscard]] Shape& listOf(Member member) { return member == Offsets ? m_entry.offsets : member == Lengths ? m_entry.lengths : m_entry.global; }
    [[nodiscard]] bool isNumberWanted() const { return m_inMetadata && ((m_depth == 4 && m_member <= GlobalShape) || (m_depth == 3 && m_member == Rank)); }

    bool complain(std::string problem)
    {
        if (m_entry.problem.empty())
            m_entry.problem = std::move(problem);
        if (m_member < kMembers)
            m_seen[m_member] = true;
        return true;
    }
    void wrongTypeOfMember(const char* what)
    {
        if (m_member < kMembers)
            complain(fmt::format("{} is or holds {}", memberName(), what));
    }
    bool wrongType(const char* what)
    {
        if (isNumberWanted() || (m_inMetadata && m_depth == 3))
            wrongTypeOfMember(what);
        return other(what);
    }
    // A value where an object of the document's frame is expected.
    bool other(const char* what)
    {
        if (m_depth == 1 && m_key == "metadata")
            metadataProblem = what;
        else if (m_depth == 2 && m_inMetadata)
            notAnEntry(what);
        else if (m_depth == 3 && m_inMetadata && m_member < kMembers && !m_seen[m_member])
            wrongTypeOfMember(what);
        return true;
    }
    void notAnEntry(const char* what)
    {
        m_member = kMembers;
        m_entry = {};
        m_entry.name = m_key;
        m_entry.problem = fmt::format("it is {} and no object with offsets, lengths, global_shape, file and rank", what);
        addEntry();
    }
    void finishEntry()
    {
        for (std::size_t i = 0; i < kMembers && m_entry.problem.empty(); ++i)
            if (!m_seen[i])
                m_entry.problem = fmt::format("it has no member \"{}\"", kMemberNames[i]);
        if (m_entry.problem.empty() && (m_entry.offsets.size() != m_entry.global.size() || m_entry.lengths.size() != m_entry.global.size()))
            m_entry.problem = fmt::format("offsets {}, lengths {} and global_shape {} are not of one number of dimensions", shapeText(m_entry.offsets), shapeText(m_entry.lengths),
                                          shapeText(m_entry.global));
        addEntry();
    }
    void addEntry()
    {
        out.entries.push_back(std::move(m_entry));
        m_entry = {};
    }

    std::size_t m_depth = 0;
    std::string m_key; // of the document or of the metadata
    Member m_member = kMembers;
    bool m_inMetadata = false;
    DistEntry m_entry;
    std::array<bool, kMembers> m_seen{};
    std::unordered_map<std::string, std::uint32_t> m_files;
};

} // namespace

Result<DistMeta> readDistMeta(const ByteSource& source)
{
    SHARDLENS_ASSIGN(const auto bytes, readBytes(source, 0, source.size(), kMaxMetaBytes));
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    if (const std::size_t depth = jsonNesting({text, bytes.size()}); depth > kMaxNesting)
        return Error{ErrorCode::LimitExceeded, fmt::format("it nests {} levels deep, at most {} are read", groupedText(depth), kMaxNesting)};
    MetaReader reader;
    if (!Json::sax_parse(text, text + bytes.size(), &reader))
        return Error{ErrorCode::Corrupt, fmt::format("no JSON: it breaks off or goes wrong at byte {} of {}", groupedText(reader.errorAt), groupedText(bytes.size()))};
    if (!reader.isObject)
        return Error{ErrorCode::Corrupt, "no JSON object"};
    if (!reader.metadataProblem.empty())
        return Error{ErrorCode::Corrupt, fmt::format("\"metadata\" is {} and no object", reader.metadataProblem)};
    if (!reader.hasMetadata)
        return Error{ErrorCode::Corrupt, "it has no member \"metadata\""};
    return std::move(reader.out);
}

} // namespace shardlens::colossalai
