#define SHARDLENS_KERNELS kNumericKernelsAvx2
#define SHARDLENS_KERNELS_NAME "avx2"
#include "core/numeric/kernels/numeric_kernels_body.h"
