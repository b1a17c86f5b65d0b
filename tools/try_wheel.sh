#!/usr/bin/env bash
# try_wheel.sh WHEEL - installs a wheel for the interpreter PYTHON (by default python3) and uses it: the demo, the system's roots,
# and processes that share a port and their ticket keys through Redis (redis-server or valkey-server).
set -euo pipefail
wheel=$(realpath "${1:?usage: try_wheel.sh WHEEL}")
examples=$(realpath "$(dirname "$0")/../examples")
work=$(mktemp -d)
trap 'kill "${redis:-}" 2>/dev/null; rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip -q --disable-pip-version-check install --only-binary :all: "${wheel}[redis]"

cd "$work" # not in the tree: what was installed is used
"$python" - <<'END'
import ssl

import tlsio

roots = tlsio.get_ca_certificates("system")
print(f"{tlsio.openssl_version}; in the same process {ssl.OPENSSL_VERSION}; {len(roots)} roots of the system")
assert roots
assert tlsio.openssl_version.startswith("OpenSSL 3.5.")
END
"$python" "$examples/demo.py" --once
socket=$work/redis.sock
"$(command -v redis-server || command -v valkey-server)" --port 0 --unixsocket "$socket" --save "" --dir "$work" >/dev/null &
redis=$!
timeout 10 sh -c "until [ -S $socket ]; do sleep 0.1; done"
"$python" "$examples/cluster.py" "unix://$socket"
