#include "core/numeric/kernels/numeric_kernels.h"

#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace shardlens {

extern const NumericKernels kNumericKernelsPlain;
#if defined(__x86_64__)
extern const NumericKernels kNumericKernelsAvx2;
extern const NumericKernels kNumericKernelsAvx512;
#elif defined(__aarch64__)
extern const NumericKernels kNumericKernelsNeon;
#endif

#if defined(__x86_64__)
namespace {

bool hasHalfConversion()
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0; // not every compiler's __builtin_cpu_supports knows "f16c"
}

} // namespace
#endif

std::span<const NumericKernels* const> usableNumericKernels()
{
    static const std::vector<const NumericKernels*> kUsable = [] {
        std::vector<const NumericKernels*> out{&kNumericKernelsPlain};
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && hasHalfConversion())
            out.push_back(&kNumericKernelsAvx2);
        if (out.size() > 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
            out.push_back(&kNumericKernelsAvx512);
#elif defined(__aarch64__)
        out.push_back(&kNumericKernelsNeon);
#endif
        return out;
    }();
    return kUsable;
}

const NumericKernels& numericKernels()
{
    return *usableNumericKernels().back();
}

} // namespace shardlens
