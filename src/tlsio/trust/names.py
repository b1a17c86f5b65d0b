"""Names in certificates: X.500 names, general names, and the subset that identity checks compare.

The printed forms are Node's (ncrypto's `SafeX509SubjectAltNamePrint`, `X509_NAME_print_ex` with RFC
2253 flags). Other programs split `subjectaltname` at commas, so a name that contains a comma must
never look like two names.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from . import der

IPAddress: TypeAlias = IPv4Address | IPv6Address
NameKey: TypeAlias = tuple[frozenset[tuple[str, str]], ...]

# OpenSSL's short names (crypto/objects/objects.txt) of name attributes; others are shown as
# numbers.
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.17": "postalCode",
    "2.5.4.18": "postOfficeBox",
    "2.5.4.19": "physicalDeliveryOfficeName",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.51": "houseIdentifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.72": "role",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.3": "mail",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}

# The othernames that OpenSSL prints (GENERAL_NAME_print), each with the only string type it
# accepts.
_OTHER_NAMES = {
    "1.3.6.1.5.5.7.8.9": ("SmtpUTF8Mailbox", der.UTF8_STRING),
    "1.3.6.1.5.5.7.8.5": ("XmppAddr", der.UTF8_STRING),
    "1.3.6.1.5.5.7.8.7": ("SRVName", der.IA5_STRING),
    "1.3.6.1.4.1.311.20.2.3": ("UPN", der.UTF8_STRING),
    "1.3.6.1.5.5.7.8.8": ("NAIRealm", der.UTF8_STRING),
}
_UNSUPPORTED = "<unsupported>"

DIRECTORY_NAME = 0xA4  # [4] EXPLICIT of GeneralName (RFC 5280 §4.2.1.6)

_IPV4_OCTETS, _IPV6_OCTETS = 4, 16
_PRINTABLE_ASCII = range(0x20, 0x7F)
_MAX_MESSAGE_NAME = 160  # characters: two lines of a terminal, while a hostile name may have 64 KiB


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of an X.500 name. `text` is None if its value is not a character string."""

    oid: str
    text: str | None
    encoded: bytes

    @property
    def short_name(self) -> str:
        """OpenSSL's short name, or the dotted OID."""
        return _SHORT_NAMES.get(self.oid, self.oid)


@dataclass(frozen=True, slots=True)
class Name:
    """An X.500 name: relative names in order, each with one or more attributes."""

    relative: tuple[tuple[Attribute, ...], ...]

    def attributes(self) -> Iterable[Attribute]:
        """Yield all attributes without their grouping."""
        return (attribute for group in self.relative for attribute in group)

    def values(self, short_name: str) -> tuple[str, ...]:
        """Return the values of a short name, in order."""
        return tuple(a.text for a in self.attributes() if a.short_name == short_name and a.text is not None)

    def as_dict(self) -> dict[str, str | list[str]] | None:
        """Return Node's legacy form, with a list for a repeated attribute.

        None if a value is not text.
        """
        found: dict[str, list[str]] = {}
        for attribute in self.attributes():
            if attribute.text is None:
                return None
            found.setdefault(attribute.short_name, []).append(attribute.text)
        return {key: texts[0] if len(texts) == 1 else texts for key, texts in found.items()}

    def key(self) -> NameKey:
        """Return a key that is equal for two names that X509_NAME_cmp calls equal.

        Case and runs of blanks are ignored.
        """
        return tuple(
            frozenset((a.oid, a.encoded.hex() if a.text is None else " ".join(a.text.lower().split())) for a in group)
            for group in self.relative
        )

    def rfc2253(self) -> str:
        """Return the text of RFC 2253, last relative name first, control characters unescaped."""
        return ",".join("+".join(_print_attribute(a) for a in reversed(group)) for group in reversed(self.relative))

    def describe(self) -> str:
        """Return a form for messages: bounded, on one line, never empty."""
        return printable(self.rfc2253()) or "(an empty name)"


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One general name (RFC 5280 §4.2.1.6).

    Attributes:
        kind: Node's prefix: `DNS`, `IP Address`, `URI`, `email`, `DirName`, `othername`, ...
        text: The value as characters. dNSName, rfc822Name and URI are read as Latin-1, which
            decodes every byte.
        ascii_only: Printing quotes non-ASCII characters too.
        ip: The address of a well-formed `IP Address`.
        name: The name of a `DirName`.
    """

    kind: str
    text: str
    ascii_only: bool = True
    ip: IPAddress | None = None
    name: Name | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.text if self._is_safe() else self._quoted()}"

    def _is_safe(self) -> bool:
        # ncrypto's IsSafeAltName: quotes and backslashes would break the quoting, commas the list,
        # and a single quote could make a value look quoted.
        return not any(character in "\"\\,'" or self._must_escape(character) for character in self.text)

    def _quoted(self) -> str:
        # A JSON string, with commas escaped for programs that split at commas without parsing
        # quotes.
        return f'"{"".join(map(self._escape, self.text))}"'

    def _escape(self, character: str) -> str:
        if character in '"\\':
            return f"\\{character}"
        return f"\\u{ord(character):04x}" if character == "," or self._must_escape(character) else character

    def _must_escape(self, character: str) -> bool:
        return ord(character) not in _PRINTABLE_ASCII and (self.ascii_only or character.isascii())


@dataclass(frozen=True, slots=True)
class ParsedNames:
    """The names that an identity check compares.

    Attributes:
        dns: dNSName values, unchanged, wildcards included.
        ip: iPAddress values.
        common_names: The subject's CN values; used only if there are no dNSName values.
        is_readable: False if the subjectAltName extension is malformed. Then the certificate
            matches no host: the check must not fall back to the CN.
    """

    dns: tuple[str, ...] = ()
    ip: tuple[IPAddress, ...] = ()
    common_names: tuple[str, ...] = ()
    is_readable: bool = True


def printable(text: str, longest: int = _MAX_MESSAGE_NAME) -> str:
    """Make untrusted text safe for a message: bounded, on one line, without control characters."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def parse_name(element: der.Element) -> Name:
    """Read a Name (RFC 5280 §4.1.2.4)."""
    groups = element.expect(der.SEQUENCE).children()
    return Name(tuple(tuple(_parse_attribute(a) for a in group.expect(der.SET).children()) for group in groups))


