#include "core/numeric/kernels/quant_kernels.h"

#include <vector>

namespace shardlens {

extern const QuantKernels kQuantKernelsPlain;
#if defined(__x86_64__)
extern const QuantKernels kQuantKernelsAvx2;
extern const QuantKernels kQuantKernelsAvx512;
#elif defined(__aarch64__)
extern const QuantKernels kQuantKernelsNeon;
#endif

std::span<const QuantKernels* const> usableQuantKernels()
{
    static const std::vector<const QuantKernels*> kUsable = [] {
        std::vector<const QuantKernels*> out{&kQuantKernelsPlain};
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2"))
            out.push_back(&kQuantKernelsAvx2);
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
            out.push_back(&kQuantKernelsAvx512);
#elif defined(__aarch64__)
        out.push_back(&kQuantKernelsNeon);
#endif
        return out;
    }();
    return kUsable;
}

const QuantKernels& quantKernels()
{
    return *usableQuantKernels().back();
}

} // namespace shardlens
