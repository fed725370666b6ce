#pragma once

#include <cstdint>

// The border to the libtorch module: plain C, so that the module may be built by another compiler, against any PyTorch. No exception crosses it. Whoever changes a struct
// raises the version; a module of another version is refused.
extern "C" {

enum { kShardlensTorchAbi = 1 };

enum ShardlensTorchStatus { kShardlensTorchOk = 0, kShardlensTorchOutOfMemory = 1, kShardlensTorchFailed = 2 };

typedef struct ShardlensTorchDevice {
    char id[16];     // "cuda:0"; "cpu" is libtorch's own, for tests
    char name[128];  // "NVIDIA H100 80GB HBM3"
    uint64_t totalBytes; // 0: not known
    uint64_t freeBytes;
    int32_t computeMajor; // compute capability; 0: none
    int32_t computeMinor;
} ShardlensTorchDevice;

// How some of the loaded values share scales: runs of `run` of them, the last may be shorter; or, with blockColumns != 0, blocks of `run` rows and columns of a matrix of so
// many columns.
typedef struct ShardlensTorchRuns {
    uint64_t first; // of the loaded values
    uint64_t count;
    uint64_t run;
    uint64_t blockColumns;
} ShardlensTorchRuns;

enum ShardlensTorchDType { kShardlensF32 = 0, kShardlensBF16 = 1, kShardlensF16 = 2 };
enum ShardlensTorchCodes { kShardlensInt = 0, kShardlensScaled = 1, kShardlensE4M3 = 2, kShardlensE2M1 = 3, kShardlensBook = 4 };

typedef struct ShardlensTorchRule {
    int32_t codes;       // ShardlensTorchCodes
    int32_t inWeightsDType; // the quotient is rounded to it; else F32
    int32_t divideLast;  // Book: the last run, which is short, is divided by its scale
    float least;
    float greatest;
    const float* scales; // one a run
    const float* zeros;  // one a run, or none
    const float* bounds; // Book: 15, ascending
} ShardlensTorchRule;

typedef struct ShardlensTorchModule {
    uint32_t abi;
    const char* version; // of libtorch
    int32_t (*deviceCount)(void);
    int32_t (*device)(int32_t index, ShardlensTorchDevice* out);
    // A place on a device: a stream and buffers of its own. Null, with a text, where there is none. One thread at a time uses it.
    void* (*open)(const char* id, char* error, uint64_t errorBytes);
    void (*close)(void* place);
    // Copies values there; `castToHalf`: rounded to F16 first. They stay until the next load.
    int32_t (*load)(void* place, const void* values, uint64_t count, int32_t dtype, int32_t castToHalf, char* error, uint64_t errorBytes);
    // Least and greatest value of each run, as floats; NaN where there is one.
    int32_t (*measure)(void* place, ShardlensTorchRuns runs, float* least, float* greatest, char* error, uint64_t errorBytes);
    // A byte a value.
    int32_t (*codes)(void* place, ShardlensTorchRuns runs, const ShardlensTorchRule* rule, uint8_t* out, char* error, uint64_t errorBytes);
} ShardlensTorchModule;

// The one name that a module exports. Null where it does not speak that version.
typedef const ShardlensTorchModule* (*ShardlensTorchEntry)(uint32_t abi);
#define SHARDLENS_TORCH_ENTRY "shardlens_torch_module"
}
