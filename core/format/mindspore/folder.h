#pragma once

#include "core/base/result.h"
#include "core/format/format.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

// Which files of a folder are a MindSpore run (formats/mindspore.md §1).
namespace shardlens::mindspore {

constexpr std::uint32_t kMostRanks = 1u << 16; // that are read or written

// "a, b, c and 9 more", printable.
[[nodiscard]] std::string someNames(const std::vector<std::string>& names);

// What the name of a weights file says (§1.1): "llama_rank_3-2_40.ckpt", "net-2_40.safetensors", "checkpoint_3.ckpt".
struct WeightsName {
    std::string stem;      // without rank, epoch, step and ending; "llama_rank_", "net", "checkpoint_"
    bool hasRank = false;  // the rank's number stood behind the stem
    std::optional<std::pair<std::uint64_t, std::uint64_t>> step; // epoch, and the step inside it
    bool isBreakpoint = false; // written when training died
    bool isSafetensors = false;

    auto operator<=>(const WeightsName&) const = default;
    [[nodiscard]] std::string text() const; // "net-2_40.ckpt", "llama_rank_*-2_40.ckpt"
    [[nodiscard]] std::string fileOf(std::uint32_t rank) const; // "llama_rank_3-2_40.ckpt"
};
// `rank` is that of the folder that the file lies in. Nothing for names of other files.
[[nodiscard]] std::optional<WeightsName> weightsNameOf(std::string_view fileName, std::optional<std::uint32_t> rank);
// N of "rank_N".
[[nodiscard]] std::optional<std::uint32_t> rankOfFolder(std::string_view name);

// A file of a run that is to be read.
struct RankPath {
    std::uint32_t rank = 0;
    std::string path; // as it is opened
    std::string name; // relative to the run's folder
};

// One save of a run whose folders hold several.
struct Save {
    WeightsName name;
    std::map<std::uint32_t, RankPath> files; // by rank
    std::uint64_t sizeBytes = 0;
};

struct RunFolder {
    enum class Kind : std::uint8_t {
        OneFile,     // a file, or a folder without rank folders: one model
        RankFolders, // rank_N
        Unified,     // part files with param_name_map.json
    };
    Kind kind = Kind::OneFile;
    std::string folder;                    // that names count from
    std::vector<std::uint32_t> ranks;      // of the rank folders, ascending
    std::vector<Save> saves;               // the one that counts first, then from the newest to the oldest
    std::vector<std::string> rivals;       // saves of the same step as the one that counts, where nobody said which: "net_b_*.ckpt"
    std::string incomplete;                // about a newer save that some ranks lack; empty: none
    std::size_t siblings = 0;              // rank folders beside one that is opened alone
    std::string besideStrategy;            // a strategy file, or a folder of them, that lies beside; empty: none
    std::vector<std::string> unreadable;   // rank folders that cannot be listed
    std::string title;
};

// Refused: nothing that is read; a tag that no save has.
[[nodiscard]] Result<RunFolder> findRun(const Candidate& candidate, const OpenOptions& options);
// Whether a candidate is MindSpore's, by its name, its listing and the first bytes of a file.
[[nodiscard]] Match matchRun(const Candidate& candidate);

} // namespace shardlens::mindspore
