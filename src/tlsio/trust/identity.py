"""Compares certificates with host names: by Node's rules exactly, or by the stricter RFC 9525.

Certificates are compared by their parsed names. Only for a plain mapping is the text of
`subjectaltname` parsed.

An ambiguous host name matches nothing. (Node normalises it like a URL parser: `ex%61mple.com`
becomes `example.com`, `127.1` becomes an address, U+3002 a dot.)
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, TypeAlias

import idna

from tlsio.model.checks import wrong_type
from tlsio.model.errors import CertificateAltNameError, UsageValueError
from tlsio.model.material import certificate_der

from .certificate import PeerCertificate, parse
from .constraints import NameConstraints, read_constraints
from .names import IPAddress, ParsedNames, printable

if TYPE_CHECKING:
    from cryptography import x509

AnyCertificate: TypeAlias = "PeerCertificate | Mapping[str, Any] | x509.Certificate"

# "any valid JSON string literal. This MUST match the JSON specification (ECMA-404 / RFC8259)
# exactly" (Node, lib/tls.js)
_JSON_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')

# Printable, but not allowed in the host of a URL (WHATWG URL §3.2, forbidden domain code points).
_FORBIDDEN_IN_HOST = frozenset("#/:<>?@[\\]^|%")
_NO_NAME = "Cert does not contain a DNS name"
_MAX_NAME = 255  # OpenSSL's limit for a host name in SNI (TLSEXT_MAXLEN_host_name); DNS allows 253
_MIN_WILDCARD_LABELS = 3  # "*.com" would match a whole top-level domain
_MAX_HINTED_NAMES = 5
# Characters: more than the names of usual certificates have, while a hostile list may have 64 KiB.
_MAX_LISTED = 1000


def check_server_identity(hostname: str, cert: AnyCertificate) -> CertificateAltNameError | None:
    """Check whether a certificate is for a host, by the rules of Node's `tls.checkServerIdentity`.

    An IP address must be in the certificate as an IP address. A name is compared with the DNS
    names, or with the subject's CN if there are no DNS names. The first label of a pattern with
    three or more labels may be or contain one `*`, unless it is an A-label.

    A trailing dot of the name and the case of ASCII letters are ignored. Non-ASCII names are
    compared as A-labels.

    If the certificate is linked to its issuers (`issuer_certificate`) and one of these has name
    constraints, the host must satisfy them. In that case, names that end in a dot and common names
    with a `*` are ignored, because OpenSSL has not compared them with the constraints.

    Args:
        hostname: A DNS name or an IP address as text, an IPv6 zone allowed.
        cert: What `get_peer_certificate()` returns, a plain mapping of that shape (`subject`,
            `subjectaltname`), or a certificate of `cryptography`.

    Returns:
        None if the certificate is for that host, otherwise an error to raise or return.

    Raises:
        UsageTypeError: `hostname` is not a str, or `cert` is none of these three types.
        UsageValueError: a plain mapping's `subjectaltname` is wrongly quoted
            (`ERR_TLS_CERT_ALTNAME_FORMAT`).
    """
    return _check(hostname, cert, _node_reason)


def check_rfc9525(hostname: str, cert: AnyCertificate) -> CertificateAltNameError | None:
    """Check whether a certificate is for a host, by RFC 9525.

    Like `check_server_identity`, but stricter: the CN is never compared ("the service identity ...
    MUST NOT" come from it, §2), and a wildcard matches exactly one whole label: "the wildcard
    character appears only as the complete content of the left-most label" (§6.3). Names in the
    certificate that end in a dot are ignored ("preferred name syntax", RFC 5280 §4.2.1.6).
    """
    return _check(hostname, cert, _rfc9525_reason)


def to_server_name(hostname: str, label: str = "hostname") -> str:
    """Return a host name for SNI: A-labels in lower case, "without a trailing dot" (RFC 6066 §3).

    Args:
        hostname: A-labels or U-labels.
        label: The caller's name of the argument, for the message.

    Raises:
        UsageValueError: this is not a host name, or it is ambiguous.
    """
    name = ".".join(_host_labels(hostname.removesuffix(".")))
    if "*" in name:
        raise UsageValueError(
            f'{label} "{printable(hostname)}" is not a host name: it has a star',
            hint="Give the name of one host. Stars belong into certificates, and into the patterns of add_context().",
        )
    return _check_host_name(name, hostname, label)


def to_server_pattern(hostname: str, label: str = "hostname") -> str:
    """Return a name as `to_server_name` does; its ASCII labels may have stars.

    An IPv4 address is accepted: some clients send one, although RFC 6066 §3 does not permit it.

    Raises:
        UsageValueError: this is neither a host name nor a pattern of host names.
    """
    labels = hostname.removesuffix(".").split(".")
    name = ".".join(one.lower() if one.isascii() else to_server_name(one, label) for one in labels)
    # The label after the end hides a number there, by which `_host_labels` knows addresses.
    _check_host_name(".".join(_host_labels(name.replace("*", "x") + ".x")).removesuffix(".x"), hostname, label)
    return name


def _check_host_name(name: str, given: str, label: str) -> str:
    """Return the name that was made of `given`, if it is one."""
    if not name or ".." in f".{name}." or len(name) > _MAX_NAME:
        raise UsageValueError(
            f'{label} "{printable(given)}" is not a host name',
            hint="Give the name alone, with ASCII dots and without a port or a path; give an IP address with all its parts.",
        )
    return name


def to_lookup_name(hostname: str, label: str = "hostname") -> str:
    """Return the name to look up in DNS, which must be the name that is verified.

    A non-ASCII name becomes A-labels by IDNA 2008. Python's socket module would use IDNA 2003,
    which gives another domain for some names ("faß.de").

    Raises:
        UsageValueError: a non-ASCII name that `to_server_name` rejects.
    """
    if hostname.isascii():
        return hostname
    return to_server_name(hostname, label) + ("." if hostname.endswith(".") else "")


class _Host:
    """The requested host: an address, or the labels of a name; neither if it is ambiguous."""

    def __init__(self, hostname: str) -> None:
        self.text = hostname.removesuffix(".")
        self.ip = _parse_ip(self.text)
        self.labels = [] if self.ip else _host_labels(self.text)


def warn_of_common_name(hostname: str, cert: PeerCertificate) -> str | None:
    """Return a warning if only the common name of a certificate is the host, else None."""
    host = _Host(hostname)
    if host.ip or cert.names.dns or _node_reason(host, cert.names, cert) is not None:
        return None
    return (
        f'"{printable(host.text)}" is only in the subject of the certificate (CN), which browsers and most other clients '
        "ignore: have it reissued with the name as subjectAltName"
    )


_FindReason: TypeAlias = Callable[[_Host, ParsedNames, Mapping[str, Any]], str | None]


def _check(hostname: str, cert: AnyCertificate, find_reason: _FindReason) -> CertificateAltNameError | None:
    if not isinstance(hostname, str):
        raise wrong_type("hostname", "a str", hostname)
    host, mapping = _Host(hostname), _as_mapping(cert)
    names = mapping.names if isinstance(mapping, PeerCertificate) else _names_of_mapping(mapping)
    constraints = _find_constraints(mapping)
    reason = find_reason(host, _drop_unconstrained(names) if constraints else names, mapping) or _constraint_reason(host, constraints)
    return None if reason is None else CertificateAltNameError(reason, host.text, cert, hint=_mismatch_hint(host, names))


def _find_constraints(cert: Mapping[str, Any]) -> list[NameConstraints | None]:
    """Return the name constraints of the linked issuers; a single None if some are malformed."""
    if not isinstance(cert, PeerCertificate) or cert.issuer_certificate is None:
        return []
    try:
        return list(read_constraints(cert.chain()))
    except ValueError:
        return [None]


def _drop_unconstrained(names: ParsedNames) -> ParsedNames:
    """Replace names that OpenSSL has not compared with constraints by "", which matches nothing."""
    return replace(
        names,
        dns=tuple("" if name.endswith(".") else name for name in names.dns),
        common_names=tuple("" if name.endswith(".") or "*" in name else name for name in names.common_names),
    )


def _constraint_reason(host: _Host, constraints: Iterable[NameConstraints | None]) -> str | None:
    for one in constraints:
        if one is None:
            return f"Host: {host.text}. cannot be compared with the name constraints of its issuers, which are malformed"
        if not one.allows(".".join(host.labels), host.ip):
            return f'Host: {host.text}. is outside the name constraints of "{one.authority}"'
    return None


def parse_host(hostname: str) -> IPAddress | None:
    """Return a host's address, without a zone; None if it is a name."""
    return _parse_ip(hostname.removesuffix("."))


def as_certificate(cert: AnyCertificate) -> PeerCertificate:
    """Return a certificate that was given to a check in parsed form.

    Raises:
        UsageTypeError: it is not a certificate. A plain mapping has no URIs in a form that can be
            compared.
    """
    found = cert if isinstance(cert, PeerCertificate) else None
    encoded = None if found else certificate_der(cert)
    if found is None and encoded is None:
        raise wrong_type("cert", "a certificate", cert)
    return found or parse(encoded or b"")


def _as_mapping(cert: AnyCertificate) -> Mapping[str, Any]:
    if isinstance(cert, Mapping):
        return cert
    encoded = certificate_der(cert)
    if encoded is not None:
        return parse(encoded)
    raise wrong_type("cert", "a certificate or a mapping", cert)


def _node_reason(host: _Host, names: ParsedNames, cert: Mapping[str, Any]) -> str | None:
    if host.ip:
        return _ip_reason(host, names)
    if names.dns:
        return _dns_reason(host, names, cert, _matches_node)
    # If the list of names is malformed, the CN must not be used in its place: the list may restrict
    # the names.
    if not names.is_readable or not names.common_names:
        return _NO_NAME
    if any(_matches_node(host.labels, pattern) for pattern in names.common_names):
        return None
    return f"Host: {host.text}. is not cert's CN: {printable(','.join(names.common_names), _MAX_LISTED)}"


def _rfc9525_reason(host: _Host, names: ParsedNames, cert: Mapping[str, Any]) -> str | None:
    if host.ip:
        return _ip_reason(host, names)
    return _dns_reason(host, names, cert, _matches_rfc9525) if names.dns else _NO_NAME


def _ip_reason(host: _Host, names: ParsedNames) -> str | None:
    if host.ip in names.ip:
        return None
    return f"IP: {host.text} is not in the cert's list: {printable(', '.join(map(_print_ip, names.ip)), _MAX_LISTED)}"


def _dns_reason(host: _Host, names: ParsedNames, cert: Mapping[str, Any], matches: Callable[[list[str], str], bool]) -> str | None:
    if any(matches(host.labels, pattern) for pattern in names.dns):
        return None
    return f"Host: {host.text}. is not in the cert's altnames: {printable(cert['subjectaltname'], _MAX_LISTED)}"


def _matches_node(host: list[str], pattern: str) -> bool:
    labels = _pattern_labels(pattern)
    if not labels or len(host) != len(labels) or host[1:] != labels[1:]:
        return False
    # "RFC 6125 does not allow wildcard substitution for components containing IDNA A-labels" (Node,
    # lib/tls.js)
    if "*" not in labels[0] or "xn--" in labels[0]:
        return host[0] == labels[0]
    prefix, *suffix = labels[0].split("*")
    return (
        len(suffix) == 1
        and len(labels) >= _MIN_WILDCARD_LABELS
        and len(prefix) + len(suffix[0]) <= len(host[0])
        and host[0].startswith(prefix)
        and host[0].endswith(suffix[0])
    )


def _matches_rfc9525(host: list[str], pattern: str) -> bool:
    labels = [] if pattern.endswith(".") else _pattern_labels(pattern)
    if not labels or len(host) != len(labels) or host[1:] != labels[1:]:
        return False
    if labels[0] == "*":
        return len(labels) >= _MIN_WILDCARD_LABELS and host[0] != ""
    return host[0] == labels[0]


def _pattern_labels(pattern: str) -> list[str]:
    # Node's rule: no empty label, and nothing outside of U+0021 to U+007F: "nothing good can come
    # from accepting them".
    labels = pattern.removesuffix(".").split(".")
    if "" in labels or not all("\x21" <= character <= "\x7f" for character in pattern):
        return []
    return [label.lower() for label in labels]


def _host_labels(text: str) -> list[str]:
    name = text if text.isascii() else _to_ascii(text)
    labels = name.lower().split(".")
    if any(not "\x21" <= character < "\x7f" or character in _FORBIDDEN_IN_HOST for character in name):
        return []
    # Resolvers read "127.1" and "2130706433" as addresses, so they are not names (WHATWG URL §3.5,
    # "ends in a number").
    return [] if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]) else labels


