#define SHARDLENS_KERNELS kNumericKernelsPlain
#define SHARDLENS_KERNELS_NAME "plain"
#include "core/numeric/kernels/numeric_kernels_body.h"
