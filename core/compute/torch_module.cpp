// The libtorch module: a plug-in of its own, built against Debian's libtorch or the user's PyTorch (packaging/build-torch-module.sh). Everything here is libtorch's own
// operations on tensors, so that one source serves the CPU and CUDA. Results are bit for bit core/numeric's: divisions are by tensors (by a number they become a
// multiplication on CUDA), and 8-bit floats are made of integers, for older versions have no such dtype.
#include "core/compute/torch_abi.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

constexpr int kComputeMajor = 75; // cudaDevAttrComputeCapabilityMajor, and Minor
constexpr int kComputeMinor = 76;

bool hasCuda()
{
    return at::hasCUDA() && c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA);
}

int32_t cudaCount()
{
    try {
        if (!hasCuda())
            return 0;
        return static_cast<int32_t>(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).deviceCount());
    } catch (...) {
        return 0; // no driver
    }
}

// A function of the CUDA runtime or driver that libtorch has loaded; its headers are not needed.
template <typename Function>
Function symbol(const char* library, const char* name)
{
    void* found = dlsym(RTLD_DEFAULT, name);
    if (found == nullptr)
        if (void* handle = dlopen(library, RTLD_LAZY | RTLD_GLOBAL))
            found = dlsym(handle, name);
    return reinterpret_cast<Function>(found);
}

void describeCuda(int32_t index, ShardlensTorchDevice& out)
{
    std::snprintf(out.id, sizeof(out.id), "cuda:%d", index);
    std::snprintf(out.name, sizeof(out.name), "CUDA device %d", index);
    if (const auto name = symbol<int (*)(char*, int, int)>("libcuda.so.1", "cuDeviceGetName"))
        name(out.name, static_cast<int>(sizeof(out.name)), index);
    const auto attribute = symbol<int (*)(int*, int, int)>("libcudart.so", "cudaDeviceGetAttribute");
    int number = 0;
    if (attribute != nullptr && attribute(&number, kComputeMajor, index) == 0)
        out.computeMajor = number;
    if (attribute != nullptr && attribute(&number, kComputeMinor, index) == 0)
        out.computeMinor = number;
    const c10::DeviceGuard guard(c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)));
    size_t available = 0;
    size_t total = 0;
    const auto memory = symbol<int (*)(size_t*, size_t*)>("libcudart.so", "cudaMemGetInfo");
    if (memory != nullptr && memory(&available, &total) == 0) {
        out.freeBytes = available;
        out.totalBytes = total;
    }
}

at::ScalarType scalarOf(int32_t dtype)
{
    return dtype == kShardlensBF16 ? at::kBFloat16 : dtype == kShardlensF16 ? at::kHalf : at::kFloat;
}

// Values on a device, and what is done with them.
class Place {
public:
    explicit Place(c10::Device device) : m_device(device)
    {
        if (m_device.is_cuda())
            m_stream = c10::impl::VirtualGuardImpl(m_device.type()).getStreamFromGlobalPool(m_device, false);
    }

    void load(const void* values, uint64_t count, int32_t dtype, bool castToHalf)
    {
        const auto guard = streamGuard();
        m_values = at::Tensor();
        const auto size = static_cast<int64_t>(count);
        const at::Tensor host = at::from_blob(const_cast<void*>(values), {size}, at::TensorOptions().dtype(scalarOf(dtype)));
        if (m_device.is_cuda()) {
            if (!m_pinnedIn.defined() || m_pinnedIn.numel() < size || m_pinnedIn.scalar_type() != host.scalar_type())
                m_pinnedIn = at::empty({size}, host.options().pinned_memory(true));
            const at::Tensor pinned = m_pinnedIn.narrow(0, 0, size);
            pinned.copy_(host);
            m_values = pinned.to(m_device, host.scalar_type(), /*non_blocking=*/true, /*copy=*/true);
        } else {
            m_values = host; // read only
        }
        if (castToHalf)
            m_values = m_values.to(at::kHalf);
    }