def _to_ascii(text: str) -> str:
    """Return the A-label form, or "" if there is none or it is ambiguous."""
    try:
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        # U+3002, U+FF0E and others become dots: the resolver may see other labels than the
        # comparison.
        if mapped.count(".") != text.count("."):
            return ""
        return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split("."))
    except idna.IDNAError:
        return ""


def _parse_ip(text: str) -> IPAddress | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A zone selects the local interface and does not identify the peer.
    return IPv6Address(address.packed) if isinstance(address, IPv6Address) else address


def _print_ip(address: IPAddress) -> str:
    # Node's uv_inet_ntop writes the IPv4 address in an IPv4-mapped one with dots (so does Python
    # from 3.13).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return f"::ffff:{mapped}" if mapped else str(address)


def _names_of_mapping(cert: Mapping[str, Any]) -> ParsedNames:
    subject, alt_text = cert.get("subject"), cert.get("subjectaltname") or ""
    if not isinstance(alt_text, str):
        raise wrong_type('cert["subjectaltname"]', "a str", alt_text)
    common_name = subject.get("CN") if isinstance(subject, Mapping) else None
    entries = _split_alt_names(alt_text)
    return ParsedNames(
        dns=tuple(_values_of("DNS:", entries)),
        ip=tuple(ip for ip in map(_parse_ip, _values_of("IP Address:", entries)) if ip),
        common_names=_common_names(common_name),
    )


