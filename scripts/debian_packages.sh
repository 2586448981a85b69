#!/usr/bin/env bash
# Installs Debian packages that Python's registry does not hold, such as a browser: debian_packages.sh PROGRAM=PACKAGE …
#
# What is there already is left alone. Where a package can't be installed, because this is no Debian or not root, its name
# and the command are said and the rest goes on: what needs it says so again when it is used.
set -euo pipefail
missing=()
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    install() { apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; }
    install || { apt-get update -qq >/dev/null 2>&1 && install; } && exit 0
fi
echo "Not installed: ${missing[*]}. On Debian and Ubuntu, as root: apt-get install ${missing[*]}" >&2
