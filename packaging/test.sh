#!/usr/bin/env bash
# Builds everything and runs every test: the release build, and the engine alone (no Qt, no libtorch); the engine under sanitizers where it is asked for, which takes
# as long again.
# Installs what is missing first. What is skipped is said with its reason.
#   packaging/test.sh [release] [core-only] [asan]      default: release and core-only
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

presets=("$@")
[ ${#presets[@]} -gt 0 ] || presets=(release core-only)
for preset in "${presets[@]}"; do
    case $preset in
        release | core-only | asan) ;;
        *) echo "usage: $0 [release] [core-only] [asan]" >&2; exit 2 ;;
    esac
done

# The three builds compile mostly the same text: with relative paths they share the cache.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
export QT_QPA_PLATFORM=offscreen
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
started=$SECONDS

step() { printf '\n== %s (%d min %02d s) ==\n' "$1" $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)); }

# Runs the tests of a preset; after it, names the ones that skipped themselves with what they printed.
run_tests() {
    local log=build/$1/test.log status=0
    ctest --preset "$1" --parallel "$(nproc)" --timeout 600 --output-log "$log" --verbose >/dev/null || status=$?
    if [ $status -ne 0 ]; then
        ctest --preset "$1" --rerun-failed --output-on-failure --timeout 600 || true
    fi
    grep -E 'tests passed|tests failed' "$log" || echo "no test was found"
    awk '/\[  PASSED  \] [0-9]+ test/ { for (i = 1; i < NF; ++i) if ($i == "PASSED") sum += $(i + 2) } END { if (sum) print sum " tests of GoogleTest passed" }' "$log"
    grep -A 200 'The following tests did not run' "$log" | grep -E '^\s*[0-9]+ - ' || true
    grep -hE '^[0-9]+: .*[Ss]kipped: ' "$log" | sed -E 's/^[0-9]+: //' | sort -u || true
    return $status
}

step "dependencies"
packaging/install-dependencies.sh --with-torch

for preset in "${presets[@]}"; do
    options=()
    [ "$preset" = release ] || options=(-DSHARDLENS_TEST_SHARDS=4) # the same tests once more: in few processes
    if [ "$preset" = asan ]; then
        options+=(-DSHARDLENS_GUI=OFF -DSHARDLENS_TORCH=OFF)
        echo
        echo "asan: the window's tests are left out here (Qt and its plugins are not built with sanitizers); they run in release."
    fi
    step "$preset: build"
    # Several files a compiler run: a third of the time from nothing. Remove build/ or pass -DCMAKE_UNITY_BUILD=OFF to work on the tree.
    cmake --preset "$preset" -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=10 "${options[@]}" >/dev/null
    cmake --build --preset "$preset"
    step "$preset: test"
    run_tests "$preset"
done

if [ -z "${SHARDLENS_PYTHON:-}" ]; then
    echo "Not run: comparisons with PyTorch itself (set SHARDLENS_PYTHON to an interpreter that has torch and safetensors)."
fi
if [ -z "${SHARDLENS_QUANT_PYTHON:-}" ]; then
    echo "Not run: quantized weights read by their libraries (set SHARDLENS_QUANT_PYTHON to an interpreter that has compressed-tensors and bitsandbytes)."
fi
if [ -z "${SHARDLENS_MINDSPORE_PYTHON:-}" ]; then
    echo "Not run: comparisons with MindSpore itself (set SHARDLENS_MINDSPORE_PYTHON to an interpreter that has mindspore)."
fi
[[ " ${presets[*]} " == *" asan "* ]] || echo "Not run: the engine under sanitizers ($0 asan)."
step "all passed"
