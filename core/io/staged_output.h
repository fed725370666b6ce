#pragma once

#include "core/base/result.h"

#include <string>
#include <vector>

namespace shardlens {

// What a job writes, out of sight until it is whole: a hidden folder `.NAME.shardlens-HASH` beside the target, with a lock that lives as long as its
// process, and in it a folder for the files. What dead processes left for the same target is removed on the way.
class StagedOutput {
public:
    struct Options {
        std::string target;        // without trailing slashes; its parent must be there
        bool targetIsFile = false; // the target is the one file in contentFolder() that has the target's own name
        std::string jobHash;       // 8 hexadecimal digits; tells jobs with the same target apart
    };
    // Refused where a living process works on the same job. Io with the system's words where the parent cannot be written.
    [[nodiscard]] static Result<StagedOutput> create(Options options);
    StagedOutput(StagedOutput&& other) noexcept;
    StagedOutput& operator=(StagedOutput&&) = delete;
    // Removes everything hidden. The target keeps what publish() gave it.
    ~StagedOutput();

    [[nodiscard]] const std::string& contentFolder() const { return m_content; }
    // Makes the folders that a file of that name, relative to the content folder, lies in; they are flushed with it.
    Status makeFoldersOf(const std::string& fileName);
    // Where the result can be opened before it is published: the folder, or the one file in it.
    [[nodiscard]] std::string resultPath() const;

    enum class Existing : std::uint8_t {
        Refuse,  // a target that exists by now is left alone: Refused
        Replace, // it takes the hidden place in one step and is deleted from there
    };
    // Gives the result its name in one step, and carries that to the disk. The files must have been flushed. At most once.
    Status publish(Existing existing);

private:
    StagedOutput(Options options, std::string work, int lock);

    Options m_options;
    std::string m_work;
    std::string m_content;
    std::vector<std::string> m_folders; // below it, outermost first
    int m_lock;
};

// The hidden folders of this target that nobody works on any more are removed; returns how many. Called by create().
std::size_t removeStaleOutputs(const std::string& target);

// The path without slashes at its end, and its two parts: what lies above ("." where nothing is said) and the last name.
struct TargetPath {
    explicit TargetPath(std::string path);
    std::string path;
    std::string parent;
    std::string name;
};

} // namespace shardlens
