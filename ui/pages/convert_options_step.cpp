#include "ui/pages/convert_options_step.h"

#include "core/base/regex.h"
#include "core/base/text.h"
#include "core/job/executor.h"
#include "ui/pages/convert_mindspore_options.h"
#include "ui/pages/convert_quantize_option.h"
#include "ui/pages/convert_rules_option.h"
#include "ui/pages/convert_strategy_preview.h"
#include "ui/pages/convert_whole_options.h"
#include "ui/widgets/text_label.h"

#include <QCheckBox>
#include <QComboBox>
#include <QLineEdit>
#include <QRadioButton>
#include <QSpinBox>
#include <QVBoxLayout>

#include <algorithm>
#include <set>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGB = 1'000'000'000;
constexpr int kMostThreads = 1024;
constexpr int kMostWriters = 65'536; // what the engine shares tensors out to

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
    OptionGrid grid(body());
    makeContents(grid);
    m_whole = new ConvertWholeOptions(grid, this);
    connect(m_whole, &ConvertWholeOptions::edited, this, &ConvertOptionsStep::take);
    m_rules = new ConvertRulesOption(grid, this);
    connect(m_rules, &ConvertRulesOption::edited, this, &ConvertOptionsStep::take);
    m_mindSpore = new ConvertMindSporeOptions(grid, this);
    connect(m_mindSpore, &ConvertMindSporeOptions::edited, this, &ConvertOptionsStep::take);
    m_preview = new ConvertStrategyPreview;
    grid.addWide(m_preview);
    m_whole->addResult(grid);
    makePrecision(grid);
    m_quantize = new ConvertQuantizeOption(grid, this);
    connect(m_quantize, &ConvertQuantizeOption::edited, this, &ConvertOptionsStep::take);
    makeSizes(grid);
    makeChecks(grid);
    makeMore(grid);
    body()->addStretch();
}

void ConvertOptionsStep::makeContents(OptionGrid& grid)
{
    constexpr std::array kSelects{Select::Weights, Select::Module, Select::Optimizer, Select::All};
    for (std::size_t i = 0; i < kSelects.size(); ++i) {
        auto* button = new QRadioButton;
        connect(button, &QRadioButton::toggled, this, &ConvertOptionsStep::take);
        m_contents[i] = {kSelects[i], button, grid.add(i == 0 ? tr("Contents") : QString(), button)};
    }
}

void ConvertOptionsStep::makePrecision(OptionGrid& grid)
{
    m_dtype = new QComboBox;
    m_dtype->addItem(tr("As stored"));
    for (const DType dtype : {DType::F32, DType::BF16, DType::F16})
        m_dtype->addItem(dtypeText(dtype), static_cast<int>(dtype));
    connect(m_dtype, &QComboBox::currentIndexChanged, this, &ConvertOptionsStep::take);
    m_dtypeRow = grid.add(tr("Precision"), m_dtype);
}

void ConvertOptionsStep::makeSizes(OptionGrid& grid)
{
    m_maxShard = sizeBox();
    m_maxShard->addItem(tr("One file"), QVariant::fromValue<qulonglong>(0));
    for (const std::uint64_t size : {2 * kGB, kDefaultShardBytes, 10 * kGB, 50 * kGB})
        m_maxShard->addItem(QStringLiteral("%1 GB").arg(size / kGB), QVariant::fromValue<qulonglong>(size));
    m_maxShardRow = grid.add(tr("Largest file"), m_maxShard);
    m_writers = new QSpinBox;
    m_writers->setRange(1, kMostWriters);
    m_writers->setAccessibleName(tr("Writers"));
    connect(m_writers, &QSpinBox::valueChanged, this, &ConvertOptionsStep::take);
    m_writersRow = grid.add(tr("Writers"), m_writers);
    m_memory = sizeBox();
    for (const std::uint64_t size : {256 * kMiB, 512 * kMiB, 1024 * kMiB, 2048 * kMiB, 4096 * kMiB})
        m_memory->addItem(text(sizeText(size)), QVariant::fromValue<qulonglong>(size));
    m_memoryRow = grid.add(tr("Memory at most"), m_memory);
    for (QComboBox* box : {m_maxShard, m_memory})
        connect(box, &QComboBox::currentTextChanged, this, &ConvertOptionsStep::take);
}

