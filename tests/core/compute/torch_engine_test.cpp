#include "core/compute/torch_engine.h"

#include "core/base/endian.h"
#include "core/compute/devices.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace shardlens {
namespace {

using ::testing::HasSubstr;

// The module that this build made; tests of its arithmetic skip where there is none.
Result<TorchModule> builtModule()
{
#if defined(SHARDLENS_BUILT_TORCH_MODULE)
    const char* const said = std::getenv("SHARDLENS_TORCH_MODULE"); // another build of it is tested in its place
    return loadTorchModule(said != nullptr ? said : SHARDLENS_BUILT_TORCH_MODULE);
#else
    return Error{ErrorCode::NotFound, "this build has no libtorch module"};
#endif
}

struct Case {
    const char* scheme;
    DType dtype;
    Shape shape;
};

std::vector<Case> allCases()
{
    std::vector<Case> out;
    for (const QuantScheme& scheme : quantSchemes())
        for (const DType dtype : {DType::F32, DType::BF16, DType::F16})
            for (const Shape& shape : {Shape{19, 256}, Shape{130, 384}, Shape{3, 37}})
                if ((scheme.scope != ScaleScope::Group || shape[1] % scheme.group == 0) && (scheme.codes != CodeKind::E2M1 || shape[1] % 2 == 0))
                    out.push_back({scheme.name.data(), dtype, shape});
    return out;
}

std::vector<std::byte> hardValues(DType dtype, std::size_t count)
{
    std::mt19937 random(11);
    std::normal_distribution<float> normal(0, 0.04f);
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i)
        switch (random() % 8) {
        case 0: values[i] = (static_cast<float>(random() % 64) - 32) * 0.25f; break;
        case 1: values[i] = random() % 2 == 0 ? 0.0f : -0.0f; break;
        case 2: values[i] = std::ldexp(normal(random), -static_cast<int>(random() % 30)); break;
        default: values[i] = normal(random);
        }
    std::vector<std::byte> out(count * info(dtype).bytesPerBlock);
    (void)castValues(DType::F32, reinterpret_cast<const std::byte*>(values.data()), dtype, out.data(), count);
    return out;
}

// Each device of this machine, and libtorch's processor in place of one: the same code with other places to compute.
std::vector<std::string> devicesToTest()
{
    std::vector<std::string> out{"cpu"};
    if (builtModule() && hasCudaDriver())
        for (std::int32_t i = 0; i < (*builtModule()).functions->deviceCount(); ++i)
            out.push_back(fmt::format("cuda:{}", i));
    return out;
}

class TorchEngineTest : public ::testing::TestWithParam<Case> {
protected:
    void SetUp() override
    {
        const auto module = builtModule();
        if (!module)
            GTEST_SKIP() << "Skipped: " << module.error().text();
    }
};

