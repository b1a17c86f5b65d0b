"""Names that a certificate is asked for: text becomes a general name (RFC 5280 §4.2.1.6).

One parser for requests, authorities and name constraints. It accepts only what clients compare
later, so a typing error is found before the certificate is issued.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from tlsio.model.checks import check_filled_text, wrong_value
from tlsio.model.uri_identity import check_identity
from tlsio.trust.identity import to_server_name
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tlsio.model.errors import UsageValueError

__all__ = ["describe_name", "is_within", "meets", "parse_constraint", "parse_name", "parse_names", "spiffe_faults"]

_LABEL = "names"
_MAX_DNS = 253  # RFC 1035 §2.3.4: 255 octets on the wire, two of them for the first length and the root
_DNS_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")  # RFC 1035 §2.3.1; underscores occur in private networks
_MIN_WILDCARD_LABELS = 3  # no client accepts "*.com", which would match a whole top-level domain
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")  # RFC 5322 §3.2.3, dot-atom
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|urn:")  # RFC 3986 §3.1
_URI = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]+")  # RFC 3986 §2
# A kind in front of a name, as `openssl` (DNS:, IP:, email:, URI:) and Node (IP Address:) write it.
_PREFIX = re.compile(r"(DNS|IP|IP Address|email|URI):", re.IGNORECASE)


def parse_names(names: str | x509.GeneralName | Iterable[str | x509.GeneralName]) -> list[x509.GeneralName]:
    """Parse several names, as `parse_name` does each; duplicates are dropped, the order is kept.

    Raises:
        UsageTypeError: one of them is neither text nor a general name.
        UsageValueError: one of them is not a name.
    """
    given = [names] if isinstance(names, str | x509.GeneralName) else list(names)
    return list(dict.fromkeys(parse_name(name) for name in given))


def parse_name(name: str | x509.GeneralName) -> x509.GeneralName:
    """Return the general name that a text means.

    `localhost`, `*.example.com` and `bücher.example` are DNS names, the last one as A-labels
    (IDNA 2008); `192.0.2.1` and `2001:db8::1` are IP addresses; `ada@example.com` is an e-mail
    address; `https://example.com/` and `spiffe://example.org/shop` are URIs. A prefix says the kind
    where the text does not, as for `openssl`: `DNS:`, `IP:`, `email:`, `URI:`.

    Args:
        name: Text, or a general name of `cryptography`, which is returned unchanged.

    Raises:
        UsageTypeError: neither text nor a general name.
        UsageValueError: not a name of any kind, or one that no client accepts.
    """
    if isinstance(name, x509.GeneralName):
        return name
    text = check_filled_text(_LABEL, name).strip()
    if prefix := _PREFIX.match(text):
        return _PARSERS[prefix[1].lower()](text[prefix.end() :])
    if _SCHEME.match(text):
        return _uri(text)
    if "@" in text:
        return _email(text)
    return _ip(text) if _is_ip(text) else _dns(text)


def parse_constraint(name: str | x509.GeneralName) -> x509.GeneralName:
    """Return the subtree of names that a text means, for name constraints (RFC 5280 §4.2.1.10).

    `example.com` means this name and all below it; `10.0.0.0/8` a network; `ada@example.com` one
    mailbox, `@example.com` all of a host; `URI:example.com` and `URI:.example.com` the URIs of one
    host, and of all hosts below.

    Raises:
        UsageTypeError: neither text nor a general name.
        UsageValueError: not a subtree of names.
    """
    if isinstance(name, x509.GeneralName):
        return name
    text = check_filled_text("constraints", name).strip()
    kind, text = (prefix[1].lower(), text[prefix.end() :]) if (prefix := _PREFIX.match(text)) else ("", text)
    if kind == "uri":
        return x509.UniformResourceIdentifier("." * text.startswith(".") + _host(text.removeprefix(".")))
    if kind == "email" or "@" in text:
        return x509.RFC822Name(_host(text.removeprefix("@")) if text.startswith("@") else _email(text).value)
    if "/" in text or _is_ip(text):
        return _network(text)
    return x509.DNSName(_host(text.removeprefix("*.").removeprefix(".")))


def meets(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Tell whether a name is in an excluded subtree, or may stand for a name in it.

    A wildcard may, and so may a URI whose host cannot be compared. "If a constraint is applied to
    the uniformResourceIdentifier name form and a subsequent certificate includes a subjectAltName
    extension with a uniformResourceIdentifier that does not include an authority component with a
    host name specified as a fully qualified domain name ..., then the application MUST reject the
    certificate." (RFC 5280 §4.2.1.10)
    """
    if isinstance(name, x509.UniformResourceIdentifier) and isinstance(subtree, x509.UniformResourceIdentifier):
        place = _host_of_uri(name.value)
        return place is None or _is_host_within(place.removesuffix("."), subtree.value)
    if isinstance(name, x509.RFC822Name):
        return is_within(x509.RFC822Name(name.value.removesuffix(".")), subtree)
    if not isinstance(name, x509.DNSName) or not isinstance(subtree, x509.DNSName):
        return is_within(name, subtree)
    host = name.value.lower().removesuffix(".")
    label, _, domain = subtree.value.lower().removesuffix(".").partition(".")
    # "*.example.com" is not in the subtree "secret.example.com", but is accepted for that host.
    return is_within(x509.DNSName(host), subtree) or bool(label and host == f"*.{domain}")


