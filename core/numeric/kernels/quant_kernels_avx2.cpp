#define SHARDLENS_KERNELS kQuantKernelsAvx2
#define SHARDLENS_KERNELS_NAME "avx2"
#include "core/numeric/kernels/quant_kernels_body.h"
