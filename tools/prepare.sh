#!/usr/bin/env bash
# prepare.sh VENV - makes the virtual environment with the tools that building and testing need.
# On Debian and Ubuntu it first installs, and says so, the system packages that are missing; elsewhere it names them.
# PYTHON=/path/to/python chooses the interpreter; without it python3 is taken when it is new enough, else a newer one beside it.
set -euo pipefail
venv=$(realpath -m "${1:?usage: prepare.sh VENV}")
cd "$(dirname "$0")/.."

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_headers() { "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

choose_python() {
    local name
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
}

python=$(choose_python)
if [ -z "$python" ]; then
    # Debian 12 and newer: python3 is new enough. Ubuntu 22.04: python3 is 3.10, python3.11 stands beside it.
    candidate=$(apt-cache policy python3 2>/dev/null | sed -n 's/^  Candidate: 3\.\([0-9]*\).*/\1/p')
    name=python3
    [ "${candidate:-11}" -ge 11 ] || name=python3.11
    tools/install.sh "$name" "$name-venv" "$name-dev"
    python=$(command -v "$name")
fi

missing=()
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
has_venv "$python" || missing+=("$version-venv")
has_headers "$python" || missing+=("$version-dev")
command -v "${CC:-cc}" >/dev/null || missing+=(gcc libc6-dev)
command -v pkg-config >/dev/null || missing+=(pkg-config)
if [ -z "${TLSIO_OPENSSL:-}" ] && ! pkg-config --exists openssl 2>/dev/null; then missing+=(libssl-dev); fi
command -v openssl >/dev/null || missing+=(openssl)
[ ${#missing[@]} -eq 0 ] || tools/install.sh "${missing[@]}"

[ -x "$venv/bin/pip" ] || { rm -rf "$venv"; "$python" -m venv "$venv"; }
echo "Installing the build and test tools into $venv ($("$python" --version))"
"$venv/bin/pip" install -q --disable-pip-version-check "pip>=25.1" # the first that reads dependency groups
"$venv/bin/pip" install -q --disable-pip-version-check --group dev