def is_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Tell whether a name is in a subtree of its kind (RFC 5280 §4.2.1.10)."""
    if isinstance(name, x509.IPAddress) and isinstance(subtree, x509.IPAddress):
        return name.value in subtree.value  # type: ignore[operator]  # a subtree is a network
    if isinstance(name, x509.DNSName) and isinstance(subtree, x509.DNSName):
        # "Any DNS name that can be constructed by simply adding zero or more labels to the
        # left-hand side of the name satisfies the name constraint."
        host, base = name.value.lower(), subtree.value.lower().removesuffix(".")
        if base.startswith("."):  # for OpenSSL and Go, only names below
            return host.endswith(base)
        return not base or host == base or host.endswith(f".{base}")
    if isinstance(name, x509.RFC822Name) and isinstance(subtree, x509.RFC822Name):
        local, _, host = name.value.rpartition("@")
        mailbox, at, domain = subtree.value.rpartition("@")
        return (local, host.lower()) == (mailbox, domain.lower()) if at else _is_host_within(host, domain)
    if isinstance(name, x509.UniformResourceIdentifier) and isinstance(subtree, x509.UniformResourceIdentifier):
        place = _host_of_uri(name.value)
        return place is not None and _is_host_within(place, subtree.value)
    return False


def _host_of_uri(text: str) -> str | None:
    """Return the host; None if it is missing, an address, or one that parsers read differently."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return None
    return None if not host or "%" in host or "@" in parts.netloc or _is_ip(host) else host


def _is_host_within(host: str, subtree: str) -> bool:
    """Compare hosts of mailboxes and URIs, where only a leading dot allows hosts below."""
    host, subtree = host.lower(), subtree.lower()
    return host.endswith(subtree) if subtree.startswith(".") else host == subtree


def spiffe_faults(names: Iterable[x509.GeneralName]) -> list[str]:
    """Return the reason why verifiers of SPIFFE IDs refuse a leaf with these names, if any."""
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    # X509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN".
    if len(uris) > 1 and any(one[:7].lower() == "spiffe:" for one in uris):
        return [f"there are {len(uris)} URIs, and a certificate with a SPIFFE ID has exactly one"]
    return []


def describe_name(name: x509.GeneralName) -> str:
    """Return the text of a general name, which `parse_name` reads, for messages."""
    if isinstance(name, x509.DirectoryName):
        return printable(name.value.rfc4514_string())
    if isinstance(name, x509.OtherName):
        return f"otherName {name.type_id.dotted_string}"
    return printable(str(getattr(name.value, "dotted_string", name.value)))