void ConvertOptionsStep::makeChecks(OptionGrid& grid)
{
    m_verify = new QCheckBox(tr("Verify after writing"));
    grid.add(tr("Check"), m_verify).setReason(tr("The result is read back and compared with the source before it gets its name."));
    m_overwrite = new QCheckBox(tr("Replace it"));
    grid.add(tr("Target exists"), m_overwrite).setReason(tr("Names are exchanged at the end; until then the old one stays. Only a checkpoint or a model file is replaced."));
    for (QCheckBox* box : {m_verify, m_overwrite})
        connect(box, &QCheckBox::toggled, this, &ConvertOptionsStep::take);
}

void ConvertOptionsStep::makeMore(OptionGrid& grid)
{
    grid.addHeading(tr("More"));
    m_threads = new QSpinBox;
    m_threads->setRange(0, kMostThreads);
    m_threads->setSpecialValueText(tr("%1, as many as there are").arg(availableThreads()));
    connect(m_threads, &QSpinBox::valueChanged, this, &ConvertOptionsStep::take);
    m_threadsRow = grid.add(tr("Threads"), m_threads);
    m_include = new QLineEdit;
    m_include->setPlaceholderText(tr("everything"));
    m_includeRow = grid.add(tr("Only names with"), m_include);
    m_exclude = new QLineEdit;
    m_exclude->setPlaceholderText(tr("nothing"));
    m_excludeRow = grid.add(tr("Not names with"), m_exclude);
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
    m_whole->load(draft, facts);
    m_rules->load(draft, facts);
    m_mindSpore->load(draft, facts);
    m_preview->load(draft, facts);
    m_quantize->load(draft, facts);
    const bool cast = draft.dtype && !keepsTree(draft);
    m_dtype->setCurrentIndex(cast ? std::max(0, m_dtype->findData(static_cast<int>(*draft.dtype))) : 0);
    showSize(m_maxShard, makesOneFile(draft) ? 0 : draft.maxShardBytes);
    m_writers->setValue(static_cast<int>(draft.writers));
    showSize(m_memory, draft.memoryLimit);
    m_threads->setValue(static_cast<int>(draft.threads));
    m_verify->setChecked(draft.verify);
    m_overwrite->setChecked(draft.overwrite);
    m_include->setText(keepsTree(draft) ? QString() : draft.include);
    m_exclude->setText(keepsTree(draft) ? QString() : draft.exclude);
    loadRows();
    loadReasons();
    m_loading = false;
}

void ConvertOptionsStep::loadRows()
{
    const bool run = takesAll(draft());
    for (const Content& content : m_contents)
        content.row.setVisible(!run && !(makesMindSpore(draft()) && draft().sourceIsMindSpore));
    for (const OptionRow* row : {&m_dtypeRow, &m_maxShardRow, &m_includeRow, &m_excludeRow}) {
        row->setVisible(!run && !makesMindSpore(draft()));
        row->control->setEnabled(!keepsTree(draft()));
    }
    m_maxShardRow.setVisible(hasShards(draft()));
    m_writersRow.setVisible(hasWriters(draft()));
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
        content.row.setReason(there                                 ? noteOf(content.select, found)
                              : content.select == Select::Optimizer ? tr("the source holds no optimizer states")
                                                                    : tr("the source holds one copy of the weights"));
    }
}

