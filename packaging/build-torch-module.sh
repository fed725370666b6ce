#!/usr/bin/env bash
# Builds the libtorch module, which quantizes on CUDA devices, against a PyTorch of yours: no CUDA toolkit and no CMake is needed, only g++.
#
#   packaging/build-torch-module.sh [PYTHON] [OUTPUT]
#
#   PYTHON   an interpreter that has torch (default: python3)
#   OUTPUT   where the module goes (default: ${XDG_DATA_HOME:-~/.local/share}/shardlens/shardlens_torch.so, where the program looks for it;
#            SHARDLENS_TORCH_MODULE names any other place)
#   CXX      the compiler (default: g++, which must be 11 or newer)
set -eu
cd "$(dirname "$0")/.."
case ${1-} in -h | --help) sed -n '2,9s/^# \{0,1\}//p' packaging/build-torch-module.sh; exit 0 ;; esac
python=${1:-python3}
output=${2:-${XDG_DATA_HOME:-$HOME/.local/share}/shardlens/shardlens_torch.so}
facts=$("$python" -c '
import os, torch
print(os.path.dirname(torch.__file__))
print(int(torch._C._GLIBCXX_USE_CXX11_ABI))
print(torch.__version__, "with CUDA " + torch.version.cuda if torch.version.cuda else "without CUDA")') ||
    { echo "build-torch-module.sh: $python has no torch" >&2; exit 2; }
{ read -r folder; read -r abi; read -r version; } <<<"$facts"
libraries="-ltorch -ltorch_cpu -lc10"
[ -e "$folder/lib/libtorch_cuda.so" ] && libraries+=" -ltorch_cuda -lc10_cuda"
mkdir -p "$(dirname "$output")"
echo "Building against PyTorch $version in $folder"
# The libraries are named though nothing refers to them: loading libtorch_cuda is what makes its devices known.
# shellcheck disable=SC2086
"${CXX:-g++}" -std=c++20 -O2 -fPIC -shared -fvisibility=hidden -D_GLIBCXX_USE_CXX11_ABI="$abi" -I. -isystem "$folder/include" -isystem "$folder/include/torch/csrc/api/include" \
    core/compute/torch_module.cpp -o "$output.new" -L"$folder/lib" -Wl,-rpath,"$folder/lib" -Wl,--no-as-needed $libraries -ldl
mv "$output.new" "$output"
echo "Wrote $output; \`shardlens devices\` shows what it sees."
