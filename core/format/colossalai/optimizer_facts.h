#pragma once

#include <string>
#include <string_view>

namespace shardlens::colossalai {

// What a checkpoint that was read keeps among its model facts for writing it again: numbers of parameters in the optimizer, and where its groups lie.
constexpr std::string_view kIdFact = "colossalai-id/"; // + name of the parameter → its number
constexpr const char* kGroupsFact = "colossalai-groups"; // name of the file that holds the groups

[[nodiscard]] inline std::string idFact(std::string_view parameter)
{
    return std::string(kIdFact) + std::string(parameter);
}

} // namespace shardlens::colossalai
