#include "app/cli/piece_picture.h"

#include "app/cli/palette.h"
#include "core/base/text.h"
#include "core/model/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens::cli {
namespace {

constexpr double kWidth = 640;
constexpr double kMaxHeight = 480;
constexpr double kMinHeight = 24;
constexpr double kMargin = 16;
constexpr double kLineHeight = 18;
constexpr double kSliver = 1; // nothing that holds a byte is invisible
constexpr std::size_t kMaxBoxes = 5000;
constexpr std::size_t kHolesDrawn = 64;
constexpr std::size_t kMaxLegend = 16;

std::string xmlText(std::string_view text)
{
    std::string out;
    for (const char c : printable(text)) {
        switch (c) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        default: out += c;
        }
    }
    return out;
}

// The tensor as rows and columns: leading axes are stacked.
struct Grid {
    std::uint64_t rows = 1;
    std::uint64_t columns = 1;
};

Grid gridOf(ShapeView units)
{
    Grid grid;
    if (units.empty())
        return grid;
    grid.columns = units.back();
    for (std::size_t axis = 0; axis + 1 < units.size(); ++axis)
        grid.rows *= units[axis];
    return grid;
}

class Picture {
public:
    Picture(const Checkpoint& checkpoint, TensorId tensor)
        : m_checkpoint(checkpoint),
          m_tensor(tensor),
          m_units(unitShape(checkpoint.tensor(tensor).shape, checkpoint.tensor(tensor).dtype)),
          m_grid(gridOf(m_units))
    {
        const double ratio = static_cast<double>(m_grid.rows) / static_cast<double>(std::max<std::uint64_t>(m_grid.columns, 1));
        m_height = std::clamp(kWidth * ratio, kMinHeight, kMaxHeight);
    }

    std::string draw()
    {
        drawPieces();
        drawHoles();
        const double legendTop = kMargin + kLineHeight * 2 + m_height;
        const double total = legendTop + kLineHeight * static_cast<double>(std::min(m_legend.size(), kMaxLegend) + 2) + kMargin;
        std::string out =
            fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
                        "font-family=\"sans-serif\" font-size=\"13\">\n",
                        kWidth + 2 * kMargin, total);
        out += fmt::format(
            "<defs><pattern id=\"hole\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
            "<rect width=\"3\" height=\"6\" fill=\"{}\"/></pattern></defs>\n",
            kHoleColour);
        out += fmt::format("<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n", kSurfaceColour);
        const Tensor& tensor = m_checkpoint.tensor(m_tensor);
        out += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"{}\">{}  {} {}</text>\n", kMargin, kMargin + 12, kTextColour,
                           xmlText(m_checkpoint.fullName(m_tensor)), nameOf(tensor.dtype), shapeText(tensor.shape));
        out += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{:.2f}\" fill=\"{}\"/>\n", kMargin, top(), kWidth, m_height,
                           kTrackColour);
        return out + m_body + legend(legendTop) + "</svg>\n";
    }

