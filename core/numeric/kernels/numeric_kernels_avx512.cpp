#define SHARDLENS_KERNELS kNumericKernelsAvx512
#define SHARDLENS_KERNELS_NAME "avx512"
#include "core/numeric/kernels/numeric_kernels_body.h"
