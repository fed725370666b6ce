#include "ui/frame/places_panel.h"

#include "core/base/text.h"
#include "core/format/format.h"
#include "ui/frame/places_delegate.h"
#include "ui/frame/recent.h"
#include "ui/theme/theme.h"
#include "ui/widgets/search_field.h"

#include <QApplication>
#include <QClipboard>
#include <QDir>
#include <QFileInfo>
#include <QMenu>
#include <QPainter>
#include <QTreeWidget>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

constexpr int kPathRole = PlacesDelegate::PathRole;
constexpr int kListedRole = PlacesDelegate::ListedRole;
constexpr int kNoteRole = PlacesDelegate::NoteRole;
constexpr std::size_t kMostChildren = 500;

struct Child {
    std::string name;
    std::string path;
    bool isFolder;
};

std::vector<Child> childrenOf(const std::string& path, std::stop_token stop)
{
    std::vector<Child> out;
    const auto looked = lookAt(path);
    if (!looked)
        return out;
    for (const DirectoryEntry& entry : looked->entries) {
        if (stop.stop_requested() || out.size() >= kMostChildren)
            break;
        if (entry.isFolder && !entry.name.starts_with('.'))
            out.push_back({entry.name, path + "/" + entry.name, true});
    }
    return out;
}

// The format that claims a path; empty for an ordinary folder.
std::string badgeOf(const std::string& path)
{
    const auto looked = lookAt(path);
    const Format* format = looked ? detect(*looked) : nullptr;
    return format == nullptr ? std::string{} : std::string(format->title);
}

QString nameOf(const QString& path)
{
    const QString name = QFileInfo(path).fileName();
    return name.isEmpty() ? path : name;
}

} // namespace

PlacesPanel::PlacesPanel(QWidget* parent) : QWidget(parent), m_filter(new SearchField(tr("Filter folders"), this)), m_tree(new QTreeWidget(this))
{
    const Theme& theme = Theme::current();
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(theme.px(10), theme.px(10), theme.px(8), theme.px(8));
    column->addWidget(m_filter);
    column->addWidget(m_tree, 1);
    m_tree->setHeaderHidden(true);
    m_tree->setFrameShape(QFrame::NoFrame);
    m_tree->setRootIsDecorated(false);
    m_tree->setIndentation(theme.px(14));
    m_tree->setItemDelegate(new PlacesDelegate(m_tree));
    m_tree->setContextMenuPolicy(Qt::CustomContextMenu);
    m_tree->setAccessibleName(tr("Places"));
    QPalette palette = m_tree->palette();
    palette.setBrush(QPalette::Base, Qt::transparent);
    m_tree->setPalette(palette);
    connect(m_tree, &QTreeWidget::itemExpanded, this, &PlacesPanel::expand);
    connect(m_tree, &QTreeWidget::itemActivated, this, [this](QTreeWidgetItem* item) {
        if (const QString path = item->data(0, kPathRole).toString(); !path.isEmpty())
            emit openRequested(path);
    });
    connect(m_tree, &QTreeWidget::currentItemChanged, this, [this](QTreeWidgetItem* item) {
        const QString path = item == nullptr ? QString() : item->data(0, kPathRole).toString();
        emit hinted(path.isEmpty() ? QString() : item->toolTip(0).isEmpty() ? path : item->toolTip(0).replace(QLatin1Char('\n'), QStringLiteral("  ·  ")));
    });
    connect(m_tree, &QTreeWidget::customContextMenuRequested, this, &PlacesPanel::showMenu);
    connect(m_filter, &QLineEdit::textChanged, this, &PlacesPanel::applyFilter);
    refresh();
}

QTreeWidgetItem* PlacesPanel::makeGroup(const QString& title)
{
    auto* group = new QTreeWidgetItem(m_tree, {title.toUpper()});
    group->setFlags(Qt::ItemIsEnabled);
    group->setFont(0, Theme::current().font(TextStyle::Caption));
    group->setForeground(0, Theme::current().colour(Token::Text3));
    group->setExpanded(true);
    return group;
}

void PlacesPanel::refresh()
{
    m_runners.clear();
    m_tree->clear();
    m_pinned = m_recent = m_folders = nullptr;
    const QStringList pinned = Recent::pinned();
    if (!pinned.isEmpty()) {
        m_pinned = makeGroup(tr("Pinned"));
        for (const QString& path : pinned)
            addPath(m_pinned, path);
    }
    const QStringList recent = Recent::paths();
    if (!recent.isEmpty()) {
        m_recent = makeGroup(tr("Recent"));
        for (const QString& path : recent.mid(0, 6))
            if (!pinned.contains(path))
                addPath(m_recent, path);
    }
    m_folders = makeGroup(tr("Folders"));
    const QString around = m_current.isEmpty() ? QDir::homePath() : QFileInfo(m_current).absolutePath();
    auto* root = new QTreeWidgetItem(m_folders, {nameOf(around)});
    root->setData(0, kPathRole, around);
    root->setIcon(0, Theme::current().icon(QStringLiteral("folder")));
    root->setToolTip(0, around);
    root->setChildIndicatorPolicy(QTreeWidgetItem::ShowIndicator);
    root->setExpanded(true);
}