    void measure(ShardlensTorchRuns runs, float* least, float* greatest)
    {
        const auto guard = streamGuard();
        int64_t at = 0;
        eachPart(valuesOf(runs), runs, [&](const at::Tensor& part, at::IntArrayRef dims) {
            const at::Tensor low = at::amin(part, dims).to(at::kFloat).reshape({-1}).cpu();
            const at::Tensor high = at::amax(part, dims).to(at::kFloat).reshape({-1}).cpu();
            std::memcpy(least + at, low.data_ptr<float>(), static_cast<size_t>(low.numel()) * sizeof(float));
            std::memcpy(greatest + at, high.data_ptr<float>(), static_cast<size_t>(high.numel()) * sizeof(float));
            at += low.numel();
        });
    }

    void codes(ShardlensTorchRuns runs, const ShardlensTorchRule& rule, uint8_t* out)
    {
        const auto guard = streamGuard();
        const at::Tensor values = valuesOf(runs);
        const at::Tensor all = at::empty({values.numel()}, at::TensorOptions().dtype(at::kByte).device(m_device));
        int64_t scale = 0;
        int64_t value = 0;
        const int64_t parts = partCount(values, runs);
        int64_t number = 0;
        eachPart(values, runs, [&](const at::Tensor& part, at::IntArrayRef dims) {
            std::vector<int64_t> shape(part.sizes().begin(), part.sizes().end());
            int64_t count = 1;
            for (size_t i = 0; i < shape.size(); ++i) {
                if (std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) != dims.end())
                    shape[i] = 1;
                count *= shape[i];
            }
            const bool divides = rule.divideLast != 0 && ++number == parts;
            const at::Tensor made = codesOf(part, scalesOf(rule.scales + scale, count, shape), rule.zeros == nullptr ? at::Tensor() : scalesOf(rule.zeros + scale, count, shape), rule, divides);
            const at::Tensor flat = unpadded(made, values.numel(), runs);
            all.narrow(0, value, flat.numel()).copy_(flat);
            scale += count;
            value += flat.numel();
        });
        copyBack(all, out);
    }

