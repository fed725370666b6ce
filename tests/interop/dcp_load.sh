#!/usr/bin/env bash
# dcp_load.sh SHARDLENS SAMPLE: directories of --to dcp, loaded by torch.distributed.checkpoint. Exit status 77: skipped, with the reason printed.
set -euo pipefail
python=${SHARDLENS_PYTHON:-python3}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

if ! command -v "$python" >/dev/null; then
    echo "Interop skipped: $python is not here (SHARDLENS_PYTHON can name a Python with torch)"
    exit 77
fi
if ! "$python" -c "import torch.distributed as d, torch.distributed.checkpoint.format_utils as f, sys; sys.exit(not (d.is_available() and d.is_gloo_available()))" 2>/dev/null; then
    echo "Interop skipped: $python has no torch with torch.distributed.checkpoint and gloo (SHARDLENS_PYTHON can name one that has)"
    exit 77
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/shardlens-interop-XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/dcp_load.py" "$1" "$2" "$folder"
