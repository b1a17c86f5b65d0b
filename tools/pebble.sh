#!/usr/bin/env bash
# pebble.sh - downloads Pebble, the test server of Let's Encrypt, and pebble-challtestsrv, the name server of its tests, as Debian
# packages, and prints the folder with both programs. Nothing is installed: they are unpacked below TLSIO_CACHE (by default tlsio in
# the user's cache), and are not downloaded again while they are there. The newest suite whose package runs on this system is taken.
# DEBIAN_MIRROR names another mirror. What is unpacked is authentic as apt checks it: by the keys of Debian.
set -euo pipefail
cache=${TLSIO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tlsio}/pebble
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
exec 3>&1 1>&2 # all but the answer are messages

runs() {
    [ -x "$1/pebble" ] && [ -x "$1/pebble-challtestsrv" ] && "$1/pebble" -version >/dev/null 2>&1
}

if runs "$cache/usr/bin"; then
    echo "$cache/usr/bin" >&3
    exit
fi

mkdir -p "$(dirname "$cache")"
work=$(mktemp -d "$cache.XXXXXX") # in the same file system: the rename at the end is one step
trap 'rm -rf "$work"' EXIT
shopt -s nullglob
keyrings=(/usr/share/keyrings/debian-archive-keyring.*)
[ ${#keyrings[@]} -gt 0 ] || { "$(dirname "$0")/install.sh" debian-archive-keyring; keyrings=(/usr/share/keyrings/debian-archive-keyring.*); }
for suite in sid trixie bookworm; do
    mkdir -p "$work/$suite/lists/partial" "$work/$suite/cache/archives/partial"
    echo "deb [signed-by=${keyrings[0]}] $mirror $suite main" >"$work/$suite/sources"
    apt=(-q -o "Dir::Etc::sourcelist=$work/$suite/sources" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/$suite/lists" -o "Dir::Cache=$work/$suite/cache" -o APT::Sandbox::User=root)
    if apt-get "${apt[@]}" update >"$work/log" 2>&1 &&
        (cd "$work/$suite" && apt-get "${apt[@]}" download pebble) >"$work/log" 2>&1 &&
        dpkg-deb -x "$work/$suite"/pebble_*.deb "$work/$suite/root" &&
        runs "$work/$suite/root/usr/bin"; then
        rm -rf "$cache"
        mv "$work/$suite/root" "$cache"
        echo "$cache/usr/bin" >&3
        exit
    fi
    echo "Pebble of Debian's $suite cannot be had at $mirror, or does not run on this system"
done
tail -n 3 "$work/log"
exit 1
