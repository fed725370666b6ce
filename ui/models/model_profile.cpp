#include "ui/models/model_profile.h"

#include "core/analysis/statistics.h"
#include "core/base/text.h"
#include "core/job/executor.h"

#include <QCoreApplication>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <compare>
#include <limits>
#include <map>
#include <unordered_map>

namespace shardlens::ui {
namespace {

constexpr std::uint64_t kSampleBytes = 256ull << 20; // of all tensors together
constexpr std::uint64_t kMostOfTensor = 64ull << 10;
constexpr std::uint64_t kLeastOfTensor = 8ull << 10;
constexpr std::size_t kLeastOfKind = 4; // tensors, before one can be unlike the others
constexpr double kFarOff = 8;           // median distances from the median
constexpr double kWorthSaying = 1.5;    // times the median, or less than its inverse
constexpr double kZeroShare = 0.1;      // more zeros than the median of the kind

QString words(const char* source)
{
    return QCoreApplication::translate("ModelProfile", source);
}

QString shortNumber(double value)
{
    return QString::number(value, 'g', 3);
}

double medianOf(std::vector<double> values)
{
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

std::vector<TensorId> tensorsOf(const Checkpoint& checkpoint, RoleId role)
{
    std::vector<TensorId> out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        const Tensor& tensor = checkpoint.tensors()[i];
        if (tensor.role == role && isFloat(tensor.dtype) && !tensor.quantizedPart && elementCount(tensor.shape).value_or(0) > 0)
            out.push_back(idAt<TensorId>(i));
    }
    return out;
}

// Where a tensor stands on the way through the model, as far as its name tells: embeddings, then stacks of layers by number, then what has no number.
struct Depth {
    int part = 0; // 0 embeddings, 1 layers, 2 the rest: heads, last norms
    std::size_t stack = 0;
    std::uint64_t layer = 0;

    auto operator<=>(const Depth&) const = default;
};

class DepthOrder {
public:
    Depth of(const std::string& name)
    {
        const std::string kind = kindOfName(name);
        const std::size_t star = kind.find('*');
        if (star != std::string::npos) {
            const std::size_t stack = m_stacks.try_emplace(kind.substr(0, star), m_stacks.size()).first->second;
            std::uint64_t layer = 0;
            std::from_chars(name.data() + star, name.data() + name.size(), layer);
            return {1, stack, layer};
        }
        for (const char* word : {"embed", "wte", "wpe"})
            if (name.find(word) != std::string::npos)
                return {};
        return {2, 0, 0};
    }

private:
    std::map<std::string, std::size_t> m_stacks; // by what stands before the number, in the order in which they come
};

class ProfileBuilder {
public:
    ProfileBuilder(const CheckpointPtr& checkpoint, RoleId role, bool exact, std::shared_ptr<JobContext> job) : m_out(std::make_shared<ModelProfile>()), m_job(std::move(job))
    {
        m_out->checkpoint = checkpoint;
        m_out->role = role;
        m_out->isExact = exact;
        std::vector<std::pair<Depth, ProfileRow>> rows;
        DepthOrder order;
        for (const TensorId tensor : tensorsOf(*checkpoint, role)) {
            ProfileRow row;
            row.tensor = tensor;
            row.name = checkpoint->fullName(tensor);
            rows.emplace_back(order.of(checkpoint->parameterOf(tensor)), std::move(row));
        }
        std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        std::unordered_map<std::string, std::size_t> kinds;
        for (auto& [depth, row] : rows) {
            const auto [at, fresh] = kinds.try_emplace(kindOfName(row.name), m_out->kinds.size());
            if (fresh)
                m_out->kinds.push_back(at->first);
            row.kind = at->second;
            m_out->rows.push_back(std::move(row));
        }
    }