def _dns(text: str) -> x509.DNSName:
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if "*" in name:
        raise wrong_value(_LABEL, f'has a star in "{printable(text)}" that is not the whole first label', hint="Write *.example.com.")
    host = star + _host(name)
    if star and host.count(".") < _MIN_WILDCARD_LABELS - 1:
        raise wrong_value(
            _LABEL,
            f'has the wildcard "{printable(text)}", which no client accepts',
            hint="A wildcard needs at least two labels after the star, such as *.example.com; list the names one by one instead.",
        )
    if len(host) > _MAX_DNS:
        raise wrong_value(_LABEL, f'has a name longer than {_MAX_DNS} characters: "{printable(text)}"')
    return x509.DNSName(host)


def _host(text: str) -> str:
    """Return a host name as A-labels in lower case, without a final dot."""
    if re.search(r":\d+$", text):
        raise wrong_value(
            _LABEL, f'has a port in "{printable(text)}"', hint="A certificate is for a host, whatever the port: leave it out."
        )
    host = to_server_name(text, _LABEL)
    for label in host.split("."):
        if not _DNS_LABEL.fullmatch(label):
            raise wrong_value(
                _LABEL,
                f'has the label "{printable(label)}" in "{printable(text)}", which is not a label of DNS',
                hint="A label has 1 to 63 letters, digits, hyphens and underscores, and a hyphen neither first nor last.",
            )
    return host


def _is_ip(text: str) -> bool:
    try:
        ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _ip(text: str) -> x509.IPAddress:
    if "%" in text:
        raise wrong_value(_LABEL, f'has a zone in "{printable(text)}"', hint="A zone is local to one machine: leave it out.")
    try:
        return x509.IPAddress(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        hint = "A certificate is for addresses one by one; networks are for name constraints." if "/" in text else None
        raise wrong_value(_LABEL, f'has "{printable(text)}", which is not an IP address', hint=hint) from None


def _network(text: str) -> x509.IPAddress:
    try:
        return x509.IPAddress(ip_network(text))
    except ValueError as error:
        raise wrong_value("constraints", f'has "{printable(text)}", which is not an IP network', hint=f"{error}.") from None


def _email(text: str) -> x509.RFC822Name:
    local, _, host = text.rpartition("@")
    if not _MAILBOX.fullmatch(local):
        raise wrong_value(
            _LABEL,
            f'has "{printable(text)}", which is not an e-mail address that a certificate can hold',
            hint="The part before the @ must be ASCII, without blanks and quotes (RFC 5280 §4.2.1.6).",
        )
    return x509.RFC822Name(f"{local}@{_host(host)}")


def _uri(text: str) -> x509.UniformResourceIdentifier:
    if not _URI.fullmatch(text):
        raise wrong_value(_LABEL, f'has the URI "{printable(text)}" with characters that must be percent-encoded (RFC 3986 §2)')
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_uri(text, str(error)) from None
    if parts.scheme == "spiffe":
        return x509.UniformResourceIdentifier(check_identity(_LABEL, text))
    # "The name MUST NOT be a relative URI ... MUST include both a scheme ... and a
    # scheme-specific-part" (RFC 5280 §4.2.1.6).
    if not parts.scheme or ("//" in text and not host) or not (host or parts.path):
        raise _bad_uri(text, "it must be absolute, with a scheme and a host")
    return x509.UniformResourceIdentifier(text)


def _bad_uri(text: str, reason: str) -> UsageValueError:
    return wrong_value(_LABEL, f'has "{printable(text)}", which is not a URI for a certificate: {reason}')


_PARSERS: dict[str, Callable[[str], x509.GeneralName]] = {"dns": _dns, "ip": _ip, "ip address": _ip, "email": _email, "uri": _uri}
