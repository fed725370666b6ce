#include "tests/support/dcp_test_save.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <stdexcept>

namespace shardlens::test {
namespace {

constexpr const char* kMetadataClasses = "torch.distributed.checkpoint.metadata";

template <typename T>
void putLe(std::string& out, T number)
{
    char bytes[sizeof(T)];
    std::memcpy(bytes, &number, sizeof(T)); // little-endian machines only, as the project
    out.append(bytes, sizeof(T));
}

std::uint32_t crcOfItemRecord(const std::string& bytes)
{
    std::uint32_t crc = 0xFFFFFFFF;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ (0xEDB88320 & (0 - (crc & 1)));
    }
    return ~crc;
}

std::string deflatedInStoredBlocks(const std::string& text)
{
    std::string out;
    for (std::size_t at = 0; at == 0 || at < text.size(); at += 0xFFFF) {
        const auto length = static_cast<std::uint16_t>(std::min<std::size_t>(text.size() - at, 0xFFFF));
        out += at + length >= text.size() ? '\x01' : '\x00';
        putLe(out, length);
        putLe(out, static_cast<std::uint16_t>(~length));
        out.append(text, at, length);
    }
    return out;
}

std::uint64_t cellsOf(const Counts& shape)
{
    return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
}

Py sizeOf(const Counts& numbers)
{
    return pySize(numbers);
}

std::string textOfStep(const Py& step)
{
    if (const auto* text = std::get_if<std::string>(&step.value))
        return *text;
    return std::to_string(std::get<std::int64_t>(step.value));
}

struct WrittenRecord {
    std::string name;
    std::string stored;
    std::uint32_t crc = 0;
    std::uint32_t size = 0;
    std::uint32_t header = 0;
    std::uint16_t method = 0;
};

} // namespace

Py dcpObject(const std::string& name, std::vector<std::pair<std::string, Py>> attributes)
{
    const bool isOfFiles = name == "_StorageInfo";
    return {Py::Object{{isOfFiles ? "torch.distributed.checkpoint.filesystem" : kMetadataClasses, name}, {}, {pyDict(std::move(attributes))}}};
}

Py dcpChunk(const Counts& offset, const Counts& extent)
{
    return dcpObject("ChunkStorageMetadata", {{"offsets", sizeOf(offset)}, {"sizes", sizeOf(extent)}});
}

Py dcpTensor(const std::string& dtype, const Counts& shape, std::vector<Py> chunks)
{
    const Py layout{Py::Call{{"torch.serialization", "_get_layout"}, {{std::string("torch.strided")}}}};
    const Py memory{Py::Call{{kMetadataClasses, "_MEM_FORMAT_ENCODING"}, {{std::int64_t{0}}}}};
    const Py properties{Py::Object{{kMetadataClasses, "TensorProperties"}, {}, {{Py::Tuple{{{Py::Global{"torch", dtype}}, layout, {false}, memory, {false}}}}}}};
    return dcpObject("TensorStorageMetadata", {{"properties", properties}, {"size", sizeOf(shape)}, {"chunks", {std::move(chunks)}}});
}

Py dcpBytes()
{
    return {Py::Object{{kMetadataClasses, "BytesStorageMetadata"}, {}, {}}};
}

Py dcpIndex(const std::string& fqn, const std::optional<Counts>& offset, std::optional<std::int64_t> index)
{
    std::vector<std::pair<std::string, Py>> attributes{{"fqn", {fqn}}, {"index", index ? Py{*index} : Py{Py::None{}}}};
    if (offset)
        attributes.emplace_back("offset", sizeOf(*offset));
    return dcpObject("MetadataIndex", std::move(attributes));
}

Py dcpPlace(const std::string& file, std::int64_t offset, std::int64_t length, std::vector<Py> transforms)
{
    std::vector<std::pair<std::string, Py>> attributes{{"relative_path", {file}}, {"offset", {offset}}, {"length", {length}}};
    if (!transforms.empty())
        attributes.emplace_back("transform_descriptors", Py{std::move(transforms)});
    return dcpObject("_StorageInfo", std::move(attributes));
}

Py dcpPath(const std::vector<Py>& steps)
{
    return {Py::Tuple{steps}};
}

Py dcpMetadata(Py entries, Py paths, std::vector<PyItem> storage, std::vector<std::pair<std::string, Py>> more)
{
    std::vector<std::pair<std::string, Py>> attributes{
        {"state_dict_metadata", std::move(entries)}, {"planner_data", std::move(paths)}, {"storage_data", {Py::Dict{std::move(storage), false}}}};
    for (auto& [name, value] : more)
        attributes.emplace_back(name, std::move(value));
    return dcpObject("Metadata", std::move(attributes));
}