    std::shared_ptr<const ModelProfile> build()
    {
        const auto executor = makeThreadedExecutor(availableThreads());
        m_out->isExact ? readAll(*executor) : sample(*executor);
        if (m_job->stopRequested())
            return nullptr;
        m_out->isExact = std::all_of(m_out->rows.begin(), m_out->rows.end(), [](const ProfileRow& row) { return row.isExact || !row.problem.isEmpty(); });
        findOdd();
        return m_out;
    }

private:
    void sample(Executor& executor)
    {
        const std::uint64_t each = std::clamp(kSampleBytes / std::max<std::uint64_t>(m_out->rows.size(), 1), kLeastOfTensor, kMostOfTensor);
        m_job->setTotal(m_out->rows.size());
        static_cast<void>(executor.forEach(m_out->rows.size(), [&](std::size_t i) -> Status { // rows keep their own problems
            ProfileRow& row = m_out->rows[i];
            keep(row, sampledStatistics(m_out->checkpoint, row.tensor, each, *m_job));
            m_job->advance(1);
            return m_job->poll();
        }));
    }

    // All in one go; where that fails, one tensor after the other, so that a hole costs one row and not all.
    void readAll(Executor& executor)
    {
        std::vector<SelectedTensor> wanted;
        for (const ProfileRow& row : m_out->rows)
            wanted.push_back({row.name, row.tensor});
        if (const auto found = statisticsOf(m_out->checkpoint, wanted, executor, *m_job)) {
            for (std::size_t i = 0; i < wanted.size(); ++i)
                keep(m_out->rows[i], Result<TensorStatistics>((*found)[i]));
            return;
        }
        m_job->progress().done.store(0, std::memory_order_relaxed);
        for (std::size_t i = 0; i < wanted.size() && !m_job->stopRequested(); ++i) {
            auto one = statisticsOf(m_out->checkpoint, {wanted[i]}, executor, *m_job);
            if (one)
                keep(m_out->rows[i], Result<TensorStatistics>(one->front()));
            else
                m_out->rows[i].problem = QString::fromStdString(one.error().sentence());
        }
    }

    void keep(ProfileRow& row, const Result<TensorStatistics>& found) const
    {
        if (!found) {
            row.problem = QString::fromStdString(found.error().sentence());
            return;
        }
        row.values = found->values;
        row.values.bins = {};
        row.isExact = row.values.values == elementCount(m_out->checkpoint->tensor(row.tensor).shape).value_or(0);
    }

    void findOdd()
    {
        m_out->oddIn.assign(m_out->rows.size(), 0);
        std::vector<std::vector<std::size_t>> rowsOfKind(m_out->kinds.size());
        for (std::size_t i = 0; i < m_out->rows.size(); ++i) {
            const ProfileRow& row = m_out->rows[i];
            if (!row.problem.isEmpty())
                continue;
            rowsOfKind[row.kind].push_back(i);
            if (row.nonFinite() > 0)
                add(i, ProfileFigure::NonFinite, words("%1 of %2 values are not finite").arg(QString::fromStdString(groupedText(row.nonFinite())), QString::fromStdString(groupedText(row.values.values))), std::numeric_limits<double>::infinity());
        }
        for (const std::vector<std::size_t>& rows : rowsOfKind) {
            m_out->isComparable = m_out->isComparable || rows.size() >= kLeastOfKind;
            compare(rows, ProfileFigure::Deviation, [](const ProfileRow& row) { return row.values.deviation(); }, words("deviation %1, %2 times the median of its kind"));
            compare(rows, ProfileFigure::Largest, [](const ProfileRow& row) { return row.largest(); }, words("largest value %1, %2 times the median of its kind"));
            compareZeros(rows);
        }
        std::stable_sort(m_out->odd.begin(), m_out->odd.end(), [](const OddTensor& a, const OddTensor& b) { return a.weight > b.weight; });
    }

