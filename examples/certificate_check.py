"""Say what is wrong with a certificate file, and whether clients will still accept it in two weeks.

python examples/certificate_check.py server.pem localhost ca.pem
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tlsio
from tlsio import certs


def check(file: Path, name: str, ca: Path) -> bool:
    """Print what is found; return whether the chain is accepted now and in two weeks."""
    for item in certs.inspect(file, usage="server"):
        print("\n".join(item.lines()))
    accepted = True
    for when in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=14)):
        verdict = certs.verify(file, name, ca=ca, at=when)
        print(f"On {when:%Y-%m-%d}:", *verdict.lines(), sep="\n")
        accepted = accepted and bool(verdict)
    return accepted


def main(file: str, name: str, ca: str) -> int:
    """Return the exit code: 1 if the certificate is refused, 2 if a file cannot be read."""
    try:
        return 0 if check(Path(file), name, Path(ca)) else 1
    except (tlsio.TLSError, OSError) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
