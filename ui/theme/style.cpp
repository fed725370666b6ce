#include "ui/theme/style.h"

#include "ui/theme/theme.h"

#include <QAbstractButton>
#include <QAbstractItemView>
#include <QComboBox>
#include <QLineEdit>
#include <QPainter>
#include <QPainterPath>
#include <QStyleOption>

namespace shardlens::ui {
namespace {

bool hasProperty(const QWidget* widget, const char* name)
{
    return widget != nullptr && widget->property(name).toBool();
}

struct Box {
    QColor fill;
    QColor edge;
    double radius;
};

void drawBox(QPainter* painter, const QRect& rect, const Box& box)
{
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    painter->setPen(box.edge.isValid() ? QPen(box.edge, 1) : QPen(Qt::NoPen));
    painter->setBrush(box.fill.isValid() ? QBrush(box.fill) : QBrush(Qt::NoBrush));
    painter->drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), box.radius, box.radius);
    painter->restore();
}

void drawFocus(QPainter* painter, const QRect& rect, double radius)
{
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    painter->setPen(QPen(Theme::current().colour(Token::Accent), 2));
    painter->setBrush(Qt::NoBrush);
    painter->drawRoundedRect(QRectF(rect).adjusted(1, 1, -1, -1), radius, radius);
    painter->restore();
}

Box buttonBox(const QStyleOption* option, const QWidget* widget)
{
    const Theme& theme = Theme::current();
    const bool hover = (option->state & QStyle::State_MouseOver) && (option->state & QStyle::State_Enabled);
    const bool down = option->state & (QStyle::State_Sunken | QStyle::State_On);
    const double radius = theme.px(4);
    if (hasProperty(widget, "primary")) {
        QColor fill = theme.colour(Token::Accent);
        if (!(option->state & QStyle::State_Enabled))
            return {theme.colour(Token::Sunken), theme.colour(Token::Border), radius};
        if (hover || down)
            fill = theme.isDark() ? fill.lighter(108) : fill.darker(110);
        return {fill, fill, radius};
    }
    if (hasProperty(widget, "flat"))
        return {down ? theme.colour(Token::AccentWeak) : hover ? theme.colour(Token::Sunken) : QColor(), QColor(), radius};
    if (down)
        return {theme.colour(Token::AccentWeak), theme.colour(Token::AccentLine), radius};
    return {hover ? theme.colour(Token::Raised) : theme.colour(Token::Surface), theme.colour(hover ? Token::BorderStrong : Token::Border), radius};
}