    template <typename Figure>
    void compare(const std::vector<std::size_t>& rows, ProfileFigure what, Figure figure, const QString& why)
    {
        if (rows.size() < kLeastOfKind)
            return;
        std::vector<double> figures;
        for (const std::size_t row : rows)
            figures.push_back(figure(m_out->rows[row]));
        const double median = medianOf(figures);
        std::vector<double> distances;
        for (const double one : figures)
            distances.push_back(std::abs(one - median));
        const double far = kFarOff * medianOf(distances);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const double times = median > 0 ? figures[i] / median : figures[i] > 0 ? std::numeric_limits<double>::max() : 1;
            if (distances[i] > far && (times > kWorthSaying || times < 1 / kWorthSaying))
                add(rows[i], what, why.arg(shortNumber(figures[i]), shortNumber(times)), times > 0 ? std::abs(std::log2(times)) : std::numeric_limits<double>::max());
        }
    }

    void compareZeros(const std::vector<std::size_t>& rows)
    {
        if (rows.size() < kLeastOfKind)
            return;
        std::vector<double> shares;
        for (const std::size_t row : rows)
            shares.push_back(m_out->rows[row].zeroShare());
        const double median = medianOf(shares);
        for (std::size_t i = 0; i < rows.size(); ++i)
            if (shares[i] > median + kZeroShare)
                add(rows[i], ProfileFigure::Zeros, words("%1 of its values are zero, where %2 is usual for its kind").arg(QString::fromStdString(percentText(shares[i])), QString::fromStdString(percentText(median))), 10 * (shares[i] - median));
    }

    void add(std::size_t row, ProfileFigure figure, const QString& why, double weight)
    {
        m_out->oddIn[row] = static_cast<std::uint8_t>(m_out->oddIn[row] | 1 << static_cast<int>(figure));
        const auto [at, fresh] = m_oddOf.try_emplace(row, m_out->odd.size());
        if (fresh) {
            m_out->odd.push_back({row, why, weight});
            return;
        }
        OddTensor& known = m_out->odd[at->second];
        known.why += QStringLiteral("; ") + why;
        known.weight = std::max(known.weight, weight);
    }

    std::unordered_map<std::size_t, std::size_t> m_oddOf; // by row: its place among the odd, until they are sorted
    std::shared_ptr<ModelProfile> m_out;
    std::shared_ptr<JobContext> m_job;
};

} // namespace

double ProfileRow::largest() const
{
    return values.min > values.max ? 0 : std::max(std::abs(values.min), std::abs(values.max));
}

double ProfileRow::zeroShare() const
{
    return values.values == 0 ? 0 : static_cast<double>(values.zeros) / static_cast<double>(values.values);
}

std::string kindOfName(std::string_view name)
{
    std::string out;
    bool replaced = false;
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = std::min(name.find('.', at), name.size());
        const std::string_view part = name.substr(at, end - at);
        const bool isNumber = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
        out += isNumber && !replaced ? std::string_view("*") : part;
        replaced = replaced || isNumber;
        if (end < name.size())
            out += '.';
        at = end + 1;
    }
    return out;
}

std::uint64_t ModelProfile::quantizedCodes(const Checkpoint& checkpoint, RoleId role)
{
    return static_cast<std::uint64_t>(std::count_if(checkpoint.tensors().begin(), checkpoint.tensors().end(), [role](const Tensor& tensor) { return tensor.role == role && tensor.quantizedPart; }));
}

std::uint64_t ModelProfile::bytesOf(const Checkpoint& checkpoint, RoleId role)
{
    std::uint64_t bytes = 0;
    for (const TensorId tensor : tensorsOf(checkpoint, role))
        bytes += checkpoint.bytesOf(tensor);
    return bytes;
}

std::shared_ptr<const ModelProfile> ModelProfile::build(const CheckpointPtr& checkpoint, RoleId role, bool exact, const std::shared_ptr<JobSlot>& slot, const std::stop_token& stop)
{
    const auto job = std::make_shared<JobContext>(stop);
    if (slot)
        slot->store(job);
    return ProfileBuilder(checkpoint, role, exact, job).build();
}

} // namespace shardlens::ui
