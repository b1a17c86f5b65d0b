"""Dynamic updates of the DNS (RFC 2136), signed by TSIG (RFC 8945): of BIND, Knot and PowerDNS."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from tlsio.acme.solvers.dns_provider import dns_failure
from tlsio.acme.solvers.dns_questions import Questions, import_dns, read_address
from tlsio.model.checks import check_filled_text, check_int, wrong_value
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Rfc2136"]

# RFC 8945 §6: those that must be implemented, and the stronger ones.
_ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_TTL = 60  # seconds: the record lives for a minute or two
_MAX_TTL = 86_400
_HINTS = {
    "REFUSED": "The server does not let this key change the zone: look at its update-policy or allow-update.",
    "NOTAUTH": "The server does not know the key, or is not the primary of the zone: check key_name=, key= and server=.",
    "NOTZONE": "The name is not in this zone: check zone=.",
    "SERVFAIL": "The server cannot write the zone: look at its log.",
}


@exported
class Rfc2136:
    """Changes records by dynamic updates, over TCP.

    Args:
        server: The address of the zone's primary, such as `192.0.2.1` or `[2001:db8::1]:5353`.
        key_name: The name of the TSIG key; None: updates are not signed.
        key: The key, in base64, as `tsig-keygen` prints it.
        algorithm: `hmac-sha256`, or another that the server has for this key.
        zone: The zone; None: the server is asked which of its zones a name is in.
        ttl: Seconds that the records may be kept by resolvers.

    Raises:
        ConfigError: the package `dnspython` is missing (`tlsio[acme]`).
        UsageError: an invalid argument.
    """

    def __init__(
        self,
        server: str,
        *,
        key_name: str | None = None,
        key: str | None = None,
        algorithm: str = "hmac-sha256",
        zone: str | None = None,
        ttl: int = _TTL,
    ) -> None:
        self._dns: Any = import_dns()
        self._questions = Questions()
        self._server = read_address("server", server)
        self._zone = None if zone is None else check_filled_text("zone", zone).lower().removesuffix(".")
        self._ttl = check_int("ttl", ttl, 0, _MAX_TTL)
        if algorithm not in _ALGORITHMS:
            raise wrong_value("algorithm", f"must be one of {', '.join(_ALGORITHMS)}, got {algorithm!r:.40}")
        if (key_name is None) != (key is None):
            raise wrong_value("key_name", "and key must be given together")
        self._tsig = None if key_name is None or key is None else _read_key(self._dns, key_name, key, algorithm)

    async def add_txt(self, name: str, value: str) -> None:
        """Add a record, and keep others of the same name.

        Raises:
            ACMEError: the server does not answer, or refuses (`ERR_ACME_DNS`).
        """
        await self._update(name, lambda update, place: update.add(place, self._ttl, "TXT", f'"{value}"'))

    async def remove_txt(self, name: str, value: str) -> None:
        """Remove a record, if it is there.

        Raises:
            ACMEError: the server does not answer, or refuses (`ERR_ACME_DNS`).
        """
        await self._update(name, lambda update, place: update.delete(place, "TXT", f'"{value}"'))

    async def _update(self, name: str, change: Callable[[Any, Any], object]) -> None:
        dns = self._dns
        zone = self._zone if self._zone is not None else await self._find_zone(name)
        if name != zone and not name.endswith(f".{zone}"):
            raise dns_failure(f"{name} is not in the zone {zone}", hint=_HINTS["NOTZONE"])
        update = dns.update.UpdateMessage(f"{zone}.")
        if self._tsig is not None:
            update.use_tsig(self._tsig)
        change(update, dns.name.from_text(f"{name}."))
        answer = await self._questions.ask(update, self._server, by_tcp=True)
        code = dns.rcode.to_text(answer.rcode())
        if code != "NOERROR":
            raise dns_failure(f"The name server {self._server[0]} answered {code} to the update of {name} in {zone}", hint=_HINTS.get(code))

    async def _find_zone(self, name: str) -> str:
        """Return the zone of the server that a name is in: the longest one with an SOA record."""
        dns = self._dns
        labels = name.split(".")
        for start in range(len(labels)):
            zone = ".".join(labels[start:])
            query = dns.message.make_query(f"{zone}.", "SOA")
            if self._tsig is not None:
                query.use_tsig(self._tsig)  # a server with views may choose one by the key
            answer = await self._questions.ask(query, self._server, by_tcp=True)
            if any(rrset.rdtype == dns.rdatatype.SOA and rrset.name == query.question[0].name for rrset in answer.answer):
                return zone
        raise dns_failure(f"The name server {self._server[0]} has no zone for {name}", hint="Check server=, or give zone=.")

    def __repr__(self) -> str:
        return f"<Rfc2136 server={self._server[0]}{'' if self._tsig is None else f' key_name={self._tsig.name}'}>"


def _read_key(dns: Any, name: str, key: str, algorithm: str) -> Any:
    """Return the TSIG key. Errors do not show it."""
    text = check_filled_text("key", key)
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong_value("key", "must be base64", hint="tsig-keygen prints such a key.") from None
    try:
        return dns.tsig.Key(check_filled_text("key_name", name), secret, f"{algorithm}.")
    except dns.exception.DNSException:
        raise wrong_value("key_name", f"must be a name of the DNS, got {name!r:.80}") from None
