#pragma once

#include "ui/theme/theme.h"

#include <QWidget>

namespace shardlens::ui {

// An area in one of the theme's colours, with a hairline at an edge.
class Ground : public QWidget {
    Q_OBJECT
public:
    enum class Edge { None, Top, Right, Bottom };
    explicit Ground(Token fill, Edge edge = Edge::None, QWidget* parent = nullptr);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    Token m_fill;
    Edge m_edge;
};

// A share as a filled track; with a text inside where it is high enough.
class ShareBar : public QWidget {
    Q_OBJECT
public:
    explicit ShareBar(int designHeight, QWidget* parent = nullptr);
    void setShare(double share, const QString& text = {});
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    int m_height;
    double m_share = 0;
    QString m_text;
};

// A rounded track with its filled part, as bars are drawn in lists as well.
void paintShare(QPainter& painter, const QRectF& where, double share, double radius);

// An icon of the theme as a widget.
class ToneIcon : public QWidget {
    Q_OBJECT
public:
    ToneIcon(QString name, Token tone, int designSize = 16, QWidget* parent = nullptr);
    void setIcon(const QString& name, Token tone);
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QString m_name;
    Token m_tone;
    int m_size;
};

} // namespace shardlens::ui
