#pragma once

#include <QTranslator>

namespace shardlens::ui {

// The English forms of counted strings: "%n file(s)" becomes "1 file" or "4 files". Installed before other translations, so that these come first.
class EnglishPlurals : public QTranslator {
    Q_OBJECT
public:
    using QTranslator::QTranslator;
    [[nodiscard]] QString translate(const char* context, const char* sourceText, const char* disambiguation, int n) const override;
    [[nodiscard]] bool isEmpty() const override { return false; }
};

} // namespace shardlens::ui
