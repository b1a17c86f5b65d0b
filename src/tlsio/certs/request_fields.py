"""The fields of a certificate request (CSR, RFC 2986), read from its DER."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.model.errors import ConfigError
from tlsio.trust import der
from tlsio.trust.names import parse_general_names, parse_name, printable
from tlsio.trust.signatures import Signed

if TYPE_CHECKING:
    from tlsio.trust.names import GeneralName

__all__ = ["RequestFields"]

_ATTRIBUTES = 0xA0  # [0] IMPLICIT
_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
_CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"  # noqa: S105  (the number of the attribute)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFields:
    """What a request asks for.

    Attributes:
        subject_text: Its subject in the form for messages.
        has_subject: Its subject is not empty.
        spki: Its public key, a SubjectPublicKeyInfo in DER.
        extensions: The requested extensions: number to content in DER.
        has_challenge_password: It has a challenge password, which is not shown.
        is_signed: Its own key has signed it (proof of possession).
        hash_name: The hash of the signature; None if the algorithm has none.
    """

    subject_text: str
    has_subject: bool
    spki: bytes
    extensions: dict[str, bytes]
    has_challenge_password: bool
    is_signed: bool
    hash_name: str | None

    @classmethod
    def read(cls, data: bytes, source: str) -> RequestFields:
        """Read a request in DER.

        Raises:
            ConfigError: it is malformed.
        """
        try:
            signed = Signed(*der.read(data).expect(der.SEQUENCE).children())
            _version, subject, key, *optional = signed.data.expect(der.SEQUENCE).children()
            attributes = dict(_read_attribute(one) for group in optional if group.tag == _ATTRIBUTES for one in group.children())
            name = parse_name(subject)
            return cls(
                subject_text=name.describe(),
                has_subject=bool(name.relative),
                spki=key.encoded,
                extensions=_read_extensions(attributes.get(_EXTENSION_REQUEST)),
                has_challenge_password=_CHALLENGE_PASSWORD in attributes,
                is_signed=signed.is_by(key.encoded),
                hash_name=signed.hash_name,
            )
        except (ValueError, TypeError):
            raise ConfigError(
                f"Cannot read the certificate request of {source}",
                code="ERR_TLS_UNREADABLE_FILE",
                hint="It is damaged: make it again with its key.",
            ) from None

    @property
    def title(self) -> str:
        """What messages call it: its subject, or without one its first alternative name."""
        names = () if self.has_subject else self.names()
        return printable(str(names[0])) if names else self.subject_text

    def names(self) -> tuple[GeneralName, ...]:
        """Return the names of its subjectAltName, () if it is missing or malformed."""
        content = self.extensions.get("2.5.29.17")
        try:
            return parse_general_names(der.read(content)) if content else ()
        except ValueError:
            return ()


def _read_attribute(attribute: der.Element) -> tuple[str, der.Element]:
    oid, values = attribute.expect(der.SEQUENCE).children()
    return oid.oid(), next(values.expect(der.SET).children())


def _read_extensions(requested: der.Element | None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for extension in requested.expect(der.SEQUENCE).children() if requested else ():
        oid, *_critical, value = extension.expect(der.SEQUENCE).children()
        found.setdefault(oid.oid(), value.expect(der.OCTET_STRING).content)
    return found
