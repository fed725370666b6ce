#include "ui/pages/pipeline/pipeline_controls.h"

#include "ui/theme/theme.h"
#include "ui/widgets/flow_layout.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPainter>
#include <QSpinBox>

#include <array>

namespace shardlens::ui {
namespace {

enum Method { Parameters, Uniform, Type };
constexpr int kMostRanks = 100'000;
constexpr std::array<PartitionRules, 3> kVersions{{{true, true}, {true, false}, {false, false}}};

} // namespace

PipelineControls::PipelineControls(QWidget* parent)
    : QWidget(parent),
      m_stages(new QSpinBox(this)),
      m_method(new QComboBox(this)),
      m_pattern(new QLineEdit(this)),
      m_names(new QLineEdit(this)),
      m_weights(new QLineEdit(this)),
      m_before(new QLineEdit(this)),
      m_behind(new QLineEdit(this)),
      m_data(new QSpinBox(this)),
      m_tensor(new QSpinBox(this)),
      m_version(new QComboBox(this))
{
    build();
    const auto ask = [this] {
        fit();
        if (!m_isShowing)
            emit asked();
    };
    for (QSpinBox* box : {m_stages, m_data, m_tensor})
        connect(box, &QSpinBox::valueChanged, this, ask);
    for (QComboBox* box : {m_method, m_version})
        connect(box, &QComboBox::currentIndexChanged, this, ask);
    for (QLineEdit* field : {m_pattern, m_names, m_weights, m_before, m_behind})
        connect(field, &QLineEdit::editingFinished, this, ask);
    fit();
}

void PipelineControls::build()
{
    const Theme& theme = Theme::current();
    auto* flow = new FlowLayout(this);
    flow->setContentsMargins(theme.px(16), theme.px(8), theme.px(16), theme.px(8));
    flow->setSpacing(theme.px(8));
    const auto add = [&](const QString& label, QWidget* field, const QString& tip) {
        auto* pair = new QWidget(this); // a label never stands on another line than its field
        auto* row = new QHBoxLayout(pair);
        row->setContentsMargins(0, 0, theme.px(8), 0);
        auto* words = new TextLabel(label, TextStyle::Body, Token::Text2, pair);
        words->setBuddy(field);
        field->setAccessibleName(label);
        field->setToolTip(tip);
        row->addWidget(words);
        row->addWidget(field);
        flow->addWidget(pair);
        return pair;
    };
    m_stages->setRange(1, static_cast<int>(kMostStages));
    m_method->addItems({tr("parameters"), tr("uniform"), tr("type:")});
    m_version->addItems({tr("0.12.5 or newer"), tr("0.10.1 to 0.12.4"), tr("before 0.10.1")});
    for (QSpinBox* box : {m_data, m_tensor})
        box->setRange(1, kMostRanks);
    m_pattern->setPlaceholderText(QStringLiteral("block"));
    m_before->setPlaceholderText(QStringLiteral("wte|embed"));
    m_behind->setPlaceholderText(QStringLiteral("norm|head"));
    for (QLineEdit* field : {m_pattern, m_before, m_behind})
        field->setFont(theme.font(TextStyle::Mono));
    m_names->setPlaceholderText(QStringLiteral("Embed,Block*12,LayerNorm,Head"));
    m_weights->setPlaceholderText(QStringLiteral("38597376,7087872*12,1536"));
    m_names->setMinimumWidth(theme.px(280));
    m_weights->setMinimumWidth(theme.px(360));
    m_weightsPair =
        add(tr("Weights"), m_weights, tr("Trainable parameters of each layer, with commas between; *12 stands for twelve of them."));
    add(tr("Stages"), m_stages, tr("Pipeline stages"));
    add(tr("Method"), m_method,
        tr("partition_method of PipelineModule: balance trainable parameters, the number of layers, or the layers whose class name "
           "matches"));
    m_patternPair = add(tr("Class name has"), m_pattern,
                        tr("A regular expression, searched in class names. The case is ignored; what stands behind a second colon too."));
    m_namesPair =
        add(tr("Class names"), m_names,
            tr("Checkpoints do not store the classes of layers. One name each, with commas between; *12 stands for twelve of them."));
    add(tr("Data parallel"), m_data, tr("Data-parallel ranks of a stage"));
    add(tr("Tensor parallel"), m_tensor, tr("Tensor-parallel ranks of a stage"));
    add(tr("DeepSpeed"), m_version, tr("uniform changed in 0.10.1, the other methods in 0.12.5"));
    m_beforePair =
        add(tr("Names before the layers"), m_before,
            tr("Names without a number stand where the files have them. What matches this regular expression is put before the layers."));
    m_behindPair = add(tr("behind them"), m_behind, tr("What matches this regular expression is put behind the layers."));
    m_behind->setAccessibleName(tr("Names behind the layers"));
    const std::array<QWidget*, 10> order{m_weights, m_stages, m_method,  m_pattern, m_names,
                                         m_data,    m_tensor, m_version, m_before,  m_behind}; // as they stand
    for (std::size_t i = 1; i < order.size(); ++i)
        setTabOrder(order[i - 1], order[i]);
}

void PipelineControls::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.fillRect(rect(), theme.colour(Token::Surface));
    painter.setPen(theme.colour(Token::Border));
    painter.drawLine(0, height() - 1, width(), height() - 1);
}

void PipelineControls::fit()
{
    const bool isType = m_method->currentIndex() == Type;
    m_patternPair->setVisible(isType);
    m_namesPair->setVisible(isType);
    m_weightsPair->setVisible(m_needs.weights);
    m_beforePair->setVisible(m_needs.places);
    m_behindPair->setVisible(m_needs.places);
    updateGeometry();
}

void PipelineControls::show(const PipelineQuestion& question, const Needs& needs)
{
    m_isShowing = true;
    m_needs = needs;
    m_stages->setValue(static_cast<int>(question.stages));
    m_data->setValue(static_cast<int>(question.axes.dp));
    m_tensor->setValue(static_cast<int>(question.axes.tp));
    const bool isType = question.method.startsWith(QStringLiteral("type:"), Qt::CaseInsensitive);
    m_method->setCurrentIndex(isType ? Type : question.method == QStringLiteral("uniform") ? Uniform : Parameters);
    if (isType)
        m_pattern->setText(question.method.mid(5));
    m_names->setText(question.names);
    m_weights->setText(question.weights);
    m_before->setText(question.before);
    m_behind->setText(question.behind);
    for (std::size_t i = 0; i < kVersions.size(); ++i)
        if (kVersions[i] == question.rules)
            m_version->setCurrentIndex(static_cast<int>(i));
    fit();
    m_isShowing = false;
}

PipelineQuestion PipelineControls::question() const
{
    PipelineQuestion out;
    out.stages = static_cast<std::uint64_t>(m_stages->value());
    switch (static_cast<Method>(m_method->currentIndex())) {
    case Parameters: out.method = QStringLiteral("parameters"); break;
    case Uniform: out.method = QStringLiteral("uniform"); break;
    case Type: out.method = QStringLiteral("type:") + m_pattern->text(); break;
    }
    out.rules = kVersions[static_cast<std::size_t>(m_version->currentIndex())];
    out.axes = {static_cast<std::uint32_t>(m_data->value()), static_cast<std::uint32_t>(m_tensor->value())};
    out.names = m_names->text();
    out.weights = m_needs.weights ? m_weights->text() : QString();
    out.before = m_needs.places ? m_before->text() : QString();
    out.behind = m_needs.places ? m_behind->text() : QString();
    return out;
}

} // namespace shardlens::ui
