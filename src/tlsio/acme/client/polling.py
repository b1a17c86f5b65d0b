"""Asks for an order or an authorization until it is decided, as often as the authority wants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from tlsio.model.errors import ACMEError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["poll"]

# Seconds. Pebble decides within milliseconds, Let's Encrypt within one to ten seconds.
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 5.0


class _Polled(Protocol):
    @property
    def status(self) -> str: ...
    @property
    def retry_after(self) -> float | None: ...


_T = TypeVar("_T", bound=_Polled)


async def poll(
    url: str,
    ask: Callable[[], Awaitable[_T]],
    is_decided: Callable[[_T], bool],
    *,
    sleep: Callable[[float], Awaitable[None]],
    longest: float,
    first: float | None = None,
) -> _T:
    """Return the first state that is decided.

    It waits as long as Retry-After says, and never less than a wait of its own, which doubles from
    a quarter of a second to five seconds: an authority that says 0 is asked no more often.

    Args:
        url: What is asked for.
        ask: Fetches the present state.
        is_decided: Whether the wait is over.
        sleep: `asyncio.sleep`, or a test's.
        longest: Seconds to wait in all, those of slow answers included.
        first: Seconds that the authority wants to be left alone at first.

    Raises:
        ACMEError: it is not decided in that time, or the authority wants to be asked later than
            that (`ERR_ACME_TIMEOUT`); `retry_after` says when.
    """
    waited, own, wanted, status = 0.0, _FIRST_WAIT, first, "unknown"
    loop = asyncio.get_running_loop()
    while waited + (wait := max(own, wanted or 0.0)) <= longest:
        await sleep(wait)
        asked_at = loop.time()
        found = await ask()
        if is_decided(found):
            return found
        waited, own = waited + wait + loop.time() - asked_at, min(own * 2, _LONGEST_WAIT)
        wanted, status = found.retry_after, found.status
    raise ACMEError(
        f"{url} is not decided after {waited:.0f} seconds: its status is {status}",
        code="ERR_ACME_TIMEOUT",
        hint="The authority is slow: try again later.",
        retry_after=wanted,
        url=url,
    )
