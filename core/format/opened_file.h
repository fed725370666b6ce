#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"
#include "core/model/checkpoint.h"

#include <memory>
#include <string>

namespace shardlens {

// A file that a reader has opened, and its row of the checkpoint's table with name, size and time filled in.
struct OpenedFile {
    File row;
    std::shared_ptr<const FileSource> source;
};

// `name` is the path relative to the checkpoint's folder; errors carry no file name.
[[nodiscard]] Result<OpenedFile> openFile(const std::string& path, const std::string& name);
// The row of a file that should be there and is not.
[[nodiscard]] File missingFile(const std::string& path, const std::string& name);

} // namespace shardlens
