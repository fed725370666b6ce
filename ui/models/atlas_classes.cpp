#include "ui/models/atlas_classes.h"

#include <fmt/format.h>

#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kSlots = 12;

std::vector<std::string> stringsOf(const QJsonValue& value)
{
    std::vector<std::string> out;
    for (const QJsonValue& item : value.toArray())
        out.push_back(item.toString().toStdString());
    return out;
}

bool matchesAny(const std::vector<std::string>& patterns, std::string_view text)
{
    return std::any_of(patterns.begin(), patterns.end(), [text](const std::string& pattern) { return matchesGlob(pattern, text); });
}

QString textOf(std::string_view text)
{
    return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size()));
}

Result<ParameterClasses::Class> readClass(const QJsonObject& object)
{
    const QString title = object["title"].toString();
    if (title.isEmpty())
        return Error{ErrorCode::Corrupt, "a class without a title"};
    if (object["neutral"].toBool())
        return ParameterClasses::Class{title, std::nullopt};
    const int slot = object["slot"].toInt(-1);
    if (slot < 0 || slot >= kSlots)
        return Error{ErrorCode::Corrupt, fmt::format("class {}: slot {} found, 0 to {} allowed", title.toStdString(), slot, kSlots - 1)};
    return ParameterClasses::Class{title, slot};
}

} // namespace

std::vector<std::string_view> nameParts(std::string_view name)
{
    std::vector<std::string_view> out;
    while (true) {
        const std::size_t dot = name.find('.');
        out.push_back(name.substr(0, dot));
        if (dot == std::string_view::npos)
            return out;
        name.remove_prefix(dot + 1);
    }
}

bool isNumber(std::string_view part)
{
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool matchesGlob(std::string_view pattern, std::string_view text)
{
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*')
        ++p;
    return p == pattern.size();
}

Result<ParameterClasses> ParameterClasses::parse(const QByteArray& json)
{
    QJsonParseError problem{};
    const QJsonObject root = QJsonDocument::fromJson(json, &problem).object();
    if (problem.error != QJsonParseError::NoError)
        return Error{ErrorCode::Corrupt, fmt::format("{} at byte {}", problem.errorString().toStdString(), problem.offset)};
    ParameterClasses out;
    for (const QJsonValue& item : root["classes"].toArray()) {
        const QJsonObject object = item.toObject();
        SHARDLENS_ASSIGN(Class one, readClass(object));
        out.m_classes.push_back(std::move(one));
        out.m_rules.push_back({stringsOf(object["patterns"]), stringsOf(object["onlyBeside"])});
        if (out.m_rules.back().patterns.empty())
            return Error{ErrorCode::Corrupt, fmt::format("class {} has no patterns", out.m_classes.back().title.toStdString())};
    }
    if (out.m_classes.empty())
        return Error{ErrorCode::Corrupt, "no classes"};
    out.m_ignored = stringsOf(root["ignored"]);
    out.m_biasTitle = root["vectors"].toObject()["bias"].toString();
    out.m_vectorTitle = root["vectors"].toObject()["other"].toString();
    return out;
}

const ParameterClasses& ParameterClasses::builtIn()
{
    static const ParameterClasses rules = [] {
        QFile file(QStringLiteral(":/rules/classes.json"));
        Result<ParameterClasses> parsed = file.open(QIODevice::ReadOnly) ? parse(file.readAll()) : Result<ParameterClasses>(ParameterClasses{});
        return parsed ? parsed.take() : ParameterClasses{}; // a test reads the shipped file; without rules every class is an unknown one
    }();
    return rules;
}

std::optional<std::size_t> ParameterClasses::ruleOf(const std::vector<std::string_view>& parts) const
{
    for (std::size_t at = parts.size(); at-- > 0;) {
        for (std::size_t rule = 0; rule < m_rules.size(); ++rule) {
            if (!matchesAny(m_rules[rule].patterns, parts[at]))
                continue;
            const auto& beside = m_rules[rule].onlyBeside;
            const auto isBeside = [&](std::string_view part) { return part != parts[at] && matchesAny(beside, part); };
            if (beside.empty() || std::any_of(parts.begin(), parts.end(), isBeside))
                return rule;
        }
    }
    return std::nullopt;
}

QString ParameterClasses::ownTitle(const std::vector<std::string_view>& parts) const
{
    for (std::size_t at = parts.size(); at-- > 0;)
        if (!isNumber(parts[at]) && !matchesAny(m_ignored, parts[at]))
            return textOf(parts[at]);
    return textOf(parts.back());
}

ParameterClasses::Match ParameterClasses::match(std::string_view name, bool vector) const
{
    const std::vector<std::string_view> parts = nameParts(name);
    const auto rule = ruleOf(parts);
    if (vector) {
        if (rule && !m_classes[*rule].slot)
            return {rule, m_classes[*rule].title, true};
        return {std::nullopt, parts.back() == "bias" ? m_biasTitle : m_vectorTitle, true};
    }
    if (rule)
        return {rule, m_classes[*rule].title, !m_classes[*rule].slot};
    return {std::nullopt, ownTitle(parts), false};
}

} // namespace shardlens::ui
