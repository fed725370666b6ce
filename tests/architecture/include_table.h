#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::architecture {

// The rules of include_table.txt.
class IncludeTable {
public:
    // Lines that are no rule are kept as problems().
    [[nodiscard]] static IncludeTable parse(std::string_view text);

    [[nodiscard]] const std::vector<std::string>& problems() const { return m_problems; }
    // One sentence for every include of `text`, the content of the file at `path`, that the table does not allow.
    [[nodiscard]] std::vector<std::string> violations(const std::string& path, std::string_view text) const;

private:
    void addLine(const std::string& line);
    [[nodiscard]] const std::vector<std::string>* rulesFor(const std::string& path) const;
    [[nodiscard]] std::string libraryOf(const std::string& header) const;
    [[nodiscard]] bool allowsProjectHeader(const std::vector<std::string>& rules, const std::string& path, const std::string& header) const;
    [[nodiscard]] std::string problemWith(const std::vector<std::string>& rules, const std::string& path, const std::string& header,
                                          bool quoted) const;

    std::map<std::string, std::vector<std::string>> m_libraries; // name → header prefixes
    std::vector<std::string> m_system;
    std::map<std::string, std::vector<std::string>> m_rules; // folder, folder/* or file → what it may include
    std::vector<std::string> m_problems;
};

// "core/format/deepspeed" of "core/format/deepspeed/open.cpp".
[[nodiscard]] std::string folderOf(const std::string& path);

} // namespace shardlens::architecture
