#include "core/format/sdloader/load_preview.h"

#include "core/base/text.h"
#include "core/encoding/torch_file.h"
#include "core/format/opened_file.h"
#include "core/format/sdloader/list_file.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::sdloader {
namespace {

using pickle::Value;

constexpr const char* kLoaderRules = "deepspeed-megatron";
constexpr const char* kVersionFact = "version";

// Each must be found in some key of the first file before files are merged.
constexpr std::array<std::string_view, 5> kSanityKeys{"attention.dense.weight", "mlp.dense_4h_to_h.weight", "attention.query_key_value", "mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias"};

class LoadPlan {
public:
    LoadPlan(const LoadRequest& request, JobContext& job) : m_request(request), m_job(job) {}

    Result<LoadPreview> preview()
    {
        SHARDLENS_TRY(readTheList());
        SHARDLENS_ASSIGN(const TorchFile first, fileAt(0));
        SHARDLENS_TRY(checkConstruction(first));
        const bool hasModuleKey = m_request.moduleKey != "none";
        SHARDLENS_ASSIGN(m_out.selection, select(m_list.checkpoints.size(), m_request.mpSize, m_request.mpRank, hasModuleKey, m_request.isPipeParallel));
        switch (m_out.selection.action) {
        case Selection::Action::Load: SHARDLENS_TRY(checkLoad()); break;
        case Selection::Action::Merge: SHARDLENS_TRY(checkMerge(first)); break;
        case Selection::Action::Split: SHARDLENS_TRY(checkSplit()); break;
        }
        return std::move(m_out);
    }

private:
    Status readTheList()
    {
        SHARDLENS_ASSIGN(const Candidate candidate, lookAt(m_request.path));
        SHARDLENS_ASSIGN(ListFile file, readListOf(candidate));
        m_out.list = std::move(file.path);
        m_list = std::move(file.list);
        if (m_list.type != FactoryList::Type::Megatron)
            return Error{ErrorCode::Refused, fmt::format("a list of type {} is given to the inference engine as it is; MegatronSDLoader loads lists of type Megatron", printable(m_list.typeName))};
        m_out.files = m_list.checkpoints;
        return {};
    }

    Result<TorchFile> fileAt(std::size_t index)
    {
        const std::string& name = m_list.checkpoints[index];
        SHARDLENS_TRY(m_job.poll());
        auto opened = openFile(pathOf(m_list, folderOf(m_out.list), name), name);
        auto file = opened ? TorchFile::open(opened->source, m_job) : Result<TorchFile>(opened.takeError());
        if (!file)
            return file.takeError().within(printable(name));
        return file;
    }

    Status checkConstruction(const TorchFile& first) const
    {
        const auto said = first.root().find("mp_world_size").asInt();
        if (said && *said != static_cast<std::int64_t>(m_list.checkpoints.size()))
            return Error{ErrorCode::Refused, fmt::format("checkpoint count {} is different from the saved mp_world_size {} of {}", m_list.checkpoints.size(), *said, printable(m_list.checkpoints[0]))};
        return {};
    }

    Status checkLoad()
    {
        SHARDLENS_ASSIGN([[maybe_unused]] const TorchFile file, fileAt(m_out.selection.file));
        return {};
    }

    Status checkMerge(const TorchFile& first)
    {
        SHARDLENS_ASSIGN(const Value module, namedModule(first, 0));
        for (const std::string_view wanted : kSanityKeys)
            if (!hasKeyWith(module, wanted))
                return Error{ErrorCode::Refused, fmt::format("the sanity check before a merge: no key of {} contains {}", printable(m_list.checkpoints[0]), wanted)};
        SHARDLENS_ASSIGN(const TorchFile file, fileAt(m_out.selection.file));
        return checkTensors(file, 1); // merged are whole thirds of version 0
    }

    Status checkSplit()
    {
        SHARDLENS_ASSIGN(const TorchFile file, fileAt(m_out.selection.file));
        return checkTensors(file, m_out.selection.splitInto);
    }

    Result<Value> namedModule(const TorchFile& file, std::size_t index) const
    {
        auto module = moduleOf(file.root(), m_request.moduleKey);
        if (!module)
            return module.takeError().within(printable(m_list.checkpoints[index]));
        return module;
    }

    static bool hasKeyWith(Value module, std::string_view part)
    {
        for (std::size_t i = 0; i < module.size(); ++i)
            if (const auto key = module.keyAt(i).asText(); key && key->find(part) != std::string_view::npos)
                return true;
        return false;
    }

    // Every tensor that the loader's table names must divide. Only the dictionary's own keys count, as there.
    Status checkTensors(const TorchFile& file, std::size_t parts)
    {
        SHARDLENS_ASSIGN(const Value module, namedModule(file, m_out.selection.file));
        m_out.version = versionText(m_list.version.value_or(file.root().find("checkpoint_version").asFloat().value_or(0)));
        const Facts facts{{kVersionFact, m_out.version}};
        const RuleSet& rules = builtInRules(kLoaderRules);
        for (std::size_t i = 0; i < module.size(); ++i) {
            const auto key = module.keyAt(i).asText();
            if (!key || !TorchFile::isTensor(module.valueAt(i)))
                continue;
            SHARDLENS_ASSIGN(const ShardRule* rule, rules.ruleFor(*key, facts));
            if (const bool needsVersion = rules.isOutOfCondition(*key, facts) || !rule->when.empty(); needsVersion && !isKnownVersion())
                return Error{ErrorCode::Refused, fmt::format("checkpoint version: {} is not supported by the loader (0, 1 and 2 are), and {} needs it", printable(m_out.version), printable(*key))};
            SHARDLENS_ASSIGN(const TorchTensor tensor, file.tensorOf(module.valueAt(i)));
            if (const auto division = divisionOf(*rule, tensor.shape, static_cast<std::uint32_t>(parts), facts); !division)
                return Error{ErrorCode::Refused, fmt::format("{}: {}", printable(*key), division.error().text())};
        }
        return {};
    }
    [[nodiscard]] bool isKnownVersion() const { return m_out.version == "0" || m_out.version == "1" || m_out.version == "2"; }

    const LoadRequest& m_request;
    JobContext& m_job;
    FactoryList m_list;
    LoadPreview m_out;
};

} // namespace

Result<LoadPreview> previewLoad(const LoadRequest& request, JobContext& job)
{
    auto out = LoadPlan(request, job).preview();
    if (!out)
        return out.takeError().within(printable(request.path));
    return out;
}

} // namespace shardlens::sdloader
