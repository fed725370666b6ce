#include "ui/theme/tokens.h"

#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>

namespace shardlens::ui {
namespace {

// The keys of tokens.json in the order of Token.
constexpr std::array<const char*, kTokenCount> kColourKeys{
    "window", "surface", "raised", "sunken", "border", "borderStrong", "text", "text2", "text3", "accent", "accentText", "accentWeak", "accentLine",
    "ok", "okWeak", "warn", "warnWeak", "error", "errorWeak", "info", "infoWeak", "track", "hatch", "hole", "selection", "halo", "shadow", "tier", "tierAlt"};
constexpr std::array<const char*, 8> kTypeKeys{"caption", "body", "strong", "title", "page", "figure", "mono", "tiny"};

std::vector<QColor> coloursOf(const QJsonArray& list)
{
    std::vector<QColor> out;
    for (const auto& one : list)
        out.emplace_back(one.toString());
    return out;
}

Tokens::Side sideOf(const QJsonObject& root, const QString& name)
{
    Tokens::Side side;
    const QJsonObject colours = root.value(name).toObject();
    for (std::size_t i = 0; i < kColourKeys.size(); ++i)
        side.colours[i] = QColor(colours.value(QLatin1String(kColourKeys[i])).toString());
    side.categorical = coloursOf(root.value(QStringLiteral("categorical")).toObject().value(name).toArray());
    side.sequential = coloursOf(root.value(QStringLiteral("sequential")).toObject().value(name).toArray());
    side.diverging = coloursOf(root.value(QStringLiteral("diverging")).toObject().value(name).toArray());
    return side;
}

} // namespace

Tokens Tokens::read()
{
    QFile file(QStringLiteral(":/tokens.json"));
    const bool isOpen = file.open(QIODevice::ReadOnly);
    Q_ASSERT(isOpen);
    Q_UNUSED(isOpen)
    const QJsonObject root = QJsonDocument::fromJson(file.readAll()).object();
    Tokens out;
    out.light = sideOf(root, QStringLiteral("light"));
    out.dark = sideOf(root, QStringLiteral("dark"));
    const QJsonObject type = root.value(QStringLiteral("type")).toObject();
    for (std::size_t i = 0; i < kTypeKeys.size(); ++i)
        out.typePixels[i] = type.value(QLatin1String(kTypeKeys[i])).toDouble(13);
    return out;
}

} // namespace shardlens::ui
