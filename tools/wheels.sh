#!/usr/bin/env bash
# wheels.sh FOLDER [SUITE|PYTHON]... - builds wheels of this tree into FOLDER and tries each where there is neither compiler nor headers.
# SUITE: a suite of Debian, for the Python that it has, in a copy of a minimal root; by default bookworm (3.11), trixie (3.13) and testing
# (3.14). PYTHON: the path of another interpreter on this system; its wheel is tried here. The roots stay below TLSIO_CACHE (by
# default tlsio in the user's cache), in wheels/. It mounts and changes root: be root. BIN is a folder with pip, build and auditwheel.
set -euo pipefail
folder=$(realpath -m "${1:?usage: wheels.sh FOLDER [SUITE|PYTHON]...}")
[ "$(id -u)" = 0 ] || { echo "It mounts and changes root: be root." >&2; exit 1; }
here=$(realpath "$(dirname "$0")")
if [ -z "${TLSIO_WITHIN:-}" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT # in this namespace nothing below it was ever mounted: no folder of the tree or the cache is removed
    TLSIO_WITHIN=$work unshare --mount --pid --fork --kill-child --mount-proc "$here/wheels.sh" "$@"
    exit
fi
work=$TLSIO_WITHIN
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(bookworm trixie testing)
bin=$(realpath "${BIN:-$here/../.venv/bin}")
cache=${TLSIO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tlsio}/wheels
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
script=/usr/share/debootstrap/scripts/sid # of all suites of today; a debootstrap that is older than a suite does not know its name

# A system of its own in $root, as it was installed; the packages that follow the suite are added.
lay() {
    local suite=$1 name
    shift
    if [ ! -e "$cache/$suite" ]; then
        echo "Installing a minimal Debian $suite"
        rm -rf "$cache/$suite.unfinished"
        debootstrap --variant=minbase "$suite" "$cache/$suite.unfinished" "$mirror" "$script" >"$work/log" || { tail "$work/log"; exit 1; }
        mv "$cache/$suite.unfinished" "$cache/$suite"
    fi
    root=$(mktemp -d "$work/root.XXXX")
    cp -a "$cache/$suite/." "$root"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    cp /etc/hosts /etc/resolv.conf "$root/etc/"
    ! command -v apt-config >/dev/null || apt-config dump Acquire >"$root/etc/apt/apt.conf.d/99host"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no package is to begin to serve
    chmod 755 "$root/usr/sbin/policy-rc.d"
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/99quick" # nobody needs it after a crash
    for name in wheels house tools examples cache/wheels; do
        mkdir -p "$root/tlsio/$name"
    done
    mount --bind "$work/wheels" "$root/tlsio/wheels"
    mount --bind -o ro "$work/house" "$root/tlsio/house"
    mount --bind -o ro "$here" "$root/tlsio/tools"
    mount --bind -o ro "$here/../examples" "$root/tlsio/examples"
    mount --bind -o ro "$cache" "$root/tlsio/cache/wheels"
    within apt-get update -qq
    within apt-get install -y -qq --no-install-recommends "$@" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
}

within() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        TLSIO_CACHE=/tlsio/cache PIP_NO_INDEX=1 PIP_FIND_LINKS="/tlsio/house /tlsio/wheels" "$@"
}

# What a wheel is built with and what it needs, from where this system's pip gets it. The marks of requirements are judged for this
# system's Python, so what redis needs before 3.11.3 (Debian 12 has 3.11.2) is named.
provide() {
    "$bin/pip" download -qq --disable-pip-version-check --only-binary :all: --python-version "$1" --dest "$work/house" \
        "setuptools>=77" "Cython>=3.1" aiohappyeyeballs certifi cryptography idna redis async-timeout
}

mkdir -p "$cache" "$folder" "$work/house" "$work/wheels"
"$bin/python" -m build -q --sdist --outdir "$work/house" "$here/.."
"$here/sysroot.sh" "$cache/sysroot"
openssl=$(CC=$cache/sysroot/cc TLSIO_CACHE=$cache "$here/openssl.sh" 3.5)
sdist=$(basename "$work"/house/tlsio-*.tar.gz)
for target in "${targets[@]}"; do
    rm -f "$work"/wheels/*
    if [ -x "$target" ]; then
        echo "== $target"
        PYTHON=$target TLSIO_OPENSSL=$openssl "$here/wheel.sh" "$work/house/$sdist" "$work/wheels"
    else
        echo "== Debian $target"
        lay "$target" gcc libc6-dev python3-dev python3-venv
        provide "$(within python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        within TLSIO_OPENSSL="/tlsio/cache/wheels${openssl#"$cache"}" bash /tlsio/tools/wheel.sh "/tlsio/house/$sdist" /tlsio/wheels
    fi
    PATH=$bin:$PATH "$bin/auditwheel" repair --wheel-dir "$work/repaired" "$work"/wheels/*.whl
    rm "$work"/wheels/*
    wheel=$(basename "$work"/repaired/*.whl)
    glibc=$(sed 's/.*manylinux_2_\([0-9]*\).*/\1/' <<<"$wheel")
    [ "$glibc" -le 31 ] || { echo "$wheel: something in it is of a newer glibc than the one that it was linked with"; exit 1; }
    mv "$work/repaired/$wheel" "$work/wheels"
    if [ -x "$target" ]; then
        PYTHON=$target "$here/try_wheel.sh" "$work/wheels/$wheel"
    else
        lay "$target" ca-certificates python3-venv redis-server
        within bash /tlsio/tools/try_wheel.sh "/tlsio/wheels/$wheel"
    fi
    mv "$work/wheels/$wheel" "$folder"
    echo "$folder/$wheel"
done
