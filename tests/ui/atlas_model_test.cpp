#include "core/model/checkpoint_builder.h"
#include "tests/ui/atlas_sample.h"
#include "ui/models/atlas_model.h"
#include "ui/models/atlas_palette.h"
#include "ui/models/atlas_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QFile>

namespace shardlens::ui {
namespace {

using test::makeAtlasSample;
using testing::ElementsAre;
using testing::HasSubstr;

// "rank 0 model_states: module copy, F16"
std::vector<std::string> linesOf(const AtlasModel& model)
{
    std::vector<std::string> out;
    for (const AtlasLane& lane : model.lanes()) {
        QString line = lane.title + QLatin1Char(' ') + lane.note + QLatin1Char(':');
        for (const AtlasState& state : lane.states)
            line += QLatin1Char(' ') + state.label + QLatin1Char(';');
        out.push_back(line.toStdString());
    }
    return out;
}

const AtlasMark* markOf(const AtlasLane& lane, AtlasMark::Kind kind)
{
    for (const AtlasMark& mark : lane.marks)
        if (mark.kind == kind)
            return &mark;
    return nullptr;
}

TEST(AtlasModel, LanesAreTheFilesOfTheRanksWithTheirStates)
{
    const auto model = AtlasModel::build(makeAtlasSample({.ranks = 2, .layers = 2}), {});
    EXPECT_THAT(linesOf(*model), ElementsAre("rank 0 model_states: module copy, F16;",
                                             "rank 0 optim_states: exp_avg, F32; exp_avg_sq, F32; fp32 master, F32;",
                                             "rank 1 optim_states: exp_avg, F32; exp_avg_sq, F32; fp32 master, F32;"));
}

TEST(AtlasModel, RanksAreSortedByNumber)
{
    const auto model = AtlasModel::build(makeAtlasSample({.ranks = 12, .layers = 2}), {});
    std::vector<std::uint32_t> ranks;
    for (const AtlasLane& lane : model->lanes())
        ranks.push_back(*lane.rank);
    EXPECT_TRUE(std::is_sorted(ranks.begin(), ranks.end()));
    EXPECT_EQ(ranks.back(), 11u);
}

TEST(AtlasModel, PiecesOfALaneAreSortedAndFoundByOffset)
{
    const auto checkpoint = makeAtlasSample({.ranks = 4, .layers = 4});
    const auto model = AtlasModel::build(checkpoint, {});
    for (const AtlasLane& lane : model->lanes()) {
        ASSERT_TRUE(std::is_sorted(lane.starts.begin(), lane.starts.end()));
        for (std::size_t i = 0; i < lane.size(); ++i) {
            EXPECT_EQ(lane.pieceAt(lane.starts[i]), i);
            EXPECT_EQ(lane.pieceAt(lane.endOf(i) - 1), i);
            EXPECT_EQ(checkpoint->pieces().at(lane.pieces[i]).source.offset, lane.starts[i]);
        }
        EXPECT_EQ(lane.pieceAt(0), std::nullopt); // the header
        EXPECT_EQ(lane.pieceAt(lane.length + 5), std::nullopt);
    }
}

TEST(AtlasModel, PlacesOfAParameterAreAllItsStatesOnAllItsRanks)
{
    const auto checkpoint = makeAtlasSample({.ranks = 4, .layers = 4});
    const auto model = AtlasModel::build(checkpoint, {});
    std::size_t expected = 0;
    const ParameterId parameter{5};
    for (std::size_t row = 0; row < checkpoint->pieces().size(); ++row)
        if (model->parameterOf(idAt<PieceId>(row)) == parameter)
            ++expected;
    const auto places = model->placesOf(parameter);
    EXPECT_EQ(places.size(), expected);
    for (const AtlasPlace place : places)
        EXPECT_EQ(model->parameterOf(model->lanes()[place.lane].pieces[place.index]), parameter);
}

TEST(AtlasModel, HeaderAndPaddingAreMarked)
{
    const auto model = AtlasModel::build(makeAtlasSample({.ranks = 3, .layers = 1, .hidden = 5, .inner = 7, .vocabulary = 12}), {});
    const AtlasLane& last = model->lanes().back();
    ASSERT_NE(markOf(last, AtlasMark::Kind::Header), nullptr);
    const AtlasMark* padding = markOf(last, AtlasMark::Kind::Padding);
    ASSERT_NE(padding, nullptr);
    EXPECT_GT(padding->end, padding->begin);
    EXPECT_EQ(last.pieceAt(padding->begin), std::nullopt);
}

TEST(AtlasModel, AMissingFileIsAHoleInALaneOfItsOwn)
{
    const auto model = AtlasModel::build(makeAtlasSample({.ranks = 4, .layers = 4, .missingRank = 2}), {});
    const auto lane = std::find_if(model->lanes().begin(), model->lanes().end(), [](const AtlasLane& one) { return one.missing; });
    ASSERT_NE(lane, model->lanes().end());
    EXPECT_EQ(lane->rank, 2u);
    std::uint64_t hole = 0;
    for (const AtlasMark& mark : lane->marks)
        if (mark.kind == AtlasMark::Kind::Hole)
            hole += mark.end - mark.begin;
    std::uint64_t pieces = 0;
    for (const std::uint64_t length : lane->lengths)
        pieces += length;
    EXPECT_EQ(hole, pieces);
}

TEST(AtlasModel, CellsThatNobodyNamesGetALane)
{
    const auto model = AtlasModel::build(test::makeShapesSample(4), {});
    const AtlasLane& nobody = model->lanes().back();
    ASSERT_EQ(nobody.file, kNoFile);
    ASSERT_EQ(nobody.marks.size(), 1u);
    EXPECT_EQ(nobody.marks[0].end - nobody.marks[0].begin, (3020u - 2010u) * 4u);
    EXPECT_EQ(model->checkpoint().parameterOf(nobody.marks[0].tensor), "holed.weight");
}

TEST(AtlasModel, PiecesThatShareBytesAreMarkedAndTheSmallerIsHit)
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "tied.pt";
    file.size = 1000;
    const StreamId stream = builder.streamOf(builder.addFile(file));
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    for (const auto& [name, offset, count] : {std::tuple{"a", 0u, 200u}, {"b", 400u, 20u}})
        ASSERT_TRUE(builder.addWhole(builder.addTensor({builder.parameter(name), role, DType::F32, Combine::Exclusive, true, {count}}), {stream, offset, builder.holder({}), {}}));
    const auto model = AtlasModel::build(std::move(builder).finish(), {});
    const AtlasLane& lane = model->lanes()[0];
    const AtlasMark* overlap = markOf(lane, AtlasMark::Kind::Overlap);
    ASSERT_NE(overlap, nullptr);
    EXPECT_EQ(overlap->begin, 400u);
    EXPECT_EQ(overlap->end, 480u);
    EXPECT_EQ(lane.pieceAt(410), 1u);
    EXPECT_EQ(lane.pieceAt(500), 0u); // behind the small one, still inside the large one
}

TEST(AtlasModel, LanesThatLookTheSameFold)
{
    const auto checkpoint = test::makeReplicatedSample(8, 5);
    const auto folded = AtlasModel::build(checkpoint, {});
    ASSERT_EQ(folded->lanes().size(), 1u);
    EXPECT_EQ(folded->laneFiles(), 8u);
    EXPECT_THAT(folded->lanes()[0].foldedRanks, ElementsAre(1u, 2u, 3u, 4u, 5u, 6u, 7u));
    for (std::size_t row = 0; row < checkpoint->pieces().size(); ++row)
        EXPECT_EQ(folded->placeOf(idAt<PieceId>(row))->lane, 0u);
    const auto all = AtlasModel::build(checkpoint, {AtlasRows::RankFile, AtlasAcross::OffsetInFile, false});
    EXPECT_EQ(all->lanes().size(), 8u);
}

TEST(AtlasModel, InParameterOrderARankShowsWhereItsPartLies)
{
    const auto checkpoint = makeAtlasSample({.ranks = 2, .layers = 2});
    const auto model = AtlasModel::build(checkpoint, {AtlasRows::RankFile, AtlasAcross::ParameterOrder, true});
    std::uint64_t elements = 0;
    for (std::size_t i = 0; i < checkpoint->parameters().size(); ++i)
        elements += elementCount(checkpoint->tensors()[i].shape).value();
    EXPECT_EQ(model->length(), elements);
    ASSERT_EQ(model->lanes().size(), 7u); // module copy, 3 states of 2 ranks
    EXPECT_EQ(model->lanes()[1].note, "exp_avg");
    EXPECT_EQ(model->lanes()[4].rank, 1u);
    EXPECT_EQ(model->lanes()[4].starts.front(), model->lanes()[1].reach.back()); // rank 1 begins where rank 0 ends
}

TEST(AtlasModel, StopsWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(AtlasModel::build(makeAtlasSample({.ranks = 2, .layers = 2}), {}, stop.get_token()), nullptr);
}

TEST(AtlasModel, FileNamesAreShortenedToTheWordsBehindTheirLastNumber)
{
    EXPECT_EQ(shortFileName("zero_pp_rank_1_mp_rank_00_optim_states.pt"), "optim_states");
    EXPECT_EQ(shortFileName("global_step3/mp_rank_00_model_states.pt"), "model_states");
    EXPECT_EQ(shortFileName("model-00001-of-00002.safetensors"), "model-00001-of-00002");
    EXPECT_EQ(shortFileName(".hidden"), ".hidden");
}

TEST(ParameterClasses, TheShippedRulesAreRead)
{
    QFile file(QStringLiteral(":/rules/classes.json"));
    ASSERT_TRUE(file.open(QIODevice::ReadOnly));
    const auto rules = ParameterClasses::parse(file.readAll());
    ASSERT_TRUE(rules) << rules.error().text();
    EXPECT_EQ(rules->match("model.layers.0.self_attn.q_proj.weight", false).title, "q_proj");
    EXPECT_EQ(rules->match("gpt_neox.layers.3.attention.query_key_value.weight", false).title, "qkv");
    EXPECT_EQ(rules->match("transformer.h.1.mlp.c_proj.weight", false).title, "down_proj");
    EXPECT_EQ(rules->match("transformer.h.1.attn.c_proj.weight", false).title, "attention dense");
    EXPECT_EQ(rules->match("lm_head.weight", false).title, "embeddings, head");
    EXPECT_EQ(rules->match("model.norm.weight", true).title, "norms");
    EXPECT_TRUE(rules->match("model.layers.0.q_proj.bias", true).neutral);
    EXPECT_EQ(rules->match("blocks.3.strange_mixer.weight", false).title, "strange_mixer");
}

struct BadRules {
    const char* name;
    const char* json;
    const char* says;
};
class ParameterClassesRejects : public testing::TestWithParam<BadRules> {};

TEST_P(ParameterClassesRejects, WithWhatIsWrong)
{
    const auto rules = ParameterClasses::parse(GetParam().json);
    ASSERT_FALSE(rules);
    EXPECT_EQ(rules.error().code(), ErrorCode::Corrupt);
    EXPECT_THAT(rules.error().text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(Rules, ParameterClassesRejects,
                         testing::Values(BadRules{"NoJson", "{", "byte"}, BadRules{"NoClasses", "{}", "no classes"},
                                         BadRules{"SlotTooHigh", R"({"classes":[{"title":"a","slot":12,"patterns":["a"]}]})", "slot 12 found, 0 to 11 allowed"},
                                         BadRules{"NoPatterns", R"({"classes":[{"title":"a","slot":1}]})", "has no patterns"},
                                         BadRules{"NoTitle", R"({"classes":[{"slot":1,"patterns":["a"]}]})", "without a title"}),
                         [](const auto& row) { return row.param.name; });

TEST(Globs, StarStandsForAnyRun)
{
    EXPECT_TRUE(matchesGlob("*norm*", "post_attention_layernorm"));
    EXPECT_TRUE(matchesGlob("ln_*", "ln_f"));
    EXPECT_TRUE(matchesGlob("a*b*c", "aXbYbc"));
    EXPECT_FALSE(matchesGlob("ln_*", "xln_f"));
    EXPECT_FALSE(matchesGlob("a*b", "ab_"));
    EXPECT_FALSE(matchesGlob("", "x"));
}

TEST(AtlasPalette, ClassesTakeTheSlotsOfTheRules)
{
    const auto model = AtlasModel::build(makeAtlasSample({.ranks = 2, .layers = 2}), {});
    const auto palette = AtlasPalette::build(*model, AtlasColour::Parameter, ParameterClasses::builtIn());
    std::vector<std::pair<std::string, int>> found;
    for (const auto& entry : palette->legend())
        found.emplace_back(entry.title.toStdString(), entry.ink.kind == AtlasInk::Kind::Slot ? entry.ink.slot : -1);
    EXPECT_THAT(found, ElementsAre(std::pair("embeddings, head", 11), std::pair("q_proj", 7), std::pair("k_proj", 5), std::pair("v_proj", 10), std::pair("o_proj", 8),
                                   std::pair("gate_proj", 6), std::pair("up_proj", 9), std::pair("down_proj", 4), std::pair("norms", -1)));
}

TEST(AtlasPalette, NoTwoClassesShareAColour)
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "x.pt";
    file.size = 100000;
    const StreamId stream = builder.streamOf(builder.addFile(file));
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    std::uint64_t at = 0;
    for (const char* name : {"a.q_proj.weight", "a.qkv.weight", "a.mystery.weight", "a.riddle.weight"}) { // q_proj and qkv both want slot 7
        ASSERT_TRUE(builder.addWhole(builder.addTensor({builder.parameter(name), role, DType::F32, Combine::Exclusive, true, {4, 4}}), {stream, at, builder.holder({}), {}}));
        at += 64;
    }
    const auto model = AtlasModel::build(std::move(builder).finish(), {});
    const auto palette = AtlasPalette::build(*model, AtlasColour::Parameter, ParameterClasses::builtIn());
    std::set<int> slotsSeen;
    for (const AtlasClass& one : palette->classes())
        slotsSeen.insert(one.ink.slot);
    EXPECT_EQ(slotsSeen.size(), 4u);
}

TEST(AtlasPalette, ByRankEveryRankHasItsSlotAndTheLegendEndsInOther)
{
    const auto model = AtlasModel::build(makeAtlasSample({.ranks = 16, .layers = 4}), {});
    const auto palette = AtlasPalette::build(*model, AtlasColour::Rank, ParameterClasses::builtIn());
    EXPECT_EQ(palette->classes()[13].ink.slot, 13); // round 1 of slot 1
    ASSERT_EQ(palette->legend().size(), 12u);
    EXPECT_EQ(palette->legend().back().title, "other");
    EXPECT_EQ(palette->legend().back().classes.size(), 5u);
}

TEST(AtlasPalette, FindingsColourTheNarrowestPlaceThatTheyName)
{
    CheckpointBuilder builder("/x", "/x");
    File file;
    file.name = "x.pt";
    file.size = 1000;
    const FileId id = builder.addFile(file);
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    const TensorId good = builder.addTensor({builder.parameter("good"), role, DType::F32, Combine::Exclusive, true, {4}});
    const TensorId bad = builder.addTensor({builder.parameter("bad"), role, DType::F32, Combine::Exclusive, true, {4}});
    ASSERT_TRUE(builder.addWhole(good, {builder.streamOf(id), 0, builder.holder({}), {}}));
    ASSERT_TRUE(builder.addWhole(bad, {builder.streamOf(id), 16, builder.holder({}), {}}));
    builder.addFinding({Severity::Error, "made", "bad is bad.", bad, id, 0});
    const auto model = AtlasModel::build(std::move(builder).finish(), {});
    const auto palette = AtlasPalette::build(*model, AtlasColour::Finding, ParameterClasses::builtIn());
    EXPECT_EQ(palette->classes()[palette->classOf(PieceId{0})].title, "nothing found");
    EXPECT_EQ(palette->classes()[palette->classOf(PieceId{1})].title, "error");
}

TEST(AtlasText, RegionsReadAsWords)
{
    const Shape matrix{11008, 4096};
    EXPECT_EQ(regionWords(FlatRange{0, 11008ull * 4096}, matrix), "all of it");
    EXPECT_EQ(regionWords(FlatRange{6018ull * 4096 + 1024, 11008ull * 4096}, matrix), "row 6,018 from column 1,024, to row 11,007");
    EXPECT_EQ(regionWords(FlatRange{0, 6018ull * 4096 + 1024}, matrix), "row 0, to row 6,018, column 1,023");
    EXPECT_EQ(regionWords(FlatRange{4096, 3 * 4096}, matrix), "rows 1 to 2");
    EXPECT_EQ(regionWords(FlatRange{4096, 4097}, matrix), "row 1, column 0");
    EXPECT_EQ(regionWords(FlatRange{5, 12}, Shape{100}), "elements 5 to 11");
    const Box box{{0, 1024}, {11008, 1024}};
    EXPECT_EQ(regionWords(BoxView(box), matrix), "columns 1,024 to 2,047");
}

TEST(AtlasText, APieceIsSaidInOneSentence)
{
    const auto checkpoint = makeAtlasSample();
    TensorId tensor{};
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i)
        if (checkpoint->fullName(idAt<TensorId>(i)) == "model.layers.7.mlp.up_proj.weight/exp_avg_sq")
            tensor = idAt<TensorId>(i);
    const auto piece = idAt<PieceId>(checkpoint->pieces().lastOf(tensor) - 1);
    EXPECT_EQ(pieceSentence(*checkpoint, piece), "rank 1, exp_avg_sq, layers.7.mlp.up_proj.weight, 78.0 MiB at offset 6,738,421,376");
    EXPECT_EQ(alsoOnText(*checkpoint, piece), "rank 0: the rows before that");
    EXPECT_EQ(pieceCopyText(*checkpoint, piece, false), "model.layers.7.mlp.up_proj.weight/exp_avg_sq");
    EXPECT_THAT(pieceCopyText(*checkpoint, piece, true).toStdString(), HasSubstr("\t6738421376\t81752064"));
}

} // namespace
} // namespace shardlens::ui
