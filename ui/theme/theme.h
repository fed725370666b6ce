#pragma once

#include <QColor>
#include <QFont>
#include <QIcon>
#include <QObject>
#include <QPalette>

#include <memory>

namespace shardlens::ui {

// Colours of tokens.json, light and dark alike.
enum class Token {
    Window, Surface, Raised, Sunken, Border, BorderStrong, Text, Text2, Text3, Accent, AccentText, AccentWeak, AccentLine,
    Ok, OkWeak, Warn, WarnWeak, Error, ErrorWeak, Info, InfoWeak, Track, Hatch, Hole, Selection, Halo, Shadow, Tier, TierAlt,
};

struct Tokens;

enum class TextStyle { Caption, Body, Strong, Title, Page, Figure, Mono, Tiny };

// The one source of colours, fonts, distances and icons (design.md §10). One instance, made by app/gui before the first widget and alive until the last.
// Widgets repaint on changed().
class Theme : public QObject {
    Q_OBJECT
public:
    enum class Mode { System, Light, Dark, HighContrast };

    explicit Theme(QObject* parent = nullptr);
    ~Theme() override;
    [[nodiscard]] static Theme& current();

    void setMode(Mode mode);
    [[nodiscard]] Mode mode() const { return m_mode; }
    [[nodiscard]] bool isDark() const { return m_dark; }
    void setTextPercent(int percent); // 80 … 300
    [[nodiscard]] int textPercent() const { return m_textPercent; }

    [[nodiscard]] QColor colour(Token token) const;
    [[nodiscard]] QColor categorical(int slot) const; // slot modulo 12
    [[nodiscard]] QColor sequential(int step) const;  // 0 … 8
    [[nodiscard]] QColor diverging(double value) const; // −1 … 1
    // The colour of an optimizer state or copy by its name (design.md §10, States).
    [[nodiscard]] QColor stateColour(const QString& role) const;
    // Black or white, whichever contrasts more with `ground`.
    [[nodiscard]] static QColor inkOn(const QColor& ground);
    [[nodiscard]] QFont font(TextStyle style) const;
    // A distance of tokens.json at the current scale (font height / 18).
    [[nodiscard]] int px(double designPixels) const;
    // "overview", "tensors", … (resources/icons), tinted for normal, disabled and selected state.
    [[nodiscard]] QIcon icon(const QString& name, Token tint = Token::Text2) const;

signals:
    void changed();

protected:
    bool eventFilter(QObject* watched, QEvent* event) override;

private:
    void apply();
    void decide();
    [[nodiscard]] QPalette palette() const;

    Mode m_mode = Mode::System;
    bool m_dark = false;
    bool m_systemDark = false;
    bool m_applying = false;
    int m_textPercent = 100;
    qreal m_bodyPixels = 13;
    QFont m_systemFont;
    QFont m_fixedFont;
    QPalette m_systemPalette;
    std::unique_ptr<const Tokens> m_tokens;
};

} // namespace shardlens::ui
