#define SHARDLENS_KERNELS kNumericKernelsNeon
#define SHARDLENS_KERNELS_NAME "neon"
#include "core/numeric/kernels/numeric_kernels_body.h"
