#pragma once

#include "core/base/result.h"

#include <QByteArray>
#include <QString>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace shardlens::ui {

// What parameters are called in pictures and which colour they take: resources/rules/classes.json, interpreted. A value; safe to share.
class ParameterClasses {
public:
    // Corrupt, with the member that was found wrong. Nothing else than the rule file decides about names.
    [[nodiscard]] static Result<ParameterClasses> parse(const QByteArray& json);
    // The compiled-in rules.
    [[nodiscard]] static const ParameterClasses& builtIn();

    struct Class {
        QString title;
        std::optional<int> slot; // none: neutral
    };
    [[nodiscard]] const std::vector<Class>& classes() const { return m_classes; }

    // What the rules say about a name: one of classes(), or a title of its own where no rule matches.
    struct Match {
        std::optional<std::size_t> known;
        QString title;
        bool neutral = false;
    };
    // `vector`: the parameter has at most one axis; it is neutral then, whatever it is called.
    [[nodiscard]] Match match(std::string_view name, bool vector) const;

private:
    struct Rule {
        std::vector<std::string> patterns;
        std::vector<std::string> onlyBeside; // another part of the name must match one of these
    };

    [[nodiscard]] std::optional<std::size_t> ruleOf(const std::vector<std::string_view>& parts) const;
    [[nodiscard]] QString ownTitle(const std::vector<std::string_view>& parts) const;

    std::vector<Class> m_classes;
    std::vector<Rule> m_rules; // one per class
    std::vector<std::string> m_ignored;
    QString m_biasTitle;
    QString m_vectorTitle;
};

// The dotted parts of a parameter's name. They live as long as `name`.
[[nodiscard]] std::vector<std::string_view> nameParts(std::string_view name);
[[nodiscard]] bool isNumber(std::string_view part);
// `pattern` with * for any run of characters, against the whole text.
[[nodiscard]] bool matchesGlob(std::string_view pattern, std::string_view text);

} // namespace shardlens::ui
