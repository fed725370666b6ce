#include "ui/frame/inspector.h"

#include "core/base/text.h"
#include "ui/frame/piece_table.h"
#include "ui/models/atlas_text.h"
#include "ui/models/document.h"
#include "ui/models/rank_uses.h"
#include "ui/theme/theme.h"
#include "ui/widgets/tensor_picture.h"
#include "ui/widgets/text_label.h"

#include <QApplication>
#include <QClipboard>
#include <QDesktopServices>
#include <QFileInfo>
#include <QGridLayout>
#include <QPainter>
#include <QPushButton>
#include <QScrollArea>
#include <QToolButton>
#include <QUrl>
#include <QVBoxLayout>

#include <algorithm>
#include <map>
#include <set>

namespace shardlens::ui {
namespace {

QString text(const std::string& value)
{
    return QString::fromStdString(printable(value));
}

std::vector<TensorId> tensorsOf(const Checkpoint& checkpoint, ParameterId parameter)
{
    std::vector<TensorId> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        if (checkpoint.tensors()[i].parameter == parameter)
            out.push_back(idAt<TensorId>(i));
    return out;
}

QString storedAs(const Checkpoint& checkpoint, const std::vector<TensorId>& tensors)
{
    std::vector<std::pair<std::string, int>> counts;
    for (const TensorId id : tensors) {
        if (checkpoint.tensor(id).shape.empty() && checkpoint.roleOf(id).kind == RoleKind::OptimizerState)
            continue; // step counters are no part of the weight
        const std::string name(nameOf(checkpoint.tensor(id).dtype));
        const auto at = std::find_if(counts.begin(), counts.end(), [&](const auto& one) { return one.first == name; });
        if (at == counts.end())
            counts.emplace_back(name, 1);
        else
            ++at->second;
    }
    QStringList parts;
    for (const auto& [name, count] : counts)
        parts << (count == 1 ? QString::fromStdString(name) : QStringLiteral("%1 × %2").arg(count).arg(QString::fromStdString(name)));
    return parts.join(QStringLiteral(" + "));
}

QString ranksOf(const Checkpoint& checkpoint, const std::vector<TensorId>& tensors)
{
    std::set<std::uint32_t> ranks;
    for (const TensorId id : tensors)
        for (std::size_t row = checkpoint.pieces().firstOf(id); row < checkpoint.pieces().lastOf(id); ++row)
            if (const auto rank = checkpoint.rankOfPiece(checkpoint.pieces().at(idAt<PieceId>(row))))
                ranks.insert(*rank);
    QStringList parts;
    for (const std::uint32_t rank : ranks) {
        if (parts.size() == 8) {
            parts << QStringLiteral("…");
            break;
        }
        parts << QString::number(rank);
    }
    return parts.isEmpty() ? Inspector::tr("one file") : parts.join(QStringLiteral(", "));
}

} // namespace

Inspector::Inspector(QWidget* parent) : QWidget(parent), m_scroll(new QScrollArea(this))
{
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(0, 0, 0, 0);
    m_scroll->setFrameShape(QFrame::NoFrame);
    m_scroll->setWidgetResizable(true);
    m_scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    m_scroll->viewport()->setAutoFillBackground(false);
    outer->addWidget(m_scroll);
    setAccessibleName(tr("Inspector"));
    rebuild();
    connect(&Theme::current(), &Theme::changed, this, &Inspector::rebuild);
}

void Inspector::setDocument(Document* document)
{
    if (!m_document.isNull())
        disconnect(m_document, nullptr, this, nullptr);
    m_document = document;
    if (document != nullptr) {
        connect(document, &Document::selectionChanged, this, &Inspector::rebuild);
        connect(document, &Document::stateChanged, this, &Inspector::rebuild);
    }
    rebuild();
}

void Inspector::rebuild()
{
    const Theme& theme = Theme::current();
    m_content = new QWidget;
    m_content->setAutoFillBackground(false);
    m_column = new QVBoxLayout(m_content);
    m_column->setContentsMargins(theme.px(16), theme.px(12), theme.px(14), theme.px(12));
    m_column->setSpacing(theme.px(6));
    const bool isOpen = !m_document.isNull() && m_document->checkpoint();
    const Selection selection = isOpen ? m_document->selection() : Selection{};
    if (isOpen && selection.tensor)
        showTensor(*selection.tensor);
    else if (isOpen && selection.file)
        showFile(*selection.file);
    else if (isOpen && selection.rank)
        showRank(*selection.rank);
    else
        showNothing();
    m_column->addStretch(1);
    m_scroll->setWidget(m_content);
    m_content->setAutoFillBackground(false); // the scroll area turns it on
}

void Inspector::addSection(const QString& title, const QString& detail)
{
    auto* row = new QHBoxLayout;
    row->addWidget(new TextLabel(title.toUpper(), TextStyle::Caption, Token::Text2, m_content));
    row->addStretch(1);
    if (!detail.isEmpty())
        row->addWidget(new TextLabel(detail, TextStyle::Caption, Token::Text3, m_content));
    m_column->addLayout(row);
}

void Inspector::addFact(const QString& name, const QString& value)
{
    auto* row = new QHBoxLayout;
    auto* label = new TextLabel(name, TextStyle::Body, Token::Text2, m_content);
    label->setFixedWidth(Theme::current().px(86));
    row->addWidget(label, 0, Qt::AlignTop);
    auto* shown = new TextLabel(value, TextStyle::Body, Token::Text, m_content);
    shown->setWordWrap(true);
    shown->setTextInteractionFlags(Qt::TextSelectableByMouse);
    row->addWidget(shown, 1);
    m_column->addLayout(row);
}

// A name has no words that a line could be broken between.
void Inspector::addFile(const File& file)
{
    auto* row = new QHBoxLayout;
    auto* size = new TextLabel(QString::fromStdString(sizeText(file.size)), TextStyle::Body, Token::Text2, m_content);
    size->setFixedWidth(Theme::current().px(86));
    row->addWidget(size);
    auto* name = new TextLabel(text(file.name), TextStyle::Body, Token::Text, m_content);
    name->setElide(Qt::ElideMiddle);
    row->addWidget(name, 1);
    m_column->addLayout(row);
}

void Inspector::showNothing()
{
    addSection(tr("Selection"));
    auto* label = new TextLabel(tr("Nothing is selected. Click a tensor, a rank or a file, or search with Ctrl+K."), TextStyle::Body, Token::Text2, m_content);
    label->setWordWrap(true);
    m_column->addWidget(label);
}

void Inspector::showTensor(TensorId id)
{
    const Theme& theme = Theme::current();
    const Checkpoint& checkpoint = *m_document->checkpoint();
    const QString name = text(checkpoint.parameterOf(id));
    const QString brief = shortName(checkpoint.parameterOf(id));
    const auto all = tensorsOf(checkpoint, checkpoint.tensor(id).parameter);
    addSection(tr("Tensor"), text(checkpoint.roleOf(id).name));
    auto* title = new TextLabel(brief, TextStyle::Title, Token::Text, m_content);
    title->setElide(Qt::ElideMiddle);
    m_column->addWidget(title);
    if (brief != name) {
        auto* full = new TextLabel(name, TextStyle::Mono, Token::Text3, m_content);
        full->setElide(Qt::ElideMiddle);
        m_column->addWidget(full);
    }

    auto* row = new QHBoxLayout;
    row->setSpacing(theme.px(16));
    auto* picture = new TensorPicture(m_content);
    picture->setCompact(true);
    picture->setFixedSize(theme.px(84), theme.px(172));
    picture->setTensor(m_document->checkpoint(), id);
    picture->setSelectedPiece(m_document->selection().piece);
    connect(picture, &TensorPicture::pieceClicked, this, [this](PieceId piece) {
        Selection selection = m_document->selection();
        selection.piece = piece;
        m_document->select(selection);
    });
    row->addWidget(picture, 0, Qt::AlignTop);
    auto* facts = new QVBoxLayout;
    facts->setSpacing(theme.px(4));
    row->addLayout(facts, 1);
    m_column->addLayout(row);

    QVBoxLayout* const whole = m_column;
    m_column = facts;
    std::uint64_t bytes = 0;
    for (const TensorId one : all)
        bytes += checkpoint.bytesOf(one);
    addFact(tr("Shape"), QString::fromStdString(shapeText(checkpoint.tensor(id).shape)));
    addFact(tr("Values"), QString::fromStdString(groupedText(elementCount(checkpoint.tensor(id).shape).value_or(0))));
    addFact(tr("Stored as"), storedAs(checkpoint, all));
    addFact(tr("All states"), QString::fromStdString(exactSizeText(bytes)));
    addFact(tr("Ranks"), ranksOf(checkpoint, all));
    QStringList ties;
    for (const Alias& alias : checkpoint.aliases())
        if (alias.parameter == checkpoint.tensor(id).parameter)
            ties << text(alias.name);
    if (!ties.isEmpty())
        addFact(tr("Tied to"), ties.join(QStringLiteral(", ")));
    facts->addStretch(1);
    m_column = whole;
    addPieceTable(checkpoint.tensor(id).parameter);
    addButtons(id);
}

void Inspector::addPieceTable(ParameterId parameter)
{
    auto* table = new PieceTable(m_document, parameter, m_content);
    addSection(tr("Where it lies"), tr("%n piece(s)", nullptr, table->rows()));
    m_column->addWidget(table);
}

void Inspector::addButtons(TensorId tensor)
{
    auto* rows = new QGridLayout; // two beside each other: three are wider than the inspector may be
    int count = 0;
    const auto add = [&](const QString& label, const QString& tip, auto action) {
        auto* button = new QPushButton(label, m_content);
        button->setToolTip(tip);
        connect(button, &QPushButton::clicked, this, action);
        rows->addWidget(button, count / 2, count % 2);
        ++count;
    };
    add(tr("Show values"), tr("The tensor's page (Enter)"), [this] { emit m_document->pageRequested(QStringLiteral("tensor")); });
    add(tr("Show in atlas"), tr("Where its bytes lie (Shift+Enter)"), [this] { emit m_document->pageRequested(QStringLiteral("atlas")); });
    add(tr("Copy name"), tr("The full name (Ctrl+C)"),
        [this, tensor] { QApplication::clipboard()->setText(QString::fromStdString(m_document->checkpoint()->fullName(tensor))); });
    rows->setColumnStretch(2, 1);
    m_column->addLayout(rows);
}

void Inspector::showRank(std::uint32_t rank)
{
    const Checkpoint& checkpoint = *m_document->checkpoint();
    addSection(tr("Rank"), text(checkpoint.topology().text()));
    m_column->addWidget(new TextLabel(tr("rank %1").arg(rank), TextStyle::Title, Token::Text, m_content));
    if (!checkpoint.topology().axes.empty())
        addFact(tr("Place"), text(checkpoint.topology().textOf(holderOfRank(checkpoint.topology(), rank))));
    const RankCover cover(checkpoint, rank);
    std::map<std::string, std::uint64_t> byState;
    for (std::size_t row = 0; row < checkpoint.pieces().size(); ++row) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row));
        if (!cover.holds(piece) || checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing)
            continue;
        const TensorId tensor = checkpoint.pieces().tensorOf(piece.id);
        byState[checkpoint.roleOf(tensor).name] += volumeOf(piece.region) * info(checkpoint.tensor(tensor).dtype).bytesPerBlock;
    }
    addSection(tr("Bytes by state"));
    for (const auto& [state, bytes] : byState)
        addFact(text(state), QString::fromStdString(exactSizeText(bytes)));
    addSection(tr("Files"));
    const std::vector<bool> own = cover.files();
    for (std::size_t i = 0; i < own.size(); ++i)
        if (own[i])
            addFile(checkpoint.files()[i]);
}