void PlacesPanel::setCurrentPath(const QString& path)
{
    m_current = path;
    refresh();
}

void PlacesPanel::addPath(QTreeWidgetItem* group, const QString& path)
{
    auto* item = new QTreeWidgetItem(group, {nameOf(path)});
    item->setData(0, kPathRole, path);
    item->setToolTip(0, path);
    item->setIcon(0, Theme::current().icon(QStringLiteral("atlas")));
    item->setData(0, kNoteRole, QFileInfo(path).absolutePath());
    recognise(item);
}

void PlacesPanel::recognise(QTreeWidgetItem* item)
{
    const QString path = item->data(0, kPathRole).toString();
    m_runners.push_back(std::make_unique<Runner>());
    m_runners.back()->start([path = path.toStdString()](std::stop_token) { return badgeOf(path); },
                            [this, path](std::string badge) {
                                // The tree may have been filled anew: look the row up by its path.
                                for (QTreeWidgetItemIterator at(m_tree); *at != nullptr; ++at)
                                    if ((*at)->data(0, kPathRole).toString() == path && !badge.empty()) {
                                        (*at)->setIcon(0, Theme::current().icon(QStringLiteral("atlas"), path == m_current ? Token::Accent : Token::Text2));
                                        (*at)->setToolTip(0, QStringLiteral("%1\n%2").arg(path, QString::fromStdString(badge)));
                                        (*at)->setData(0, kNoteRole, QStringLiteral("%1  ·  %2").arg(QString::fromStdString(badge), QFileInfo(path).absolutePath()));
                                    }
                            });
}

void PlacesPanel::expand(QTreeWidgetItem* item)
{
    const QString path = item->data(0, kPathRole).toString();
    if (path.isEmpty() || item->data(0, kListedRole).toBool())
        return;
    item->setData(0, kListedRole, true);
    m_runners.push_back(std::make_unique<Runner>());
    m_runners.back()->start([path = path.toStdString()](std::stop_token stop) { return childrenOf(path, stop); },
                            [this, path](std::vector<Child> children) {
                                QTreeWidgetItem* parent = nullptr;
                                for (QTreeWidgetItemIterator at(m_tree); *at != nullptr && parent == nullptr; ++at)
                                    if ((*at)->data(0, kPathRole).toString() == path && (*at)->data(0, kListedRole).toBool())
                                        parent = *at;
                                if (parent == nullptr)
                                    return;
                                for (const Child& child : children) {
                                    const QString childPath = QString::fromStdString(child.path);
                                    auto* row = new QTreeWidgetItem(parent, {QString::fromStdString(printable(child.name))});
                                    row->setData(0, kPathRole, childPath);
                                    row->setToolTip(0, childPath);
                                    row->setIcon(0, Theme::current().icon(QStringLiteral("folder")));
                                    row->setChildIndicatorPolicy(QTreeWidgetItem::ShowIndicator);
                                    recognise(row);
                                    if (childPath == m_current)
                                        m_tree->setCurrentItem(row);
                                }
                                if (children.empty())
                                    parent->setChildIndicatorPolicy(QTreeWidgetItem::DontShowIndicator);
                            });
}

void PlacesPanel::applyFilter(const QString& text)
{
    for (QTreeWidgetItemIterator at(m_tree); *at != nullptr; ++at)
        if (!(*at)->data(0, kPathRole).toString().isEmpty())
            (*at)->setHidden(!text.isEmpty() && (*at)->childCount() == 0 && !(*at)->text(0).contains(text, Qt::CaseInsensitive));
}

void PlacesPanel::showMenu(const QPoint& at)
{
    const QTreeWidgetItem* item = m_tree->itemAt(at);
    const QString path = item == nullptr ? QString() : item->data(0, kPathRole).toString();
    if (path.isEmpty())
        return;
    QMenu menu(this);
    menu.addAction(tr("Open"), this, [this, path] { emit openRequested(path); });
    const bool isPinned = Recent::pinned().contains(path);
    menu.addAction(isPinned ? tr("Unpin") : tr("Pin"), this, [this, path, isPinned] {
        Recent::setPinned(path, !isPinned);
        refresh();
    });
    menu.addAction(tr("Copy path"), this, [path] { QApplication::clipboard()->setText(path); });
    menu.exec(m_tree->viewport()->mapToGlobal(at));
}

void PlacesPanel::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Raised));
}

} // namespace shardlens::ui
