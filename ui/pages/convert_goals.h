#pragma once

#include <QString>

#include <span>
#include <string_view>

namespace shardlens::ui {

// A format that the convert page makes, as one row: what a new one needs is a row here, and a row of options of its own where it has some.
struct ConvertGoal {
    // Picked: the tensors that are chosen, under their names. Run: all of the source, for an engine that resumes. Layout: a run that is cut anew in the
    // source's own format. Ranks: MindSpore's files. Sharded: all of any source that a framework has a place for, as it divides it.
    enum class Kind : std::uint8_t { Picked, Run, Layout, Ranks, Sharded };

    std::string_view format; // format id
    Kind kind = Kind::Picked;
    const char* title = "";    // of its card; marked for translation, as the next two
    const char* sentence = ""; // of its card, where that does not follow from the source
    const char* summary = "";  // in the list of steps; likewise
    const char* ending = nullptr; // of one file; nullptr: always a folder
    bool hasShards = false;    // files of at most a size
    bool hasWriters = false;   // a number of writers: ConvertRequest::dp
    bool hasStages = false;    // Sharded: tensor and pipeline ranks
    const char* namesOf = nullptr; // only models under the names of that framework's own format have a place in it; nullptr: any

    [[nodiscard]] QString titleText() const;
    [[nodiscard]] QString sentenceText() const;
    [[nodiscard]] QString summaryText() const;
};

// In the order in which the cards are shown.
[[nodiscard]] std::span<const ConvertGoal> convertGoals();
// nullptr: no goal makes that.
[[nodiscard]] const ConvertGoal* goalOf(std::string_view format);

} // namespace shardlens::ui
