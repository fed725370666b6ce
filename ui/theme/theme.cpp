#include "ui/theme/theme.h"

#include "ui/theme/style.h"
#include "ui/theme/tinted_icon.h"
#include "ui/theme/tokens.h"

#include <QApplication>
#include <QEvent>
#include <QFontDatabase>
#include <QFontInfo>
#include <QFontMetrics>
#include <QWidget>

#include <cmath>

// Outside any namespace: the resources lie in a static library and must be asked for by name.
static void initShardlensResources()
{
    Q_INIT_RESOURCE(shardlens);
}

namespace shardlens::ui {
namespace {

Theme* g_current = nullptr;
constexpr double kDesignBody = 13; // pixels that the distances of tokens.json are meant for

double luminance(const QColor& colour)
{
    const auto channel = [](double value) { return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4); };
    return 0.2126 * channel(colour.redF()) + 0.7152 * channel(colour.greenF()) + 0.0722 * channel(colour.blueF());
}

QColor mixed(const QColor& a, const QColor& b, double amount)
{
    const auto mix = [&](double x, double y) { return static_cast<float>(x + (y - x) * amount); };
    return QColor::fromRgbF(mix(a.redF(), b.redF()), mix(a.greenF(), b.greenF()), mix(a.blueF(), b.blueF()));
}

} // namespace

Theme::Theme(QObject* parent) : QObject(parent)
{
    initShardlensResources();
    g_current = this;
    m_tokens = std::make_unique<const Tokens>(Tokens::read());
    m_systemPalette = QApplication::palette();
    m_systemFont = QApplication::font();
    m_fixedFont = QFontDatabase::systemFont(QFontDatabase::FixedFont);
    m_systemDark = m_systemPalette.color(QPalette::WindowText).lightnessF() > m_systemPalette.color(QPalette::Window).lightnessF();
    QApplication::setStyle(new Style);
    qApp->installEventFilter(this);
    apply();
}

Theme::~Theme()
{
    if (g_current == this)
        g_current = nullptr;
}

Theme& Theme::current()
{
    Q_ASSERT(g_current != nullptr);
    return *g_current;
}

void Theme::setMode(Mode mode)
{
    m_mode = mode;
    apply();
}

void Theme::setTextPercent(int percent)
{
    m_textPercent = std::clamp(percent, 80, 300);
    apply();
}

bool Theme::eventFilter(QObject* watched, QEvent* event)
{
    // The system switched its colours; palettes that this theme sets itself come by here too and are left alone.
    if (watched == qApp && event->type() == QEvent::ApplicationPaletteChange && !m_applying && m_mode == Mode::System) {
        const QPalette now = QApplication::palette();
        if (now.color(QPalette::Window) != palette().color(QPalette::Window)) {
            m_systemDark = now.color(QPalette::WindowText).lightnessF() > now.color(QPalette::Window).lightnessF();
            QMetaObject::invokeMethod(this, [this] { apply(); }, Qt::QueuedConnection);
        }
    }
    return QObject::eventFilter(watched, event);
}

void Theme::decide()
{
    switch (m_mode) {
    case Mode::Light: m_dark = false; return;
    case Mode::Dark: m_dark = true; return;
    case Mode::System:
    case Mode::HighContrast: m_dark = m_systemDark; return;
    }
}

void Theme::apply()
{
    decide();
    m_bodyPixels = std::max(kDesignBody, static_cast<double>(QFontInfo(m_systemFont).pixelSize())) * m_textPercent / 100.0;
    m_applying = true;
    QApplication::setFont(font(TextStyle::Body));
    QApplication::setPalette(palette());
    m_applying = false;
    emit changed();
    for (QWidget* widget : QApplication::topLevelWidgets())
        widget->update();
}

QPalette Theme::palette() const
{
    QPalette out;
    const auto set = [&](QPalette::ColorRole role, Token token) { out.setColor(QPalette::All, role, colour(token)); };
    set(QPalette::Window, Token::Window);
    set(QPalette::WindowText, Token::Text);
    set(QPalette::Base, Token::Surface);
    set(QPalette::AlternateBase, Token::Raised);
    set(QPalette::Text, Token::Text);
    set(QPalette::PlaceholderText, Token::Text3);
    set(QPalette::Button, Token::Surface);
    set(QPalette::ButtonText, Token::Text);
    set(QPalette::BrightText, Token::Error);
    set(QPalette::Highlight, Token::AccentWeak);
    set(QPalette::HighlightedText, Token::Text);
    set(QPalette::Link, Token::Accent);
    set(QPalette::LinkVisited, Token::Accent);
    set(QPalette::ToolTipBase, Token::Raised);
    set(QPalette::ToolTipText, Token::Text);
    set(QPalette::Light, Token::Raised);
    set(QPalette::Midlight, Token::Border);
    set(QPalette::Mid, Token::Border);
    set(QPalette::Dark, Token::BorderStrong);
    set(QPalette::Shadow, Token::Shadow);
    for (const QPalette::ColorRole role : {QPalette::Text, QPalette::WindowText, QPalette::ButtonText})
        out.setColor(QPalette::Disabled, role, colour(Token::Text3));
    return out;
}

