#!/usr/bin/env bash
# Writes known.txt anew from what passes now: run after a change that makes more cases pass, and read the difference before committing.
#   tests/conformance/update_known.sh FOLDER_OF_THE_CONFORMANCE_SET [PROGRAM]
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cases=$(realpath -- "$1")
program=$(realpath -- "${2:-$here/../../build/release/bin/shardlens}")
mapfile -t families < <(grep -vE '^\s*(#|$)' "$here/families.txt")
found=$("$cases/run.py" --cli "$program" "${families[@]}" || true)
titles() { printf '%s\n' "$found" | sed -nE "s/^($1)  //p" | sed -E 's/  \(.*\)$//' | sort -u; }
comm -23 <(titles 'pass|skip') <(titles fail) >"$here/known.txt" # two checks of one case may share a name
printf '%s\n' "$found" | grep -E '^fail' || true
wc -l <"$here/known.txt"
