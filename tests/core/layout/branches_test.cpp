#include "core/layout/branches.h"

#include <gtest/gtest.h>

#include <string>

namespace shardlens {
namespace {

struct Key {
    const char* name; // of the test
    const char* key;
    bool model;
    bool optimizer;
};

class Branches : public ::testing::TestWithParam<Key> {};

TEST_P(Branches, AreToldByTheirKey)
{
    EXPECT_EQ(isModelBranch(GetParam().key), GetParam().model);
    EXPECT_EQ(isOptimizerBranch(GetParam().key), GetParam().optimizer);
}

INSTANTIATE_TEST_SUITE_P(All, Branches,
                         testing::Values(Key{"Model", "model", true, false}, Key{"StateDict", "state_dict", true, false},
                                         Key{"ModelStateDict", "model_state_dict", true, false}, Key{"Optim", "optim", false, true},
                                         Key{"Optimizer", "optimizer", false, true}, Key{"OptimizerStateDict", "optimizer_state_dict", false, true},
                                         Key{"OptimizerStates", "optimizer_states", false, true}, Key{"Empty", "", false, false},
                                         Key{"OtherCase", "Model", false, false}, Key{"Longer", "model.embed", false, false},
                                         Key{"Schedulers", "lr_schedulers", false, false}, Key{"Module", "module", false, false}),
                         [](const auto& row) { return row.param.name; });

} // namespace
} // namespace shardlens
