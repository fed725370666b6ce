#pragma once

// Marks a function of plain loops: compiled for AVX-512, AVX2 and the baseline, and the loader picks one. Not with clang 16, which leaves out inline functions
// that only the clones call (a constructor) and then does not link.
#if defined(__x86_64__) && !defined(__clang__)
#define SHARDLENS_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SHARDLENS_CLONES
#endif