private:
    [[nodiscard]] std::unique_ptr<c10::StreamGuard> streamGuard() const { return m_stream ? std::make_unique<c10::StreamGuard>(*m_stream) : nullptr; }

    [[nodiscard]] at::Tensor valuesOf(ShardlensTorchRuns runs) const { return m_values.narrow(0, static_cast<int64_t>(runs.first), static_cast<int64_t>(runs.count)); }

    [[nodiscard]] static int64_t partCount(const at::Tensor& values, ShardlensTorchRuns runs)
    {
        const int64_t run = static_cast<int64_t>(runs.run);
        return runs.blockColumns != 0 ? 1 : (values.numel() >= run ? 1 : 0) + (values.numel() % run != 0 ? 1 : 0);
    }

    // Calls visit with the values as runs in rows, then with a short run by itself; or with blocks of a padded matrix as [block rows, rows, block columns, columns].
    // `dims`: those that share a scale.
    template <typename Visit>
    static void eachPart(const at::Tensor& values, ShardlensTorchRuns runs, const Visit& visit)
    {
        const int64_t run = static_cast<int64_t>(runs.run);
        const int64_t count = values.numel();
        if (runs.blockColumns != 0) {
            const int64_t columns = static_cast<int64_t>(runs.blockColumns);
            const int64_t rows = count / columns;
            const int64_t high = (rows + run - 1) / run;
            const int64_t wide = (columns + run - 1) / run;
            const at::Tensor padded = at::constant_pad_nd(values.reshape({rows, columns}), {0, wide * run - columns, 0, high * run - rows}, 0);
            visit(padded.reshape({high, run, wide, run}), {1, 3});
            return;
        }
        const int64_t whole = count / run;
        if (whole != 0)
            visit(values.narrow(0, 0, whole * run).reshape({whole, run}), {1});
        if (count % run != 0)
            visit(values.narrow(0, whole * run, count % run).reshape({1, count % run}), {1});
    }

    [[nodiscard]] static at::Tensor unpadded(const at::Tensor& made, int64_t count, ShardlensTorchRuns runs)
    {
        if (runs.blockColumns == 0)
            return made.reshape({-1});
        const int64_t columns = static_cast<int64_t>(runs.blockColumns);
        const int64_t rows = count / columns;
        return made.reshape({made.size(0) * made.size(1), made.size(2) * made.size(3)}).narrow(0, 0, rows).narrow(1, 0, columns).reshape({-1});
    }

    [[nodiscard]] at::Tensor scalesOf(const float* scales, int64_t count, at::IntArrayRef shape) const
    {
        return at::from_blob(const_cast<float*>(scales), {count}, at::TensorOptions().dtype(at::kFloat)).to(m_device, at::kFloat, /*non_blocking=*/false, /*copy=*/true).reshape(shape);
    }

    static at::Tensor codesOf(const at::Tensor& values, const at::Tensor& scales, const at::Tensor& zeros, const ShardlensTorchRule& rule, bool divides)
    {
        const bool multiplies = rule.codes == kShardlensScaled || (rule.codes == kShardlensBook && !divides);
        if (multiplies)
            return rule.codes == kShardlensBook ? bookCodes(values.to(at::kFloat) * scales, rule) : intCodes(values.to(at::kFloat) * scales, rule);
        const auto dtype = rule.inWeightsDType != 0 ? values.scalar_type() : at::kFloat;
        at::Tensor quotient = values.to(dtype) / scales.to(dtype);
        if (zeros.defined())
            quotient = quotient + zeros.to(dtype);
        switch (rule.codes) {
        case kShardlensE4M3: return e4m3Codes(quotient.to(at::kFloat));
        case kShardlensE2M1: return e2m1Codes(quotient.to(at::kFloat));
        case kShardlensBook: return bookCodes(quotient, rule);
        default: return intCodes(quotient.to(at::kFloat), rule);
        }
    }

    static at::Tensor intCodes(const at::Tensor& quotient, const ShardlensTorchRule& rule)
    {
        return at::round(at::clamp(quotient, rule.least, rule.greatest)).to(at::kChar).view(at::kByte);
    }

    // formats/quantization.md §8.1, as integers.
    static at::Tensor e4m3Codes(const at::Tensor& quotient)
    {
        const at::Tensor value = at::clamp(quotient, -448.0, 448.0) + 0.0; // -0 becomes 0
        const at::Tensor bits = value.contiguous().view(at::kInt);
        const at::Tensor magnitude = at::bitwise_and(bits, 0x7FFFFFFF);
        const at::Tensor odd = at::bitwise_and(at::__rshift__(magnitude, 20), 1);
        const at::Tensor normal = at::__rshift__(magnitude + 0x7FFFF + odd, 20) - (120 << 3);
        const at::Tensor small = (magnitude.view(at::kFloat) + 16384.0).view(at::kInt) - 0x46800000;
        const at::Tensor sign = at::bitwise_and(at::__rshift__(bits, 24), 0x80);
        return at::bitwise_or(at::where(magnitude.lt(0x3C800000), small, normal), sign).to(at::kByte);
    }

    static at::Tensor e2m1Codes(const at::Tensor& quotient)
    {
        const at::Tensor magnitude = quotient.abs();
        at::Tensor index = magnitude.gt(0.25).to(at::kByte);
        index = index + magnitude.ge(0.75).to(at::kByte) + magnitude.gt(1.25).to(at::kByte) + magnitude.ge(1.75).to(at::kByte) + magnitude.gt(2.5).to(at::kByte) +
                magnitude.ge(3.5).to(at::kByte) + magnitude.gt(5.0).to(at::kByte);
        return at::bitwise_or(index, quotient.lt(0).to(at::kByte) * 8);
    }

    static at::Tensor bookCodes(const at::Tensor& value, const ShardlensTorchRule& rule)
    {
        at::Tensor out = at::zeros(value.sizes(), value.options().dtype(at::kByte));
        for (int i = 0; i < 15; ++i)
            out += value.gt(static_cast<double>(rule.bounds[i])).to(at::kByte);
        return out;
    }

    void copyBack(const at::Tensor& codes, uint8_t* out)
    {
        const int64_t size = codes.numel();
        if (!m_device.is_cuda()) {
            std::memcpy(out, codes.data_ptr<uint8_t>(), static_cast<size_t>(size));
            return;
        }
        if (!m_pinnedOut.defined() || m_pinnedOut.numel() < size)
            m_pinnedOut = at::empty({size}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
        at::Tensor pinned = m_pinnedOut.narrow(0, 0, size);
        pinned.copy_(codes, /*non_blocking=*/true);
        c10::impl::VirtualGuardImpl(m_device.type()).synchronizeStream(*m_stream);
        std::memcpy(out, pinned.data_ptr<uint8_t>(), static_cast<size_t>(size));
    }

    c10::Device m_device;
    std::optional<c10::Stream> m_stream;
    at::Tensor m_values;
    at::Tensor m_pinnedIn;
    at::Tensor m_pinnedOut;
};

