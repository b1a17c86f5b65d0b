"""Questions to name servers: where an alias leads, who serves a zone, and what it says now.

The package `dnspython` does the work. A resolver is asked for the way; records that have just
changed are read from the zone's own servers, since a resolver may have an old answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tlsio.acme.solvers.dns_provider import dns_failure
from tlsio.model.checks import check_filled_text, check_port, wrong_value
from tlsio.model.errors import ACMEError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

__all__ = ["Address", "Questions", "Server", "import_dns", "read_address"]

Address = tuple[str, int]
Server = tuple[Address, ...]  # of one name server
_PORT = 53
_MAX_SERVERS = 8  # asked of a zone: large ones have 13 names, and anycast behind each
_MAX_ADDRESSES = 2  # of each family
_MAX_TXT = 100  # values of one name that are looked at
_LIFETIME = 5.0  # seconds for one question, with its repetitions
# By class, of the errors of TSIG (RFC 8945 §5.2).
_HINTS = {
    "PeerBadKey": "The server does not know a key of this name: check key_name=.",
    "PeerBadSignature": "The server has another key or algorithm for this name: check key= and algorithm=.",
    "PeerBadTime": "The clocks of this machine and of the server differ by minutes.",
}


def import_dns() -> ModuleType:
    """Import `dnspython` with the parts that are used here.

    Raises:
        ConfigError: it is missing.
    """
    try:
        import dns.asyncquery  # noqa: PLC0415 - an extra
        import dns.asyncresolver  # noqa: PLC0415
        import dns.flags  # noqa: PLC0415
        import dns.nameserver  # noqa: PLC0415
        import dns.tsigkeyring  # noqa: PLC0415
        import dns.update  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("dnspython", "acme") from error
    return dns


def read_address(label: str, value: object) -> Address:
    """Read `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`.

    Raises:
        UsageError: it is not an IP address.
    """
    text = check_filled_text(label, value)
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "")
    host = host.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(host)), check_port(label, int(port), 1) if port else _PORT
    except ValueError:
        raise wrong_value(label, f"must be an IP address, with a port if need be, got {text!r:.80}") from None


class Questions:
    """Asks.

    Args:
        resolvers: The resolvers, in place of the system's.
        port: The port of the zones' own servers.
    """

    def __init__(self, resolvers: Sequence[Address] = (), *, port: int = _PORT) -> None:
        self._resolvers = resolvers
        self._port = port
        self._dns = import_dns()

    @property
    def _resolver(self) -> Any:
        """A new one, as the system's settings may have changed."""
        dns = self._dns
        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._resolvers)
        except dns.exception.DNSException as error:
            raise dns_failure(f"The system's name servers are not known: {error}", hint="Give resolvers=.") from error
        if self._resolvers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(*one) for one in self._resolvers]
        resolver.lifetime = _LIFETIME
        return resolver

    async def follow_alias(self, name: str) -> str:
        """Return where the CNAME records of a name lead; without any, the name.

        Raises:
            ACMEError: the resolvers do not answer (`ERR_ACME_DNS`).
        """
        dns = self._dns
        try:
            answer = await self._resolver.resolve(f"{name}.", "TXT", raise_on_no_answer=False)
            found = answer.canonical_name
        except dns.resolver.NXDOMAIN as error:
            found = error.canonical_name
        except (dns.exception.DNSException, OSError) as error:
            raise _unanswered(f"where {name} leads", error) from error
        return _text(found)

    async def find_zone(self, name: str) -> str:
        """Return the zone that a name is in.

        Raises:
            ACMEError: the resolvers do not answer (`ERR_ACME_DNS`).
        """
        dns = self._dns
        try:
            async with asyncio.timeout(2 * _LIFETIME):  # one question for each label, until there is a zone
                found = await dns.asyncresolver.zone_for_name(f"{name}.", resolver=self._resolver)
        except (dns.exception.DNSException, OSError) as error:
            raise _unanswered(f"which zone {name} is in", error) from error
        return _text(found)

    async def find_servers(self, zone: str) -> list[Server]:
        """Return a zone's own servers, eight at most.

        Raises:
            ACMEError: the resolvers do not answer, or it has none (`ERR_ACME_DNS`).
        """
        dns = self._dns
        try:
            answer = await self._resolver.resolve(f"{zone}.", "NS")
            names = sorted(str(record.target) for record in answer)[:_MAX_SERVERS]
        except (dns.exception.DNSException, OSError) as error:
            raise _unanswered(f"which name servers {zone} has", error) from error
        found = [server for server in await asyncio.gather(*map(self._addresses, names)) if server]
        if not found:
            raise dns_failure(f"The name servers of {zone} have no addresses: {', '.join(names):.200}")
        return found

    async def _addresses(self, name: str) -> Server:
        dns, found = self._dns, list[Address]()
        for kind in ("AAAA", "A"):
            try:
                answer = await self._resolver.resolve(name, kind)
                found += [(str(record.address), self._port) for record in answer][:_MAX_ADDRESSES]
            except (dns.exception.DNSException, OSError):
                continue
        return tuple(found)

    async def read_txt(self, server: Server, name: str) -> set[str]:
        """Return the TXT values that a server has, asked at the first address that answers.

        Raises:
            ACMEError: it does not answer, or refuses to (`ERR_ACME_DNS`).
        """
        dns = self._dns
        query = dns.message.make_query(f"{name}.", "TXT")
        for address in server[:-1]:
            with suppress(ACMEError):
                answer = await self.ask(query, address)
                break
        else:
            answer = await self.ask(query, server[-1])
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            raise dns_failure(f"The name server {_shown(server[-1])} answered {dns.rcode.to_text(answer.rcode())} for {name}")
        return {text for text, _ in zip(_values(answer, dns), range(_MAX_TXT), strict=False)}

    async def ask(self, message: Any, address: Address, *, by_tcp: bool = False) -> Any:
        """Send a message to a server, by UDP and then TCP if the answer is too long.

        Raises:
            ACMEError: it does not answer in time, or what it answers is not valid (`ERR_ACME_DNS`).
        """
        dns, (host, port) = self._dns, address
        try:
            if by_tcp:
                return await dns.asyncquery.tcp(message, host, _LIFETIME, port)
            answer, _ = await dns.asyncquery.udp_with_fallback(message, host, _LIFETIME, port)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            is_silent = isinstance(error, dns.exception.Timeout | OSError | EOFError)
            problem = "did not answer" if is_silent else "gave no valid answer"
            hint = _HINTS.get(type(error).__name__, "Check its address, and that it can be reached from here.")
            raise dns_failure(f"The name server {_shown(address)} {problem}: {_reason(error)}", hint=hint) from error
        return answer


def _values(answer: Any, dns: Any) -> Iterable[str]:
    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.TXT:
            for record in rrset:
                yield b"".join(record.strings).decode("ascii", "replace")


def _text(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower()


def _shown(address: Address) -> str:
    host, port = address
    return host if port == _PORT else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unanswered(what: str, error: Exception) -> Exception:
    return dns_failure(f"The name servers do not say {what}: {_reason(error)}", hint="Check resolvers=, and the name servers of the zone.")


def _reason(error: Exception) -> str:
    """Return an error as one printable line: some texts come from the peer."""
    return ascii(str(error))[1:-1][:200] or type(error).__name__
