#include "ui/pages/convert_options_step.h"

#include "core/base/regex.h"
#include "core/base/text.h"
#include "core/job/executor.h"
#include "ui/jobs/parts.h"
#include "ui/widgets/text_label.h"

#include <QCheckBox>
#include <QComboBox>
#include <QGridLayout>
#include <QLineEdit>
#include <QRadioButton>
#include <QSpinBox>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGB = 1'000'000'000;
constexpr int kMostThreads = 1024;

QString text(const std::string& utf8)
{
    return QString::fromStdString(utf8);
}

QString dtypeText(DType dtype)
{
    return text(std::string(nameOf(dtype)));
}

// Why a pattern does not compile; empty where it does, or there is none.
QString problemOf(const QString& pattern)
{
    if (pattern.isEmpty())
        return {};
    const auto compiled = Regex::compile(pattern.toStdString());
    return compiled ? QString() : text(compiled.error().sentence());
}

// What an editable box of sizes says, in bytes; 0 where it is no size.
std::uint64_t sizeIn(const QComboBox* box)
{
    const int known = box->findText(box->currentText());
    return known >= 0 ? box->itemData(known).toULongLong() : parseSize(box->currentText().toStdString());
}

void showSize(QComboBox* box, std::uint64_t bytes)
{
    const int known = box->findData(QVariant::fromValue<qulonglong>(bytes));
    if (known >= 0)
        box->setCurrentIndex(known);
    else
        box->setEditText(bytes % kMiB == 0 ? QStringLiteral("%1MiB").arg(bytes / kMiB) : QStringLiteral("%1B").arg(bytes));
}

QComboBox* sizeBox()
{
    auto* box = new QComboBox;
    box->setEditable(true);
    box->setInsertPolicy(QComboBox::NoInsert);
    return box;
}

} // namespace

ConvertOptionsStep::ConvertOptionsStep(QWidget* parent) : ConvertStep(tr("What goes in?"), tr("Every default has its reason beside it."), parent)
{
    auto* grid = new QGridLayout;
    grid->setHorizontalSpacing(Theme::current().px(16));
    grid->setVerticalSpacing(Theme::current().px(8));
    grid->setColumnMinimumWidth(0, Theme::current().px(128));
    grid->setColumnStretch(2, 1);
    body()->addLayout(grid);
    makeContents(grid);
    makePrecision(grid);
    makeSizes(grid);
    makeChecks(grid);
    makeMore(grid);
    body()->addStretch();
}

TextLabel* ConvertOptionsStep::addRow(QGridLayout* grid, const QString& label, QWidget* control)
{
    const int row = grid->rowCount();
    grid->addWidget(new TextLabel(label, TextStyle::Body, Token::Text3), row, 0);
    grid->addWidget(control, row, 1);
    auto* reason = new TextLabel({}, TextStyle::Body, Token::Text2);
    reason->setWordWrap(true);
    grid->addWidget(reason, row, 2);
    control->setMinimumWidth(Theme::current().px(232));
    if (control->accessibleName().isEmpty())
        control->setAccessibleName(label);
    return reason;
}

void ConvertOptionsStep::makeContents(QGridLayout* grid)
{
    constexpr std::array kSelects{Select::Weights, Select::Module, Select::Optimizer, Select::All};
    for (std::size_t i = 0; i < kSelects.size(); ++i) {
        auto* button = new QRadioButton;
        connect(button, &QRadioButton::toggled, this, &ConvertOptionsStep::take);
        m_contents[i] = {kSelects[i], button, addRow(grid, i == 0 ? tr("Contents") : QString(), button)};
    }
}

void ConvertOptionsStep::makePrecision(QGridLayout* grid)
{
    m_dtype = new QComboBox;
    m_dtype->addItem(tr("As stored"));
    for (const DType dtype : {DType::F32, DType::BF16, DType::F16})
        m_dtype->addItem(dtypeText(dtype), static_cast<int>(dtype));
    connect(m_dtype, &QComboBox::currentIndexChanged, this, &ConvertOptionsStep::take);
    m_dtypeReason = addRow(grid, tr("Precision"), m_dtype);
}

