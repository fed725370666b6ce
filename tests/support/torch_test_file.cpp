#include "tests/support/torch_test_file.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/types.h>
#include <unistd.h>

namespace shardlens::test {
namespace {

template <typename T>
void put(std::string& out, T number)
{
    char bytes[sizeof(T)];
    std::memcpy(bytes, &number, sizeof(T)); // little-endian machines only, as the project
    out.append(bytes, sizeof(T));
}

class Pickler {
public:
    std::string run(const Py& root)
    {
        m_out = "\x80\x02";
        write(root);
        return m_out + ".";
    }

private:
    void write(const Py& py)
    {
        std::visit([this](const auto& value) { writeOne(value); }, py.value);
    }
    void writeOne(const Py::None&) { m_out += 'N'; }
    void writeOne(bool value) { m_out += value ? '\x88' : '\x89'; }
    void writeOne(std::int64_t value)
    {
        if (value >= INT32_MIN && value <= INT32_MAX) {
            m_out += 'J';
            put(m_out, static_cast<std::int32_t>(value));
        } else {
            m_out += "\x8a\x08";
            put(m_out, value);
        }
    }
    void writeOne(double value)
    {
        std::uint64_t bits = 0;
        std::memcpy(&bits, &value, 8);
        m_out += 'G';
        put(m_out, __builtin_bswap64(bits));
    }
    void writeOne(const std::string& text)
    {
        m_out += 'X';
        put(m_out, static_cast<std::uint32_t>(text.size()));
        m_out += text;
    }
    void writeOne(const std::vector<Py>& items)
    {
        m_out += "](";
        for (const Py& item : items)
            write(item);
        m_out += 'e';
    }
    void writeOne(const Py::Tuple& tuple)
    {
        m_out += '(';
        for (const Py& item : tuple.items)
            write(item);
        m_out += 't';
    }
    void writeOne(const Py::Dict& dict)
    {
        if (dict.ordered)
            writeOne(Py::Call{{"collections", "OrderedDict"}, {}});
        else
            m_out += '}';
        m_out += '(';
        for (const auto& [key, value] : dict.items) {
            write(key);
            write(value);
        }
        m_out += 'u';
    }
    void writeOne(const Py::Global& global) { m_out += "c" + global.module + "\n" + global.name + "\n"; }
    void writeOne(const Py::Call& call)
    {
        writeOne(call.callable);
        writeOne(Py::Tuple{call.arguments});
        m_out += 'R';
    }
    void writeOne(const Py::Object& object)
    {
        writeOne(object.type);
        m_out += ")\x81";
        for (const Py& state : object.state) {
            write(state);
            m_out += 'b';
        }
    }
    void writeOne(const Py::Tensor& tensor)
    {
        writeOne(Py::Global{"torch._utils", "_rebuild_tensor_v2"});
        m_out += "((";
        writeOne(std::string("storage"));
        writeOne(Py::Global{"torch", tensor.storageClass});
        writeOne(std::to_string(tensor.storage));
        writeOne(std::string("cuda:0"));
        writeOne(static_cast<std::int64_t>(tensor.storageCount));
        m_out += "tQ";
        writeOne(static_cast<std::int64_t>(tensor.offset));
        writeNumbers(tensor.shape);
        writeNumbers(tensor.strides.empty() ? rowMajor(tensor.shape) : tensor.strides);
        writeOne(false);
        writeOne(Py::Call{{"collections", "OrderedDict"}, {}});
        m_out += "tR";
    }
    void writeNumbers(const std::vector<std::uint64_t>& numbers)
    {
        m_out += '(';
        for (const std::uint64_t number : numbers)
            writeOne(static_cast<std::int64_t>(number));
        m_out += 't';
    }
    static std::vector<std::uint64_t> rowMajor(const std::vector<std::uint64_t>& shape)
    {
        std::vector<std::uint64_t> strides(shape.size(), 1);
        for (std::size_t i = shape.size(); i > 1; --i)
            strides[i - 2] = strides[i - 1] * std::max<std::uint64_t>(shape[i - 1], 1);
        return strides;
    }

    std::string m_out;
};

class OutFile {
public:
    explicit OutFile(const std::string& path) : m_descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644))
    {
        if (m_descriptor < 0)
            throw std::runtime_error("cannot write " + path);
    }
    ~OutFile() { ::close(m_descriptor); }
    OutFile(const OutFile&) = delete;
    OutFile& operator=(const OutFile&) = delete;

    [[nodiscard]] std::uint64_t at() const { return m_at; }
    void write(const void* bytes, std::size_t count)
    {
        for (std::size_t done = 0; done < count;) {
            const ssize_t wrote = ::pwrite(m_descriptor, static_cast<const char*>(bytes) + done, count - done, static_cast<off_t>(m_at + done));
            if (wrote <= 0)
                throw std::runtime_error("write failed");
            done += static_cast<std::size_t>(wrote);
        }
        m_at += count;
    }
    void write(const std::string& text) { write(text.data(), text.size()); }
    void skip(std::uint64_t count)
    {
        m_at += count;
        if (::ftruncate(m_descriptor, static_cast<off_t>(m_at)) != 0)
            throw std::runtime_error("cannot extend");
    }

private:
    int m_descriptor;
    std::uint64_t m_at = 0;
};