private:
    [[nodiscard]] double top() const { return kMargin + kLineHeight; }

    void drawRectangle(const Box& box, const std::string& fill, const std::string& title)
    {
        if (m_boxes++ >= kMaxBoxes)
            return;
        std::uint64_t row = 0;
        std::uint64_t rows = 1;
        for (std::size_t axis = 0; axis + 1 < m_units.size(); ++axis) {
            row = row * m_units[axis] + box.offset[axis];
            rows *= box.extent[axis];
        }
        const std::uint64_t column = m_units.empty() ? 0 : box.offset.back();
        const std::uint64_t columns = m_units.empty() ? 1 : box.extent.back();
        const auto across = [&](std::uint64_t at) { return kWidth * static_cast<double>(at) / static_cast<double>(m_grid.columns); };
        const auto down = [&](std::uint64_t at) { return m_height * static_cast<double>(at) / static_cast<double>(m_grid.rows); };
        m_body += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"><title>{}</title></rect>\n",
                              kMargin + across(column), top() + down(row), std::max(across(columns), kSliver),
                              std::max(down(rows), kSliver), fill, title);
    }

    // As rectangles whose rows are neighbours in the picture: a box of three or more axes is drawn run by run.
    void drawRegion(const RegionView& region, const std::string& fill, const std::string& title)
    {
        if (const auto* flat = std::get_if<FlatRange>(&region)) {
            forEachBox(*flat, m_units, [&](const Box& box) { drawRectangle(box, fill, title); });
            return;
        }
        const auto& box = std::get<BoxView>(region);
        if (box.extent.size() <= 2) {
            drawRectangle(std::get<Box>(copyOf(region)), fill, title);
            return;
        }
        forEachRun(box, m_units, [&](FlatRange run) {
            if (m_boxes < kMaxBoxes)
                forEachBox(run, m_units, [&](const Box& part) { drawRectangle(part, fill, title); });
        });
    }

    void drawPieces()
    {
        const PieceStore& pieces = m_checkpoint.pieces();
        for (std::size_t row = pieces.firstOf(m_tensor); row < pieces.lastOf(m_tensor); ++row) {
            const Piece piece = pieces.at(idAt<PieceId>(row));
            const Stream& stream = m_checkpoint.stream(piece.source.stream);
            if (stream.kind == Stream::Kind::Missing)
                continue;
            const auto rank = m_checkpoint.rankOfPiece(piece);
            const std::string label = rank                     ? fmt::format("rank {}", *rank)
                                      : stream.file == kNoFile ? "kept inline"
                                                               : m_checkpoint.file(stream.file).name;
            const std::size_t slot = rank ? *rank : m_legend.size();
            const auto [entry, isNew] = m_legend.try_emplace({rank.value_or(0), label}, kRankColours[slot % std::size(kRankColours)]);
            const std::string& fill = entry->second;
            const std::string file = stream.file == kNoFile ? std::string{} : ", " + m_checkpoint.file(stream.file).name;
            drawRegion(
                piece.region, fill,
                xmlText(fmt::format("{}: {}{}, offset {}", label, regionText(piece.region), file, groupedText(piece.source.offset))));
        }
    }

    void drawHoles()
    {
        for (const Hole& hole : coverageOf(m_checkpoint, m_tensor, kHolesDrawn, kAsBoxes).holes) {
            m_hasHole = true;
            drawRegion(viewOf(hole.region), "url(#hole)", "missing: " + regionText(viewOf(hole.region)));
        }
    }

    [[nodiscard]] std::string legend(double at) const
    {
        std::string out;
        std::size_t shown = 0;
        const auto entry = [&](const std::string& fill, const std::string& label) {
            out += fmt::format(
                "<rect x=\"{}\" y=\"{:.2f}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"{:.2f}\" fill=\"{}\">{}</text>\n",
                kMargin, at, fill, kMargin + 20, at + 11, kTextColour, xmlText(label));
            at += kLineHeight;
        };
        for (const auto& [key, fill] : m_legend)
            if (shown++ < kMaxLegend)
                entry(fill, key.second);
        if (m_hasHole)
            entry("url(#hole)", "missing");
        std::string rest;
        if (m_legend.size() > kMaxLegend)
            rest = fmt::format("and {} more", m_legend.size() - kMaxLegend);
        if (m_boxes > kMaxBoxes)
            rest += fmt::format("{}{} boxes are not drawn", rest.empty() ? "" : "; ", groupedText(m_boxes - kMaxBoxes));
        if (!rest.empty())
            out += fmt::format("<text x=\"{}\" y=\"{:.2f}\" fill=\"{}\">{}</text>\n", kMargin, at + 11, kTextColour, rest);
        return out;
    }

    const Checkpoint& m_checkpoint;
    TensorId m_tensor;
    Shape m_units;
    Grid m_grid;
    double m_height = 0;
    std::string m_body;
    std::map<std::pair<std::uint32_t, std::string>, std::string> m_legend;
    std::size_t m_boxes = 0;
    bool m_hasHole = false;
};

} // namespace

std::string pieceSvg(const Checkpoint& checkpoint, TensorId tensor)
{
    return Picture(checkpoint, tensor).draw();
}

} // namespace shardlens::cli
