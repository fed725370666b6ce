#include "ui/pages/convert_goal_step.h"

#include "core/base/text.h"
#include "ui/pages/convert_goals.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QPainter>
#include <QPushButton>
#include <QVBoxLayout>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kTextLeft = 48; // design pixels

QString torchSentence(bool wholeTree)
{
    return wholeTree
               ? ConvertGoalStep::tr("The source's whole tree in one file, as torch.save writes it: tensors, nesting and plain values.")
               : ConvertGoalStep::tr("Tensors only, as torch.save writes them; torch.load(…, weights_only=True) reads them.");
}

} // namespace

GoalCard::GoalCard(std::string format, const QString& title, const QString& sentence, QWidget* parent)
    : QAbstractButton(parent), m_format(std::move(format)), m_sentence(sentence)
{
    setText(title);
    setCheckable(true);
    setAutoExclusive(true);
    setFocusPolicy(Qt::StrongFocus);
    setAttribute(Qt::WA_Hover);
    QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Minimum);
    policy.setHeightForWidth(true);
    setSizePolicy(policy);
    setAccessibleName(title);
    describe();
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

void GoalCard::setSize(const QString& size)
{
    if (size == m_size)
        return;
    m_size = size;
    describe();
    updateGeometry();
    update();
}

void GoalCard::setTitle(const QString& title)
{
    if (title == text())
        return;
    setText(title);
    setAccessibleName(title);
    updateGeometry();
}

void GoalCard::setSentence(const QString& sentence)
{
    if (sentence == m_sentence)
        return;
    m_sentence = sentence;
    describe();
    updateGeometry();
    update();
}

void GoalCard::describe()
{
    setAccessibleDescription(m_size.isEmpty() ? m_sentence : m_sentence + QLatin1Char(' ') + m_size);
}

QSize GoalCard::sizeHint() const
{
    return {Theme::current().px(480), heightForWidth(Theme::current().px(480))};
}

int GoalCard::sizeRoom() const
{
    const Theme& theme = Theme::current();
    return m_size.isEmpty() ? theme.px(16) : QFontMetrics(theme.font(TextStyle::Title)).horizontalAdvance(m_size) + theme.px(32);
}

GoalCard::Heights GoalCard::heightsAt(int width) const
{
    const Theme& theme = Theme::current();
    const int room = std::max(theme.px(80), width - theme.px(kTextLeft) - sizeRoom());
    const auto wrapped = [&](TextStyle style, const QString& words) {
        return QFontMetrics(theme.font(style)).boundingRect(QRect(0, 0, room, 0), Qt::TextWordWrap, words).height();
    };
    return {wrapped(TextStyle::Strong, text()), m_sentence.isEmpty() ? 0 : wrapped(TextStyle::Body, m_sentence)};
}

int GoalCard::heightForWidth(int width) const
{
    const Theme& theme = Theme::current();
    const Heights needed = heightsAt(width);
    return std::max(theme.px(72), needed.title + needed.sentence + theme.px(32));
}

void GoalCard::keyPressEvent(QKeyEvent* event)
{
    if (event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter)
        click();
    else
        QAbstractButton::keyPressEvent(event);
}

void GoalCard::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const bool strong = hasFocus() || (isChecked() && isEnabled());
    const bool hovered = isEnabled() && underMouse();
    painter.setPen(QPen(theme.colour(strong ? Token::Accent : hovered ? Token::BorderStrong : Token::Border), hasFocus() ? 2 : 1));
    painter.setBrush(theme.colour(!isEnabled() ? Token::Sunken : isChecked() ? Token::AccentWeak : Token::Surface));
    painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), theme.px(6), theme.px(6));
    const double mark = theme.px(16);
    const QRectF circle(theme.px(16), (height() - mark) / 2, mark, mark);
    const Token ring = !isEnabled() ? Token::Border : isChecked() ? Token::Accent : Token::BorderStrong;
    painter.setPen(QPen(theme.colour(ring), 1.5));
    painter.setBrush(theme.colour(Token::Surface));
    painter.drawEllipse(circle);
    if (isChecked()) {
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(isEnabled() ? Token::Accent : Token::BorderStrong));
        painter.drawEllipse(circle.adjusted(theme.px(4), theme.px(4), -theme.px(4), -theme.px(4)));
    }
    const int left = theme.px(kTextLeft);
    const int room = width() - left - sizeRoom();
    painter.setFont(theme.font(TextStyle::Title));
    painter.setPen(theme.colour(Token::Text));
    painter.drawText(QRect(left + room, 0, width() - left - room - theme.px(16), height()), Qt::AlignRight | Qt::AlignVCenter, m_size);
    painter.setFont(theme.font(TextStyle::Strong));
    painter.setPen(theme.colour(isEnabled() ? Token::Text : Token::Text2));
    const Heights needed = heightsAt(width());
    const int top = (height() - needed.title - needed.sentence) / 2;
    painter.drawText(QRect(left, top, room, needed.title), Qt::TextWordWrap, text());
    painter.setFont(theme.font(TextStyle::Body));
    painter.setPen(theme.colour(Token::Text2));
    painter.drawText(QRect(left, top + needed.title, room, needed.sentence), Qt::TextWordWrap, m_sentence);
}

