"""Certificates that come and renew by themselves: ACME (RFC 8555), for the extra `tlsio[acme]`.

A name is imported when it is first used.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.acme.client.challenge import Challenge
    from tlsio.acme.client.renewal_info import RenewalInfo
    from tlsio.acme.issuers.issuer import Issued, Issuer
    from tlsio.acme.solvers.solver import Solver
    from tlsio.acme.storage.file_storage import FileStorage
    from tlsio.acme.storage.memory_storage import MemoryStorage
    from tlsio.acme.storage.redis_storage import RedisStorage
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = [
    "Challenge",
    "FileStorage",
    "Issued",
    "Issuer",
    "Lock",
    "MemoryStorage",
    "RedisStorage",
    "RenewalInfo",
    "Solver",
    "Storage",
]

# The imports above, which only type checkers see, as `pkgutil.resolve_name` reads them.
_HOMES = {
    "Challenge": "tlsio.acme.client.challenge:Challenge",
    "FileStorage": "tlsio.acme.storage.file_storage:FileStorage",
    "Issued": "tlsio.acme.issuers.issuer:Issued",
    "Issuer": "tlsio.acme.issuers.issuer:Issuer",
    "Lock": "tlsio.acme.storage.storage:Lock",
    "MemoryStorage": "tlsio.acme.storage.memory_storage:MemoryStorage",
    "RedisStorage": "tlsio.acme.storage.redis_storage:RedisStorage",
    "RenewalInfo": "tlsio.acme.client.renewal_info:RenewalInfo",
    "Solver": "tlsio.acme.solvers.solver:Solver",
    "Storage": "tlsio.acme.storage.storage:Storage",
}

if not TYPE_CHECKING:  # otherwise a type checker would accept every misspelt name

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = resolve_name(_HOMES[name])
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
