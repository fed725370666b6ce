#pragma once

#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::cli {

enum class Style : std::uint8_t { Plain, Strong, Muted, Good, Warning, Bad };

// Where answers go: results to one stream, sentences for people to the other. Knows whether each is a terminal (colour, width).
// A reader that closes its end early is no failure; a full disk is. The streams must outlive it. One thread.
class Console {
public:
    // Colour on terminals only, and never where NO_COLOR is set.
    Console(std::FILE* results, std::FILE* remarks);
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    // Raw text to the results; no line end is added.
    void write(std::string_view text);
    void line(std::string_view text = {});
    // "error: …" or "warning: …" and a line end, to the remarks.
    void error(std::string_view sentence);
    void warning(std::string_view sentence);
    void remark(std::string_view sentence);
    // The text in a style of the results' stream; unchanged where that has no colour.
    [[nodiscard]] std::string styled(Style style, std::string_view text) const;
    // Columns that a line of results may take: the terminal's, at most 100 where there is none.
    [[nodiscard]] std::size_t width() const { return m_width; }
    // What a line may take: no limit where nobody looks at columns (a pipe, a file), so that no name is shortened there.
    [[nodiscard]] std::size_t lineLimit() const { return m_isFitted ? m_width : std::numeric_limits<std::size_t>::max(); }
    // Fits lines into the width as if somebody looked.
    void fitLines() { m_isFitted = true; }
    [[nodiscard]] bool remarksAreTerminal() const { return m_remarksTerminal; }
    [[nodiscard]] bool remarksHaveColour() const { return m_remarksColour; }
    [[nodiscard]] std::FILE* remarks() const { return m_remarks; }
    // Flushes; empty, or the system's words where results could not be written.
    [[nodiscard]] std::string finish();

private:
    void remarkStyled(Style style, std::string_view label, std::string_view sentence);

    std::FILE* m_results;
    std::FILE* m_remarks;
    bool m_isFitted = false; // the results go to a terminal
    bool m_resultsColour = false;
    bool m_remarksTerminal = false;
    bool m_remarksColour = false;
    std::size_t m_width = 100;
    int m_writeError = 0;
};

// Columns that `text` takes on a terminal: wide characters count two, combining marks none.
[[nodiscard]] std::size_t displayWidth(std::string_view text);
// At most `width` columns: the middle is replaced by "…". Ends tell tensor names apart.
[[nodiscard]] std::string elided(std::string_view text, std::size_t width);
// Lines of at most `width` columns, broken at spaces; a word that is longer stands alone.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, std::size_t width);

// Rows under aligned headings, as wide as they need, at most as wide as asked: columns that may shrink give way, widest first.
class Table {
public:
    struct Column {
        std::string title;
        bool right = false;
        bool shrinks = false;
    };
    explicit Table(std::vector<Column> columns) : m_columns(std::move(columns)) {}

    // As many cells as columns.
    void addRow(std::vector<std::string> cells, Style style = Style::Plain);
    [[nodiscard]] bool empty() const { return m_rows.empty(); }
    void print(Console& console, std::size_t indent = 0) const;

private:
    struct Row {
        std::vector<std::string> cells;
        Style style;
    };
    [[nodiscard]] std::vector<std::size_t> widths(std::size_t available) const;

    std::vector<Column> m_columns;
    std::vector<Row> m_rows;
};

} // namespace shardlens::cli
