#include "core/format/nested_states.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace shardlens {
namespace {

constexpr std::array<std::string_view, 3> kStates{"exp_avg", "exp_avg_sq", "momentum_buffer"};

bool isNamedLikeState(std::string_view name)
{
    const std::size_t dot = name.rfind('.');
    return dot != std::string_view::npos && std::find(kStates.begin(), kStates.end(), name.substr(dot + 1)) != kStates.end();
}

} // namespace

void sayNestedStates(CheckpointBuilder& builder)
{
    std::size_t count = 0;
    TensorId example = kNoTensor;
    for (std::size_t i = 0; i < builder.tensorCount(); ++i) {
        const auto id = idAt<TensorId>(i);
        const Tensor& tensor = builder.tensor(id);
        if (builder.roleKindOf(id) == RoleKind::Weight && isNamedLikeState(builder.parameters()[indexOf(tensor.parameter)]) && count++ == 0)
            example = id;
    }
    if (count == 0)
        return;
    builder.addFinding({Severity::Warning, "nested-optimizer",
                        fmt::format("{} of the weights {} named like {} of an optimizer, first {}: its states lie below another key than a top-level `optim`, `optimizer`, `optimizer_state_dict` or "
                                    "`optimizer_states`, and count as weights. --exclude leaves them out.",
                                    groupedText(count), count == 1 ? "is" : "are", count == 1 ? "a state" : "states", printable(builder.fullName(example))),
                        kNoTensor, kNoFile, std::nullopt});
}

} // namespace shardlens
