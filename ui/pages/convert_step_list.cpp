#include "ui/pages/convert_step_list.h"

#include "ui/theme/theme.h"
#include "ui/widgets/text_label.h"

#include <QKeyEvent>
#include <QPainter>
#include <QVBoxLayout>

namespace shardlens::ui {
namespace {

constexpr int kWidth = 232;
constexpr int kStep = 56;
constexpr int kCircle = 22;
constexpr int kCircleLeft = 24;
constexpr int kTextLeft = 58;

} // namespace

ConvertStepItem::ConvertStepItem(int number, const QString& name, bool last, QWidget* parent) : QAbstractButton(parent), m_number(number), m_last(last)
{
    setText(name);
    setFocusPolicy(Qt::StrongFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setAttribute(Qt::WA_Hover);
}

void ConvertStepItem::show(State state, const QString& note)
{
    m_state = state;
    m_note = note;
    setAccessibleName(note.isEmpty() ? text() : tr("%1: %2").arg(text(), note));
    setToolTip(note.toHtmlEscaped());
    update();
}

QSize ConvertStepItem::sizeHint() const
{
    return {Theme::current().px(kWidth), Theme::current().px(kStep)};
}

void ConvertStepItem::paintMark(QPainter& painter, const QRectF& circle) const
{
    const Theme& theme = Theme::current();
    painter.setPen(Qt::NoPen);
    painter.setBrush(theme.colour(m_state == State::Current ? Token::Accent : m_state == State::Done ? Token::OkWeak : Token::Sunken));
    painter.drawEllipse(circle);
    if (m_state == State::Done) {
        theme.icon(QStringLiteral("check"), Token::Ok).paint(&painter, circle.toRect().adjusted(theme.px(4), theme.px(4), -theme.px(4), -theme.px(4)));
        return;
    }
    QFont font = theme.font(TextStyle::Caption);
    font.setWeight(QFont::DemiBold);
    painter.setFont(font);
    painter.setPen(theme.colour(m_state == State::Current ? Token::AccentText : Token::Text3));
    painter.drawText(circle, Qt::AlignCenter, QString::number(m_number));
}

void ConvertStepItem::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const QRectF ground = QRectF(rect()).adjusted(theme.px(8), theme.px(5), -theme.px(9), -theme.px(5));
    if (m_state == State::Current || (underMouse() && isEnabled())) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(m_state == State::Current ? Token::AccentWeak : Token::Sunken));
        painter.drawRoundedRect(ground, theme.px(4), theme.px(4));
    }
    const double size = theme.px(kCircle);
    const QRectF circle(theme.px(kCircleLeft), (height() - size) / 2, size, size);
    painter.setPen(QPen(theme.colour(Token::Border), 1));
    if (!m_last)
        painter.drawLine(QPointF(circle.center().x(), circle.bottom() + theme.px(4)), QPointF(circle.center().x(), height()));
    if (m_number > 1)
        painter.drawLine(QPointF(circle.center().x(), 0), QPointF(circle.center().x(), circle.top() - theme.px(4)));
    paintMark(painter, circle);
    const QRect room(theme.px(kTextLeft), 0, width() - theme.px(kTextLeft + 14), height());
    painter.setFont(theme.font(m_state == State::Current ? TextStyle::Strong : TextStyle::Body));
    painter.setPen(theme.colour(m_state == State::Ahead ? Token::Text3 : Token::Text));
    const int line = painter.fontMetrics().height();
    const int top = m_note.isEmpty() ? (height() - line) / 2 : height() / 2 - line + theme.px(1);
    painter.drawText(QRect(room.left(), top, room.width(), line), Qt::AlignVCenter, text());
    if (!m_note.isEmpty()) {
        painter.setFont(theme.font(TextStyle::Caption));
        painter.setPen(theme.colour(Token::Text3));
        const int noteLine = painter.fontMetrics().height();
        painter.drawText(QRect(room.left(), top + line, room.width(), noteLine), Qt::AlignVCenter,
                         painter.fontMetrics().elidedText(m_note, Qt::ElideRight, room.width()));
    }
    if (hasFocus()) {
        painter.setBrush(Qt::NoBrush);
        painter.setPen(QPen(theme.colour(Token::Accent), 2));
        painter.drawRoundedRect(ground.adjusted(1, 1, -1, -1), theme.px(4), theme.px(4));
    }
}

void ConvertStepItem::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_Up)
        focusPreviousChild();
    else if (event->key() == Qt::Key_Down)
        focusNextChild();
    else if (event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter)
        click();
    else
        QAbstractButton::keyPressEvent(event);
}

ConvertStepList::ConvertStepList(const QStringList& names, QWidget* parent) : QWidget(parent), m_layout(new QVBoxLayout(this))
{
    const Theme& theme = Theme::current();
    m_layout->setContentsMargins(0, theme.px(16), 1, 0);
    m_layout->setSpacing(0);
    auto* head = new QVBoxLayout;
    head->setContentsMargins(theme.px(kCircleLeft), 0, theme.px(12), theme.px(10));
    head->setSpacing(theme.px(2));
    head->addWidget(new TextLabel(tr("Convert"), TextStyle::Page, Token::Text));
    m_subject = new TextLabel({}, TextStyle::Caption, Token::Text3);
    m_subject->setElide(Qt::ElideMiddle);
    head->addWidget(m_subject);
    m_layout->addLayout(head);
    for (int i = 0; i < names.size(); ++i) {
        auto* item = new ConvertStepItem(i + 1, names[i], i + 1 == names.size());
        connect(item, &QAbstractButton::clicked, this, [this, i] { emit chosen(i); });
        m_layout->addWidget(item);
        m_items.push_back(item);
    }
    m_layout->addStretch();
    setFixedWidth(theme.px(kWidth));
    setAccessibleName(tr("Steps"));
    connect(&theme, &Theme::changed, this, [this] { setFixedWidth(Theme::current().px(kWidth)); });
}

void ConvertStepList::setSubject(const QString& subject)
{
    m_subject->setText(subject);
}

void ConvertStepList::showStep(int index, ConvertStepItem::State state, const QString& note, bool reachable)
{
    item(index)->show(state, note);
    item(index)->setEnabled(reachable);
}

void ConvertStepList::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Raised));
    painter.fillRect(width() - 1, 0, 1, height(), theme.colour(Token::Border));
}

} // namespace shardlens::ui
