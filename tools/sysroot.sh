#!/usr/bin/env bash
# sysroot.sh FOLDER - makes FOLDER/cc, this system's gcc with the C library of an old Debian: what it builds runs on every system with
# that glibc (Debian 11: 2.31) or a newer one. The folder may be moved. DEBIAN_MIRROR names another mirror.
set -euo pipefail
folder=$(realpath -m "${1:?usage: sysroot.sh FOLDER}")
suite=bullseye
packages=(libc6 libc6-dev linux-libc-dev)
[ ! -e "$folder/cc" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
keyring=$(ls /usr/share/keyrings/debian-archive-keyring.* | head -n 1)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources"
apt=(-q -o "Dir::Etc::sourcelist=$work/sources" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update >/dev/null
(cd "$work" && apt-get "${apt[@]}" download "${packages[@]/%//$suite}" >/dev/null)
for package in "$work"/*.deb; do
    dpkg-deb --extract "$package" "$work/root"
done
find "$work/root" -type l -lname '/*' | while read -r link; do
    ln -sfnr "$work/root$(readlink "$link")" "$link" # into the folder, not into this system
done
# gcc looks beside itself before it looks into the sysroot, for the start files (-B is before that) and for libraries; and Python's own
# build adds the folder of the system's (the first -L wins).
cat >"$work/root/cc" <<'END'
#!/bin/sh
root=$(dirname "$(realpath "$0")")
libraries=$root/usr/lib/$(gcc -print-multiarch)
exec gcc --sysroot="$root" -B"$libraries/" -L"$libraries" "$@"
END
chmod 755 "$work/root/cc"
mkdir -p "$(dirname "$folder")"
mv "$work/root" "$folder"
