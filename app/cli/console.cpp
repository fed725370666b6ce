#include "app/cli/console.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/ioctl.h>
#include <unistd.h>

namespace shardlens::cli {
namespace {

constexpr std::size_t kDefaultColumns = 100;
constexpr std::size_t kMinimumColumns = 60;
constexpr std::size_t kMostColumns = 10000;
constexpr std::size_t kGap = 2;         // between columns
constexpr std::size_t kMinimumCell = 8; // what a shrinking column keeps

bool wantsColour(std::FILE* stream)
{
    const char* noColour = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    if (noColour != nullptr && *noColour != '\0')
        return false;
    return ::isatty(::fileno(stream)) == 1 && terminal != nullptr && std::strcmp(terminal, "dumb") != 0;
}

std::size_t columnsOf(std::FILE* stream)
{
    const char* wanted = std::getenv("COLUMNS");
    if (const std::size_t columns = wanted == nullptr ? 0 : std::strtoul(wanted, nullptr, 10); columns > 0)
        return std::clamp(columns, kMinimumColumns, kMostColumns);
    winsize size{};
    if (::isatty(::fileno(stream)) != 1 || ::ioctl(::fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return kDefaultColumns;
    return std::max<std::size_t>(size.ws_col, kMinimumColumns);
}

const char* codeOf(Style style)
{
    switch (style) {
    case Style::Plain: return "";
    case Style::Strong: return "\x1b[1m";
    case Style::Muted: return "\x1b[2m";
    case Style::Good: return "\x1b[32m";
    case Style::Warning: return "\x1b[33m";
    case Style::Bad: return "\x1b[31m";
    }
    return "";
}

std::string coloured(Style style, std::string_view text)
{
    if (style == Style::Plain || text.empty())
        return std::string(text);
    return codeOf(style) + std::string(text) + "\x1b[0m";
}

// The character that starts at `at`, which moves past it. Input is well-formed or a single odd byte.
char32_t nextCharacter(std::string_view text, std::size_t& at)
{
    const auto lead = static_cast<unsigned char>(text[at++]);
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    char32_t out = more == 0 ? lead : lead & (0x3Fu >> more);
    for (int i = 0; i < more && at < text.size(); ++i)
        out = (out << 6) | (static_cast<unsigned char>(text[at++]) & 0x3Fu);
    return out;
}

std::size_t columnsOfCharacter(char32_t c)
{
    const auto within = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
    if (within(0x300, 0x36F) || within(0x200B, 0x200D) || within(0xFE00, 0xFE0F))
        return 0;
    const bool wide = within(0x1100, 0x115F) || within(0x2E80, 0xA4CF) || within(0xAC00, 0xD7A3) || within(0xF900, 0xFAFF) ||
                      within(0xFE30, 0xFE6F) || within(0xFF00, 0xFF60) || within(0xFFE0, 0xFFE6) || within(0x1F300, 0x1FAFF) ||
                      within(0x20000, 0x3FFFD);
    return wide ? 2 : 1;
}

} // namespace

Console::Console(std::FILE* results, std::FILE* remarks)
    : m_results(results),
      m_remarks(remarks),
      m_isFitted(::isatty(::fileno(results)) == 1),
      m_resultsColour(wantsColour(results)),
      m_remarksTerminal(::isatty(::fileno(remarks)) == 1),
      m_remarksColour(wantsColour(remarks)),
      m_width(columnsOf(results))
{
}

void Console::write(std::string_view text)
{
    if (text.empty())
        return; // it may have no address
    if (m_writeError == 0 && std::fwrite(text.data(), 1, text.size(), m_results) != text.size())
        m_writeError = errno;
}

void Console::line(std::string_view text)
{
    write(text);
    write("\n");
}

void Console::remarkStyled(Style style, std::string_view label, std::string_view sentence)
{
    std::string text = m_remarksColour ? coloured(style, label) : std::string(label);
    text += sentence;
    text += '\n';
    std::fflush(m_results); // keeps the order where both go to one terminal
    std::fwrite(text.data(), 1, text.size(), m_remarks);
    std::fflush(m_remarks);
}

void Console::error(std::string_view sentence)
{
    remarkStyled(Style::Bad, "error: ", sentence);
}

void Console::warning(std::string_view sentence)
{
    remarkStyled(Style::Warning, "warning: ", sentence);
}

void Console::remark(std::string_view sentence)
{
    remarkStyled(Style::Plain, "", sentence);
}

std::string Console::styled(Style style, std::string_view text) const
{
    return m_resultsColour ? coloured(style, text) : std::string(text);
}

std::string Console::finish()
{
    if (std::fflush(m_results) != 0 && m_writeError == 0)
        m_writeError = errno;
    return m_writeError == 0 || m_writeError == EPIPE ? std::string{} : std::string(std::strerror(m_writeError));
}

std::size_t displayWidth(std::string_view text)
{
    std::size_t width = 0;
    for (std::size_t at = 0; at < text.size();)
        width += columnsOfCharacter(nextCharacter(text, at));
    return width;
}

std::string elided(std::string_view text, std::size_t width)
{
    if (displayWidth(text) <= width)
        return std::string(text);
    if (width <= 1)
        return width == 1 ? "…" : "";
    struct Mark {
        std::size_t byte;   // where a character starts
        std::size_t column; // columns before it
    };
    std::vector<Mark> marks;
    std::size_t columns = 0;
    for (std::size_t at = 0; at < text.size();) {
        marks.push_back({at, columns});
        columns += columnsOfCharacter(nextCharacter(text, at));
    }
    const std::size_t headColumns = (width - 1) / 2;
    const std::size_t tailColumns = width - 1 - headColumns;
    const auto head =
        std::upper_bound(marks.begin(), marks.end(), headColumns, [](std::size_t want, const Mark& m) { return want < m.column; }) - 1;
    const auto tail = std::lower_bound(marks.begin(), marks.end(), columns - tailColumns,
                                       [](const Mark& m, std::size_t want) { return m.column < want; });
    const std::size_t tailByte = tail == marks.end() ? text.size() : tail->byte;
    return std::string(text.substr(0, head->byte)) + "…" + std::string(text.substr(tailByte));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width)
{
    std::vector<std::string> lines(1);
    std::size_t used = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        const std::string_view word = text.substr(at, end - at);
        at = end + 1;
        if (word.empty())
            continue;
        const std::size_t columns = displayWidth(word);
        if (used != 0 && used + 1 + columns > width) {
            lines.emplace_back();
            used = 0;
        }
        if (used != 0) {
            lines.back() += ' ';
            ++used;
        }
        lines.back() += word;
        used += columns;
    }
    return lines;
}

void Table::addRow(std::vector<std::string> cells, Style style)
{
    cells.resize(m_columns.size());
    m_rows.push_back({std::move(cells), style});
}

std::vector<std::size_t> Table::widths(std::size_t available) const
{
    std::vector<std::size_t> out;
    std::size_t total = m_columns.empty() ? 0 : kGap * (m_columns.size() - 1);
    for (std::size_t column = 0; column < m_columns.size(); ++column) {
        std::size_t width = displayWidth(m_columns[column].title);
        for (const Row& row : m_rows)
            width = std::max(width, displayWidth(row.cells[column]));
        out.push_back(width);
        total += width;
    }
    while (total > available) {
        std::size_t widest = m_columns.size();
        std::size_t second = kMinimumCell;
        for (std::size_t column = 0; column < m_columns.size(); ++column) {
            if (!m_columns[column].shrinks || out[column] <= kMinimumCell)
                continue;
            if (widest == m_columns.size() || out[column] > out[widest]) {
                second = widest == m_columns.size() ? kMinimumCell : out[widest];
                widest = column;
            } else {
                second = std::max(second, out[column]);
            }
        }
        if (widest == m_columns.size())
            break;
        const std::size_t floor = second < out[widest] ? second : out[widest] - 1;
        const std::size_t cut = std::min(total - available, out[widest] - floor);
        out[widest] -= cut;
        total -= cut;
    }
    return out;
}

void Table::print(Console& console, std::size_t indent) const
{
    const std::vector<std::size_t> widthOf = widths(console.lineLimit() > indent ? console.lineLimit() - indent : 0);
    const auto printRow = [&](const auto& cellOf, Style style) {
        std::string text;
        for (std::size_t column = 0; column < m_columns.size(); ++column) {
            const std::string cell = elided(cellOf(column), widthOf[column]);
            const std::string padding(widthOf[column] - displayWidth(cell), ' ');
            if (column != 0)
                text.append(kGap, ' ');
            text += m_columns[column].right ? padding + cell : cell + padding;
        }
        text.erase(text.find_last_not_of(' ') + 1);
        console.line(std::string(indent, ' ') + console.styled(style, text));
    };
    printRow([this](std::size_t column) -> std::string_view { return m_columns[column].title; }, Style::Muted);
    for (const Row& row : m_rows)
        printRow([&row](std::size_t column) -> std::string_view { return row.cells[column]; }, row.style);
}

} // namespace shardlens::cli
