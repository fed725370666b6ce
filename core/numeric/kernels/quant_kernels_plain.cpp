#define SHARDLENS_KERNELS kQuantKernelsPlain
#define SHARDLENS_KERNELS_NAME "plain"
#include "core/numeric/kernels/quant_kernels_body.h"
