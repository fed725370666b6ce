#include "ui/pages/settings_page.h"

#include "ui/jobs/job_program.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/card.h"
#include "ui/widgets/link.h"
#include "ui/widgets/text_label.h"

#include <QComboBox>
#include <QFileDialog>
#include <QHBoxLayout>
#include <QLineEdit>
#include <QPainter>
#include <QPushButton>
#include <QScrollArea>
#include <QSettings>
#include <QSpinBox>
#include <QVBoxLayout>

namespace shardlens::ui {

SettingsPage::SettingsPage(QWidget* parent) : QWidget(parent)
{
    const Theme& theme = Theme::current();
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(theme.px(24), theme.px(20), theme.px(24), theme.px(20));
    outer->setSpacing(theme.px(16));
    auto* head = new QHBoxLayout;
    head->addWidget(new TextLabel(tr("Settings"), TextStyle::Page, Token::Text, this));
    head->addWidget(new TextLabel(tr("changes act at once"), TextStyle::Body, Token::Text2, this));
    head->addStretch(1);
    auto* defaults = new QPushButton(tr("Defaults"), this);
    defaults->setToolTip(tr("Every setting of this page back to what it was at first"));
    connect(defaults, &QPushButton::clicked, this, &SettingsPage::restoreDefaults);
    head->addWidget(defaults);
    outer->addLayout(head);

    auto* look = new Card(tr("Look"), {}, this);
    addChoice(look->body(), QStringLiteral("theme"), tr("Theme"), tr("System follows the desktop."), {tr("System"), tr("Light"), tr("Dark"), tr("High contrast")},
              {QStringLiteral("system"), QStringLiteral("light"), QStringLiteral("dark"), QStringLiteral("contrast")});
    addNumber(look->body(), QStringLiteral("textPercent"), tr("Text size"), tr("Scales the whole frame; also Ctrl++ and Ctrl+−."), 80, 300, 100, 10, tr(" %"));
    outer->addWidget(look);

    auto* jobs = new Card(tr("Jobs"), tr("for conversions that are started from now on"), this);
    addNumber(jobs->body(), QStringLiteral("jobs/memoryMiB"), tr("Memory at most"), tr("Bounds the buffers of a conversion for any size of model."), 32, 65'536, 256, 32, tr(" MiB"));
    addNumber(jobs->body(), QStringLiteral("jobs/threads"), tr("Threads"), tr("How many read and write at once."), 0, 256, 0, 1, {}, tr("as many as there are"));
    outer->addWidget(jobs);

    auto* devices = new Card(tr("Devices"), tr("where weights can be quantized, besides the CPU"), this);
    addFile(devices->body(), QString::fromLatin1(kTorchModuleSetting), tr("Device module"), tr("Built by packaging/build-torch-module.sh; SHARDLENS_TORCH_MODULE comes first."), tr("where the program looks"));
    addDevices(devices->body());
    outer->addWidget(devices);
    outer->addStretch(1);
}

void SettingsPage::finishRow(QVBoxLayout* column, const QString& label, const QString& why, QWidget* control, Row row)
{
    const Theme& theme = Theme::current();
    auto* line = new QHBoxLayout;
    auto* name = new TextLabel(label, TextStyle::Body, Token::Text, this);
    name->setFixedWidth(theme.px(180));
    name->setBuddy(control);
    control->setAccessibleName(label);
    line->addWidget(name);
    line->addWidget(control);
    auto* undo = new Link(tr("Undo"), this);
    const QVariant before = QSettings().value(row.key, row.standard);
    connect(undo, &Link::clicked, this, [this, row, before] {
        row.show(before);
        store(row.key, before);
    });
    line->addWidget(new TextLabel(why, TextStyle::Caption, Token::Text2, this));
    line->addStretch(1);
    line->addWidget(undo);
    column->addLayout(line);
    QSizePolicy keeps = undo->sizePolicy();
    keeps.setRetainSizeWhenHidden(true);
    undo->setSizePolicy(keeps);
    undo->hide();
    row.show(before);
    row.before = before;
    row.undo = undo;
    m_rows.push_back(std::move(row));
}

void SettingsPage::addChoice(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, const QStringList& names, const QStringList& values)
{
    auto* box = new QComboBox(this);
    box->addItems(names);
    box->setFixedWidth(Theme::current().px(200));
    const auto show = [box, values](const QVariant& value) {
        const QSignalBlocker quiet(box);
        box->setCurrentIndex(std::max(0, static_cast<int>(values.indexOf(value.toString()))));
    };
    connect(box, &QComboBox::currentIndexChanged, this, [this, key, values](int index) { store(key, values.value(index)); });
    finishRow(column, label, why, box, {key, values.first(), show});
}

void SettingsPage::addNumber(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, int low, int high, int standard, int step, const QString& suffix, const QString& zero)
{
    auto* box = new QSpinBox(this);
    box->setRange(low, high);
    box->setSingleStep(step);
    box->setSuffix(suffix);
    box->setSpecialValueText(zero);
    box->setFixedWidth(Theme::current().px(200));
    const auto show = [box](const QVariant& value) {
        const QSignalBlocker quiet(box);
        box->setValue(value.toInt());
    };
    connect(box, &QSpinBox::editingFinished, this, [this, key, box] { store(key, box->value()); });
    finishRow(column, label, why, box, {key, standard, show});
}

void SettingsPage::addFile(QVBoxLayout* column, const QString& key, const QString& label, const QString& why, const QString& placeholder)
{
    auto* both = new QWidget(this);
    auto* row = new QHBoxLayout(both);
    row->setContentsMargins(0, 0, 0, 0);
    auto* field = new QLineEdit(both);
    field->setPlaceholderText(placeholder);
    field->setFixedWidth(Theme::current().px(320));
    field->setObjectName(key.section(QLatin1Char('/'), -1));
    field->setAccessibleName(label);
    auto* choose = new QPushButton(tr("Choose…"), both);
    row->addWidget(field);
    row->addWidget(choose);
    const auto show = [field](const QVariant& value) { field->setText(value.toString()); };
    connect(field, &QLineEdit::editingFinished, this, [this, key, field] { store(key, field->text()); });
    connect(choose, &QPushButton::clicked, this, [this, key, field] {
        const QString path = QFileDialog::getOpenFileName(this, tr("Device module"), field->text(), tr("Modules (*.so)"));
        if (path.isEmpty())
            return;
        field->setText(path);
        store(key, path);
    });
    finishRow(column, label, why, both, {key, QString(), show});
}

void SettingsPage::addDevices(QVBoxLayout* column)
{
    auto* line = new QHBoxLayout;
    auto* name = new TextLabel(tr("Devices"), TextStyle::Body, Token::Text, this);
    name->setFixedWidth(Theme::current().px(180));
    m_devices = new TextLabel({}, TextStyle::Body, Token::Text2, this);
    m_devices->setWordWrap(true);
    m_devices->setTextFormat(Qt::PlainText);
    m_devices->setTextInteractionFlags(Qt::TextSelectableByMouse);
    auto* again = new Link(tr("Refresh"), this);
    line->addWidget(name, 0, Qt::AlignTop);
    line->addWidget(m_devices, 1);
    line->addWidget(again, 0, Qt::AlignTop);
    column->addLayout(line);
    connect(again, &Link::clicked, this, &SettingsPage::askDevices);
    connect(&m_probe, &DeviceProbe::found, this, &SettingsPage::showDevices);
}

void SettingsPage::askDevices()
{
    const QString program = findJobProgram();
    if (m_devices->text().isEmpty())
        m_devices->setText(tr("Looking for devices."));
    m_probe.start(program.isEmpty() ? QStringLiteral("shardlens") : program);
}

void SettingsPage::showDevices(const DeviceReport& report)
{
    QStringList lines;
    for (const DeviceRow& device : report.devices)
        lines << tr("%1: %2, %3 free of %4", "cuda:0, name, memory").arg(device.id, device.name, bytesText(device.freeBytes), bytesText(device.totalBytes));
    for (const QString& remark : {report.remark, report.problem})
        if (!remark.isEmpty())
            lines << remark;
    m_devices->setText(lines.join(QLatin1Char('\n')));
}

QString SettingsPage::devices() const
{
    return m_devices->text();
}

void SettingsPage::showEvent(QShowEvent* event)
{
    QWidget::showEvent(event);
    askDevices();
}

void SettingsPage::store(const QString& key, const QVariant& value)
{
    QSettings().setValue(key, value);
    for (const Row& row : m_rows)
        if (row.key == key)
            row.undo->setVisible(value.toString() != row.before.toString());
    apply(key, value);
}

void SettingsPage::apply(const QString& key, const QVariant& value)
{
    if (key == QLatin1String(kTorchModuleSetting))
        askDevices();
    Theme& theme = Theme::current();
    if (key == QLatin1String("textPercent"))
        theme.setTextPercent(value.toInt());
    if (key == QLatin1String("theme")) {
        const QString name = value.toString();
        theme.setMode(name == QLatin1String("light") ? Theme::Mode::Light
                      : name == QLatin1String("dark") ? Theme::Mode::Dark
                      : name == QLatin1String("contrast") ? Theme::Mode::HighContrast : Theme::Mode::System);
    }
}

void SettingsPage::restoreDefaults()
{
    for (const Row& row : m_rows) {
        row.show(row.standard);
        store(row.key, row.standard);
    }
}

void SettingsPage::paintEvent(QPaintEvent*)
{
    QPainter(this).fillRect(rect(), Theme::current().colour(Token::Window));
}

} // namespace shardlens::ui