QColor Theme::colour(Token token) const
{
    if (m_mode == Mode::HighContrast) {
        const QColor ink = m_systemPalette.color(QPalette::WindowText);
        const QColor ground = m_systemPalette.color(QPalette::Window);
        switch (token) {
        case Token::Window: case Token::Surface: case Token::Raised: case Token::Sunken: case Token::OkWeak: case Token::WarnWeak:
        case Token::ErrorWeak: case Token::InfoWeak: case Token::Halo:
            return ground;
        case Token::Text: case Token::Text2: case Token::Text3: case Token::Border: case Token::BorderStrong: case Token::Selection:
            return ink;
        default: break;
        }
    }
    return (m_dark ? m_tokens->dark : m_tokens->light).colours[static_cast<std::size_t>(token)];
}

QColor Theme::categorical(int slot) const
{
    const auto& list = (m_dark ? m_tokens->dark : m_tokens->light).categorical;
    return list[static_cast<std::size_t>(slot) % list.size()];
}

QColor Theme::sequential(int step) const
{
    const auto& list = (m_dark ? m_tokens->dark : m_tokens->light).sequential;
    return list[static_cast<std::size_t>(std::clamp(step, 0, static_cast<int>(list.size()) - 1))];
}

QColor Theme::diverging(double value) const
{
    const auto& list = (m_dark ? m_tokens->dark : m_tokens->light).diverging;
    if (std::isnan(value))
        return colour(Token::Hatch);
    const double at = (std::clamp(value, -1.0, 1.0) + 1) / 2 * static_cast<double>(list.size() - 1);
    const auto low = static_cast<std::size_t>(at);
    return mixed(list[low], list[std::min(low + 1, list.size() - 1)], at - static_cast<double>(low));
}

QColor Theme::stateColour(const QString& role) const
{
    // design.md §10: module copy, exp_avg, exp_avg_sq, fp32 master are steps 2, 3, 5, 6; others 1, 4, 7, 8
    if (role == QLatin1String("module copy") || role == QLatin1String("module"))
        return sequential(2);
    if (role == QLatin1String("exp_avg") || role == QLatin1String("momentum_buffer"))
        return sequential(3);
    if (role == QLatin1String("exp_avg_sq"))
        return sequential(5);
    if (role == QLatin1String("fp32 master") || role == QLatin1String("master") || role == QLatin1String("weight"))
        return sequential(6);
    if (role == QLatin1String("frozen parameter"))
        return sequential(4);
    if (role == QLatin1String("step"))
        return sequential(8);
    if (role == QLatin1String("other"))
        return colour(Token::Hatch); // no part of the model or its optimizer
    return role == QLatin1String("buffer") ? sequential(1) : sequential(7);
}

QColor Theme::inkOn(const QColor& ground)
{
    const double light = luminance(ground);
    return (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) ? QColor(Qt::black) : QColor(Qt::white);
}

QFont Theme::font(TextStyle style) const
{
    const double pixels = m_tokens->typePixels[static_cast<std::size_t>(style)] / kDesignBody * m_bodyPixels;
    QFont out = style == TextStyle::Mono ? m_fixedFont : m_systemFont;
    out.setPixelSize(std::max(8, static_cast<int>(std::lround(pixels))));
    if (style == TextStyle::Strong || style == TextStyle::Title || style == TextStyle::Page || style == TextStyle::Figure)
        out.setWeight(QFont::DemiBold);
    return out;
}

int Theme::px(double designPixels) const
{
    const double scaled = designPixels * m_bodyPixels / kDesignBody;
    return designPixels > 0 ? std::max(1, static_cast<int>(std::lround(scaled))) : static_cast<int>(std::lround(scaled));
}

QIcon Theme::icon(const QString& name, Token tint) const
{
    return QIcon(new TintedIcon(name, tint));
}

} // namespace shardlens::ui
