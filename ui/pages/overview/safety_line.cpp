#include "ui/pages/overview/safety_line.h"

#include "ui/jobs/parts.h"
#include "ui/models/safety_check.h"
#include "ui/theme/theme.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>

namespace shardlens::ui {

SafetyLine::SafetyLine(const SafetyCheck* check, QWidget* parent)
    : QWidget(parent), m_check(check), m_open(new Link(tr("Safety"), this)), m_icon(new ToneIcon(QStringLiteral("clock"), Token::Text3, 16, this)),
      m_text(new TextLabel({}, TextStyle::Caption, Token::Text2, this))
{
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(Theme::current().px(12));
    row->addWidget(m_open);
    row->addWidget(m_icon);
    m_text->setElide(Qt::ElideRight);
    row->addWidget(m_text, 1);
    m_open->setToolTip(tr("What would loading these files with Python do? (Alt+9)"));
    connect(m_open, &Link::clicked, this, &SafetyLine::opened);
    connect(check, &SafetyCheck::changed, this, &SafetyLine::follow);
    connect(check, &SafetyCheck::progressed, this, &SafetyLine::follow);
    follow();
}

QString SafetyLine::text() const
{
    return m_text->text();
}

void SafetyLine::follow()
{
    const std::shared_ptr<const ScanReport>& report = m_check->report();
    if (!report) {
        m_icon->setIcon(QStringLiteral("clock"), Token::Text3);
        m_text->setInk(Token::Text3);
        m_text->setText(m_check->isRunning() ? m_check->progressText() : m_check->errorText());
        return;
    }
    const int level = report->level();
    m_icon->setIcon(SafetyWords::icon(level), SafetyWords::tone(level));
    m_text->setInk(level >= 3 ? SafetyWords::tone(level) : Token::Text2);
    m_text->setText(tr("%1 %2.").arg(SafetyWords::sentence(*report), SafetyWords::amount(*report)));
}

} // namespace shardlens::ui
