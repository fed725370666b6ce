#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/encoding/mindspore_wire.h"

#include <algorithm>

namespace shardlens::mindspore {
namespace {

constexpr std::uint32_t kMagicGcm = 0x7f3a5ed8;
constexpr std::uint32_t kMagicCbc = 0x7f3a5ed9;
constexpr std::uint32_t kMagicSm4 = 0x7f3a5eda;
constexpr std::uint64_t kMostRank = 64; // more numbers than that in a row are no dims
constexpr std::size_t kMostTypeName = 32;

// The first bytes of a file, read as if they were one.
class HeadSource final : public ByteSource {
public:
    explicit HeadSource(std::span<const std::byte> head) : m_head(head) {}
    [[nodiscard]] std::uint64_t size() const override { return m_head.size(); }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override
    {
        const auto from = m_head.subspan(static_cast<std::size_t>(offset), out.size());
        std::copy(from.begin(), from.end(), out.begin());
        return {};
    }

private:
    std::span<const std::byte> m_head;
};

// UTF-8 without control characters, as far as the head goes; a character that its end cuts does not count.
bool isNameStart(CkptWindow& window, const CkptField& field)
{
    const auto text = textOf(window, field);
    if (!text || field.length == 0 || std::ranges::any_of(*text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
        return false;
    const std::size_t cut = text->size() < field.length ? 3 : 0;
    for (std::size_t dropped = 0; dropped <= std::min(cut, text->size()); ++dropped)
        if (isUtf8(std::string_view(*text).substr(0, text->size() - dropped)))
            return true;
    return false;
}

bool isTypeName(std::string_view text)
{
    const auto isWord = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
    return !text.empty() && text.size() <= kMostTypeName && std::ranges::all_of(text, isWord);
}

bool isKnownType(std::string_view name)
{
    return name == "str" || name == "random_op" || dtypeOfCkptType(name).has_value();
}

// What the head shows of a message that should be a Tensor (§2.1).
struct TensorLook {
    bool isBroken = false;
    bool isCut = false; // the head ends in it
    std::string typeName;
    std::uint64_t numbers = 0;
    bool hasContent = false;
};

TensorLook lookAtTensor(CkptWindow& window, const CkptField& message)
{
    TensorLook look;
    CkptFieldReader reader(window, message.offset, message.offset + message.length);
    while (reader.at() < message.offset + message.length) {
        if (reader.at() >= window.end()) {
            look.isCut = true;
            return look;
        }
        const auto field = reader.next();
        if (!field || !*field) {
            look.isCut = reader.isCut();
            look.isBroken = !look.isCut;
            return look;
        }
        if ((*field)->is(2, CkptWireType::Bytes)) {
            look.typeName = textOf(window, **field).ok() ? textOf(window, **field).take() : "";
            look.isCut = look.typeName.size() < (*field)->length;
            look.isBroken = !isTypeName(look.typeName);
        } else if ((*field)->is(1, CkptWireType::Varint)) {
            ++look.numbers;
        } else if ((*field)->is(3, CkptWireType::Bytes)) {
            look.hasContent = true;
        } else if (!(*field)->is(1, CkptWireType::Bytes)) {
            look.isBroken = look.typeName.empty(); // fields of a later schema may follow what is known
        }
        if (look.isBroken || look.isCut)
            return look;
    }
    return look;
}

// Rule 4 of §1.2 for the record whose body is [begin, end).
MindSporeKind kindOfRecord(CkptWindow& window, std::uint64_t begin, std::uint64_t end, std::uint64_t fileBytes)
{
    CkptFieldReader record(window, begin, end);
    const auto tag = record.next();
    if (!tag || !*tag || !(*tag)->is(1, CkptWireType::Bytes))
        return MindSporeKind::No;
    const bool isNamed = isNameStart(window, **tag);
    const auto value = record.next();
    if (!value || !*value || (*value)->type != CkptWireType::Bytes || ((*value)->number != 2 && (*value)->number != 3))
        return MindSporeKind::No;
    CkptField tensor = **value;
    if (tensor.number == 3) {
        const auto first = CkptFieldReader(window, tensor.offset, tensor.offset + tensor.length).next();
        if (!first || !*first || !(*first)->is(1, CkptWireType::Bytes))
            return MindSporeKind::No;
        tensor = **first;
    }
    const TensorLook look = lookAtTensor(window, tensor);
    const bool isWhole = end <= fileBytes;
    if (look.isBroken)
        return MindSporeKind::No;
    if (isKnownType(look.typeName)) // says enough, whatever the name is
        return MindSporeKind::Weights;
    if (!isNamed)
        return MindSporeKind::No;
    const bool hasRanks = look.numbers > (look.isCut ? kMostRank : 0);
    if (look.typeName.empty() && !look.hasContent && (*value)->number == 2 && isWhole && hasRanks)
        return MindSporeKind::GroupMap;
    if (!isWhole || (look.typeName.empty() && !(look.isCut && look.hasContent)))
        return MindSporeKind::No;
    const auto after = window.view(end, 1); // a type that is not known: the next record must look like one
    const bool goesOn = !after || after->empty() || after->front() == std::byte{0x0a} || after->front() == std::byte{'c'};
    return goesOn ? MindSporeKind::Weights : MindSporeKind::No;
}

// Whether a message is a name and a message beside it, as far as the head goes.
bool looksLikeItem(CkptWindow& window, const CkptField& item, bool& hasName)
{
    CkptFieldReader reader(window, item.offset, item.offset + item.length);
    bool hasBody = false;
    hasName = false;
    while (reader.at() < item.offset + item.length) {
        if (reader.at() >= window.end())
            return true;
        const auto field = reader.next();
        if (!field || !*field)
            return reader.isCut();
        if ((*field)->is(1, CkptWireType::Bytes) && isNameStart(window, **field))
            hasName = true;
        else if ((*field)->is(2, CkptWireType::Bytes))
            hasBody = true;
        else
            return false;
    }
    return hasName && hasBody;
}

// Whether a field may stand in an operator's strategy (item 2) or in a layout (item 3) (§3.1).
bool fitsItemBody(const CkptField& field, std::uint64_t item)
{
    if (item == 2)
        return field.is(1, CkptWireType::Varint) || field.is(2, CkptWireType::Bytes);
    return field.type == (field.number < 5 ? CkptWireType::Bytes : CkptWireType::Varint) && field.number <= 7;
}

bool looksLikeItemBody(CkptWindow& window, const CkptField& item)
{
    CkptFieldReader reader(window, item.offset, item.offset + item.length);
    while (reader.at() < std::min(item.offset + item.length, window.end())) {
        const auto part = reader.next();
        if (!part || !*part)
            return reader.isCut();
        if (!(*part)->is(2, CkptWireType::Bytes))
            continue;
        CkptFieldReader body(window, (*part)->offset, (*part)->offset + (*part)->length);
        while (body.at() < std::min((*part)->offset + (*part)->length, window.end())) {
            const auto field = body.next();
            if (!field || !*field)
                return body.isCut();
            if (!fitsItemBody(**field, item.number))
                return false;
        }
    }
    return true;
}

// Rule 3 of §1.2.
MindSporeKind kindOfMap(CkptWindow& window, std::uint64_t fileBytes)
{
    CkptFieldReader reader(window, 0, fileBytes);
    const auto counter = reader.next();
    if (!counter || !*counter || !(*counter)->is(1, CkptWireType::Varint))
        return MindSporeKind::No;
    bool hasItem = false;
    while (reader.at() < std::min(fileBytes, window.end())) {
        const auto item = reader.next();
        if (!item || !*item) {
            if (!reader.isCut())
                return MindSporeKind::No;
            break;
        }
        bool hasName = false;
        const bool isItem = (*item)->is(2, CkptWireType::Bytes) || (*item)->is(3, CkptWireType::Bytes);
        if (!isItem || !looksLikeItem(window, **item, hasName) || !looksLikeItemBody(window, **item))
            return MindSporeKind::No;
        hasItem = hasItem || hasName;
    }
    return hasItem ? MindSporeKind::Strategy : MindSporeKind::No;
}

bool startsAsSafetensors(std::span<const std::byte> head, std::uint64_t fileBytes)
{
    return head.size() > 8 && head[8] == std::byte{'{'} && fileBytes >= 8 && loadLe64(head.data()) <= fileBytes - 8;
}

} // namespace

std::string_view cipherOf(std::span<const std::byte> head)
{
    if (head.size() < 4)
        return {};
    const std::uint32_t magic = loadLe32(head.data());
    if (magic == kMagicCbc)
        return "AES-CBC";
    if (magic == kMagicSm4)
        return "SM4-CBC";
    if (magic != kMagicGcm)
        return {};
    constexpr std::uint32_t kIvBytes = 16; // stands at 8 in files of before 1.7, which have one magic for both modes
    return head.size() >= 12 && loadLe32(head.data() + 8) == kIvBytes ? "AES" : "AES-GCM";
}

MindSporeKind mindSporeKindOf(std::span<const std::byte> head, std::uint64_t fileBytes)
{
    if (!cipherOf(head).empty())
        return MindSporeKind::Encrypted;
    if (head.size() < 2 || fileBytes < head.size() || startsAsSafetensors(head, fileBytes))
        return MindSporeKind::No;
    const HeadSource source(head);
    CkptWindow window(source, head.size());
    if (head[0] == std::byte{0x08})
        return kindOfMap(window, fileBytes);
    if (head[0] != std::byte{0x0a})
        return MindSporeKind::No;
    const auto length = readVarint(head.subspan(1, std::min<std::size_t>(10, head.size() - 1)));
    if (!length || length->bytes == 0 || length->value == 0)
        return MindSporeKind::No;
    const std::uint64_t begin = 1 + length->bytes;
    if (length->value > UINT64_MAX - begin)
        return MindSporeKind::No;
    return kindOfRecord(window, begin, begin + length->value, fileBytes);
}

} // namespace shardlens::mindspore
