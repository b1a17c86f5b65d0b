"""Certificates that come and renew by themselves: ACME (RFC 8555), for the extra `tlsio[acme]`.

A name is imported when it is first used.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.acme.client.challenge import Challenge
    from tlsio.acme.client.renewal_info import RenewalInfo
    from tlsio.acme.issuers.issuer import Issued, Issuer

__all__ = [
    "Challenge",
    "Issued",
    "Issuer",
    "RenewalInfo",
]

# The imports above, which only type checkers see, as `pkgutil.resolve_name` reads them.
_HOMES = {
    "Challenge": "tlsio.acme.client.challenge:Challenge",
    "Issued": "tlsio.acme.issuers.issuer:Issued",
    "Issuer": "tlsio.acme.issuers.issuer:Issuer",
    "RenewalInfo": "tlsio.acme.client.renewal_info:RenewalInfo",
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
