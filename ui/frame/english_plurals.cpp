#include "ui/frame/english_plurals.h"

namespace shardlens::ui {

QString EnglishPlurals::translate(const char*, const char* sourceText, const char*, int n) const
{
    if (n < 0)
        return {}; // not counted: the source text stands
    return QString::fromUtf8(sourceText).replace(QLatin1String("(s)"), n == 1 ? QString() : QStringLiteral("s"));
}

} // namespace shardlens::ui