void ConvertOptionsStep::makeSizes(QGridLayout* grid)
{
    m_maxShard = sizeBox();
    m_maxShard->addItem(tr("One file"), QVariant::fromValue<qulonglong>(0));
    for (const std::uint64_t size : {2 * kGB, kDefaultShardBytes, 10 * kGB, 50 * kGB})
        m_maxShard->addItem(QStringLiteral("%1 GB").arg(size / kGB), QVariant::fromValue<qulonglong>(size));
    m_maxShardReason = addRow(grid, tr("Largest file"), m_maxShard);
    m_memory = sizeBox();
    for (const std::uint64_t size : {256 * kMiB, 512 * kMiB, 1024 * kMiB, 2048 * kMiB, 4096 * kMiB})
        m_memory->addItem(text(sizeText(size)), QVariant::fromValue<qulonglong>(size));
    m_memoryReason = addRow(grid, tr("Memory at most"), m_memory);
    for (QComboBox* box : {m_maxShard, m_memory})
        connect(box, &QComboBox::currentTextChanged, this, &ConvertOptionsStep::take);
}

void ConvertOptionsStep::makeChecks(QGridLayout* grid)
{
    m_verify = new QCheckBox(tr("Verify after writing"));
    addRow(grid, tr("Check"), m_verify)->setText(tr("The result is read back and compared with the source before it gets its name."));
    m_overwrite = new QCheckBox(tr("Replace it"));
    addRow(grid, tr("Target exists"), m_overwrite)->setText(tr("Names are exchanged at the end; until then the old one stays. Only a checkpoint or a model file is replaced."));
    for (QCheckBox* box : {m_verify, m_overwrite})
        connect(box, &QCheckBox::toggled, this, &ConvertOptionsStep::take);
}

void ConvertOptionsStep::makeMore(QGridLayout* grid)
{
    auto* rule = new Ground(Token::Border);
    rule->setFixedHeight(1);
    const int row = grid->rowCount();
    grid->addWidget(rule, row, 0, 1, 3);
    grid->addWidget(new TextLabel(tr("More"), TextStyle::Strong, Token::Text), row + 1, 0);
    m_threads = new QSpinBox;
    m_threads->setRange(0, kMostThreads);
    m_threads->setSpecialValueText(tr("%1, as many as there are").arg(availableThreads()));
    connect(m_threads, &QSpinBox::valueChanged, this, &ConvertOptionsStep::take);
    m_device = addRow(grid, tr("Threads"), m_threads);
    m_include = new QLineEdit;
    m_include->setPlaceholderText(tr("everything"));
    m_patternReason = addRow(grid, tr("Only names with"), m_include);
    m_exclude = new QLineEdit;
    m_exclude->setPlaceholderText(tr("nothing"));
    addRow(grid, tr("Not names with"), m_exclude)->setText(tr("A regular expression, searched in the names, like ^lm_head\\."));
    for (QLineEdit* field : {m_include, m_exclude}) {
        field->setFont(Theme::current().font(TextStyle::Mono));
        connect(field, &QLineEdit::textChanged, this, &ConvertOptionsStep::take);
    }
}

void ConvertOptionsStep::load(const JobDraft& draft, const StepFacts& facts)
{
    keep(draft);
    m_facts = facts;
    m_loading = true;
    loadContents();
    m_dtype->setCurrentIndex(draft.dtype ? std::max(0, m_dtype->findData(static_cast<int>(*draft.dtype))) : 0);
    showSize(m_maxShard, draft.oneFile ? 0 : draft.maxShardBytes);
    showSize(m_memory, draft.memoryLimit);
    m_threads->setValue(static_cast<int>(draft.threads));
    m_verify->setChecked(draft.verify);
    m_overwrite->setChecked(draft.overwrite);
    m_include->setText(draft.include);
    m_exclude->setText(draft.exclude);
    loadReasons();
    m_loading = false;
}

void ConvertOptionsStep::loadContents()
{
    for (Content& content : m_contents) {
        content.button->setChecked(content.select == draft().select);
        if (!m_facts.source)
            continue;
        const ContentFacts& found = m_facts.source->of(content.select);
        const QString kind = found.dtype ? dtypeText(*found.dtype) : QString();
        switch (content.select) {
        case Select::Module: content.button->setText(kind.isEmpty() ? tr("Weights (module copy)") : tr("Weights (module copy, %1)").arg(kind)); break;
        case Select::Optimizer: content.button->setText(tr("Optimizer")); break;
        case Select::All: content.button->setText(tr("Everything")); break;
        case Select::Weights: content.button->setText(m_facts.source->hasMaster ? tr("Weights (%1)").arg(text(found.role)) : kind.isEmpty() ? tr("Weights") : tr("Weights (%1)").arg(kind));
        }
        const bool there = found.tensors > 0 && (content.select != Select::Module || m_facts.source->hasMaster);
        content.button->setEnabled(there);
        content.note->setText(there ? noteOf(content.select, found) : content.select == Select::Optimizer ? tr("the source holds no optimizer states") : tr("the source holds one copy of the weights"));
    }
}

