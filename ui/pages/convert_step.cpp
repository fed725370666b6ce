#include "ui/pages/convert_step.h"

#include "ui/jobs/parts.h"
#include "ui/widgets/text_label.h"

#include <QHBoxLayout>
#include <QVBoxLayout>

namespace shardlens::ui {

ConvertStep::ConvertStep(const QString& title, const QString& remark, QWidget* parent) : QScrollArea(parent)
{
    setWidgetResizable(true);
    setFrameShape(QFrame::NoFrame);
    setFocusPolicy(Qt::NoFocus);
    auto* ground = new Ground(Token::Surface);
    m_body = new QVBoxLayout(ground);
    auto* head = new QHBoxLayout;
    head->addWidget(new TextLabel(title, TextStyle::Figure, Token::Text));
    auto* note = new TextLabel(remark, TextStyle::Body, Token::Text3);
    note->setElide(Qt::ElideRight);
    head->addWidget(note, 1, Qt::AlignBottom);
    m_body->addLayout(head);
    setWidget(ground);
    connect(&Theme::current(), &Theme::changed, this, &ConvertStep::applyTheme);
    applyTheme();
}

void ConvertStep::applyTheme()
{
    const Theme& theme = Theme::current();
    m_body->setContentsMargins(theme.px(32), theme.px(16), theme.px(32), theme.px(16));
    m_body->setSpacing(theme.px(12));
}

void ConvertStep::change(const JobDraft& draft)
{
    if (draft == m_draft)
        return;
    m_draft = draft;
    emit edited(draft);
}

} // namespace shardlens::ui
