#!/usr/bin/env bash
# quantized_load.sh SHARDLENS: quantized weights, read by compressed-tensors and bitsandbytes. Exit status 77: skipped, with the reason printed.
set -euo pipefail
python=${SHARDLENS_QUANT_PYTHON:-${SHARDLENS_PYTHON:-python3}}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

if ! command -v "$python" >/dev/null; then
    echo "Interop skipped: $python is not here (SHARDLENS_QUANT_PYTHON can name a Python with compressed-tensors and bitsandbytes)"
    exit 77
fi
if ! "$python" -c "import compressed_tensors, bitsandbytes, safetensors, torch" 2>/dev/null; then
    echo "Interop skipped: $python has not compressed-tensors, bitsandbytes and torch together (SHARDLENS_QUANT_PYTHON can name one that has)"
    exit 77
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/shardlens-interop-XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/quantized_load.py" "$1" "$folder"
