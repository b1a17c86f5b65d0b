#!/usr/bin/env bash
# install.sh PACKAGE... - installs system packages on Debian and Ubuntu, and says so; elsewhere it names them.
set -euo pipefail
as_root=()
if ! command -v apt-get >/dev/null; then
    echo "These packages are missing, under Debian's names: $*. Install them and run this again." >&2
    exit 1
fi
[ "$(id -u)" = 0 ] || as_root=(sudo)
echo "Installing system packages: $*"
# The tests start servers of their own: those of the packages are not to begin to serve this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
