#define SHARDLENS_KERNELS kQuantKernelsAvx512
#define SHARDLENS_KERNELS_NAME "avx512"
#include "core/numeric/kernels/quant_kernels_body.h"
