#include "ui/frame/status_line.h"

#include "core/base/text.h"
#include "ui/models/document.h"
#include "ui/theme/theme.h"
#include "ui/widgets/text_label.h"

#include <QDir>
#include <QHBoxLayout>
#include <QPainter>

namespace shardlens::ui {
namespace {

QString findingsText(const std::vector<Finding>& findings)
{
    int errors = 0;
    int warnings = 0;
    int notes = 0;
    for (const Finding& finding : findings)
        ++(finding.severity == Severity::Error ? errors : finding.severity == Severity::Warning ? warnings : notes);
    QStringList parts;
    if (errors > 0)
        parts << StatusLine::tr("%n error(s)", nullptr, errors);
    if (warnings > 0)
        parts << StatusLine::tr("%n warning(s)", nullptr, warnings);
    if (notes > 0)
        parts << StatusLine::tr("%n note(s)", nullptr, notes);
    return parts.isEmpty() ? StatusLine::tr("no findings") : parts.join(QStringLiteral("   "));
}

QString shortPath(const QString& path)
{
    const QString home = QDir::homePath();
    return path.startsWith(home + QLatin1Char('/')) ? QStringLiteral("~") + path.mid(home.size()) : path;
}

} // namespace

StatusLine::StatusLine(QWidget* parent)
    : QWidget(parent), m_left(new TextLabel({}, TextStyle::Caption, Token::Text2, this)), m_right(new TextLabel({}, TextStyle::Caption, Token::Text2, this))
{
    const Theme& theme = Theme::current();
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(theme.px(12), 0, theme.px(12), 0);
    m_left->setElide(Qt::ElideMiddle);
    row->addWidget(m_left, 1);
    row->addWidget(m_right);
    setFixedHeight(theme.px(24));
    connect(&theme, &Theme::changed, this, [this] { setFixedHeight(Theme::current().px(24)); });
}

void StatusLine::show(const Document* document)
{
    m_facts.clear();
    QString right;
    if (document != nullptr) {
        m_facts = shortPath(document->path());
        if (const CheckpointPtr& checkpoint = document->checkpoint()) {
            const QString size = QString::fromStdString(sizeText(checkpoint->totalFileBytes()));
            const QString format = QString::fromStdString(checkpoint->formatTitle());
            m_facts += tr("  ·  %1 in %n file(s)  ·  %2", nullptr, static_cast<int>(checkpoint->files().size())).arg(size, format);
            if (checkpoint->topology().worldSize() > 1)
                m_facts += tr(", %n rank(s)", nullptr, static_cast<int>(checkpoint->topology().worldSize()));
            right = findingsText(document->findings());
        }
    }
    m_left->setText(m_facts);
    m_right->setText(right);
}

void StatusLine::showHint(const QString& hint)
{
    m_left->setText(hint.isEmpty() ? m_facts : hint);
}

void StatusLine::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Window));
    painter.setPen(theme.colour(Token::Border));
    painter.drawLine(0, 0, width(), 0);
}

} // namespace shardlens::ui
