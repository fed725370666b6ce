#define SHARDLENS_KERNELS kQuantKernelsNeon
#define SHARDLENS_KERNELS_NAME "neon"
#include "core/numeric/kernels/quant_kernels_body.h"