def _common_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _values_of(prefix: str, entries: Iterable[str]) -> Iterable[str]:
    return (entry.removeprefix(prefix) for entry in entries if entry.startswith(prefix))


def _split_alt_names(text: str) -> list[str]:
    """Split Node's `subjectaltname`.

    Quoted parts are JSON strings and may contain commas (CVE-2021-44532).
    """
    if '"' not in text:
        return text.split(", ")
    entries, entry, offset = list[str](), "", 0
    while offset < len(text):
        if text[offset] == '"':
            quoted = _JSON_STRING.match(text, offset)
            if not quoted:
                raise UsageValueError("Invalid subject alternative name string", code="ERR_TLS_CERT_ALTNAME_FORMAT")
            entry += json.loads(quoted.group())
            offset = quoted.end()
        elif text[offset] == ",":
            entries.append(entry)
            entry, offset = "", offset + len(", ")
        else:
            entry += text[offset]
            offset += 1
    return [*entries, entry]


def _mismatch_hint(host: _Host, names: ParsedNames) -> str:
    wanted = f'"{printable(host.text)}"'
    reissue = f"the server needs it reissued with {wanted} as subjectAltName."
    if not names.is_readable:
        return f"The certificate's list of names is malformed: {reissue}"
    if raw := next((name for name in names.dns if not name.isascii()), None):
        return _hint_for_raw_name(raw)
    if any(_matches_node(host.labels, name) for name in names.common_names):
        why = (
            "it has DNS names too, so the common name does not count"
            if names.dns
            else 'RFC 9525 ignores it (identity_policy="node" accepts it)'
        )
        return f"Only the common name of the certificate is {wanted}, but {why}: {reissue}"
    found = [*names.dns, *map(_print_ip, names.ip)] or names.common_names
    if not found:
        return f"The certificate contains no host name: {reissue}"
    listed = ", ".join(f'"{printable(name)}"' for name in found[:_MAX_HINTED_NAMES])
    more = f" and {len(found) - _MAX_HINTED_NAMES} more" if len(found) > _MAX_HINTED_NAMES else ""
    return (
        f"The certificate is for {listed}{more}.{_hint_for_wildcard(host, names)}{_hint_for_address(host, names)} If that is the host you "
        f"meant, connect to it by that name; if {wanted} is right, another server answered, or its certificate lacks the name."
    )


def _hint_for_raw_name(name: str) -> str:
    """Explain a name that is written in UTF-8, where only A-labels are allowed (RFC 5280 §7.2)."""
    try:
        text = name.encode("latin-1").decode()  # names are read as Latin-1, byte by byte
        label = to_server_name(text)
    except (UnicodeError, UsageValueError):
        text, label = name, "xn--…"
    return (
        f'The certificate writes the name "{printable(text)}" in UTF-8 instead of ASCII, so it matches no host: '
        f"the server needs it reissued with DNS:{label} as subjectAltName."
    )


def _hint_for_wildcard(host: _Host, names: ParsedNames) -> str:
    """Say why a wildcard that ends like the host does not cover it; "" if there is none."""
    text = ".".join(host.labels)
    for name in names.dns or names.common_names:
        base = name.lower().removeprefix("*.")
        if name.startswith("*.") and (text == base or text.endswith(f".{base}")):
            return f' In "{printable(name)}", "*" covers exactly one label, and "{printable(text)}" has another number of them.'
    return ""


def _hint_for_address(host: _Host, names: ParsedNames) -> str:
    if host.ip and not names.ip:
        return " An address is compared only with IP addresses in the certificate, and it has none."
    return ""