void Inspector::showFile(FileId id)
{
    const Checkpoint& checkpoint = *m_document->checkpoint();
    const File& file = checkpoint.file(id);
    addSection(tr("File"), text(file.container));
    auto* name = new TextLabel(text(file.name), TextStyle::Title, Token::Text, m_content);
    name->setElide(Qt::ElideMiddle);
    m_column->addWidget(name);
    addFact(tr("Size"), QString::fromStdString(exactSizeText(file.size)));
    addFact(tr("Holds"), text(file.holds));
    if (file.rank)
        addFact(tr("Written by"), tr("rank %1").arg(*file.rank));
    addFact(tr("State"), file.state == File::State::Read ? tr("read") : file.state == File::State::Missing ? tr("missing") : tr("cannot be read"));
    std::size_t pieces = 0;
    std::uint64_t bytes = 0;
    for (std::size_t row = 0; row < checkpoint.pieces().size(); ++row) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row));
        if (checkpoint.stream(piece.source.stream).file != id)
            continue;
        ++pieces;
        bytes += volumeOf(piece.region) * info(checkpoint.tensor(checkpoint.pieces().tensorOf(piece.id)).dtype).bytesPerBlock;
    }
    addFact(tr("Pieces"), QString::fromStdString(groupedText(pieces)));
    addFact(tr("Tensor bytes"), QString::fromStdString(exactSizeText(bytes)));
    auto* reveal = new QPushButton(tr("Reveal file"), m_content);
    connect(reveal, &QPushButton::clicked, this, [path = QString::fromStdString(file.path)] { QDesktopServices::openUrl(QUrl::fromLocalFile(QFileInfo(path).absolutePath())); });
    m_column->addWidget(reveal, 0, Qt::AlignLeft);
}

void Inspector::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Raised));
    painter.setPen(theme.colour(Token::Border));
    painter.drawLine(0, 0, 0, height());
}

} // namespace shardlens::ui