ConvertGoalStep::ConvertGoalStep(QWidget* parent)
    : ConvertStep(tr("What do you need?"), tr("Each card ends with the size that the result will have."), parent)
{
    for (const ConvertGoal& goal : convertGoals())
        add(new GoalCard(std::string(goal.format), goal.titleText(), goal.format == "torch" ? torchSentence(false) : goal.sentenceText()));
    auto* more = new QHBoxLayout;
    m_jobFile = new QPushButton(tr("Open job file…"));
    m_jobFile->setAutoDefault(true); // Enter presses it
    m_jobFile->setToolTip(tr("Takes the choices of a job that was saved before"));
    connect(m_jobFile, &QPushButton::clicked, this, &ConvertGoalStep::openJobFile);
    more->addWidget(m_jobFile);
    more->addStretch();
    body()->addLayout(more);
    body()->addStretch();
}

void ConvertGoalStep::add(GoalCard* card)
{
    connect(card, &QAbstractButton::toggled, this, [this, card](bool on) {
        if (!on)
            return;
        change(withGoal(draft(), card->format()));
    });
    body()->addWidget(card);
    m_cards.push_back(card);
}

void ConvertGoalStep::load(const JobDraft& draft, const StepFacts& facts)
{
    keep(draft);
    m_jobFile->setEnabled(facts.outlook != nullptr);
    for (GoalCard* card : m_cards) {
        const QSignalBlocker quiet(card);
        card->setChecked(card->format() == draft.format);
        if (card->format() == "torch")
            card->setSentence(torchSentence(keepsTree(draft)));
        if (isLayoutFormat(card->format()))
            loadLayout(card, facts);
        else if (card->format() == "deepspeed")
            loadRun(facts);
        else if (card->format() == "mindspore")
            loadMindSpore(draft, facts);
        else if (goalOf(card->format())->kind == ConvertGoal::Kind::Sharded)
            loadSharded(card, facts);
        else
            card->setSize(facts.source
                              ? QString::fromStdString(sizeText(facts.source->of(draft.select).bytesAs(draft.dtype, card->format())))
                              : QString());
    }
}

void ConvertGoalStep::loadRun(const StepFacts& facts)
{
    GoalCard* run = card("deepspeed");
    if (facts.checkpoint && isLayoutFormat(facts.checkpoint->formatId())) {
        run->setEnabled(false);
        run->setSize({});
        run->setSentence(tr("Not from this checkpoint: it is no DeepSpeed run. Its own format on other ranks is the goal below."));
        return;
    }
    const bool isParallel = facts.checkpoint && isModelParallel(*facts.checkpoint);
    const Outlook* can = facts.outlook ? &facts.outlook->run : nullptr;
    run->setTitle(isParallel ? tr("Other parallel layout: DeepSpeed") : tr("Continue on other ranks: DeepSpeed"));
    run->setEnabled(can != nullptr && (can->refusal.isEmpty() || isParallel)); // another layout may do where the source's own does not
    const Outlook* sized = makesFrameworkFiles(draft()) ? can : facts.run.get(); // what is known then is of the other goal
    run->setSize(sized != nullptr && sized->refusal.isEmpty() ? QString::fromStdString(sizeText(sized->bytes)) : QString());
    if (can == nullptr)
        run->setSentence(facts.checkpoint ? tr("Looking whether training can go on from this checkpoint.") : QString());
    else if (!can->refusal.isEmpty())
        run->setSentence(isParallel ? tr("Not as it is: %1", "reason").arg(can->refusal)
                                    : tr("Not from this checkpoint: %1", "reason").arg(can->refusal));
    else
        run->setSentence(
            (isParallel ? tr("Merged and split for other tensor, pipeline or data ranks, or another ZeRO stage. Now: %1.")
                        : tr("Weights, optimizer states and counters, cut for another number of ranks or another ZeRO stage. Now: %1."))
                .arg(layoutText(*can->before, can->degreesBefore)));
}

// The source's own format, cut for other ranks: a card for the format that is open, none else.
void ConvertGoalStep::loadLayout(GoalCard* card, const StepFacts& facts)
{
    const bool isOwn = facts.checkpoint && facts.checkpoint->formatId() == card->format();
    card->setVisible(isOwn);
    const Outlook* can = isOwn && facts.outlook ? &facts.outlook->run : nullptr;
    card->setEnabled(can != nullptr && can->refusal.isEmpty());
    const Outlook* sized = makesFrameworkFiles(draft()) ? can : facts.run.get();
    card->setSize(can != nullptr && sized != nullptr && sized->refusal.isEmpty() ? QString::fromStdString(sizeText(sized->bytes)) : QString());
    if (can == nullptr)
        card->setSentence(isOwn ? tr("Looking whether this checkpoint can be cut anew.") : QString());
    else if (!can->refusal.isEmpty())
        card->setSentence(tr("Not from this checkpoint: %1", "reason").arg(can->refusal));
    else
        card->setSentence((card->format() == "megatron"
                               ? tr("Every file of it, merged and split for other tensor, pipeline or expert ranks. Now: %1.")
                               : tr("Every file of it, merged and split for other tensor-parallel ranks. Now: %1."))
                              .arg(layoutText(*can->before, can->degreesBefore)));
}

