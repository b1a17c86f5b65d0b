"""The contract of what answers challenges of one type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tlsio.acme.client.challenge import Challenge

__all__ = ["Solver"]


class Solver(Protocol):
    """Answers challenges. Calls overlap, also those of one name in different orders.

    `present` and `clean_up` MUST end by themselves within bounded time. Each `present` is followed
    by a `clean_up` with the same challenge, also after it has failed or was cancelled.
    """

    @property
    def type(self) -> str:
        """`"http-01"`, `"tls-alpn-01"` or `"dns-01"`."""

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:
        """Return whether challenges for a name or an address can be answered; reads nothing."""

    async def present(self, challenge: Challenge) -> None:
        """Make the answer visible; returns when the authority may look.

        Raises:
            TLSError: it cannot be made visible.
        """

    async def clean_up(self, challenge: Challenge) -> None:
        """Remove the answer, if there is one. A failure is logged, never raised."""
