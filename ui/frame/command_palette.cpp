#include "ui/frame/command_palette.h"

#include "core/base/text.h"
#include "ui/models/document.h"
#include "ui/theme/theme.h"

#include <QKeyEvent>
#include <QListWidget>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr std::size_t kMostRows = 6; // of a section

// Whether the words occur in order, each at the start of a part or anywhere: "l7 up" finds layers.7.mlp.up_proj.
// The score is smaller the better the match; −1 for none.
int fuzzyScore(const QString& name, const QStringList& words)
{
    int score = 0;
    qsizetype at = 0;
    for (const QString& word : words) {
        const qsizetype found = name.indexOf(word, at);
        if (found >= 0) {
            const bool startsPart = found == 0 || !name[found - 1].isLetterOrNumber();
            score += static_cast<int>(found - at) / 4 + (startsPart ? 0 : 8);
            at = found + word.size();
            continue;
        }
        // letter then digits: "l7" is a part that starts with l, followed by the part 7
        qsizetype split = 0;
        while (split < word.size() && !word[split].isDigit())
            ++split;
        if (split == 0 || split == word.size())
            return -1;
        const qsizetype letters = name.indexOf(word.left(split), at);
        const qsizetype digits = letters < 0 ? -1 : name.indexOf(QLatin1Char('.') + word.mid(split) + QLatin1Char('.'), letters);
        if (digits < 0)
            return -1;
        score += 4 + static_cast<int>(digits - letters) / 8;
        at = digits + 1;
    }
    return score + static_cast<int>(name.size()) / 16;
}

} // namespace

CommandPalette::CommandPalette(QWidget* parent) : QLineEdit(parent), m_list(new QListWidget(nullptr))
{
    setPlaceholderText(tr("Tensor, file, rank or action"));
    setAccessibleName(tr("Search tensors, files, ranks and actions"));
    setToolTip(tr("Search (Ctrl+K). Begin with > for actions, @ for ranks, # for files."));
    addAction(Theme::current().icon(QStringLiteral("search"), Token::Text2), QLineEdit::LeadingPosition);
    m_list->setParent(this, Qt::ToolTip); // above everything, without taking the focus
    m_list->setFocusProxy(this);
    m_list->setUniformItemSizes(false);
    m_list->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    connect(this, &QLineEdit::textEdited, this, &CommandPalette::search);
    connect(m_list, &QListWidget::itemClicked, this, [this] { choose(false); });
}

void CommandPalette::setDocument(Document* document)
{
    m_document = document;
    m_names.clear();
    m_shown.clear();
    m_tensorOf.clear();
}

void CommandPalette::start(const QString& prefix)
{
    setFocus(Qt::ShortcutFocusReason);
    setText(prefix);
    if (!prefix.isEmpty())
        search(prefix);
}

// Built when it is first needed: lower-cased names, and one tensor for each.
void CommandPalette::indexNames()
{
    if (m_document.isNull() || !m_document->checkpoint() || !m_names.empty())
        return;
    const Checkpoint& checkpoint = *m_document->checkpoint();
    m_names.reserve(checkpoint.parameters().size());
    for (const std::string& name : checkpoint.parameters())
        m_names.push_back(QString::fromStdString(printable(name)).toLower());
    m_tensorOf.assign(m_names.size(), kNoTensor);
    m_shown = checkpoint.parameters();
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        TensorId& slot = m_tensorOf[indexOf(checkpoint.tensors()[i].parameter)];
        const RoleKind kind = checkpoint.roleOf(idAt<TensorId>(i)).kind;
        if (slot == kNoTensor || kind == RoleKind::Weight)
            slot = idAt<TensorId>(i);
    }
    for (const Alias& alias : checkpoint.aliases()) {
        m_names.push_back(QString::fromStdString(printable(alias.name)).toLower());
        m_shown.push_back(alias.name + "  (tied to " + checkpoint.parameters()[indexOf(alias.parameter)] + ")");
        m_tensorOf.push_back(m_tensorOf[indexOf(alias.parameter)]);
    }
}

std::vector<CommandPalette::Hit> CommandPalette::tensorHits(const QString& text) const
{
    const QStringList words = text.toLower().split(QLatin1Char(' '), Qt::SkipEmptyParts);
    std::vector<std::pair<int, std::size_t>> best;
    for (std::size_t i = 0; i < m_names.size() && !words.isEmpty(); ++i)
        if (const int score = m_tensorOf[i] == kNoTensor ? -1 : fuzzyScore(m_names[i], words); score >= 0)
            best.emplace_back(score, i);
    const std::size_t shown = std::min(best.size(), kMostRows);
    std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(shown), best.end());
    std::vector<Hit> hits;
    for (std::size_t i = 0; i < shown; ++i) {
        const TensorId tensor = m_tensorOf[best[i].second];
        const Checkpoint& checkpoint = *m_document->checkpoint();
        Hit hit{tr("Tensors"), QString::fromStdString(printable(m_shown[best[i].second])), QString::fromStdString(shapeText(checkpoint.tensor(tensor).shape)), {}, nullptr};
        hit.selection.tensor = tensor;
        hits.push_back(std::move(hit));
    }
    return hits;
}

