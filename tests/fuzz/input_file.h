#pragma once

#include "core/io/byte_source.h"
#include "core/model/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace shardlens::fuzz {

constexpr std::size_t kMaxInput = 64 * 1024; // longer inputs are left aside: they find nothing more and are slow

// An input as a real file, so that the same code reads it that reads a checkpoint's files. It lives in memory and is gone with the object.
class InputFile {
public:
    explicit InputFile(std::span<const std::uint8_t> bytes);
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    [[nodiscard]] const std::shared_ptr<const FileSource>& source() const { return m_source; }
    // Its row in a checkpoint.
    [[nodiscard]] File row() const;

private:
    int m_descriptor;
    std::string m_path;
    std::shared_ptr<const FileSource> m_source;
};

} // namespace shardlens::fuzz
