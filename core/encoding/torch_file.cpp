#include "core/encoding/torch_file.h"

#include "core/base/text.h"
#include "core/encoding/torch_container.h"
#include "core/encoding/torch_rebuild.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace shardlens {

struct TorchFile::Impl {
    TorchContainer content;
};

namespace {

struct Magic {
    std::string_view bytes;
    const char* what;
};
using namespace std::string_view_literals;
// formats/pytorch.md §1.1: what people save under .pt by mistake
constexpr std::array<Magic, 7> kDecoys{{{"version https://git-lfs"sv, "a Git LFS pointer: the real file was not downloaded; run git lfs pull"},
                                        {"7z\xBC\xAF\x27\x1C"sv, "a 7z archive, which PyTorch never loads"},
                                        {"\x89PNG"sv, "a PNG picture"},
                                        {"<!"sv, "an HTML page: the download was probably refused"},
                                        {"<html"sv, "an HTML page: the download was probably refused"},
                                        {"PYTORCH1"sv, "an archive of a preview version that PyTorch itself refuses"},
                                        {"\x93NUMPY"sv, "a NumPy array file"}}};

} // namespace

TorchFile::TorchFile(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
TorchFile::TorchFile(TorchFile&&) noexcept = default;
TorchFile& TorchFile::operator=(TorchFile&&) noexcept = default;
TorchFile::~TorchFile() = default;

Result<TorchFile> TorchFile::open(std::shared_ptr<const ByteSource> source, JobContext& job)
{
    if (source->size() == 0)
        return Error{ErrorCode::Corrupt, "an empty file"};
    std::array<std::byte, 32> head{};
    const std::size_t count = std::min<std::uint64_t>(head.size(), source->size());
    SHARDLENS_TRY(source->readAt(0, std::span(head).first(count)));
    const std::string_view start(reinterpret_cast<const char*>(head.data()), count);
    for (const Magic& decoy : kDecoys)
        if (start.starts_with(decoy.bytes))
            return Error{ErrorCode::Unsupported, decoy.what};
    auto impl = std::make_unique<Impl>();
    if (start.starts_with("PK")) {
        SHARDLENS_ASSIGN(impl->content, openTorchZip(std::move(source), TorchInside::File, job));
    } else {
        SHARDLENS_ASSIGN(impl->content, openTorchLegacy(std::move(source), TorchInside::File, job));
    }
    return TorchFile(std::move(impl));
}

TorchFile::Container TorchFile::container() const
{
    return m_impl->content.kind;
}

pickle::Value TorchFile::root() const
{
    return m_impl->content.graph->root();
}

bool TorchFile::isBigEndian() const
{
    return m_impl->content.bigEndian;
}

const std::vector<TorchStorage>& TorchFile::storages() const
{
    return m_impl->content.storages;
}

const std::vector<TorchNote>& TorchFile::notes() const
{
    return m_impl->content.notes;
}

bool TorchFile::isTensor(pickle::Value value)
{
    return isTensorCall(value);
}

Result<TorchTensor> TorchFile::tensorOf(pickle::Value value) const
{
    return rebuildTensor(m_impl->content, value);
}

std::optional<std::string_view> TorchFile::sparseLayoutOf(pickle::Value value)
{
    return sparseLayout(value);
}

Result<std::vector<TorchSparsePart>> TorchFile::sparsePartsOf(pickle::Value value)
{
    return sparseParts(value);
}

Result<Shape> TorchFile::sparseShapeOf(pickle::Value value)
{
    return sparseShape(value);
}

std::optional<bool> TorchFile::isScriptState(pickle::Value object, std::string_view attribute) const
{
    const pickle::Value type = object.callable();
    const auto known = m_impl->content.scriptClasses.find(fmt::format("{}.{}", type.globalModule(), type.globalName()));
    if (known == m_impl->content.scriptClasses.end())
        return std::nullopt;
    return known->second.contains(std::string(attribute));
}

Result<TorchStoragePart> TorchFile::storageOf(pickle::Value persistentId) const
{
    return storagePart(m_impl->content, persistentId);
}

const char* containerText(TorchFile::Container container)
{
    switch (container) {
    case TorchFile::Container::Zip: return "torch zip";
    case TorchFile::Container::Legacy: return "torch legacy";
    case TorchFile::Container::TorchScript: return "TorchScript";
    case TorchFile::Container::Pickle: return "bare pickle";
    }
    return "";
}

} // namespace shardlens
