#include "tests/core/encoding/torch_fixture.h"

#include "core/base/text.h"
#include "core/encoding/affine_read.h"
#include "core/encoding/zip.h"
#include "core/io/checksum.h"
#include "tests/core/encoding/encoding_fixture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace shardlens::test {
namespace {

constexpr std::uint64_t kLimit = 1u << 24;

std::string field(std::uint64_t value, std::size_t bytes)
{
    std::string out(bytes, '\0');
    patch(out, 0, value, bytes);
    return out;
}

std::vector<std::byte> storageBytes(const ByteSource& source, const TorchStorage& storage)
{
    if (!storage.deflated)
        return readBytes(source, storage.offset, storage.sizeBytes, kLimit).take();
    const auto archive = ZipArchive::open(source);
    for (const ZipMember& member : archive->members())
        if (*archive->dataOffset(member) == storage.offset)
            return archive->read(member, kLimit).take();
    return {};
}

// One cell after the other, innermost axis fastest: slow and plain.
std::vector<std::byte> plainValues(const TorchTensor& tensor, std::span<const std::byte> storage)
{
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    const std::uint64_t cell = info(tensor.dtype).bytesPerBlock;
    std::vector<std::byte> out;
    for (std::uint64_t i = 0; i < elementCount(units).value_or(0); ++i) {
        std::uint64_t rest = i;
        std::uint64_t at = tensor.offsetBytes;
        for (std::size_t axis = units.size(); axis-- > 0; rest /= units[axis])
            at += rest % units[axis] * static_cast<std::uint64_t>(tensor.strides[axis]);
        out.insert(out.end(), storage.begin() + static_cast<std::ptrdiff_t>(at), storage.begin() + static_cast<std::ptrdiff_t>(at + cell));
    }
    makePlain(out, tensor.dtype, tensor.flags);
    return out;
}

class Lister {
public:
    Lister(const TorchFile& file, const ByteSource& source) : m_file(file), m_source(source) {}

    void walk(const std::string& name, pickle::Value value)
    {
        if (TorchFile::isTensor(value)) {
            m_lines.push_back(name + (name.empty() ? "" : " ") + line(value));
            return;
        }
        const std::string prefix = name.empty() ? "" : name + ".";
        if (value.isMapping())
            for (std::size_t i = 0; i < value.size(); ++i)
                walk(prefix + std::string(value.keyAt(i).asText().value_or("?")), value.valueAt(i));
        else if (value.isSequence())
            for (std::size_t i = 0; i < value.size(); ++i)
                walk(prefix + std::to_string(i), value.at(i));
    }
    [[nodiscard]] std::vector<std::string> take() { return std::move(m_lines); }

private:
    std::string line(pickle::Value value) const
    {
        const auto tensor = m_file.tensorOf(value);
        if (!tensor)
            return fmt::format("{}: {}", codeName(tensor.error().code()), tensor.error().text());
        if (tensor->noData)
            return fmt::format("{} {} without data", nameOf(tensor->dtype), shapeText(tensor->shape));
        const auto values = plainValues(*tensor, storageBytes(m_source, m_file.storages()[tensor->storage]));
        return fmt::format("{} {} strides [{}] at {} crc {:08x}", nameOf(tensor->dtype), shapeText(tensor->shape), fmt::join(tensor->strides, ", "), tensor->offsetBytes,
                           crc32Of(values));
    }

    const TorchFile& m_file;
    const ByteSource& m_source;
    std::vector<std::string> m_lines;
};

} // namespace

namespace py {

std::string text(std::string_view value)
{
    return fmt::format("X{}{}", field(value.size(), 4), value);
}

std::string integer(std::int64_t value)
{
    return fmt::format("\x8a\x08{}", field(static_cast<std::uint64_t>(value), 8));
}

std::string tuple(const std::vector<std::int64_t>& numbers)
{
    std::string out = "(";
    for (const std::int64_t number : numbers)
        out += integer(number);
    return out + "t";
}

std::string global(std::string_view module, std::string_view name)
{
    return fmt::format("c{}\n{}\n", module, name);
}

std::string call(std::string_view module, std::string_view name, std::string_view arguments)
{
    return fmt::format("{}({}tR", global(module, name), arguments);
}

std::string storage(std::string_view storageClass, std::string_view key, std::int64_t count, std::string_view view)
{
    return fmt::format("({}{}{}{}{}{}tQ", text("storage"), global("torch", storageClass), text(key), text("cpu"), integer(count), view);
}

std::string tensor(std::string_view storage, std::int64_t offset, const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                   std::string_view more)
{
    return call("torch._utils", "_rebuild_tensor_v2", fmt::format("{}{}{}{}\x89{}", storage, integer(offset), tuple(shape), tuple(strides), more));
}

} // namespace py

std::string torchArchive(std::string_view root, const std::vector<std::string>& storages, const std::vector<MadeMember>& others)
{
    std::vector<MadeMember> members{{.name = "archive/data.pkl", .data = fmt::format("\x80\x02{}.", root)}};
    members.insert(members.end(), others.begin(), others.end());
    for (std::size_t i = 0; i < storages.size(); ++i)
        members.push_back({.name = fmt::format("archive/data/{}", i), .data = storages[i], .padding = 5});
    members.push_back({.name = "archive/version", .data = "3\n"});
    return makeZip(members).bytes;
}

std::string assembled(const TorchZipLayout& layout, const std::vector<std::string>& contents)
{
    std::string out(layout.fileBytes(), '?');
    std::vector<int> written(out.size(), 0);
    const auto place = [&](std::uint64_t offset, std::string_view bytes) {
        ASSERT_LE(offset + bytes.size(), out.size());
        out.replace(offset, bytes.size(), bytes);
        for (std::size_t i = 0; i < bytes.size(); ++i)
            ++written[offset + i];
    };
    const auto placeAll = [&](const std::vector<BytesAt>& parts) {
        for (const BytesAt& part : parts)
            place(part.offset, {reinterpret_cast<const char*>(part.bytes.data()), part.bytes.size()});
    };
    std::vector<std::uint32_t> crcs;
    placeAll(layout.headers());
    for (std::size_t i = 0; i < contents.size(); ++i) {
        place(layout.records()[i].dataOffset, contents[i]);
        crcs.push_back(crc32Of(std::as_bytes(std::span(contents[i]))));
    }
    placeAll(layout.closing(crcs));
    EXPECT_EQ(std::count(written.begin(), written.end(), 1), static_cast<std::ptrdiff_t>(out.size()));
    return out;
}

std::vector<std::string> tensorLines(const TorchFile& file, const std::shared_ptr<const ByteSource>& source)
{
    Lister lister(file, *source);
    lister.walk("", file.root());
    return lister.take();
}

std::vector<std::string> tensorLines(std::string_view bytes)
{
    const auto source = memory(bytes);
    JobContext job;
    const auto file = TorchFile::open(source, job);
    if (!file)
        return {fmt::format("{}: {}", codeName(file.error().code()), file.error().text())};
    return tensorLines(*file, source);
}

} // namespace shardlens::test
