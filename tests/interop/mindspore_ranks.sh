#!/usr/bin/env bash
# mindspore_ranks.sh SHARDLENS: what shardlens makes of MindSpore's ranks beside what MindSpore's own transform makes of them. Exit status 77: skipped, with the
# reason printed.
set -euo pipefail
python=${SHARDLENS_MINDSPORE_PYTHON:-${SHARDLENS_PYTHON:-python3}}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

if ! command -v "$python" >/dev/null || ! (cd / && "$python" -c "import sys, importlib.util as u; s = u.find_spec('mindspore'); sys.exit(s is None or s.origin is None)") 2>/dev/null; then
    echo "Interop skipped: $python has no mindspore (SHARDLENS_MINDSPORE_PYTHON can name a Python that has)"
    exit 77
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/shardlens-interop-XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
PYTHONDONTWRITEBYTECODE=1 GLOG_v=4 "$python" "$here/mindspore_ranks.py" "$1" "$folder"