void keepText(const char* text, char* into, uint64_t bytes)
{
    if (bytes == 0)
        return;
    const size_t length = std::min<size_t>(std::strcspn(text, "\n"), bytes - 1); // the rest is a stack
    std::memcpy(into, text, length);
    into[length] = '\0';
}

// Runs `work`; whatever it throws becomes a status and a text.
template <typename Work>
int32_t guarded(char* error, uint64_t errorBytes, const Work& work)
{
    try {
        const c10::NoGradGuard noGradients;
        work();
        return kShardlensTorchOk;
    } catch (const std::exception& failure) {
        keepText(failure.what(), error, errorBytes);
        const bool memory = std::strstr(failure.what(), "out of memory") != nullptr || dynamic_cast<const std::bad_alloc*>(&failure) != nullptr;
        return memory ? kShardlensTorchOutOfMemory : kShardlensTorchFailed;
    } catch (...) {
        keepText("an exception of an unknown kind", error, errorBytes);
        return kShardlensTorchFailed;
    }
}

int32_t deviceCount()
{
    return cudaCount();
}

int32_t device(int32_t index, ShardlensTorchDevice* out)
{
    *out = {};
    return guarded(nullptr, 0, [&] { describeCuda(index, *out); });
}

void* open(const char* id, char* error, uint64_t errorBytes)
{
    void* out = nullptr;
    (void)guarded(error, errorBytes, [&] {
        const c10::Device device(id);
        TORCH_CHECK(!device.is_cuda() || device.index() < cudaCount(), "no such device");
        out = new Place(device);
    });
    return out;
}

void close(void* place)
{
    (void)guarded(nullptr, 0, [&] { delete static_cast<Place*>(place); });
}

int32_t load(void* place, const void* values, uint64_t count, int32_t dtype, int32_t castToHalf, char* error, uint64_t errorBytes)
{
    return guarded(error, errorBytes, [&] { static_cast<Place*>(place)->load(values, count, dtype, castToHalf != 0); });
}

int32_t measure(void* place, ShardlensTorchRuns runs, float* least, float* greatest, char* error, uint64_t errorBytes)
{
    return guarded(error, errorBytes, [&] { static_cast<Place*>(place)->measure(runs, least, greatest); });
}

int32_t codes(void* place, ShardlensTorchRuns runs, const ShardlensTorchRule* rule, uint8_t* out, char* error, uint64_t errorBytes)
{
    return guarded(error, errorBytes, [&] { static_cast<Place*>(place)->codes(runs, *rule, out); });
}

const ShardlensTorchModule kModule{kShardlensTorchAbi, TORCH_VERSION, deviceCount, device, open, close, load, measure, codes};

} // namespace

extern "C" __attribute__((visibility("default"))) const ShardlensTorchModule* shardlens_torch_module(uint32_t abi)
{
    return abi == kShardlensTorchAbi ? &kModule : nullptr;
}
