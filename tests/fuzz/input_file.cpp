#include "tests/fuzz/input_file.h"

#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

namespace shardlens::fuzz {

InputFile::InputFile(std::span<const std::uint8_t> bytes) : m_descriptor(::memfd_create("input", MFD_CLOEXEC))
{
    if (m_descriptor < 0 || ::write(m_descriptor, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        std::abort();
    m_path = "/proc/self/fd/" + std::to_string(m_descriptor);
    auto opened = FileSource::open(m_path);
    if (!opened)
        std::abort();
    m_source = opened.take();
}

InputFile::~InputFile()
{
    ::close(m_descriptor);
}

File InputFile::row() const
{
    File row;
    row.path = m_path;
    row.name = "input";
    row.size = m_source->size();
    row.modifiedNs = m_source->stamp().modifiedNs;
    return row;
}

} // namespace shardlens::fuzz