void drawArrow(QPainter* painter, const QRectF& rect, const QColor& colour)
{
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    painter->setPen(QPen(colour, 1.5, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
    const QPointF middle = rect.center();
    const double half = Theme::current().px(4);
    QPainterPath path(middle + QPointF(-half, -half / 2));
    path.lineTo(middle + QPointF(0, half / 2));
    path.lineTo(middle + QPointF(half, -half / 2));
    painter->drawPath(path);
    painter->restore();
}

void drawCheckBox(const QStyleOption* option, QPainter* painter, bool round)
{
    const Theme& theme = Theme::current();
    const bool on = option->state & QStyle::State_On;
    const bool enabled = option->state & QStyle::State_Enabled;
    const double radius = round ? option->rect.height() / 2.0 : theme.px(3);
    const QColor fill = on && enabled ? theme.colour(Token::Accent) : enabled ? theme.colour(Token::Surface) : theme.colour(Token::Sunken);
    drawBox(painter, option->rect, {fill, on && enabled ? fill : theme.colour(Token::BorderStrong), radius});
    if (!on)
        return;
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    const QColor ink = enabled ? theme.colour(Token::AccentText) : theme.colour(Token::Text3);
    const QRectF r = QRectF(option->rect);
    if (round) {
        painter->setPen(Qt::NoPen);
        painter->setBrush(ink);
        painter->drawEllipse(r.center(), r.width() * 0.2, r.width() * 0.2);
    } else {
        painter->setPen(QPen(ink, 1.8, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
        QPainterPath path(r.topLeft() + QPointF(r.width() * 0.24, r.height() * 0.52));
        path.lineTo(r.topLeft() + QPointF(r.width() * 0.43, r.height() * 0.7));
        path.lineTo(r.topLeft() + QPointF(r.width() * 0.76, r.height() * 0.32));
        painter->drawPath(path);
    }
    painter->restore();
}

void drawScrollBar(const QStyleOptionSlider* bar, QPainter* painter, const QStyle* style, const QWidget* widget)
{
    const Theme& theme = Theme::current();
    painter->fillRect(bar->rect, theme.colour(Token::Surface));
    QRect handle = style->subControlRect(QStyle::CC_ScrollBar, bar, QStyle::SC_ScrollBarSlider, widget);
    if (bar->maximum <= bar->minimum)
        return;
    handle = handle.adjusted(2, 2, -2, -2);
    const bool active = bar->state & (QStyle::State_MouseOver | QStyle::State_Sunken);
    const QColor fill = active ? theme.colour(Token::Text3) : theme.colour(Token::Hatch);
    drawBox(painter, handle, {fill, QColor(), std::min(handle.width(), handle.height()) / 2.0});
}

} // namespace

Style::Style() : QProxyStyle(QStringLiteral("Fusion")) {}

void Style::polish(QWidget* widget)
{
    QProxyStyle::polish(widget);
    if (qobject_cast<QAbstractButton*>(widget) != nullptr || qobject_cast<QComboBox*>(widget) != nullptr || qobject_cast<QLineEdit*>(widget) != nullptr)
        widget->setAttribute(Qt::WA_Hover);
}

int Style::pixelMetric(PixelMetric metric, const QStyleOption* option, const QWidget* widget) const
{
    const Theme& theme = Theme::current();
    switch (metric) {
    case PM_ScrollBarExtent: return theme.px(10);
    case PM_ScrollBarSliderMin: return theme.px(28);
    case PM_SplitterWidth: return 5;
    case PM_ButtonMargin: return theme.px(8);
    case PM_DefaultFrameWidth: return 1;
    case PM_IndicatorWidth:
    case PM_IndicatorHeight:
    case PM_ExclusiveIndicatorWidth:
    case PM_ExclusiveIndicatorHeight: return theme.px(16);
    case PM_CheckBoxLabelSpacing:
    case PM_RadioButtonLabelSpacing: return theme.px(8);
    case PM_SmallIconSize:
    case PM_ButtonIconSize:
    case PM_LineEditIconSize: return theme.px(16);
    case PM_MenuPanelWidth: return 1;
    case PM_MenuVMargin: return theme.px(4);
    case PM_LayoutHorizontalSpacing: return theme.px(8);
    case PM_LayoutVerticalSpacing: return theme.px(8);
    case PM_HeaderMargin: return theme.px(6);
    case PM_ButtonShiftHorizontal:
    case PM_ButtonShiftVertical: return 0;
    default: return QProxyStyle::pixelMetric(metric, option, widget);
    }
}

int Style::styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget, QStyleHintReturn* result) const
{
    switch (hint) {
    case SH_ScrollBar_Transient: return 0;
    case SH_EtchDisabledText:
    case SH_DitherDisabledText: return 0;
    case SH_ToolTip_WakeUpDelay: return 500;
    case SH_ItemView_ShowDecorationSelected: return 1;
    case SH_ComboBox_Popup: return 0;
    case SH_Menu_Scrollable: return 1;
    default: return QProxyStyle::styleHint(hint, option, widget, result);
    }
}

void Style::drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter, const QWidget* widget) const
{
    const Theme& theme = Theme::current();
    switch (element) {
    case PE_FrameFocusRect: drawFocus(painter, option->rect, theme.px(4)); return;
    case PE_PanelButtonCommand:
    case PE_PanelButtonTool: {
        const Box box = buttonBox(option, widget);
        if (element == PE_PanelButtonCommand || box.fill.isValid() || !hasProperty(widget, "flat"))
            drawBox(painter, option->rect, box);
        return;
    }
    case PE_PanelLineEdit: {
        const auto* field = qobject_cast<const QLineEdit*>(widget);
        if (field != nullptr && (!field->hasFrame() || qobject_cast<const QComboBox*>(field->parent()) != nullptr))
            return;
        const bool focused = option->state & State_HasFocus;
        const bool enabled = option->state & State_Enabled;
        const QColor edge = theme.colour(hasProperty(widget, "invalid") ? Token::Error : focused ? Token::Accent : enabled ? Token::BorderStrong : Token::Border);
        drawBox(painter, option->rect, {theme.colour(enabled ? Token::Surface : Token::Sunken), edge, static_cast<double>(theme.px(4))});
        if (focused || hasProperty(widget, "invalid"))
            drawBox(painter, option->rect.adjusted(1, 1, -1, -1), {QColor(), edge, static_cast<double>(theme.px(3))});
        return;
    }
    case PE_FrameLineEdit: return;
    case PE_IndicatorCheckBox: drawCheckBox(option, painter, false); return;
    case PE_IndicatorRadioButton: drawCheckBox(option, painter, true); return;
    case PE_PanelItemViewRow:
    case PE_PanelItemViewItem: {
        if (option->state & State_Selected) {
            painter->fillRect(option->rect, theme.colour(Token::AccentWeak));
            return;
        }
        if (const auto* item = qstyleoption_cast<const QStyleOptionViewItem*>(option); item != nullptr && (item->features & QStyleOptionViewItem::Alternate) && element == PE_PanelItemViewRow)
            painter->fillRect(option->rect, theme.colour(Token::Raised));
        if (element == PE_PanelItemViewItem && (option->state & State_MouseOver))
            painter->fillRect(option->rect, theme.colour(Token::Sunken));
        return;
    }
    case PE_FrameMenu: drawBox(painter, option->rect, {QColor(), theme.colour(Token::Border), 0}); return;
    case PE_PanelTipLabel: drawBox(painter, option->rect, {theme.colour(Token::Raised), theme.colour(Token::BorderStrong), 0}); return;
    default: QProxyStyle::drawPrimitive(element, option, painter, widget);
    }
}

void Style::drawControl(ControlElement element, const QStyleOption* option, QPainter* painter, const QWidget* widget) const
{
    const Theme& theme = Theme::current();
    switch (element) {
    case CE_HeaderSection:
    case CE_HeaderEmptyArea: {
        painter->fillRect(option->rect, theme.colour(Token::Sunken));
        return;
    }
    case CE_PushButtonLabel:
        if (const auto* button = qstyleoption_cast<const QStyleOptionButton*>(option)) {
            QStyleOptionButton copy(*button);
            if (!copy.icon.isNull())
                copy.text.prepend(QLatin1Char(' ')); // Fusion leaves too little between them
            if (hasProperty(widget, "primary"))
                copy.palette.setColor(QPalette::ButtonText, theme.colour((option->state & State_Enabled) ? Token::AccentText : Token::Text3));
            QProxyStyle::drawControl(element, &copy, painter, widget);
            return;
        }
        break;
    case CE_Splitter: {
        const QRect r = option->rect;
        const bool vertical = option->state & State_Horizontal; // the handle stands upright
        const QRect line = vertical ? QRect(r.center().x(), r.top(), 1, r.height()) : QRect(r.left(), r.center().y(), r.width(), 1);
        painter->fillRect(r, theme.colour(Token::Window));
        painter->fillRect(line, theme.colour((option->state & State_MouseOver) ? Token::Accent : Token::Border));
        return;
    }
    case CE_MenuBarEmptyArea: painter->fillRect(option->rect, theme.colour(Token::Window)); return;
    case CE_MenuBarItem:
        if (const auto* item = qstyleoption_cast<const QStyleOptionMenuItem*>(option)) {
            const bool active = item->state & (State_Selected | State_Sunken);
            painter->fillRect(item->rect, theme.colour(active ? Token::AccentWeak : Token::Window));
            drawItemText(painter, item->rect, Qt::AlignCenter | Qt::TextShowMnemonic | Qt::TextDontClip | Qt::TextSingleLine, item->palette, true, item->text, QPalette::WindowText);
            return;
        }
        break;
    default: break;
    }
    QProxyStyle::drawControl(element, option, painter, widget);
}

void Style::drawComplexControl(ComplexControl control, const QStyleOptionComplex* option, QPainter* painter, const QWidget* widget) const
{
    const Theme& theme = Theme::current();
    if (control == CC_ScrollBar) {
        if (const auto* bar = qstyleoption_cast<const QStyleOptionSlider*>(option)) {
            drawScrollBar(bar, painter, this, widget);
            return;
        }
    }
    if (control == CC_ComboBox) {
        if (const auto* combo = qstyleoption_cast<const QStyleOptionComboBox*>(option); combo != nullptr) {
            const bool active = combo->state & (State_MouseOver | State_On);
            const bool enabled = combo->state & State_Enabled;
            drawBox(painter, combo->rect, {theme.colour(enabled ? Token::Surface : Token::Sunken), theme.colour(active ? Token::BorderStrong : Token::Border), static_cast<double>(theme.px(4))});
            const QRect arrow = subControlRect(CC_ComboBox, combo, SC_ComboBoxArrow, widget);
            drawArrow(painter, QRectF(arrow), theme.colour(enabled ? Token::Text2 : Token::Text3));
            if (combo->state & State_HasFocus)
                drawFocus(painter, combo->rect, theme.px(4));
            return;
        }
    }
    QProxyStyle::drawComplexControl(control, option, painter, widget);
}

QRect Style::subControlRect(ComplexControl control, const QStyleOptionComplex* option, SubControl sub, const QWidget* widget) const
{
    const Theme& theme = Theme::current();
    if (control == CC_ScrollBar && qstyleoption_cast<const QStyleOptionSlider*>(option) != nullptr) {
        const auto* bar = qstyleoption_cast<const QStyleOptionSlider*>(option);
        // no arrow buttons: the groove is the whole bar
        const bool horizontal = bar->orientation == Qt::Horizontal;
        const int length = horizontal ? bar->rect.width() : bar->rect.height();
        const int range = bar->maximum - bar->minimum;
        int handle = length;
        if (range > 0) {
            const double share = static_cast<double>(bar->pageStep) / (static_cast<double>(range) + bar->pageStep);
            handle = std::clamp(static_cast<int>(length * share), std::min(theme.px(28), length), length);
        }
        const int start = sliderPositionFromValue(bar->minimum, bar->maximum, bar->sliderPosition, length - handle, bar->upsideDown);
        switch (sub) {
        case SC_ScrollBarGroove: return bar->rect;
        case SC_ScrollBarSlider: return horizontal ? QRect(start, 0, handle, bar->rect.height()) : QRect(0, start, bar->rect.width(), handle);
        case SC_ScrollBarAddPage: return horizontal ? QRect(start + handle, 0, length - start - handle, bar->rect.height()) : QRect(0, start + handle, bar->rect.width(), length - start - handle);
        case SC_ScrollBarSubPage: return horizontal ? QRect(0, 0, start, bar->rect.height()) : QRect(0, 0, bar->rect.width(), start);
        default: return {};
        }
    }
    if (control == CC_ComboBox) {
        const int arrow = theme.px(26);
        const QRect r = option->rect;
        if (sub == SC_ComboBoxArrow)
            return visualRect(option->direction, r, QRect(r.right() - arrow + 1, r.top(), arrow, r.height()));
        if (sub == SC_ComboBoxEditField)
            return visualRect(option->direction, r, r.adjusted(theme.px(8), 1, -arrow, -1));
    }
    return QProxyStyle::subControlRect(control, option, sub, widget);
}

QRect Style::subElementRect(SubElement element, const QStyleOption* option, const QWidget* widget) const
{
    const QRect rect = QProxyStyle::subElementRect(element, option, widget);
    const auto* field = qobject_cast<const QLineEdit*>(widget);
    if (element != SE_LineEditContents || field == nullptr || !field->hasFrame())
        return rect;
    return rect.adjusted(Theme::current().px(4), 0, -Theme::current().px(4), 0);
}

QSize Style::sizeFromContents(ContentsType type, const QStyleOption* option, const QSize& size, const QWidget* widget) const
{
    const Theme& theme = Theme::current();
    QSize out = QProxyStyle::sizeFromContents(type, option, size, widget);
    switch (type) {
    case CT_PushButton:
        out.setHeight(std::max(theme.px(28), out.height()));
        if (const auto* button = qstyleoption_cast<const QStyleOptionButton*>(option); button != nullptr && !button->text.isEmpty())
            out.setWidth(size.width() + theme.px(24));
        break;
    case CT_ComboBox: out = QSize(size.width() + theme.px(40), theme.px(28)); break;
    case CT_LineEdit: out.setHeight(std::max(theme.px(28), out.height())); break;
    case CT_SpinBox: out.setHeight(theme.px(28)); break;
    case CT_HeaderSection: out.setHeight(theme.px(26)); break;
    case CT_MenuBarItem: out.setHeight(theme.px(26)); break;
    case CT_MenuItem: out.setHeight(std::max(out.height(), theme.px(26))); break;
    default: break;
    }
    return out;
}

} // namespace shardlens::ui