INSTANTIATE_TEST_SUITE_P(All, TorchEngineTest, ::testing::ValuesIn(allCases()), [](const auto& one) {
    std::string name = fmt::format("{}_{}_{}x{}", one.param.scheme, nameOf(one.param.dtype), one.param.shape[0], one.param.shape[1]);
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

TEST_P(TorchEngineTest, GivesTheBitsOfTheProcessor)
{
    const Case& what = GetParam();
    auto layout = QuantLayout::make(*quantSchemeByName(what.scheme), {5, 8}, "m.weight", what.dtype, what.shape);
    ASSERT_TRUE(layout) << layout.error().text();
    const Quantizer quantizer(layout.take());
    const QuantLayout& own = quantizer.layout();
    const std::vector<std::byte> values = hardValues(what.dtype, own.values());
    ScaleRanges expected;
    expected.reset(0, own.scales());
    quantizer.measure(0, values, expected);
    QuantScales scales;
    quantizer.makeScales(expected, 100, scales);
    std::vector<std::uint8_t> codes(own.values());
    quantizer.makeCodes(0, values, scales, codes);
    const auto module = builtModule();
    for (const std::string& device : devicesToTest()) {
        SCOPED_TRACE(device);
        const auto engine = TorchEngine::open(*module, {device});
        ASSERT_TRUE(engine) << engine.error().text();
        const auto load = (*engine)->load(quantizer, 0, values);
        ASSERT_TRUE(load);
        ScaleRanges ranges;
        ranges.reset(0, own.scales());
        const Status measured = (*load)->measure(ranges);
        ASSERT_TRUE(measured) << measured.error().text();
        QuantScales found;
        quantizer.makeScales(ranges, 100, found);
        EXPECT_EQ(found.stored, scales.stored);
        EXPECT_EQ(found.effective, scales.effective);
        EXPECT_EQ(found.zeros, scales.zeros);
        std::vector<std::uint8_t> made(own.values());
        const Status coded = (*load)->codes(scales, made);
        ASSERT_TRUE(coded) << coded.error().text();
        EXPECT_EQ(made, codes);
    }
}

TEST(TorchEngine, SeesWhatIsNotFinite)
{
    const auto module = builtModule();
    if (!module)
        GTEST_SKIP() << "Skipped: " << module.error().text();
    for (const char* scheme : {"int8-channel", "int8-channel-asym"})
        for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
            auto layout = QuantLayout::make(*quantSchemeByName(scheme), {}, "m.weight", DType::F32, Shape{4, 32});
            const Quantizer quantizer(layout.take());
            std::vector<float> values(4 * 32, 0.5f);
            values[70] = bad;
            const auto engine = TorchEngine::open(*module, {"cpu"});
            const auto load = (*engine)->load(quantizer, 0, std::as_bytes(std::span(values)));
            ScaleRanges ranges;
            ranges.reset(0, 4);
            ASSERT_TRUE((*load)->measure(ranges));
            EXPECT_EQ(quantizer.firstNonFinite(ranges), std::optional<std::uint64_t>(2)) << scheme << bad;
        }
}

TEST(TorchEngine, ADeviceThatIsNotThereIsAnError)
{
    const auto module = builtModule();
    if (!module)
        GTEST_SKIP() << "Skipped: " << module.error().text();
    EXPECT_FALSE(TorchEngine::open(*module, {}).ok()) << "nobody could ever take a place";
    const auto engine = TorchEngine::open(*module, {"cuda:98"});
    ASSERT_FALSE(engine);
    EXPECT_THAT(engine.error().text(), HasSubstr("cuda:98"));
}

// A module in the place of libtorch's, that runs out of memory as it is told.

struct Fake {
    static inline std::atomic<std::uint64_t> mostValues{~std::uint64_t{0}};
    static inline std::atomic<int> open{0};
    static inline std::atomic<int> inUse{0};
    static inline std::atomic<int> mostInUse{0};
    static inline std::atomic<std::uint64_t> longest{0};
    static inline bool fails = false;
};

std::int32_t fakeLoad(void*, const void*, std::uint64_t count, std::int32_t, std::int32_t, char* error, std::uint64_t)
{
    if (Fake::fails) {
        std::strcpy(error, "the device is lost");
        return kShardlensTorchFailed;
    }
    if (count > Fake::mostValues)
        return kShardlensTorchOutOfMemory;
    std::uint64_t longest = Fake::longest;
    while (longest < count && !Fake::longest.compare_exchange_weak(longest, count)) {
    }
    return kShardlensTorchOk;
}

const ShardlensTorchModule kFake{
    kShardlensTorchAbi, "0", [] { return std::int32_t{0}; }, [](std::int32_t, ShardlensTorchDevice*) { return std::int32_t{kShardlensTorchFailed}; },
    [](const char*, char*, std::uint64_t) -> void* { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(++Fake::open)); }, [](void*) { --Fake::open; }, fakeLoad,
    [](void*, ShardlensTorchRuns runs, float* least, float* greatest, char*, std::uint64_t) {
        const std::uint64_t scales = (runs.count + runs.run - 1) / runs.run;
        std::fill_n(least, scales, -1.0f);
        std::fill_n(greatest, scales, 1.0f);
        return std::int32_t{kShardlensTorchOk};
    },
    [](void*, ShardlensTorchRuns runs, const ShardlensTorchRule*, std::uint8_t* out, char*, std::uint64_t) {
        std::fill_n(out, runs.count, std::uint8_t{7});
        return std::int32_t{kShardlensTorchOk};
    }};

