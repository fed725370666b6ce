// Any bytes as a zip archive: the directory, every member, and what torch.save would have put into it.
#include "core/encoding/zip.h"
#include "tests/fuzz/walk_torch.h"

#include <cstdlib>

namespace {

constexpr std::uint64_t kMaxMember = 1u << 20;
constexpr std::size_t kMaxMembers = 64;

void readMembers(const shardlens::ByteSource& source)
{
    const auto archive = shardlens::ZipArchive::open(source);
    if (!archive)
        return;
    std::size_t left = kMaxMembers;
    for (const shardlens::ZipMember& member : archive->members()) {
        if (left-- == 0)
            return;
        if (archive->find(member.name) == nullptr)
            std::abort();
        const auto offset = archive->dataOffset(member);
        if (offset && (*offset > source.size() || member.storedBytes > source.size() - *offset))
            std::abort();
        const auto bytes = archive->read(member, kMaxMember);
        if (bytes && (bytes->size() != member.sizeBytes || bytes->size() > kMaxMember))
            std::abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace shardlens;
    if (size > fuzz::kMaxInput)
        return -1;
    const fuzz::InputFile input({data, size});
    readMembers(*input.source());
    fuzz::walkTorch(input);
    return 0;
}
