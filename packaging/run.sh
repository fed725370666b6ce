#!/usr/bin/env bash
# Builds Shardlens and opens the window on the bundled sample, or on the PATH that it is given.
# With no display it inspects that checkpoint, converts it, verifies the result and saves a picture of the window.
#   packaging/run.sh [PATH]
set -euo pipefail

checkpoint=$(realpath -m -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/../resources/sample}")
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

packaging/install-dependencies.sh
cmake --preset release -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=10 >/dev/null # several files a compiler run: faster from nothing
cmake --build --preset release --target shardlens shardlens-gui
bin=$PWD/build/release/bin

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    exec "$bin/shardlens-gui" "$checkpoint"
fi

out=$PWD/build/run
rm -rf -- "$out"
mkdir -p -- "$out"
echo
echo "No display: a tour on the command line."
tour() {
    echo
    printf '$ shardlens'
    printf ' %q' "$@"
    echo
    "$bin/shardlens" "$@"
}
tour inspect "$checkpoint"
tour convert "$checkpoint" "$out/model.safetensors" --to safetensors --verify
tour verify "$out/model.safetensors"
echo
QT_QPA_PLATFORM=offscreen "$bin/shardlens-gui" "$checkpoint" --screenshot "$out/window.png"
cat <<EOF

  checkpoint          $checkpoint
  converted model     $out/model.safetensors
  picture of window   $out/window.png
  command line        $bin/shardlens --help
EOF
