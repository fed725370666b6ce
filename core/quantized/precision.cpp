#include "core/quantized/precision.h"

#include "core/numeric/cast.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>

namespace shardlens {
namespace {

constexpr std::uint64_t kPrecisionStep = 64u << 10; // values that are looked at together
constexpr std::size_t kSamplePlaces = 8;            // of a tensor that a sample is taken from
constexpr std::size_t kFineBins = 2048;             // of magnitudes: an eighth of an octave each
constexpr double kOutlier = 6;                      // times the root of the mean square

struct Span {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
};

// Looks at one tensor.
class Gauge {
public:
    Gauge(const LossyTensor& what, const PrecisionOptions& options) : m_what(what), m_options(options), m_values(what.checkpoint)
    {
        const Tensor& tensor = what.checkpoint->tensor(what.tensor);
        m_out.name = what.name;
        m_out.quantized = what.weight != nullptr;
        m_out.scheme = what.weight ? std::string(what.weight->layout().scheme().name) : std::string(nameOf(what.to));
        m_out.shape = tensor.shape;
        m_out.from = tensor.dtype;
        m_cell = info(what.weight ? what.weight->dtype() : tensor.dtype).bytesPerBlock;
        m_out.values = elementCount(tensor.shape).value_or(0);
        m_out.storedBefore = what.checkpoint->bytesOf(what.tensor);
        if (what.weight)
            for (const QuantPart& part : what.weight->layout().parts())
                m_out.storedAfter += part.sizeBytes();
        else
            m_out.storedAfter = m_out.values * info(what.to).bytesPerBlock;
    }

    // Of the source, to know scales of the whole tensor, and to compare values.
    [[nodiscard]] std::uint64_t bytesToRead() const
    {
        std::uint64_t values = 0;
        for (const Span& span : spans())
            values += span.count;
        return values * m_cell + (m_what.weight ? m_what.weight->bytesToPrepare() : 0);
    }

    // Advances the job by bytesToRead(), whatever could be measured.
    Result<TensorPrecision> run(JobContext& job)
    {
        const std::uint64_t total = bytesToRead();
        auto out = measure(job);
        job.advance(total - std::min(total, m_read.load()));
        return out;
    }

private:
    Result<TensorPrecision> measure(JobContext& job)
    {
        const auto advance = [&](std::uint64_t bytes) {
            job.advance(bytes);
            m_read += bytes;
        };
        if (m_what.weight) {
            Status ready = m_what.weight->prepareAll({job.stopToken(), advance});
            if (!ready && ready.error().code() == ErrorCode::Refused) {
                m_out.problem = ready.error().sentence();
                return std::move(m_out);
            }
            SHARDLENS_TRY(std::move(ready));
        }
        for (const Span& span : spans()) {
            SHARDLENS_TRY(job.poll());
            Status looked = look(span);
            if (!looked && looked.error().code() == ErrorCode::Refused) {
                m_out.problem = looked.error().sentence();
                return std::move(m_out);
            }
            SHARDLENS_TRY(std::move(looked));
            advance(span.count * m_cell);
        }
        countOutliers();
        return std::move(m_out);
    }

    // Runs of whole grains: all of them, or some that lie evenly.
    [[nodiscard]] std::vector<Span> spans() const
    {
        const std::uint64_t grain = m_what.weight ? m_what.weight->grainValues() : 1;
        const std::uint64_t step = std::max(kPrecisionStep / grain, std::uint64_t{1}) * grain;
        std::vector<Span> out;
        if (m_options.exact || m_out.values <= m_options.sampleValues) {
            for (std::uint64_t first = 0; first < m_out.values; first += step)
                out.push_back({first, std::min(step, m_out.values - first)});
            return out;
        }
        const std::uint64_t grains = (m_out.values + grain - 1) / grain;
        const std::uint64_t wanted = std::max(m_options.sampleValues / grain, std::uint64_t{1});
        const std::uint64_t places = std::min<std::uint64_t>({kSamplePlaces, wanted, grains});
        const std::uint64_t each = std::min(std::max(wanted / places, std::uint64_t{1}), grains / places);
        for (std::uint64_t place = 0; place < places; ++place) {
            const std::uint64_t first = (place * (grains / places) + (grains / places - each) / 2) * grain; // in the middle of its part
            out.push_back({first, std::min(each * grain, m_out.values - first)});
        }
        return out;
    }

