"""Findings about the names in a server's certificate: its host, or a required identity."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from tlsio.probe.findings import found
from tlsio.trust.identity import check_rfc9525, to_lookup_name
from tlsio.trust.names import printable
from tlsio.trust.uri_identity import check_uri_identity
from tlsio.trust.verdict import NOT_ASKED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.probe.findings import Finding
    from tlsio.probe.target import ObservedHandshake
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["check_identity"]

_MAX_SHOWN = 8  # names in a message


def check_identity(side: ObservedHandshake, host: str, leaf: PeerCertificate) -> Iterator[Finding]:
    """Compare the certificate with what the client requires, as `tlsio.connect` does."""
    options = side.options
    if options.check_server_identity is not None:
        if side.answer is not None and side.answer is not NOT_ASKED:
            yield found("wrong-identity", f"check_server_identity= did not accept the certificate: {side.answer}.")
    elif options.identity is None:
        yield from _check_names(side.host or host, leaf)
    elif (error := check_uri_identity(options.identity, leaf)) is not None:
        yield found("wrong-identity", f"The certificate is not for the identity that was required: {error.reason}.", error.hint)


def _check_names(host: str, leaf: PeerCertificate) -> Iterator[Finding]:
    """Compare the host with the certificate's names as RFC 9525 does, without the common name."""
    if check_rfc9525(host, leaf) is None:
        return
    names = leaf.names
    shown = ", ".join(printable(name) for name in [*map(str, names.ip), *names.dns][:_MAX_SHOWN]) or "no names"
    reason = f"The certificate is for {shown}, not for {host}."
    name = _address(host)
    if name is not None:
        yield found("address-as-dns-name" if name in names.dns else "address-not-in-certificate", reason)
        return
    asked = to_lookup_name(host).lower()
    if not names.dns and not names.ip and any(_matches(one, asked) for one in names.common_names):
        yield found("name-only-in-cn", f"The certificate has {host} only as common name, and no subjectAltName.")
    elif any(not one.isascii() for one in names.dns):
        yield found("name-in-unicode", reason)
    elif _other_form(asked) in {one.lower() for one in names.dns}:
        yield found("wrong-host-www", reason)
    elif any(one.startswith("*.") and (asked.endswith(one[1:].lower()) or asked == one[2:].lower()) for one in names.dns):
        yield found("wrong-host-wildcard", reason)
    else:
        yield found("wrong-host", reason)


def _address(host: str) -> str | None:
    try:
        return str(ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return None


def _other_form(name: str) -> str:
    return name.removeprefix("www.") if name.startswith("www.") else f"www.{name}"


def _matches(pattern: str, name: str) -> bool:
    return pattern.lower() == name or (pattern.startswith("*.") and name.partition(".")[2] == pattern[2:].lower())
