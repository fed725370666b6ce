#!/usr/bin/env bash
# Installs what Shardlens is built from, from Debian 12's own packages. Does nothing, quickly, when all are there.
#   --with-fuzz    also clang-16 with libFuzzer
#   --with-torch   also libtorch (large; only the device module uses it)
#   --check        installs nothing: names what is missing, exit 1 if anything is
set -euo pipefail

packages=(
    # toolchain
    g++ cmake ninja-build ccache git pkg-config dpkg-dev
    # the window
    qt6-base-dev qt6-svg-dev libqcustomplot-dev libgl1-mesa-dev fonts-noto-core
    # the engine and the command line
    nlohmann-json3-dev libexpected-dev libfmt-dev libcli11-dev libpcre2-dev libtbb-dev libdeflate-dev libzstd-dev zlib1g-dev libxxhash-dev libssl-dev
    # tests
    libgtest-dev libgmock-dev libbenchmark-dev
)
check=no
for option in "$@"; do
    case $option in
        --with-fuzz) packages+=(clang-16 libclang-rt-16-dev lld-16) ;;
        --with-torch) packages+=(libtorch-dev) ;;
        --check) check=yes ;;
        *) echo "usage: $0 [--with-fuzz] [--with-torch] [--check]" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "This script knows Debian packages only (dpkg-query is not here). Needed: ${packages[*]}" >&2
    exit 2
fi

declare -A installed=()
while read -r name state; do
    [ "$state" = installed ] && installed[$name]=yes
done < <(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)

missing=()
for package in "${packages[@]}"; do
    [ -n "${installed[$package]:-}" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ $check = yes ]; then
    echo "Missing: ${missing[*]}"
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Installing needs root or sudo. Missing: ${missing[*]}" >&2
        exit 2
    fi
    as_root=(sudo)
fi
echo "Installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