constexpr std::uint64_t kMax32 = 0xFFFFFFFF;

struct Entry {
    std::string name;
    std::uint64_t header = 0;
    std::uint64_t bytes = 0;
};

// The record's local header, ending where its data begins: at a multiple of 64.
void beginRecord(OutFile& file, Entry& entry)
{
    entry.header = file.at();
    const std::uint64_t fixed = entry.header + 30 + entry.name.size() + 4;
    const auto padding = static_cast<std::uint16_t>((64 - fixed % 64) % 64);
    std::string out = "PK\x03\x04";
    put(out, std::uint16_t{0});
    put(out, std::uint16_t{0x0800});
    out.append(6, '\0');  // method, time, date
    out.append(12, '\0'); // crc and sizes: the directory has them
    put(out, static_cast<std::uint16_t>(entry.name.size()));
    put(out, static_cast<std::uint16_t>(4 + padding));
    out += entry.name + "FB";
    put(out, padding);
    file.write(out + std::string(padding, 'Z'));
}

std::string directoryRow(const Entry& entry)
{
    std::string extra;
    if (entry.bytes >= kMax32 || entry.header >= kMax32) {
        std::string body;
        if (entry.bytes >= kMax32) {
            put(body, entry.bytes);
            put(body, entry.bytes);
        }
        if (entry.header >= kMax32)
            put(body, entry.header);
        put(extra, std::uint16_t{1});
        put(extra, static_cast<std::uint16_t>(body.size()));
        extra += body;
    }
    std::string out = "PK\x01\x02";
    out.append(4, '\0');
    put(out, std::uint16_t{0x0800});
    out.append(10, '\0');
    put(out, static_cast<std::uint32_t>(std::min(entry.bytes, kMax32)));
    put(out, static_cast<std::uint32_t>(std::min(entry.bytes, kMax32)));
    put(out, static_cast<std::uint16_t>(entry.name.size()));
    put(out, static_cast<std::uint16_t>(extra.size()));
    out.append(10, '\0');
    put(out, static_cast<std::uint32_t>(std::min(entry.header, kMax32)));
    return out + entry.name + extra;
}

void writeDirectory(OutFile& file, const std::vector<Entry>& entries)
{
    const std::uint64_t begin = file.at();
    for (const Entry& entry : entries)
        file.write(directoryRow(entry));
    const std::uint64_t size = file.at() - begin;
    const std::uint64_t end64 = file.at();
    std::string out = "PK\x06\x06";
    put(out, std::uint64_t{44});
    put(out, std::uint32_t{0x002D031E});
    put(out, std::uint64_t{0});
    put(out, std::uint64_t{entries.size()});
    put(out, std::uint64_t{entries.size()});
    put(out, size);
    put(out, begin);
    out += "PK\x06\x07";
    put(out, std::uint32_t{0});
    put(out, end64);
    put(out, std::uint32_t{1});
    out += "PK\x05\x06";
    put(out, std::uint32_t{0});
    const auto count = static_cast<std::uint16_t>(std::min<std::size_t>(entries.size(), 0xFFFF));
    put(out, count);
    put(out, count);
    put(out, static_cast<std::uint32_t>(std::min(size, kMax32)));
    put(out, static_cast<std::uint32_t>(std::min(begin, kMax32)));
    put(out, std::uint16_t{0});
    file.write(out);
}

void writeStorage(OutFile& file, const TestStorage& storage)
{
    if (!storage.fill) {
        file.skip(storage.bytes);
        return;
    }
    std::vector<std::byte> block(std::min<std::uint64_t>(storage.bytes, 1u << 22));
    for (std::uint64_t at = 0; at < storage.bytes;) {
        const std::span<std::byte> part = std::span(block).first(std::min<std::uint64_t>(block.size(), storage.bytes - at));
        storage.fill(at, part);
        file.write(part.data(), part.size());
        at += part.size();
    }
}

} // namespace

Py pyDict(std::vector<std::pair<std::string, Py>> items, bool ordered)
{
    Py::Dict dict{{}, ordered};
    for (auto& [key, value] : items)
        dict.items.emplace_back(Py{std::move(key)}, std::move(value));
    return Py{std::move(dict)};
}

Py pySize(const std::vector<std::uint64_t>& shape)
{
    Py::Tuple tuple;
    for (const std::uint64_t extent : shape)
        tuple.items.push_back(Py{static_cast<std::int64_t>(extent)});
    return Py{Py::Call{{"torch", "Size"}, {Py{std::move(tuple)}}}};
}

std::string pickled(const Py& root)
{
    return Pickler().run(root);
}

void writeTorchFile(const std::string& path, const Py& root, const std::vector<TestStorage>& storages)
{
    OutFile file(path);
    std::vector<Entry> entries;
    const auto record = [&](const std::string& name, std::uint64_t bytes) {
        entries.push_back({"archive/" + name, 0, bytes});
        beginRecord(file, entries.back());
    };
    const std::string pickle = pickled(root);
    record("data.pkl", pickle.size());
    file.write(pickle);
    for (std::size_t i = 0; i < storages.size(); ++i) {
        record("data/" + std::to_string(i), storages[i].bytes);
        writeStorage(file, storages[i]);
    }
    record("version", 2);
    file.write("3\n");
    writeDirectory(file, entries);
}

} // namespace shardlens::test
