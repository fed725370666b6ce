#include "ui/models/metadata_tree.h"

#include "core/base/text.h"

#include <QCoreApplication>
#include <QStringList>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace shardlens::ui {
namespace {

struct Metadata {
    Q_DECLARE_TR_FUNCTIONS(Metadata)
};

constexpr int kDeepest = 512;       // levels; a deeper file would only be hard to read
constexpr std::size_t kNamedFiles = 4;

QString shown(const std::string& text)
{
    return QString::fromStdString(printable(text));
}

bool isContainer(const MetaNode& node)
{
    return !node.children.empty();
}

// The same node as several files have it.
struct Source {
    const MetaNode* node;
    FileId file;
};

class TreeBuilder {
public:
    TreeBuilder(MetadataTree& out, std::stop_token stop) : m_out(out), m_stop(std::move(stop)) {}

    [[nodiscard]] bool stopped() const { return m_stop.stop_requested(); }

    void addChildren(const std::vector<Source>& sources, std::uint32_t parent, int depth)
    {
        std::vector<std::string_view> order;
        std::unordered_map<std::string_view, std::vector<Source>> byKey;
        for (const Source& source : sources)
            for (const MetaNode& child : source.node->children) {
                auto& same = byKey[child.key];
                if (same.empty())
                    order.push_back(child.key);
                if (same.empty() || same.back().file != source.file) // a key that a file repeats is shown once
                    same.push_back({&child, source.file});
            }
        std::uint32_t row = 0;
        for (const std::string_view key : order) {
            if (stopped() || m_out.nodes.size() >= MetadataTree::kMostNodes) {
                m_out.truncated = !stopped();
                return;
            }
            addNode(byKey[key], parent, row++, depth);
        }
    }

private:
    using ValueKey = std::pair<std::string_view, std::string_view>; // type and value

    void addNode(const std::vector<Source>& sources, std::uint32_t parent, std::uint32_t row, int depth)
    {
        std::map<ValueKey, std::vector<Source>> byValue;
        std::vector<ValueKey> order;
        for (const Source& source : sources) {
            const ValueKey key = isContainer(*source.node) ? ValueKey{source.node->type, {}} : ValueKey{source.node->type, source.node->value};
            auto& same = byValue[key];
            if (same.empty())
                order.push_back(key);
            same.push_back(source);
        }
        if (order.size() == 1) {
            addMerged(sources, parent, row, depth, shown(sources.front().node->key), false);
            return;
        }
        MetadataNode head;
        head.key = shown(sources.front().node->key);
        head.value = Metadata::tr("%1 different values").arg(order.size());
        head.kind = sources.front().node->kind;
        head.differs = true;
        const std::uint32_t at = push(std::move(head), sources, parent, row);
        ++m_out.differing;
        std::uint32_t below = 0;
        for (const ValueKey& key : order)
            addMerged(byValue[key], at, below++, depth + 1, QString(), true);
        m_out.nodes[at].end = static_cast<std::uint32_t>(m_out.nodes.size());
    }

    void addMerged(const std::vector<Source>& sources, std::uint32_t parent, std::uint32_t row, int depth, const QString& key, bool variant)
    {
        const MetaNode& first = *sources.front().node;
        MetadataNode node;
        node.key = key;
        node.value = shown(first.value);
        node.type = shown(first.type);
        node.kind = first.kind;
        node.variant = variant;
        const std::uint32_t at = push(std::move(node), sources, parent, row);
        if (variant)
            m_out.nodes[at].key = m_out.filesText(m_out.nodes[at]);
        if (depth < kDeepest)
            addChildren(sources, at, depth + 1);
        m_out.nodes[at].end = static_cast<std::uint32_t>(m_out.nodes.size());
    }

    std::uint32_t push(MetadataNode node, const std::vector<Source>& sources, std::uint32_t parent, std::uint32_t row)
    {
        node.parent = parent;
        node.row = row;
        for (const Source& source : sources)
            node.files.push_back(source.file);
        m_out.nodes.push_back(std::move(node));
        m_out.nodes.back().end = static_cast<std::uint32_t>(m_out.nodes.size());
        return static_cast<std::uint32_t>(m_out.nodes.size() - 1);
    }

    MetadataTree& m_out;
    std::stop_token m_stop;
};

} // namespace

std::shared_ptr<const MetadataTree> MetadataTree::build(const CheckpointPtr& checkpoint, std::stop_token stop)
{
    auto out = std::make_shared<MetadataTree>();
    out->checkpoint = checkpoint;
    TreeBuilder builder(*out, std::move(stop));
    std::vector<Source> roots;
    for (const FileMetadata& file : checkpoint->metadata())
        roots.push_back({&file.root, file.file});
    builder.addChildren(roots, MetadataNode::kNone, 0);
    return builder.stopped() ? nullptr : out;
}

QString MetadataTree::filesText(const MetadataNode& node) const
{
    if (node.files.size() > 1 && node.files.size() == checkpoint->metadata().size())
        return Metadata::tr("all %1 files").arg(node.files.size());
    QStringList names;
    for (const FileId file : node.files) {
        if (static_cast<std::size_t>(names.size()) == kNamedFiles)
            return names.join(Metadata::tr(", ")) + Metadata::tr(" and %1 more").arg(node.files.size() - kNamedFiles);
        const auto rank = checkpoint->file(file).rank;
        names << (rank && node.files.size() > 1 ? Metadata::tr("rank %1").arg(*rank) : shown(checkpoint->file(file).name));
    }
    names.removeDuplicates();
    return names.join(Metadata::tr(", "));
}

QString MetadataTree::pathOf(std::uint32_t node) const
{
    QStringList parts;
    for (std::uint32_t at = node; at != MetadataNode::kNone; at = nodes[at].parent)
        if (!nodes[at].variant)
            parts.prepend(nodes[at].key);
    return parts.join(QLatin1Char('.'));
}

} // namespace shardlens::ui