std::string zipOfRecords(const std::vector<ArchiveRecord>& records)
{
    std::string out;
    std::vector<WrittenRecord> written;
    for (const ArchiveRecord& record : records) {
        WrittenRecord one{"archive/" + record.name, record.isDeflated ? deflatedInStoredBlocks(record.data) : record.data, crcOfItemRecord(record.data), static_cast<std::uint32_t>(record.data.size()),
                          static_cast<std::uint32_t>(out.size()), static_cast<std::uint16_t>(record.isDeflated ? 8 : 0)};
        const std::size_t fixed = out.size() + 30 + one.name.size() + 4;
        const auto padding = static_cast<std::uint16_t>((64 - fixed % 64) % 64);
        out += "PK\x03\x04";
        putLe(out, std::uint16_t{0});
        putLe(out, std::uint16_t{0x0808}); // sizes and checksum stand behind the data, as torch writes them
        putLe(out, one.method);
        out.append(16, '\0');
        putLe(out, static_cast<std::uint16_t>(one.name.size()));
        putLe(out, static_cast<std::uint16_t>(4 + padding));
        out += one.name + "FB";
        putLe(out, padding);
        out += std::string(padding, 'Z') + one.stored;
        if (!record.data.empty()) {
            out += "PK\x07\x08";
            putLe(out, one.crc);
            putLe(out, static_cast<std::uint32_t>(one.stored.size()));
            putLe(out, one.size);
        }
        written.push_back(std::move(one));
    }
    const auto directory = static_cast<std::uint32_t>(out.size());
    for (const WrittenRecord& one : written) {
        out += "PK\x01\x02";
        putLe(out, std::uint32_t{0});
        putLe(out, std::uint16_t{0x0808});
        putLe(out, one.method);
        putLe(out, std::uint32_t{0});
        putLe(out, one.crc);
        putLe(out, static_cast<std::uint32_t>(one.stored.size()));
        putLe(out, one.size);
        putLe(out, static_cast<std::uint16_t>(one.name.size()));
        out.append(12, '\0');
        putLe(out, one.header);
        out += one.name;
    }
    const auto size = static_cast<std::uint32_t>(out.size()) - directory;
    out += "PK\x05\x06";
    putLe(out, std::uint32_t{0});
    putLe(out, static_cast<std::uint16_t>(written.size()));
    putLe(out, static_cast<std::uint16_t>(written.size()));
    putLe(out, size);
    putLe(out, directory);
    putLe(out, std::uint16_t{0});
    return out;
}

namespace {

std::string packedItem(const Py& root, const std::vector<std::string>& storages, const ItemForm& form)
{
    std::vector<ArchiveRecord> records{{"data.pkl", pickled(root), form.isDeflated}};
    if (!form.isOld) {
        records.push_back({".format_version", "1"});
        records.push_back({".storage_alignment", "64"});
        records.push_back({"byteorder", form.isBigEndian ? "big" : "little"});
    }
    for (std::size_t i = 0; i < storages.size(); ++i)
        records.push_back({"data/" + std::to_string(i), storages[i], form.isDeflated});
    if (form.isOld && form.isBigEndian)
        records.push_back({"byteorder", "big"});
    records.push_back({"version", "3\n"});
    if (form.pickleLast)
        std::rotate(records.begin(), records.begin() + 1, records.end());
    return zipOfRecords(records);
}

} // namespace

std::string tensorItem(const std::string& storageClass, std::uint64_t elementBytes, const Counts& shape, const std::string& values, const ItemForm& form)
{
    return packedItem({Py::Tensor{storageClass, 0, values.size() / elementBytes, 0, shape, form.strides}}, {values}, form);
}

std::string bytesOfFloatsLe(const std::vector<float>& values)
{
    std::string out;
    for (const float value : values)
        putLe(out, value);
    return out;
}

std::string floatItem(const Counts& shape, const std::vector<float>& values, const ItemForm& form)
{
    std::string bytes = bytesOfFloatsLe(values);
    for (std::size_t at = 0; form.isBigEndian && at < bytes.size(); at += sizeof(float))
        std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(at + sizeof(float)));
    return tensorItem("FloatStorage", sizeof(float), shape, bytes, form);
}

std::string objectItem(const Py& value, const std::vector<std::string>& storages, bool isBigEndian)
{
    ItemForm form;
    form.isBigEndian = isBigEndian;
    return packedItem(value, storages, form);
}

