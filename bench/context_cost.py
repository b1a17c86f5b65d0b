"""The cost of making a SecureContext: the default one, the first time and again, with a certificate, with its own trust.

    python bench/context_cost.py

Median of 200, CPU time, one core of a shared 2-core x86-64 virtual machine, Python 3.11:

                               OpenSSL 3.0.22    OpenSSL 3.5.7
    first default (parses)         20.1 ms        11.4 ms
    default again                  0.18 ms        0.17 ms
    certificate and key (EC)       0.82 ms        0.31 ms
    default and one extra_ca       0.60 ms        0.30 ms
    ca of one                      0.39 ms        0.24 ms
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from command_line import finish

import pki
from tlsio.connection.context.secure_context import create_secure_context

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 200


def cost(**options: Any) -> float:
    """Return the CPU seconds that making one context takes."""
    start = time.process_time()
    create_secure_context(**options)
    return time.process_time() - start


def median(make: Callable[[], float]) -> float:
    """Return the median of many rounds, which other programs on the machine hardly affect."""
    return statistics.median(make() for _ in range(ROUNDS))


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    who, ca = pki.localhost(), pki.ca1().cert_pem
    rows = {
        "first default (parses)": cost(),
        "default again": median(cost),
        "certificate and key (EC)": median(lambda: cost(cert=who.chain_pem, key=who.key_pem)),
        "default and one extra_ca": median(lambda: cost(extra_ca=ca)),
        "ca of one": median(lambda: cost(ca=ca)),
    }
    for name, seconds in rows.items():
        print(f"{name:26} {seconds * 1000:8.3f} ms")


if __name__ == "__main__":
    finish(main)