std::vector<CommandPalette::Hit> CommandPalette::otherHits(const QString& text, QChar kind) const
{
    std::vector<Hit> hits;
    std::size_t rows = 0;
    const auto take = [&](Hit hit) {
        if (rows++ < kMostRows)
            hits.push_back(std::move(hit));
    };
    const bool any = kind.isNull();
    if (!m_document.isNull() && m_document->checkpoint()) {
        const Checkpoint& checkpoint = *m_document->checkpoint();
        for (std::size_t i = 0; i < checkpoint.files().size() && (any || kind == QLatin1Char('#')); ++i) {
            const QString name = QString::fromStdString(printable(checkpoint.files()[i].name));
            if (name.contains(text, Qt::CaseInsensitive)) {
                Hit hit{tr("Files"), name, QString::fromStdString(sizeText(checkpoint.files()[i].size)), {}, nullptr};
                hit.selection.file = idAt<FileId>(i);
                take(std::move(hit));
            }
        }
        rows = 0;
        for (std::uint32_t rank = 0; rank < checkpoint.topology().worldSize() && (any || kind == QLatin1Char('@')); ++rank) {
            const QString name = tr("rank %1").arg(rank);
            if (name.contains(text, Qt::CaseInsensitive)) {
                Hit hit{tr("Ranks"), name, {}, {}, nullptr};
                hit.selection.rank = rank;
                take(std::move(hit));
            }
        }
    }
    rows = 0;
    for (QAction* action : m_actions) {
        if (!any && kind != QLatin1Char('>'))
            break;
        const QString name = action->text().remove(QLatin1Char('&'));
        if (action->isEnabled() && !name.isEmpty() && name.contains(text, Qt::CaseInsensitive))
            take({tr("Actions"), name, action->shortcut().toString(QKeySequence::NativeText), {}, action});
    }
    return hits;
}

void CommandPalette::search(const QString& text)
{
    indexNames();
    const QChar first = text.isEmpty() ? QChar() : text[0];
    const bool hasKind = first == QLatin1Char('>') || first == QLatin1Char('@') || first == QLatin1Char('#');
    std::vector<Hit> hits;
    if (hasKind) {
        hits = otherHits(text.mid(1).trimmed(), first);
    } else if (!text.trimmed().isEmpty()) {
        hits = tensorHits(text);
        for (Hit& hit : otherHits(text.trimmed(), {}))
            hits.push_back(std::move(hit));
    }
    fill(hits);
}

void CommandPalette::fill(const std::vector<Hit>& hits)
{
    const Theme& theme = Theme::current();
    m_hits = hits;
    m_list->clear();
    QString section;
    for (std::size_t i = 0; i < hits.size(); ++i) {
        if (hits[i].section != section) {
            section = hits[i].section;
            auto* title = new QListWidgetItem(section.toUpper(), m_list);
            title->setFlags(Qt::NoItemFlags);
            title->setSizeHint({0, theme.px(24)});
            title->setFont(theme.font(TextStyle::Caption));
            title->setForeground(theme.colour(Token::Text3));
        }
        auto* row = new QListWidgetItem(hits[i].detail.isEmpty() ? hits[i].text : QStringLiteral("%1    %2").arg(hits[i].text, hits[i].detail), m_list);
        row->setData(Qt::UserRole, static_cast<int>(i));
        row->setSizeHint({0, theme.px(26)});
        if (m_list->currentRow() < 0)
            m_list->setCurrentItem(row);
    }
    if (hits.empty() && !text().trimmed().isEmpty()) {
        auto* nothing = new QListWidgetItem(tr("Nothing is called that"), m_list);
        nothing->setFlags(Qt::NoItemFlags);
    }
    const int width = std::max(this->width(), theme.px(480));
    int rows = 2 * m_list->frameWidth() + theme.px(4);
    for (int i = 0; i < m_list->count(); ++i)
        rows += m_list->sizeHintForRow(i);
    const int height = std::min(theme.px(440), rows);
    m_list->setGeometry(QRect(mapToGlobal(QPoint(this->width() - width, this->height() + 2)), QSize(width, std::max(height, theme.px(36)))));
    m_list->setVisible(!text().trimmed().isEmpty() && hasFocus());
}

void CommandPalette::choose(bool openPage)
{
    const QListWidgetItem* row = m_list->currentItem();
    const int index = row == nullptr ? -1 : row->data(Qt::UserRole).toInt();
    m_list->hide();
    clear();
    if (row == nullptr || index < 0 || index >= static_cast<int>(m_hits.size()))
        return;
    const Hit hit = m_hits[static_cast<std::size_t>(index)];
    if (hit.action != nullptr) {
        hit.action->trigger();
        return;
    }
    if (!m_document.isNull())
        m_document->select(hit.selection);
    if (hit.selection.tensor)
        emit tensorChosen(openPage);
}

// Esc is the window's key too; here it closes the list.
bool CommandPalette::event(QEvent* event)
{
    if (event->type() == QEvent::ShortcutOverride && static_cast<QKeyEvent*>(event)->key() == Qt::Key_Escape) {
        event->accept();
        return true;
    }
    return QLineEdit::event(event);
}

void CommandPalette::keyPressEvent(QKeyEvent* event)
{
    const auto move = [this](int step) {
        for (int row = m_list->currentRow() + step; row >= 0 && row < m_list->count(); row += step)
            if (m_list->item(row)->flags() & Qt::ItemIsEnabled) {
                m_list->setCurrentRow(row);
                return;
            }
    };
    switch (event->key()) {
    case Qt::Key_Down: move(1); return;
    case Qt::Key_Up: move(-1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter: choose(event->modifiers() & Qt::AltModifier); return;
    case Qt::Key_Escape:
        m_list->hide();
        clear();
        if (parentWidget() != nullptr)
            parentWidget()->setFocus();
        return;
    default: QLineEdit::keyPressEvent(event);
    }
}

void CommandPalette::focusOutEvent(QFocusEvent* event)
{
    m_list->hide();
    QLineEdit::focusOutEvent(event);
}

} // namespace shardlens::ui
