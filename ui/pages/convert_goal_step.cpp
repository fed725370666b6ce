#include "ui/pages/convert_goal_step.h"

#include "core/base/text.h"
#include "ui/theme/theme.h"

#include <QPainter>
#include <QVBoxLayout>

namespace shardlens::ui {

GoalCard::GoalCard(std::string format, const QString& title, const QString& sentence, QWidget* parent)
    : QAbstractButton(parent), m_format(std::move(format)), m_sentence(sentence)
{
    setText(title);
    setCheckable(true);
    setAutoExclusive(true);
    setFocusPolicy(Qt::StrongFocus);
    setAttribute(Qt::WA_Hover);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setAccessibleName(title);
    setAccessibleDescription(sentence);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void GoalCard::setSize(const QString& size)
{
    m_size = size;
    setAccessibleDescription(size.isEmpty() ? m_sentence : m_sentence + QLatin1Char(' ') + size);
    update();
}

QSize GoalCard::sizeHint() const
{
    return {Theme::current().px(480), Theme::current().px(72)};
}

void GoalCard::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const bool strong = hasFocus() || isChecked();
    painter.setPen(QPen(theme.colour(strong ? Token::Accent : underMouse() ? Token::BorderStrong : Token::Border), hasFocus() ? 2 : 1));
    painter.setBrush(theme.colour(isChecked() ? Token::AccentWeak : Token::Surface));
    painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), theme.px(6), theme.px(6));
    const double mark = theme.px(16);
    const QRectF circle(theme.px(16), (height() - mark) / 2, mark, mark);
    painter.setPen(QPen(theme.colour(isChecked() ? Token::Accent : Token::BorderStrong), 1.5));
    painter.setBrush(theme.colour(Token::Surface));
    painter.drawEllipse(circle);
    if (isChecked()) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(Token::Accent));
        painter.drawEllipse(circle.adjusted(theme.px(4), theme.px(4), -theme.px(4), -theme.px(4)));
    }
    const int left = theme.px(48);
    painter.setFont(theme.font(TextStyle::Title));
    const int sizeRoom = painter.fontMetrics().horizontalAdvance(m_size) + theme.px(32);
    painter.setPen(theme.colour(Token::Text));
    const int line = painter.fontMetrics().height();
    painter.drawText(QRect(width() - sizeRoom, 0, sizeRoom - theme.px(16), height()), Qt::AlignRight | Qt::AlignVCenter, m_size);
    painter.setFont(theme.font(TextStyle::Strong));
    const int room = width() - left - sizeRoom;
    painter.drawText(QRect(left, height() / 2 - line, room, line), Qt::AlignVCenter, painter.fontMetrics().elidedText(text(), Qt::ElideRight, room));
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(Token::Text2));
    painter.drawText(QRect(left, height() / 2, room, line), Qt::AlignVCenter, painter.fontMetrics().elidedText(m_sentence, Qt::ElideRight, room));
}

ConvertGoalStep::ConvertGoalStep(QWidget* parent) : ConvertStep(tr("What do you need?"), tr("Each card ends with the size that the result will have."), parent)
{
    add(new GoalCard("safetensors", tr("One model for inference: safetensors"), tr("Tensors only, in files with an index as Hugging Face reads them, or in one file. They hold no code.")));
    add(new GoalCard("torch", tr("One model for inference: torch files"), tr("Tensors only, as torch.save writes them; torch.load(…, weights_only=True) reads them.")));
    body()->addStretch();
}

void ConvertGoalStep::add(GoalCard* card)
{
    connect(card, &QAbstractButton::toggled, this, [this, card](bool on) {
        if (!on)
            return;
        JobDraft next = draft();
        next.format = card->format();
        change(next);
    });
    body()->addWidget(card);
    m_cards.push_back(card);
}

void ConvertGoalStep::load(const JobDraft& draft, const StepFacts& facts)
{
    keep(draft);
    for (GoalCard* card : m_cards) {
        const QSignalBlocker quiet(card);
        card->setChecked(card->format() == draft.format);
        card->setSize(facts.source ? QString::fromStdString(sizeText(facts.source->of(draft.select).bytesAs(draft.dtype, card->format()))) : QString());
    }
}

QString ConvertGoalStep::summary(const JobDraft& draft, const StepFacts&) const
{
    return draft.format == "torch" ? tr("Torch files") : tr("Safetensors");
}

} // namespace shardlens::ui
