#!/usr/bin/env bash
# run.sh SHARDLENS SOURCE TARGET [options of convert]: converts and compares. Exit status 77: skipped, with the reason printed.
set -euo pipefail
shardlens=$1 source=$2 target=$3
shift 3
python=${SHARDLENS_PYTHON:-python3}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

if ! command -v "$python" >/dev/null; then
    echo "Interop skipped: $python is not here (SHARDLENS_PYTHON can name a Python with torch and safetensors)"
    exit 77
fi
for library in torch safetensors; do
    if ! "$python" -c "import sys, importlib.util as u; sys.exit(u.find_spec('$library') is None)" 2>/dev/null; then
        echo "Interop skipped: $python has no $library (SHARDLENS_PYTHON can name a Python with torch and safetensors)"
        exit 77
    fi
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/shardlens-interop-XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
"$shardlens" convert "$source" "$folder/$target" "$@" --verify --progress none
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/compare.py" "$source" "$folder/$target" "$@"
