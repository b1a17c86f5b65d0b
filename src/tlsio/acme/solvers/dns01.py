"""dns-01 (RFC 8555 §8.4): the authority looks for a TXT record."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tlsio.acme.solvers.dns_provider import dns_failure
from tlsio.acme.solvers.dns_questions import Questions, read_address
from tlsio.model.checks import check_bool, check_duration, check_port, wrong_type
from tlsio.model.errors import TLSError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tlsio.acme.client.challenge import Challenge
    from tlsio.acme.solvers.dns_provider import DNSProvider
    from tlsio.acme.solvers.dns_questions import Server

__all__ = ["Dns01"]

# Providers need seconds to minutes until all servers of a zone have a change; certmagic waits two
# minutes too.
_PROPAGATION = 120.0
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 5.0
_log = logging.getLogger("tlsio.acme")


@exported
class Dns01:
    """Answers dns-01, for names and wildcards but not for addresses (RFC 8738 §7).

    A CNAME record of `_acme-challenge.<name>` is followed, so that the records can be in another
    zone than the name, and this program cannot change the zone of the name.

    Args:
        provider: Adds and removes the records.
        propagation: Seconds to wait until all of the zone's own servers have the record; 0: the
            authority is asked to look at once.
        servers: Addresses of name servers to wait for, in place of those that the zone names, as
            where these cannot be reached from here.
        resolvers: Addresses of resolvers, in place of the system's.
        follow_alias: Follow CNAME records.
        port: The port of the zone's own servers.
        clock: Monotonic seconds.
        sleep: Waits for seconds.

    Raises:
        ConfigError: the package `dnspython` is missing (`tlsio[acme]`).
        UsageError: an invalid argument.
    """

    type = "dns-01"

    def __init__(  # noqa: PLR0913  (keyword-only except the first)
        self,
        provider: DNSProvider,
        *,
        propagation: float = _PROPAGATION,
        servers: Sequence[str] = (),
        resolvers: Sequence[str] = (),
        follow_alias: bool = True,
        port: int = 53,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not all(callable(getattr(provider, name, None)) for name in ("add_txt", "remove_txt")):
            raise wrong_type("provider", "an object with add_txt and remove_txt", provider)
        self._provider = provider
        self._propagation = 0.0 if propagation == 0 else check_duration("propagation", propagation)
        self._servers = [(read_address("servers", one),) for one in _check_list("servers", servers)]
        self._follows_alias = check_bool("follow_alias", follow_alias)
        self._questions = Questions(
            [read_address("resolvers", one) for one in _check_list("resolvers", resolvers)], port=check_port("port", port, 1)
        )
        self._clock = clock
        self._sleep = sleep
        self._places: dict[Challenge, str] = {}  # where the records of pending challenges are

    def can_solve(self, _identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:  # noqa: ARG002 - the contract's
        """Return whether it is a name."""
        return not is_ip

    async def present(self, challenge: Challenge) -> None:
        """Add the record, and wait until the zone's servers have it.

        Raises:
            ACMEError: the DNS does not answer or refuses (`ERR_ACME_DNS`), or not all servers had
                the record in time (`ERR_ACME_DNS_PROPAGATION`).
            TLSError: from the provider.
        """
        name = f"_acme-challenge.{challenge.identifier.lower()}"
        place = await self._questions.follow_alias(name) if self._follows_alias else name
        self._places[challenge] = place
        await self._provider.add_txt(place, challenge.dns_value)
        if self._propagation:
            await self._wait(place, challenge.dns_value)

    async def clean_up(self, challenge: Challenge) -> None:
        """Remove the record."""
        place = self._places.pop(challenge, None)
        if place is None:
            return
        try:
            await self._provider.remove_txt(place, challenge.dns_value)
        except TLSError as error:
            _log.warning("The TXT record of %s was not removed: %s", place, error)

    async def _wait(self, place: str, value: str) -> None:
        end, pause = self._clock() + self._propagation, _FIRST_PAUSE
        servers = set(self._servers or await self._questions.find_servers(await self._questions.find_zone(place)))
        waiting = servers
        while True:
            answers = await asyncio.gather(*(self._has_record(server, place, value) for server in waiting))
            found = dict(zip(waiting, answers, strict=True))
            waiting = {server for server, answer in found.items() if answer is not True}
            silent = {server: answer for server, answer in found.items() if isinstance(answer, TLSError)}  # they may come back
            if not waiting:
                return
            if self._clock() + pause > end:
                break
            await self._sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)
        if silent.keys() == waiting < servers:
            # The authority's resolver asks the other servers, too.
            _log.warning(
                "%d of the %d name servers for %s do not answer: %s", len(silent), len(servers), place, next(iter(silent.values()))
            )
            return
        names = ", ".join(sorted(server[-1][0] for server in waiting))
        reason = next(iter(silent.values())).message if silent else "they do not have it"
        raise dns_failure(
            f"After {self._propagation:g} s, the TXT record of {place} is not on all name servers ({names}): {reason}",
            hint="Wait longer by propagation=, give servers= if the zone's own cannot be reached from here, or propagation=0 for no wait.",
            code="ERR_ACME_DNS_PROPAGATION",
        )

    async def _has_record(self, server: Server, place: str, value: str) -> bool | TLSError:
        try:
            return value in await self._questions.read_txt(server, place)
        except TLSError as error:
            return error

    def __repr__(self) -> str:
        return f"<Dns01 provider={type(self._provider).__name__}>"


def _check_list(label: str, value: Sequence[str]) -> Sequence[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise wrong_type(label, "a list of addresses", value)
    return value
