#include "core/format/opened_file.h"

namespace shardlens {

Result<OpenedFile> openFile(const std::string& path, const std::string& name)
{
    SHARDLENS_ASSIGN(auto source, FileSource::open(path));
    OpenedFile out;
    out.row.path = path;
    out.row.name = name;
    out.row.size = source->size();
    out.row.modifiedNs = source->stamp().modifiedNs;
    out.row.inode = source->stamp().inode;
    out.source = std::move(source);
    return out;
}

File missingFile(const std::string& path, const std::string& name)
{
    File row;
    row.path = path;
    row.name = name;
    row.state = File::State::Missing;
    return row;
}

} // namespace shardlens
