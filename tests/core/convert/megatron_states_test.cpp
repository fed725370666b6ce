#include "core/encoding/tensor_reader.h"
#include "core/encoding/torch_file.h"
#include "core/io/byte_source.h"
#include "tests/core/convert/convert_fixture.h"
#include "tests/support/megatron_test_run.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <map>
#include <random>

namespace shardlens {
namespace {

using test::MegatronTestRun;
using test::Py;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using Wrote = MegatronTestRun::Optimizer;

// Every tensor of a checkpoint with its values, states under NAME/STATE.
std::map<std::string, std::vector<std::byte>> everythingOf(const CheckpointPtr& checkpoint)
{
    std::map<std::string, std::vector<std::byte>> out;
    const StreamSet streams(checkpoint);
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
        const auto reader = TensorReader::open(streams, idAt<TensorId>(i));
        EXPECT_TRUE(reader.ok()) << reader.error().text();
        if (!reader)
            continue;
        std::vector<std::byte>& bytes = out[checkpoint->fullName(idAt<TensorId>(i))];
        bytes.resize(reader->sizeBytes());
        const Status read = reader->readAt(0, bytes);
        EXPECT_TRUE(read.ok()) << read.error().text();
    }
    return out;
}

// A file of a rank, read past everything that reads runs.
class RankBytes {
public:
    explicit RankBytes(const std::string& path) : m_source(FileSource::open(path).take()), m_file(TorchFile::open(m_source, m_job).take()) {}
    [[nodiscard]] pickle::Value root() const { return m_file.root(); }
    [[nodiscard]] std::vector<std::byte> of(pickle::Value value) const
    {
        const TorchTensor tensor = m_file.tensorOf(value).take();
        std::vector<std::byte> out(elementCount(tensor.shape).value_or(0) * info(tensor.dtype).bytesPerBlock);
        const Status read = m_source->readAt(m_file.storages()[tensor.storage].offset + tensor.offsetBytes, out);
        EXPECT_TRUE(read.ok()) << read.error().text();
        return out;
    }

private:
    JobContext m_job;
    std::shared_ptr<const ByteSource> m_source;
    TorchFile m_file;
};

using Tensors = std::vector<std::pair<std::string, std::vector<std::byte>>>;

// What a plain optimizer has of every number in its groups, and its masters, in their order.
void addPlain(const RankBytes& file, pickle::Value optimizer, Tensors& out)
{
    const pickle::Value torchs = optimizer.find("optimizer");
    for (std::size_t g = 0; g < torchs.find("param_groups").size(); ++g) {
        const pickle::Value members = torchs.find("param_groups").at(g).find("params");
        const pickle::Value masters = optimizer.find("fp32_from_fp16_params").at(g);
        for (std::size_t i = 0; i < members.size(); ++i)
            for (std::size_t s = 0; s < torchs.find("state").size(); ++s)
                if (torchs.find("state").keyAt(s).asInt() == members.at(i).asInt())
                    for (const char* name : {"exp_avg", "exp_avg_sq"})
                        out.emplace_back(name, file.of(torchs.find("state").valueAt(s).find(name)));
        for (std::size_t i = 0; i < masters.size(); ++i)
            out.emplace_back("master", file.of(masters.at(i)));
    }
}

// Makes the gaps of a test run's buffer zeros: how many there were.
std::size_t clearGaps(std::vector<std::byte>& buffer)
{
    const auto gap = test::bytesOfFloats({-99.F});
    std::size_t out = 0;
    for (auto at = buffer.begin(); at != buffer.end(); at += std::ssize(gap))
        if (std::equal(gap.begin(), gap.end(), at)) {
            std::fill_n(at, gap.size(), std::byte{0});
            ++out;
        }
    return out;
}

// Runs with an optimizer, written at other sizes and opened again.
class MegatronStatesTest : public test::ConvertTest {
protected:
    CheckpointPtr runAt(const std::string& name)
    {
        JobContext job;
        auto checkpoint = openCheckpoint(path(name), {}, job);
        EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().text();
        return checkpoint ? *checkpoint : nullptr;
    }

