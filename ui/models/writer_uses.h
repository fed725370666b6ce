#pragma once

#include "core/model/checkpoint.h"

#include <QString>
#include <QStringList>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// What lies in one file, or in all files that one rank wrote.
struct WriterUse {
    enum Kind : std::size_t { Weights, Optimizer, Other, KindCount };

    std::optional<std::uint32_t> rank; // who wrote it; nothing: nobody says
    std::vector<FileId> files;         // ascending; one in a list by file
    std::uint64_t sizeBytes = 0;       // on the disk
    std::uint64_t chunks = 0;          // pieces
    std::uint64_t tensors = 0;         // with a piece in it
    std::array<std::uint64_t, KindCount> valueBytes{}; // of its pieces
    std::size_t missingFiles = 0;      // not there, or not readable
    bool isLeftOver = false;           // no part of the checkpoint

    [[nodiscard]] std::uint64_t values() const { return valueBytes[Weights] + valueBytes[Optimizer] + valueBytes[Other]; }
    // Bytes that are no values: headers, pickles, padding, all of a file that is left over.
    [[nodiscard]] std::uint64_t restBytes() const { return sizeBytes > values() ? sizeBytes - values() : 0; }
    // It holds values or should: what counts in a comparison of writers.
    [[nodiscard]] bool isWriter() const { return chunks > 0 && missingFiles < files.size(); }
};

// Who wrote what, by file and by rank. Immutable; building is O(pieces) and meant for a worker.
struct WriterUses {
    CheckpointPtr checkpoint;
    std::vector<WriterUse> byFile; // by FileId
    std::vector<WriterUse> byRank; // by rank, what nobody's is last; empty where no file says who wrote it

    // nullptr where `stop` was requested.
    [[nodiscard]] static std::shared_ptr<const WriterUses> build(const CheckpointPtr& checkpoint, const std::stop_token& stop);
    // "__3_0.distcp"; by rank "rank 3".
    [[nodiscard]] QString nameOf(const WriterUse& use, bool byRank) const;
};
using WriterUsesPtr = std::shared_ptr<const WriterUses>;

// How evenly the bytes on the disk are shared out: files, or ranks, that hold values.
struct WriterBalance {
    struct Bar {
        std::size_t use = 0; // of WriterUses::byFile or byRank
        std::uint64_t bytes = 0;
    };
    std::vector<Bar> bars; // in order
    double mean = 0;
    std::size_t largest = 0; // of bars; the first of equals
    std::size_t smallest = 0;
    std::size_t missing = 0; // files that are not there and so not counted

    [[nodiscard]] static WriterBalance of(const WriterUses& uses, bool byRank);
    // "31 % more than the mean", "7.8 times the mean", "as much as the mean"
    [[nodiscard]] QString shareText(std::uint64_t bytes) const;
    // "rank 3 wrote 31 % more than the mean of 30.1 KiB …": the largest and the smallest by name.
    [[nodiscard]] QString sentence(const WriterUses& uses, bool byRank) const;
};

// What tells files apart by the numbers in their names: "3" of "__3_0.distcp" where only the first number differs, "3_1" where both do. Without such
// numbers, or where that does not tell them apart, they are counted from 1.
[[nodiscard]] QStringList numbersOfNames(const QStringList& names);

} // namespace shardlens::ui
