#include "app/cli/findings_text.h"

#include "app/cli/commands.h"
#include "core/base/text.h"

namespace shardlens::cli {
namespace {

constexpr std::size_t kLabelColumns = 10; // "  warning "

Style styleOf(Severity severity)
{
    switch (severity) {
    case Severity::Info: return Style::Muted;
    case Severity::Warning: return Style::Warning;
    case Severity::Error: return Style::Bad;
    }
    return Style::Plain;
}

} // namespace

void printFindings(Console& console, const std::vector<Finding>& findings)
{
    for (const Finding& finding : findings) {
        std::string label = "  " + std::string(nameOf(finding.severity));
        label.resize(kLabelColumns, ' ');
        const auto lines = wrapped(printable(finding.text), console.width() - kLabelColumns);
        console.line(console.styled(styleOf(finding.severity), label) + lines.front());
        for (std::size_t i = 1; i < lines.size(); ++i)
            console.line(std::string(kLabelColumns, ' ') + lines[i]);
    }
}

} // namespace shardlens::cli