    std::string cutRun(const std::string& from, const std::string& to, std::uint32_t tp, std::uint32_t pp, std::uint32_t ep)
    {
        ConvertRequest wanted = request(to, "megatron");
        wanted.tp = tp;
        wanted.pp = pp;
        wanted.ep = ep;
        wanted.verify = true;
        return convert(runAt(from), wanted);
    }

    void writeRun(const MegatronTestRun& run)
    {
        std::filesystem::create_directories(path("run"));
        run.write(path("run"));
    }

    Tensors plainOf(const std::string& run, const std::string& rank) const
    {
        const RankBytes file(path(run + "/iter_0000003/" + rank + "/model_optim_rng.pt"));
        const pickle::Value optimizer = file.root().find("optimizer");
        Tensors out;
        for (std::size_t i = 0; optimizer.isSequence() && i < optimizer.size(); ++i)
            addPlain(file, optimizer.at(i), out);
        if (!optimizer.isSequence())
            addPlain(file, optimizer, out);
        return out;
    }

    std::vector<std::string> planOf(std::uint32_t tp, std::uint32_t pp)
    {
        ConvertRequest wanted = request("planned", "megatron");
        wanted.tp = tp;
        wanted.pp = pp;
        return planLinesOf(runAt("run"), wanted);
    }
};

TEST_F(MegatronStatesTest, ThereAndBackEveryStateIsWhatItWas)
{
    std::mt19937 random(11);
    const auto oneOf = [&](std::initializer_list<std::uint32_t> of) { return *(of.begin() + random() % of.size()); };
    for (int round = 0; round < 24; ++round) {
        MegatronTestRun run;
        const bool isPlain = round % 4 == 3;
        run.optimizer = isPlain ? Wrote::Plain : round % 4 == 2 ? Wrote::Buckets : Wrote::Coalesced;
        run.aligned = run.optimizer == Wrote::Coalesced && round % 8 != 0;
        run.tp = oneOf({1, 2, 4});
        run.pp = oneOf({1, 2});
        run.hidden = 4 * oneOf({1, 2, 3});
        run.ffn = 4 * oneOf({1, 2, 5});
        run.vocabulary = 4 * oneOf({3, 5});
        run.layers = 4;
        run.tied = round % 3 == 0;
        run.dp = 4;
        run.experts = round % 5 == 1 ? 4 : 0;
        run.ep = run.experts != 0 ? oneOf({1, 2}) : 1;
        if (round % 2 == 0)
            run.bucketSize = oneOf({50, 130});
        SCOPED_TRACE(testing::Message() << "round " << round << ", tp " << run.tp << ", pp " << run.pp << ", ep " << run.ep);
        std::filesystem::remove_all(path("run"));
        writeRun(run);
        // Without expert parallel there is no way back to it: experts then share the others' optimizer.
        const std::uint32_t ep = run.ep > 1 ? oneOf({2, 4}) : run.experts != 0 ? oneOf({1, 2, 4}) : 1;
        ASSERT_EQ(cutRun("run", "there", oneOf({1, 2, 4}), oneOf({1, 2, 4}), ep), "");
        EXPECT_TRUE(everythingOf(runAt("there")).contains("decoder.final_layernorm.weight/exp_avg_sq"));
        ASSERT_EQ(cutRun("there", "back", run.tp, run.pp, run.ep), "");
        EXPECT_EQ(everythingOf(runAt("back")), everythingOf(runAt("run")));
        for (const char* name : {"there", "back"})
            std::filesystem::remove_all(path(name));
    }
}

// The writer's buffers are those that the test run lays out by the reference: gaps, which are -99 there, are zero, everything else is where it belongs.
TEST_F(MegatronStatesTest, BuffersAreLaidOutForTheTarget)
{
    MegatronTestRun run;
    run.bucketSize = 150;
    run.tied = true;
    writeRun(run);
    ASSERT_EQ(cutRun("run", "tp2", 2, 2, 1), "");
    MegatronTestRun same = run;
    same.tp = 2;
    same.pp = 2;
    std::filesystem::create_directories(path("same"));
    same.write(path("same"));
    std::size_t gaps = 0;
    for (const char* rank : {"mp_rank_00_000", "mp_rank_01_000", "mp_rank_00_001", "mp_rank_01_001"}) {
        const RankBytes got(path(std::string("tp2/iter_0000003/") + rank + "/distrib_optim.pt"));
        const RankBytes wanted(path(std::string("same/iter_0000003/") + rank + "/distrib_optim.pt"));
        EXPECT_EQ(got.root().find("buckets_coalesced").asBool(), true);
        const pickle::Value buffer = got.root().valueAt(1).valueAt(0);
        const pickle::Value reference = wanted.root().valueAt(1).valueAt(0);
        EXPECT_EQ(buffer.find("numel_unpadded").asInt(), reference.find("numel_unpadded").asInt()) << rank;
        for (const char* state : {"param", "exp_avg", "exp_avg_sq"}) {
            std::vector<std::byte> expected = wanted.of(reference.find(state));
            gaps += clearGaps(expected);
            EXPECT_EQ(got.of(buffer.find(state)), expected) << rank << ", " << state;
        }
    }
    EXPECT_GT(gaps, 100u);
    EXPECT_EQ(everythingOf(runAt("tp2")), everythingOf(runAt("same")));
}

TEST_F(MegatronStatesTest, ThePlanSaysWhatBecomesOfTheStates)
{
    MegatronTestRun run;
    run.optimizer = Wrote::Padded;
    run.aligned = false;
    writeRun(run);
    EXPECT_THAT(planOf(2, 1),
                Contains(AllOf(HasSubstr("Optimizer state"), HasSubstr("distrib_optim.pt: the padded buffers of the source become coalesced buffers"))));
    std::filesystem::remove_all(path("run"));
    run.optimizer = Wrote::Plain;
    writeRun(run);
    EXPECT_THAT(planOf(2, 1), Contains(AllOf(HasSubstr("Optimizer state"), HasSubstr("numbered anew in the groups of the source"))));
    std::filesystem::remove_all(path("run"));
    run.optimizer = Wrote::None;
    writeRun(run);
    EXPECT_THAT(planOf(2, 1), Not(Contains(HasSubstr("Optimizer state"))));
}

TEST_F(MegatronStatesTest, StatesWithoutNamesAreDroppedAndTheModelIsWritten)
{
    MegatronTestRun run;
    run.change = [](const std::string& file, Py& root) {
        if (file.ends_with("distrib_optim.pt"))
            root = Py{std::int64_t{1}};
    };
    writeRun(run);
    EXPECT_THAT(planOf(2, 1), Contains(AllOf(HasSubstr("Optimizer state"), HasSubstr("It is not carried over; start the job with --no-load-optim."))));
    ASSERT_EQ(cutRun("run", "tp2", 2, 1, 1), "");
    EXPECT_FALSE(std::filesystem::exists(path("tp2/iter_0000003/mp_rank_00/distrib_optim.pt")));
    EXPECT_EQ(everythingOf(runAt("tp2")), everythingOf(runAt("run")));
}

TEST_F(MegatronStatesTest, ExpertsThatShareAnOptimizerDoNotGetOneOfTheirOwn)
{
    MegatronTestRun run;
    run.experts = 2;
    run.chained = false;
    writeRun(run);
    ASSERT_EQ(cutRun("run", "tp2", 2, 1, 1), "");
    EXPECT_EQ(everythingOf(runAt("tp2")), everythingOf(runAt("run")));
    ASSERT_EQ(cutRun("run", "ep2", 1, 1, 2), "");
    EXPECT_FALSE(std::filesystem::exists(path("ep2/iter_0000003/mp_rank_00_000/distrib_optim.pt")));
}

// formats/megatron.md §5.11: rows of padding are copies of the last in the model and its masters, and zero in the states.
TEST_F(MegatronStatesTest, NewRowsOfTheVocabularyHaveNoMoments)
{
    MegatronTestRun run;
    run.vocabulary = 12;
    run.arguments = {{"vocab_size", Py{std::int64_t{10}}}, {"make_vocab_size_divisible_by", Py{std::int64_t{4}}}};
    writeRun(run);
    ASSERT_EQ(cutRun("run", "tp2", 2, 1, 1), "");
    const auto embedding = run.parameters().front();
    const auto rowsOf = [&](const std::string& state, bool lastRepeats) {
        std::vector<float> out = MegatronTestRun::whole(embedding, state);
        const std::vector<float> last(out.end() - static_cast<std::ptrdiff_t>(run.hidden), out.end());
        for (int row = 0; row < 4; ++row)
            for (const float value : last)
                out.push_back(lastRepeats ? value : 0);
        return out;
    };
    const auto written = everythingOf(runAt("tp2"));
    EXPECT_EQ(written.at(embedding.name), test::bytesOfFloats(rowsOf("param", true)));
    EXPECT_EQ(written.at(embedding.name + "/module"), test::bytesOfFloats(rowsOf("module", true)));
    EXPECT_EQ(written.at(embedding.name + "/exp_avg"), test::bytesOfFloats(rowsOf("exp_avg", false)));
}

// A member of a dictionary that a test is about to change.
Py& memberAt(Py& dict, const std::string& key)
{
    for (auto& [name, value] : std::get<Py::Dict>(dict.value).items)
        if (const auto* text = std::get_if<std::string>(&name.value); text != nullptr && *text == key)
            return value;
    ADD_FAILURE() << "no " << key;
    return dict;
}

struct PartlyKept {
    const char* name;
    std::uint32_t tp;
    std::uint32_t pp;
    std::function<void(Py& root)> takes; // from the last rank's file
    const char* says;
};

class StatesOfSomeRanks : public MegatronStatesTest, public testing::WithParamInterface<PartlyKept> {};

// What is not there for every parameter is not written as if it were.
TEST_P(StatesOfSomeRanks, AreDroppedWithAReason)
{
    MegatronTestRun run;
    run.optimizer = Wrote::Plain;
    run.half = true;
    run.tp = GetParam().tp;
    run.pp = GetParam().pp;
    run.change = [&](const std::string& file, Py& root) {
        if (file == (run.tp > 1 ? "mp_rank_01/model_optim_rng.pt" : "mp_rank_00_001/model_optim_rng.pt"))
            GetParam().takes(root);
    };
    writeRun(run);
    EXPECT_THAT(planOf(1, 1), Contains(AllOf(HasSubstr("Optimizer state"), HasSubstr("It is not carried over; start the job with --no-load-optim."),
                                             HasSubstr(GetParam().says))));
    ASSERT_EQ(cutRun("run", "whole", 1, 1, 1), "");
    EXPECT_THAT(everythingOf(runAt("whole")), testing::Each(testing::Key(Not(HasSubstr("/")))));
}

INSTANTIATE_TEST_SUITE_P(
    Megatron, StatesOfSomeRanks,
    testing::Values(PartlyKept{"NoStatesOnAStage", 1, 2,
                               [](Py& root) { memberAt(memberAt(memberAt(root, "optimizer"), "optimizer"), "state") = Py{Py::Dict{}}; },
                               "decoder.layers.1.input_layernorm.weight has no exp_avg on some ranks that hold it."},
                    PartlyKept{"NoStateOfAParameter", 2, 1,
                               [](Py& root) {
                                   Py& state = memberAt(memberAt(memberAt(root, "optimizer"), "optimizer"), "state");
                                   std::get<Py::Dict>(std::get<Py::Dict>(state.value).items[0].second.value).items.pop_back();
                               },
                               "embedding.word_embeddings.weight has no exp_avg_sq on some ranks that hold it."},
                    PartlyKept{"NoOptimizerOnARank", 2, 1, [](Py& root) { memberAt(root, "optimizer") = Py{}; },
                               "embedding.word_embeddings.weight has no fp32 master on some ranks that hold it."},
                    PartlyKept{"NoMastersOnARank", 2, 1,
                               [](Py& root) { memberAt(memberAt(root, "optimizer"), "fp32_from_fp16_params") = Py{std::vector<Py>{}}; },
                               "embedding.word_embeddings.weight has no fp32 master on some ranks that hold it."},
                    PartlyKept{"AFlagOnARank", 2, 1,
                               [](Py& root) {
                                   Py& state = memberAt(memberAt(memberAt(root, "optimizer"), "optimizer"), "state");
                                   auto& own = std::get<Py::Dict>(std::get<Py::Dict>(state.value).items[0].second.value).items;
                                   own.emplace_back(Py{std::string("fused")}, Py{true});
                               },
                               "fused of embedding.word_embeddings.weight is no tensor."}),
    [](const auto& info) { return info.param.name; });

// Masters are cut like their parameters and stand in the lists where those of a run at that size stand.
TEST_F(MegatronStatesTest, MastersAreWrittenAtAnotherSize)
{
    MegatronTestRun run;
    run.optimizer = Wrote::Plain;
    run.half = true;
    run.experts = 2;
    run.tp = 2;
    writeRun(run);
    ASSERT_EQ(cutRun("run", "got", 1, 2, 1), "");
    MegatronTestRun same = run;
    same.tp = 1;
    same.pp = 2;
    std::filesystem::create_directories(path("same"));
    same.write(path("same"));
    EXPECT_EQ(everythingOf(runAt("got")), everythingOf(runAt("same")));
    for (const char* rank : {"mp_rank_00_000", "mp_rank_00_001"}) {
        const auto got = plainOf("got", rank);
        EXPECT_EQ(got, plainOf("same", rank)) << rank;
        EXPECT_GT(got.size(), 10u);
    }
}

// Experts have an optimizer of their own at expert parallel only: one dictionary and one set of buffers, in the order of the model.
TEST_F(MegatronStatesTest, ExpertsJoinTheOthersWhereThereIsNoExpertParallel)
{
    for (const Wrote wrote : {Wrote::Plain, Wrote::Coalesced}) {
        SCOPED_TRACE(static_cast<int>(wrote));
        MegatronTestRun run;
        run.optimizer = wrote;
        run.half = wrote == Wrote::Plain;
        run.experts = 4;
        run.ep = 2;
        for (const char* name : {"run", "got", "same"})
            std::filesystem::remove_all(path(name));
        writeRun(run);
        ASSERT_EQ(cutRun("run", "got", 1, 1, 1), "");
        MegatronTestRun same = run;
        same.ep = 1;
        same.chained = false;
        std::filesystem::create_directories(path("same"));
        same.write(path("same"));
        EXPECT_EQ(everythingOf(runAt("got")), everythingOf(runAt("same")));
        const RankBytes model(path("got/iter_0000003/mp_rank_00/model_optim_rng.pt"));
        EXPECT_TRUE(model.root().find("optimizer").isMapping());
        EXPECT_EQ(plainOf("got", "mp_rank_00"), plainOf("same", "mp_rank_00"));
        if (wrote == Wrote::Plain)
            continue;
        const RankBytes got(path("got/iter_0000003/mp_rank_00/distrib_optim.pt"));
        const RankBytes wanted(path("same/iter_0000003/mp_rank_00/distrib_optim.pt"));
        ASSERT_TRUE(got.root().isMapping());
        std::vector<std::byte> expected = wanted.of(wanted.root().valueAt(1).valueAt(0).find("exp_avg"));
        clearGaps(expected);
        EXPECT_EQ(got.of(got.root().valueAt(1).valueAt(0).find("exp_avg")), expected);
    }
}

} // namespace
} // namespace shardlens
