#!/usr/bin/env bash
# openssl.sh SERIES - builds the newest OpenSSL of a series (3.0, 3.5, 3.6, 4.0) from Debian's source package, Debian's security
# fixes included, and prints the folder for TLSIO_OPENSSL. Static libraries alone, about 4 minutes on two cores; nothing is installed.
# It stays below TLSIO_CACHE (by default tlsio in the user's cache); one that is there is not built again. CC is respected.
# DEBIAN_MIRROR names another mirror. A mirror may list a version whose files it does not hold yet: the next older one is taken, and
# it says so. What is built is authentic as apt checks it: by the keys of Debian.
set -euo pipefail
series=${1:?usage: openssl.sh SERIES, for example: openssl.sh 3.5}
cache=${TLSIO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tlsio}/openssl
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$cache"
exec 3>&1 1>&2 # all but the answer are messages

missing=()
for command in cc:gcc make:make perl:perl patch:patch xz:xz-utils; do
    command -v "${command%:*}" >/dev/null || missing+=("${command#*:}")
done
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
[ ${#missing[@]} -eq 0 ] || "$(dirname "$0")/install.sh" "${missing[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/get" "$work/source"
keyring=$(ls /usr/share/keyrings/debian-archive-keyring.* | head -n 1)
case $series in
3.0) suites=(bookworm) ;;
3.5) suites=(trixie) ;;
*) suites=(sid experimental) ;;
esac
for suite in "${suites[@]}"; do
    echo "deb-src [signed-by=$keyring] $mirror $suite main"
    case $suite in bookworm | trixie) echo "deb-src [signed-by=$keyring] $mirror-security $suite-security main" ;; esac
done >"$work/sources"
apt=(-q -o "Dir::Etc::sourcelist=$work/sources" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update >"$work/log"

for version in $(apt-cache "${apt[@]}" showsrc openssl | awk '$1 == "Version:" {print $2}' | grep "^${series//./\\.}\." | sort -Vru); do
    prefix=$cache/$version
    if [ -e "$prefix/usr/lib/libssl.a" ]; then
        echo "$prefix/usr" >&3
        exit
    fi
    if (cd "$work/get" && apt-get "${apt[@]}" source --download-only "openssl=$version") >"$work/log" 2>&1; then
        found=$version
        break
    fi
    echo "OpenSSL $version is listed by $mirror, but cannot be had there"
done
[ -n "${found:-}" ] || { tail -n 3 "$work/log"; echo "There is no OpenSSL $series at $mirror"; exit 1; }

tar -xf "$work"/get/openssl_"${found%-*}".orig.tar.gz -C "$work/source" --strip-components=1
tar -xf "$work"/get/openssl_"$found".debian.tar.xz -C "$work/source"
cd "$work/source"
grep -v '^#' debian/patches/series | while read -r name; do
    patch -p1 --silent <"debian/patches/$name"
done
# What the library believes about where it is installed is true on many systems: /etc/ssl has the roots and the configuration on Debian,
# Fedora, SUSE and Arch. No modules: the legacy provider is within. 64-bit arithmetic for P-521 and P-224, as Debian has it.
bits=()
[ "$(getconf LONG_BIT)" = 32 ] || bits=(enable-ec_nistp_64_gcc_128)
echo "Building OpenSSL $found"
hardened=(-fstack-protector-strong -Wp,-U_FORTIFY_SOURCE -Wp,-D_FORTIFY_SOURCE=2) # as distributions build it; -Wp keeps the order
./Configure linux-"$(uname -m)" --prefix=/usr --openssldir=/etc/ssl --libdir=lib -fPIC no-shared no-module no-tests "${bits[@]}" \
    "${hardened[@]}" >"$work/log" 2>&1 &&
    make -s -j"$(nproc)" build_libs >>"$work/log" 2>&1 &&
    make -s DESTDIR="$work/made" install_dev >>"$work/log" 2>&1 ||
    { tail -n 20 "$work/log"; exit 1; }
rm -rf "$prefix"
mv "$work/made" "$prefix"
echo "$prefix/usr" >&3
