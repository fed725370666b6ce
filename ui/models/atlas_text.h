#pragma once

#include "ui/models/atlas_model.h"

#include <QString>

namespace shardlens::ui {

// "row 6,018 from column 1,024, to row 11,007", "all of it", "elements 5 to 12": a region in words, ends inclusive.
// `units` is the tensor's unitShape; the region must lie inside it.
[[nodiscard]] QString regionWords(const RegionView& region, ShapeView units);

// What is said about one piece: in the hover card, the status line and to a screen reader.
struct PieceFacts {
    QString name;  // of the parameter, its first part left out where that is a mere wrapper ("model.")
    QString state; // "exp_avg_sq"
    QString box;
    QString file;
    QString bytes;  // "81,752,064 at 6,738,421,376"
    QString size;   // "78.0 MiB"
    QString rank;   // "rank 1"; empty where nobody says
};
[[nodiscard]] PieceFacts factsOf(const Checkpoint& checkpoint, PieceId piece);
// Who else holds parts of its tensor: "rank 0: the rows before that"; empty where the piece is the whole tensor. O(pieces of the tensor).
[[nodiscard]] QString alsoOnText(const Checkpoint& checkpoint, PieceId piece);

// "rank 1, exp_avg_sq, layers.7.mlp.up_proj.weight, 78.0 MiB at offset 6,738,421,376"
[[nodiscard]] QString pieceSentence(const Checkpoint& checkpoint, PieceId piece);
// Name, file, offset and length for the clipboard, in the C locale.
[[nodiscard]] QString pieceCopyText(const Checkpoint& checkpoint, PieceId piece, bool withPlace);

// "layers.7.mlp.up_proj.weight": without a leading "model.", "module." or "transformer.".
[[nodiscard]] QString shortName(const std::string& parameter);
// From long to short: what a label may say about a parameter; the first that fits is taken.
[[nodiscard]] QStringList labelCandidates(const std::string& parameter);

[[nodiscard]] QString bytesText(std::uint64_t bytes);   // "78.0 MiB"
[[nodiscard]] QString numberText(std::uint64_t number); // "81,752,064"
// `one` for 1, else `many` with the grouped number for %1.
[[nodiscard]] QString counted(std::uint64_t count, const QString& one, const QString& many);
[[nodiscard]] QString printableText(std::string_view text);

} // namespace shardlens::ui