QString ConvertOptionsStep::noteOf(Select select, const ContentFacts& found) const
{
    const QString size = tr("%1, %2 tensors").arg(text(sizeText(found.bytesAs(std::nullopt, draft().format))), text(groupedText(found.tensorsInResult())));
    if (select == Select::Weights && m_facts.source->hasMaster)
        return tr("%1; the optimizer's own copy, more exact than the module copy").arg(size);
    return select == Select::All ? tr("%1; weights, module copies and optimizer states").arg(size) : size;
}

void ConvertOptionsStep::loadReasons()
{
    const ContentFacts* found = m_facts.source ? &m_facts.source->of(draft().select) : nullptr;
    const QString stored = found != nullptr && found->dtype ? dtypeText(*found->dtype) : QString();
    m_dtype->setItemText(0, stored.isEmpty() ? tr("As stored") : tr("As stored: %1").arg(stored));
    if (!draft().dtype)
        m_dtypeReason->setText(stored.isEmpty() ? QString() : tr("because the source is %1: every byte is copied").arg(stored));
    else if (found != nullptr)
        m_dtypeReason->setText(tr("%1 in all; values beyond its range become infinite, and the report counts them").arg(text(sizeText(found->bytesAs(draft().dtype, draft().format)))));
    m_maxShardReason->setText(draft().oneFile ? tr("the target is one file") : sizeIn(m_maxShard) == 0 ? tr("a size such as 5GB or 512MiB is needed")
                              : draft().maxShardBytes == kDefaultShardBytes ? tr("because Hugging Face splits there") : QString());
    m_memoryReason->setText(sizeIn(m_memory) == 0 ? tr("a size such as 512MiB or 2GiB is needed") : tr("buffers and descriptions stay within it, however large the model"));
    m_device->setText(draft().dtype && found != nullptr && draft().dtype != found->dtype ? tr("on the CPU: casts keep up with the disk") : tr("on the CPU: a GPU would not help here, every byte is copied"));
    const QString problem = problemOf(draft().include) + problemOf(draft().exclude);
    m_patternReason->setText(problem);
    m_patternReason->setInk(problem.isEmpty() ? Token::Text2 : Token::Error);
    m_include->setProperty("invalid", !problemOf(draft().include).isEmpty());
    m_exclude->setProperty("invalid", !problemOf(draft().exclude).isEmpty());
    for (QLineEdit* field : {m_include, m_exclude})
        field->update();
}

void ConvertOptionsStep::take()
{
    if (m_loading)
        return;
    JobDraft next = draft();
    for (const Content& content : m_contents)
        if (content.button->isChecked())
            next.select = content.select;
    const QVariant dtype = m_dtype->currentData();
    next.dtype = dtype.isValid() ? std::optional(static_cast<DType>(dtype.toInt())) : std::nullopt;
    next.oneFile = m_maxShard->currentText() == m_maxShard->itemText(0);
    if (const std::uint64_t size = sizeIn(m_maxShard); size > 0)
        next.maxShardBytes = size;
    if (const std::uint64_t size = sizeIn(m_memory); size > 0)
        next.memoryLimit = size;
    next.threads = static_cast<std::uint32_t>(m_threads->value());
    next.verify = m_verify->isChecked();
    next.overwrite = m_overwrite->isChecked();
    next.include = m_include->text();
    next.exclude = m_exclude->text();
    change(next);
    loadReasons();
}

QString ConvertOptionsStep::summary(const JobDraft& draft, const StepFacts&) const
{
    const QString what = draft.select == Select::Module ? tr("Module copy") : draft.select == Select::Optimizer ? tr("Optimizer") : draft.select == Select::All ? tr("Everything") : tr("Weights");
    const QString dtype = draft.dtype ? dtypeText(*draft.dtype) : tr("as stored");
    return tr("%1, %2, %3 memory").arg(what, dtype, text(sizeText(draft.memoryLimit)));
}

QString ConvertOptionsStep::obstacle(const JobDraft& draft, const StepFacts&) const
{
    return problemOf(draft.include) + problemOf(draft.exclude);
}

} // namespace shardlens::ui