QString ConvertOptionsStep::noteOf(Select select, const ContentFacts& found) const
{
    const QString bytes = text(sizeText(found.bytesAs(std::nullopt, draft().format)));
    const QString size = tr("%1, %2", "size, tensors").arg(bytes, text(plural(found.tensorsInResult(), "tensor", "tensors")));
    if (select == Select::Weights && m_facts.source->hasMaster)
        return tr("%1; the optimizer's own copy, more exact than the module copy").arg(size);
    if (select == Select::All && draft().sourceIsTree && draft().format == "torch")
        return tr("%1; the source's tree as it is, with what is no tensor, in one torch file").arg(size);
    return select == Select::All ? tr("%1; weights, module copies and optimizer states").arg(size) : size;
}

void ConvertOptionsStep::loadReasons()
{
    const ContentFacts* found = m_facts.source ? &m_facts.source->of(draft().select) : nullptr;
    const bool tree = keepsTree(draft());
    const QString stored = found != nullptr && found->dtype ? dtypeText(*found->dtype) : QString();
    m_dtype->setItemText(0, stored.isEmpty() ? tr("As stored") : tr("As stored: %1").arg(stored));
    if (tree)
        m_dtypeRow.setReason(tr("everything of a torch file is kept as it is; choose weights to cast them"));
    else if (makesCodes(draft()))
        m_dtypeRow.setReason(tr("of what is not quantized; weights are cast to it before their codes are made"));
    else if (!draft().dtype)
        m_dtypeRow.setReason(stored.isEmpty() ? QString() : tr("because the source is %1: every byte is copied").arg(stored));
    else if (found != nullptr)
        m_dtypeRow.setReason(tr("%1 in all; values beyond its range become infinite, and the report counts them")
                                 .arg(text(sizeText(found->bytesAs(draft().dtype, draft().format)))));
    m_maxShardRow.setReason(tree                                          ? tr("a tree is one file")
                            : draft().oneFile                             ? tr("the target is one file")
                            : sizeIn(m_maxShard) == 0                     ? tr("a size such as 5GB or 512MiB is needed")
                            : draft().maxShardBytes == kDefaultShardBytes ? tr("because Hugging Face splits there")
                                                                          : QString());
    loadWriters();
    m_memoryRow.setReason(sizeIn(m_memory) == 0 ? tr("a size such as 512MiB or 2GiB is needed") : tr("buffers and descriptions stay within it, however large the model"));
    const bool casts = !takesWhole(draft()) && draft().dtype && found != nullptr && draft().dtype != found->dtype;
    m_threadsRow.setReason(makesCodes(draft()) ? tr("that read, cast and write; and quantize, where the CPU does that")
                           : takesAll(draft()) ? tr("on the CPU: a GPU would not help here")
                           : casts           ? tr("on the CPU: casts keep up with the disk")
                                             : tr("on the CPU: a GPU would not help here, every byte is copied"));
    loadPatternReasons();
}

// How large a file becomes, and how many ranks wrote the source.
void ConvertOptionsStep::loadWriters()
{
    if (!hasWriters(draft()) || !m_facts.source || !m_facts.checkpoint)
        return m_writersRow.setReason({});
    std::set<std::uint32_t> ranks;
    for (const File& file : m_facts.checkpoint->files())
        if (file.rank)
            ranks.insert(*file.rank);
    const bool asIs = takesWhole(draft());
    const std::uint64_t all = asIs && m_facts.run && m_facts.run->refusal.isEmpty() ? m_facts.run->bytes : m_facts.source->of(contentsOf(draft())).bytesAs(asIs ? std::nullopt : draft().dtype, draft().format);
    QString reason = draft().writers == 1 ? tr("one file of %1").arg(text(sizeText(all)))
                                          : tr("a file each, about %1").arg(text(sizeText(all / draft().writers)));
    if (!ranks.empty())
        reason = tr("%1; %2 wrote the source", "what becomes of it, how many ranks").arg(reason, text(plural(ranks.size(), "rank", "ranks")));
    m_writersRow.setReason(reason);
}

