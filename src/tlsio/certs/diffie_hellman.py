"""Diffie-Hellman parameters for `dhparam=`: the groups of RFC 7919, or new ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from tlsio.model.checks import check_function, check_int, wrong_type, wrong_value
from tlsio.native._core import DhParameters

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DH_GROUPS", "dhparams"]

DH_GROUPS = ("ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192")

_MIN_BITS, _MAX_BITS = 2048, 8192  # RFC 9325 §4.5; above, a handshake takes a second
_PROGRESS_SECONDS = 0.1


def dhparams(bits: int | str = "ffdhe2048", *, progress: Callable[[int], object] | None = None) -> bytes:
    """Return Diffie-Hellman parameters in PEM.

    They matter only to peers of TLS 1.2 without elliptic curves. The groups of RFC 7919 take no
    time, and are known to be good. New parameters are a safe prime that is searched for: 2048 bits
    take seconds to minutes, 4096 bits many minutes, on one core, without the interpreter's lock.

    Args:
        bits: One of `DH_GROUPS`, or the size of new parameters, 2048 to 8192.
        progress: Called ten times a second, in this thread, with the number of steps made so far;
            how many are needed is chance. If it raises an exception, the search ends.

    Raises:
        UsageError: there is no such group, or the size is out of range.
        ConfigError: this OpenSSL does not make them.
    """
    if isinstance(bits, str):
        if bits not in DH_GROUPS:
            raise wrong_value("bits", f"must be a number or one of {', '.join(DH_GROUPS)}, got {bits!r:.40}")
        return DhParameters.named(bits.encode())
    if not isinstance(bits, int):
        raise wrong_type("bits", "an int or the name of a group", bits)
    report = None if progress is None else check_function("progress", progress)
    return _search(check_int("bits", bits, _MIN_BITS, _MAX_BITS), report)


def _search(bits: int, report: Callable[[int], object] | None) -> bytes:
    search = DhParameters()
    with ThreadPoolExecutor(1, "tlsio dhparams") as pool:
        found = pool.submit(search.generate, bits)
        try:
            while wait([found], _PROGRESS_SECONDS).not_done:
                if report:
                    report(search.candidates)
        finally:
            search.cancel()  # without effect on a search that has ended
    return found.result()