// A framework's own distributed checkpoint: a card for every source that has a place in it.
void ConvertGoalStep::loadSharded(GoalCard* card, const StepFacts& facts)
{
    const ConvertGoal& goal = *goalOf(card->format());
    const bool isOwn = facts.checkpoint && facts.checkpoint->formatId() == goal.format;
    card->setVisible(goal.namesOf == nullptr || isOwn || (facts.checkpoint && facts.checkpoint->formatId() == goal.namesOf));
    const bool isChosen = draft().format == goal.format;
    const bool isAsIs = !draft().tp && !draft().pp; // else the options have the say
    const bool refused = isChosen && isAsIs && facts.run && !facts.run->refusal.isEmpty();
    card->setEnabled(facts.checkpoint != nullptr);
    card->setSentence(refused ? tr("Not from this checkpoint: %1", "reason").arg(facts.run->refusal) : goal.sentenceText());
    const bool isKnown = isChosen && facts.run && facts.run->refusal.isEmpty();
    const std::optional<std::uint64_t> bytes = isKnown                     ? std::optional(facts.run->bytes)
                                               : facts.source && !isChosen ? std::optional(facts.source->weights.bytes + facts.source->optimizer.bytes)
                                                                           : std::nullopt;
    card->setSize(bytes ? QString::fromStdString(sizeText(*bytes)) : QString());
}

void ConvertGoalStep::loadMindSpore(const JobDraft& draft, const StepFacts& facts)
{
    GoalCard* ranks = card("mindspore");
    const bool lacks = facts.checkpoint && lacksStrategy(*facts.checkpoint);
    ranks->setTitle(draft.sourceIsMindSpore ? tr("Other MindSpore strategy") : tr("MindSpore ranks"));
    ranks->setEnabled(facts.checkpoint && !lacks);
    if (lacks)
        ranks->setSentence(tr("Not from this checkpoint yet: the strategy of these rank folders is not known. Choose it on the overview, or drop it onto the window."));
    else if (draft.sourceIsMindSpore)
        ranks->setSentence(tr("Every tensor cut for the ranks of another strategy, optimizer states with their parameters, or the whole model in one file: ckpt or safetensors."));
    else
        ranks->setSentence(tr("Files that MindSpore loads, ckpt or safetensors: cut for the ranks of a strategy, or the whole model in one file."));
    const bool isKnown = makesMindSpore(draft) && facts.run && facts.run->refusal.isEmpty();
    const std::optional<std::uint64_t> bytes = isKnown                  ? std::optional(facts.run->bytes)
                                               : facts.source && !lacks ? std::optional(facts.source->of(draft.sourceIsMindSpore ? Select::All : draft.select).bytes)
                                                                        : std::nullopt;
    ranks->setSize(bytes ? QString::fromStdString(sizeText(*bytes)) : QString());
}

GoalCard* ConvertGoalStep::card(const std::string& format) const
{
    const auto found = std::find_if(m_cards.begin(), m_cards.end(), [&](const GoalCard* card) { return card->format() == format; });
    return found == m_cards.end() ? nullptr : *found;
}

QString ConvertGoalStep::summary(const JobDraft& draft, const StepFacts& facts) const
{
    if (makesMindSpore(draft) && draft.sourceIsMindSpore)
        return tr("Other MindSpore strategy");
    if (makesRun(draft) && facts.checkpoint && isModelParallel(*facts.checkpoint))
        return tr("Other parallel layout");
    const ConvertGoal* goal = goalOf(draft.format);
    return goal == nullptr ? QString() : goal->summaryText();
}

QString ConvertGoalStep::obstacle(const JobDraft& draft, const StepFacts& facts) const
{
    if (makesMindSpore(draft) && facts.checkpoint && lacksStrategy(*facts.checkpoint))
        return tr("The strategy of these rank folders is not known: choose it on the overview, or drop it onto the window.");
    if (makesSharded(draft) && facts.run && !draft.tp && !draft.pp)
        return facts.run->refusal;
    if (!makesRun(draft))
        return {};
    if (!facts.outlook)
        return tr("Looking whether training can go on from this checkpoint.");
    const bool mayChange = facts.checkpoint && isModelParallel(*facts.checkpoint) && !makesLayout(draft);
    return mayChange ? QString() : facts.outlook->run.refusal; // else the options have the say
}

} // namespace shardlens::ui