std::vector<float> boxOf(const std::vector<float>& values, const Counts& shape, const Counts& offset, const Counts& extent)
{
    std::vector<float> out;
    Counts at(shape.size(), 0);
    for (std::uint64_t left = cellsOf(extent); left > 0; --left) {
        std::uint64_t index = 0;
        for (std::size_t axis = 0; axis < shape.size(); ++axis)
            index = index * shape[axis] + offset[axis] + at[axis];
        out.push_back(values.at(index));
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            if (++at[axis] < extent[axis])
                break;
            at[axis] = 0;
        }
    }
    return out;
}

std::string DcpTestEntry::key() const
{
    std::string out;
    for (const Py& step : path)
        out += (out.empty() ? "" : ".") + textOfStep(step);
    return out;
}

DcpTestEntry& DcpTestSave::addFloats(const std::vector<Py>& path, const Counts& shape, float first, const std::vector<Cut>& cuts, const ItemForm& form)
{
    std::vector<float> values(cellsOf(shape));
    std::iota(values.begin(), values.end(), first);
    DcpTestEntry entry{path, "float32", shape};
    for (const Cut& cut : cuts)
        entry.chunks.push_back({cut.offset, cut.extent, cut.file, floatItem(cut.extent, boxOf(values, shape, cut.offset, cut.extent), form)});
    entries.push_back(std::move(entry));
    return entries.back();
}

DcpTestEntry& DcpTestSave::addWhole(const std::vector<Py>& path, const Counts& shape, float first)
{
    return addFloats(path, shape, first, {{Counts(shape.size(), 0), shape, 0}});
}

DcpTestEntry& DcpTestSave::addObject(const std::vector<Py>& path, const Py& value, std::size_t file)
{
    DcpTestEntry entry{path, "", {}, {{{}, {}, file, objectItem(value)}}, true};
    entries.push_back(std::move(entry));
    return entries.back();
}

DcpTestEntry& DcpTestSave::entry(std::string_view key)
{
    for (DcpTestEntry& one : entries)
        if (one.key() == key)
            return one;
    throw std::runtime_error("no entry " + std::string(key));
}

Py DcpTestSave::metadata() const
{
    Py::Dict described;
    Py::Dict paths;
    std::vector<PyItem> storage;
    std::vector<std::size_t> ends(files.size(), 0);
    for (const DcpTestEntry& entry : entries) {
        const std::string key = entry.key();
        std::vector<Py> chunks;
        std::int64_t listed = 0;
        for (const DcpTestChunk& chunk : entry.chunks) {
            const auto at = static_cast<std::int64_t>(ends[chunk.file]);
            ends[chunk.file] += chunk.item.size() + gap;
            const auto [offset, length] = chunk.place.value_or(std::pair(at, static_cast<std::int64_t>(chunk.item.size())));
            const auto hint = hasHints ? std::optional(listed) : std::nullopt;
            if (chunk.isStored)
                storage.emplace_back(entry.isObject ? dcpIndex(key) : dcpIndex(key, chunk.offset, hint), dcpPlace(files[chunk.file], offset, length));
            if (chunk.isListed && !entry.isObject) {
                chunks.push_back(dcpChunk(chunk.offset, chunk.extent));
                ++listed;
            }
        }
        described.items.emplace_back(Py{key}, entry.isObject ? dcpBytes() : dcpTensor(entry.dtype, entry.shape, std::move(chunks)));
        paths.items.emplace_back(Py{key}, dcpPath(entry.path));
    }
    return dcpMetadata({std::move(described)}, hasPaths ? Py{std::move(paths)} : Py{Py::None{}}, std::move(storage), {{"version", {std::string("1.0.0")}}});
}

std::vector<std::string> DcpTestSave::dataFiles() const
{
    std::vector<std::string> out(files.size());
    for (const DcpTestEntry& entry : entries)
        for (const DcpTestChunk& chunk : entry.chunks)
            out[chunk.file] += chunk.item + std::string(gap, '\0');
    return out;
}

void DcpTestSave::write(const std::string& folder, const std::string& metadataName) const
{
    std::filesystem::create_directories(folder);
    const std::vector<std::string> contents = dataFiles();
    for (std::size_t i = 0; i < files.size(); ++i)
        writeBytesTo(folder + "/" + files[i], contents[i]);
    writeBytesTo(folder + "/" + metadataName, pickled(metadata()));
}

void writeBytesTo(const std::string& path, const std::string& bytes)
{
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream out(path, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out)
        throw std::runtime_error("cannot write " + path);
}

} // namespace shardlens::test