class TorchEngineFake : public ::testing::Test {
protected:
    void SetUp() override
    {
        Fake::mostValues = ~std::uint64_t{0};
        Fake::longest = 0;
        Fake::fails = false;
        auto layout = QuantLayout::make(*quantSchemeByName("int8-channel"), {}, "m.weight", DType::BF16, Shape{1024, 1024});
        m_quantizer.emplace(layout.take());
        m_values.assign(1024 * 1024 * 2, std::byte{0});
        for (std::size_t i = 1; i < m_values.size(); i += 2)
            m_values[i] = std::byte{0x3F}; // values near a half
        m_engine = TorchEngine::open({"fake", &kFake}, {"cuda:0", "cuda:1"}).take();
    }

    Status run(std::vector<std::uint8_t>& codes)
    {
        auto load = m_engine->load(*m_quantizer, 0, m_values);
        ScaleRanges ranges;
        ranges.reset(0, 1024);
        SHARDLENS_TRY((*load)->measure(ranges));
        QuantScales scales;
        m_quantizer->makeScales(ranges, 1, scales);
        codes.resize(1024 * 1024);
        return (*load)->codes(scales, codes);
    }

    std::optional<Quantizer> m_quantizer;
    std::vector<std::byte> m_values;
    std::shared_ptr<const TorchEngine> m_engine;
};

TEST_F(TorchEngineFake, HasTwoPlacesOnEachDeviceAndClosesThem)
{
    EXPECT_EQ(Fake::open, 4);
    m_engine.reset();
    EXPECT_EQ(Fake::open, 0);
}

TEST_F(TorchEngineFake, MakesBlocksShorterWhereMemoryDoesNotSuffice)
{
    Fake::mostValues = 300'000;
    std::vector<std::uint8_t> codes;
    const Status done = run(codes);
    ASSERT_TRUE(done) << done.error().text();
    EXPECT_EQ(std::count(codes.begin(), codes.end(), 7), 1024 * 1024); // all by the device
    EXPECT_LE(Fake::longest, 300'000u);
    EXPECT_THAT(m_engine->remarks(), ::testing::ElementsAre(HasSubstr("did not suffice for blocks of 4,194,304 values: they were made as short as 262,144")));
}

TEST_F(TorchEngineFake, LetsTheProcessorStepInWhereThereIsNone)
{
    Fake::mostValues = 0;
    std::vector<std::uint8_t> codes;
    ASSERT_TRUE(run(codes));
    std::vector<std::uint8_t> expected(codes.size());
    ScaleRanges ranges;
    ranges.reset(0, 1024);
    m_quantizer->measure(0, m_values, ranges);
    QuantScales scales;
    m_quantizer->makeScales(ranges, 1, scales);
    m_quantizer->makeCodes(0, m_values, scales, expected);
    EXPECT_EQ(codes, expected);
    EXPECT_THAT(m_engine->remarks(), ::testing::Contains(HasSubstr("were computed by the processor")));
}

TEST_F(TorchEngineFake, AFailureOfTheDeviceIsAnErrorWithItsWords)
{
    Fake::fails = true;
    std::vector<std::uint8_t> codes;
    const Status done = run(codes);
    ASSERT_FALSE(done);
    EXPECT_THAT(done.error().text(), HasSubstr("the device is lost"));
}

TEST_F(TorchEngineFake, ThreadsWaitForAFreePlace)
{
    std::atomic<int> inUse{0};
    std::atomic<int> most{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i)
        threads.emplace_back([&] {
            const auto load = m_engine->load(*m_quantizer, 0, m_values);
            const int now = ++inUse;
            int before = most;
            while (before < now && !most.compare_exchange_weak(before, now)) {
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            --inUse;
        });
    threads.clear();
    EXPECT_LE(most, 4);
    EXPECT_GE(most, 1);
}

} // namespace
} // namespace shardlens