void ConvertOptionsStep::loadPatternReasons()
{
    const bool tree = keepsTree(draft());
    const QString problem = tree ? QString() : problemOf(draft().include) + problemOf(draft().exclude);
    m_includeRow.setReason(tree ? tr("a tree is kept whole") : problem, !problem.isEmpty());
    m_excludeRow.setReason(tree ? QString() : tr("A regular expression, searched in the names, like ^lm_head\\."));
    m_include->setProperty("invalid", !tree && !problemOf(draft().include).isEmpty());
    m_exclude->setProperty("invalid", !tree && !problemOf(draft().exclude).isEmpty());
    for (QLineEdit* field : {m_include, m_exclude})
        field->update();
}

void ConvertOptionsStep::takePicking(JobDraft& draft) const
{
    const QVariant dtype = m_dtype->currentData();
    draft.dtype = dtype.isValid() ? std::optional(static_cast<DType>(dtype.toInt())) : std::nullopt;
    if (hasShards(draft))
        draft.oneFile = m_maxShard->currentText() == m_maxShard->itemText(0);
    if (const std::uint64_t size = sizeIn(m_maxShard); size > 0 && hasShards(draft))
        draft.maxShardBytes = size;
    draft.include = m_include->text();
    draft.exclude = m_exclude->text();
}

void ConvertOptionsStep::take()
{
    if (m_loading)
        return;
    JobDraft next = draft();
    const bool wasWhole = takesWhole(next);
    if (!makesRun(next))
        for (const Content& content : m_contents)
            if (content.button->isChecked())
                next.select = content.select;
    if (!wasWhole) // else the controls do not show the draft's own choices
        takePicking(next);
    if (wasWhole && takesWhole(next))
        m_whole->take(next);
    if (hasWriters(next))
        next.writers = static_cast<std::uint32_t>(m_writers->value());
    m_rules->take(next);
    m_mindSpore->take(next);
    m_quantize->take(next);
    if (const std::uint64_t size = sizeIn(m_memory); size > 0)
        next.memoryLimit = size;
    next.threads = static_cast<std::uint32_t>(m_threads->value());
    next.verify = m_verify->isChecked();
    next.overwrite = m_overwrite->isChecked();
    change(next);
    if (takesWhole(next) != wasWhole) {
        load(next, m_facts);
        return;
    }
    m_loading = true;
    m_whole->load(next, m_facts);
    m_rules->load(next, m_facts);
    m_mindSpore->load(next, m_facts);
    m_quantize->load(next, m_facts);
    m_loading = false;
    loadReasons();
}

QString ConvertOptionsStep::summary(const JobDraft& draft, const StepFacts& facts) const
{
    if (makesMindSpore(draft))
        return ConvertMindSporeOptions::summary(draft, facts);
    if (takesAll(draft))
        return ConvertWholeOptions::summary(draft, facts);
    const QString what = draft.select == Select::Module ? tr("Module copy") : draft.select == Select::Optimizer ? tr("Optimizer") : draft.select == Select::All ? tr("Everything") : tr("Weights");
    const QString dtype = makesCodes(draft)                        ? text(draft.scheme)
                          : draft.dtype && !keepsTree(draft)      ? dtypeText(*draft.dtype)
                          : canQuantize(draft) && draft.dequantize ? tr("values of codes")
                                                                   : tr("as stored");
    QString choice = tr("%1, %2").arg(what, dtype);
    if (draft.memoryLimit != kDefaultMemoryLimit)
        choice = tr("%1, %2 memory", "choices, size").arg(choice, text(sizeText(draft.memoryLimit)));
    return hasWriters(draft) ? tr("%1, %2", "writers, the other choices").arg(text(plural(draft.writers, "writer", "writers")), choice) : choice;
}

QString ConvertOptionsStep::obstacle(const JobDraft& draft, const StepFacts& facts) const
{
    if (makesMindSpore(draft))
        return ConvertMindSporeOptions::obstacle(draft, facts);
    const QString left = makesCodes(draft) ? draft.quantizeExclude : QString();
    return takesWhole(draft) ? ConvertWholeOptions::obstacle(draft, facts) : problemOf(draft.include) + problemOf(draft.exclude) + problemOf(left);
}

} // namespace shardlens::ui
