#!/usr/bin/env bash
# wheel.sh SDIST FOLDER - builds the wheel of an sdist into FOLDER, for the interpreter PYTHON (by default python3): OpenSSL 3.5, an LTS,
# within, for glibc 2.31 or newer. What it links stays below TLSIO_CACHE (by default tlsio in the user's cache), in wheels/; it is not
# looked for where TLSIO_OPENSSL names it.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: wheel.sh SDIST FOLDER" >&2; exit 2; }
sdist=$(realpath "$1")
folder=$(realpath -m "$2")
here=$(realpath "$(dirname "$0")")
cache=${TLSIO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tlsio}/wheels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$here/sysroot.sh" "$cache/sysroot"
export CC=$cache/sysroot/cc
[ -n "${TLSIO_OPENSSL:-}" ] || TLSIO_OPENSSL=$(TLSIO_CACHE=$cache "$here/openssl.sh" 3.5)
"${PYTHON:-python3}" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip -q --disable-pip-version-check)
"${pip[@]}" install "setuptools>=77" "Cython>=3.1"
# CFLAGS takes the place of Python's own. Debian's Python includes a second pyconfig.h by its path below /usr/include, where the
# sysroot's compiler does not look.
mkdir "$work/include"
ln -s "/usr/include/$(gcc -print-multiarch)" "$work/include/"
flags=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("CFLAGS"))')
hardened="-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"
export TLSIO_OPENSSL CFLAGS="$flags $hardened -g0 -isystem $work/include" LDFLAGS="-Wl,--strip-all -Wl,-z,relro,-z,now"
"${pip[@]}" wheel --no-build-isolation --no-deps --wheel-dir "$folder" "$sdist"