    Status look(const Span& span)
    {
        thread_local std::vector<float> before;
        thread_local std::vector<float> after;
        thread_local std::vector<std::byte> stored;
        before.resize(span.count);
        after.resize(span.count);
        const std::size_t cell = info(m_what.to).bytesPerBlock;
        stored.resize(span.count * cell);
        CastCounts lost;
        if (auto read = m_values.readAt(m_what.tensor, DType::F32, span.first * sizeof(float), std::as_writable_bytes(std::span(before)), lost); !read)
            return read.takeError();
        m_out.overflow += castValues(DType::F32, reinterpret_cast<const std::byte*>(before.data()), m_what.to, stored.data(), span.count).overflow;
        if (m_what.weight)
            SHARDLENS_TRY(m_what.weight->roundTrip(span.first, stored, after));
        else
            (void)castValues(m_what.to, stored.data(), DType::F32, reinterpret_cast<std::byte*>(after.data()), span.count);
        for (std::size_t i = 0; i < span.count; ++i)
            count(before[i], after[i]);
        m_out.looked += span.count;
        return {};
    }

    void count(float from, float to)
    {
        if (!std::isfinite(from)) {
            ++m_out.nonFinite;
            return;
        }
        const double value = from;
        m_out.least = m_any ? std::min(m_out.least, value) : value;
        m_out.greatest = m_any ? std::max(m_out.greatest, value) : value;
        m_any = true;
        m_out.sum += value;
        m_out.squares += value * value;
        ++m_magnitudes[std::bit_cast<std::uint32_t>(std::fabs(from)) >> 20];
        if (!std::isfinite(to))
            return; // counted as overflow
        const double kept = to;
        const double error = value - kept;
        m_out.keptSquares += kept * kept;
        m_out.products += value * kept;
        m_out.errorSquares += error * error;
        m_out.largestError = std::max(m_out.largestError, std::fabs(error));
    }

    void countOutliers()
    {
        const double limit = kOutlier * std::sqrt(m_out.meanSquare());
        if (limit == 0)
            return;
        for (std::size_t bin = 0; bin < m_magnitudes.size(); ++bin)
            if (std::bit_cast<float>(static_cast<std::uint32_t>(bin) << 20) > limit)
                m_out.outliers += m_magnitudes[bin];
    }

    const LossyTensor& m_what;
    const PrecisionOptions& m_options;
    ValueReader m_values;
    TensorPrecision m_out;
    std::uint64_t m_cell = 1; // bytes of a value
    std::atomic<std::uint64_t> m_read{0};
    bool m_any = false;
    std::array<std::uint64_t, kFineBins> m_magnitudes{};
};

bool isWorse(const TensorPrecision& a, const TensorPrecision& b)
{
    if (a.problem.empty() != b.problem.empty())
        return !a.problem.empty();
    const double none = 1e300; // nothing lost
    return a.signalToNoise().value_or(none) < b.signalToNoise().value_or(none);
}

} // namespace

bool losesValues(DType from, DType to)
{
    if (from == to || from == DType::F8E8M0)
        return false;
    const std::size_t wide = info(to).bytesPerBlock;
    const std::size_t narrow = info(from).bytesPerBlock;
    return !(wide > narrow && (wide >= 4 || (to == DType::F16 && from != DType::BF16) || to == DType::BF16));
}

double TensorPrecision::meanSquare() const
{
    const std::uint64_t finite = looked - nonFinite;
    return finite == 0 ? 0 : squares / static_cast<double>(finite);
}

double TensorPrecision::deviation() const
{
    const std::uint64_t finite = looked - nonFinite;
    if (finite == 0)
        return 0;
    const double mean = sum / static_cast<double>(finite);
    return std::sqrt(std::max(meanSquare() - mean * mean, 0.0));
}

double TensorPrecision::rmsError() const
{
    return looked == 0 ? 0 : std::sqrt(errorSquares / static_cast<double>(looked));
}

std::optional<double> TensorPrecision::cosine() const
{
    const double lengths = std::sqrt(squares) * std::sqrt(keptSquares);
    return lengths == 0 ? std::nullopt : std::optional(std::min(products / lengths, 1.0));
}

std::optional<double> TensorPrecision::signalToNoise() const
{
    if (errorSquares == 0 || squares == 0)
        return std::nullopt;
    return 10 * std::log10(squares / errorSquares);
}

double TensorPrecision::wholeError() const
{
    return looked == 0 ? 0 : errorSquares / static_cast<double>(looked) * static_cast<double>(values);
}

Result<std::vector<TensorPrecision>> measurePrecision(const std::vector<LossyTensor>& tensors, const PrecisionOptions& options, Executor& executor, JobContext& job)
{
    std::uint64_t total = 0;
    for (const LossyTensor& tensor : tensors)
        total += Gauge(tensor, options).bytesToRead();
    job.progress().done.store(0, std::memory_order_relaxed); // opening and planning may have counted other things
    job.setTotal(total);
    std::vector<TensorPrecision> out(tensors.size());
    SHARDLENS_TRY(executor.forEach(tensors.size(), [&](std::size_t i) -> Status {
        SHARDLENS_ASSIGN(out[i], Gauge(tensors[i], options).run(job));
        return {};
    }));
    std::stable_sort(out.begin(), out.end(), isWorse);
    return out;
}

} // namespace shardlens