def describe_name(data: bytes) -> str:
    """Return a Name in DER in the form for messages."""
    try:
        return parse_name(der.read(data)).describe()
    except ValueError:
        return "(an unreadable name)"


def parse_general_names(element: der.Element) -> tuple[GeneralName, ...]:
    """Read GeneralNames, the content of subjectAltName."""
    return tuple(map(parse_general_name, element.expect(der.SEQUENCE).children()))


def parse_general_name(element: der.Element) -> GeneralName:
    """Read one GeneralName. An unknown choice is an error, as it is for OpenSSL."""
    if element.tag not in _GENERAL_NAMES:
        raise der.DerError(f"tag 0x{element.tag:02x} is not a general name")
    return _GENERAL_NAMES[element.tag](element)


def _latin1(kind: str) -> Callable[[der.Element], GeneralName]:
    return lambda element: GeneralName(kind, element.content.decode("latin-1"))


def _other_name(element: der.Element) -> GeneralName:
    oid, value = element.children()
    # The value is wrapped in [0] EXPLICIT.
    prefix, tag = _OTHER_NAMES.get(oid.oid(), ("", 0))
    inner = der.read(value.content)
    if inner.tag != tag:
        return GeneralName("othername", _UNSUPPORTED)
    text = inner.content.decode("latin-1" if tag == der.IA5_STRING else "utf-8", "replace")
    return GeneralName("othername", f"{prefix}:{text}", ascii_only=tag == der.IA5_STRING)


def _directory_name(element: der.Element) -> GeneralName:
    name = parse_name(der.read(element.content))
    return GeneralName("DirName", name.rfc2253(), ascii_only=False, name=name)


def _ip_address(element: der.Element) -> GeneralName:
    octets = element.content
    if len(octets) == _IPV4_OCTETS:
        return GeneralName("IP Address", ".".join(map(str, octets)), ip=IPv4Address(octets))
    if len(octets) == _IPV6_OCTETS:
        # Upper case and not compressed, like OpenSSL and Node.
        groups = ":".join(f"{octets[at] << 8 | octets[at + 1]:X}" for at in range(0, len(octets), 2))
        return GeneralName("IP Address", groups, ip=IPv6Address(octets))
    return GeneralName("IP Address", f"<invalid length={len(octets)}>")


_GENERAL_NAMES: dict[int, Callable[[der.Element], GeneralName]] = {
    0xA0: _other_name,
    0x81: _latin1("email"),
    0x82: _latin1("DNS"),
    0xA3: lambda _: GeneralName("X400Name", _UNSUPPORTED),
    DIRECTORY_NAME: _directory_name,
    0xA5: lambda _: GeneralName("EdiPartyName", _UNSUPPORTED),
    0x86: _latin1("URI"),
    0x87: _ip_address,
    0x88: lambda element: GeneralName("Registered ID", der.read_oid(element.content)),
}


def _parse_attribute(element: der.Element) -> Attribute:
    oid, value = element.expect(der.SEQUENCE).children()
    try:
        text = value.text()
    except der.DerError:
        return Attribute(oid.oid(), None, value.encoded)
    return Attribute(oid.oid(), text, value.encoded)


def _print_attribute(attribute: Attribute) -> str:
    known = attribute.short_name != attribute.oid
    if attribute.text is None or not known:
        return f"{attribute.short_name}=#{attribute.encoded.hex().upper()}"
    return f"{attribute.short_name}={_escape_rfc2253(attribute.text)}"


def _escape_rfc2253(text: str) -> str:
    # RFC 2253 §2.4 escapes these characters anywhere, "#" and a blank at the beginning, a blank at
    # the end. OpenSSL treats a single character as the end only.
    escaped = "".join("\\" + c if c in ',+"\\<>;' else c for c in text)
    if escaped.startswith((" ", "#")) and escaped != "#":
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(text) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped
