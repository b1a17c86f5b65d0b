"""A client's session: OpenSSL's serialised session with the verdict on the server.

A resumed connection has no certificates. So the verdict is stored with the session: its time and
validity, the verified name and keys, the errors that were accepted, and the data for looking the
chain up in CRLs. All of it is checked again before the session is offered and when it is resumed.
"""

import struct
from dataclasses import dataclass, field
from typing import Self

__all__ = ["ClientSession"]

_MAGIC = b"tlsio session 2\0"
# trust, verified_at, valid_until, then: bytes of name and entries, number of digests and errors,
# bytes of objections
_HEAD = struct.Struct("!32sqqHHHHH")
_DIGEST = 32
_ERROR = struct.Struct("!HH")  # X509_V_ERR number, depth
_OBJECTION = struct.Struct("!HH")  # bytes of code and text
_MAX_OBJECTION_TEXT = 1000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSession:
    """A session and the verdict on its server.

    Attributes:
        name: The verified name of the server; "" if no name was verified.
        trust: 32-byte digest of the trust settings. The session is offered only under the same
            digest.
        verified_at: POSIX time of the full handshake. A session from a resumed connection keeps
            that of the first one.
        valid_until: POSIX time at which the verdict expires.
        spki_digests: SHA-256 of the SPKI of each certificate of the verified chain, leaf first.
        entries: The data that `native` needs to look the chain up in CRLs.
        verify_errors: Pairs of X509_V_ERR number and depth: chain errors that were accepted.
        objections: Pairs of code and text: errors from OCSP or a CRL that were accepted.
        data: The session in DER.
    """

    name: str
    trust: bytes
    verified_at: int
    valid_until: int
    spki_digests: tuple[bytes, ...]
    entries: bytes = b""
    verify_errors: tuple[tuple[int, int], ...]
    objections: tuple[tuple[str, str], ...] = ()
    data: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the session as bytes, which are secret: its traffic can be decrypted with them."""
        name = self.name.encode()
        errors = b"".join(_ERROR.pack(*pair) for pair in self.verify_errors)
        objections = b"".join(map(_encode_objection, self.objections))
        sizes = (len(name), len(self.entries), len(self.spki_digests), len(self.verify_errors), len(objections))
        head = _HEAD.pack(self.trust, self.verified_at, self.valid_until, *sizes)
        return b"".join((_MAGIC, head, name, self.entries, *self.spki_digests, errors, objections, self.data))

    @classmethod
    def decode(cls, encoded: bytes) -> Self | None:
        """Read the result of `encode`; return None for anything else."""
        if not encoded.startswith(_MAGIC) or len(encoded) < len(_MAGIC) + _HEAD.size:
            return None
        trust, verified_at, valid_until, *sizes = _HEAD.unpack_from(encoded, len(_MAGIC))
        name, entries, digests, errors, objections = sizes
        parts: list[bytes] = []
        at = len(_MAGIC) + _HEAD.size
        for size in (name, entries, digests * _DIGEST, errors * _ERROR.size, objections):
            parts.append(encoded[at : at + size])
            at += size
        if len(encoded) <= at:
            return None
        try:
            server_name, objection_pairs = parts[0].decode(), tuple(_decode_objections(parts[4]))
        except (UnicodeDecodeError, struct.error):
            return None
        return cls(
            name=server_name,
            trust=trust,
            verified_at=verified_at,
            valid_until=valid_until,
            spki_digests=tuple(parts[2][start : start + _DIGEST] for start in range(0, len(parts[2]), _DIGEST)),
            entries=parts[1],
            verify_errors=tuple((number, depth) for number, depth in _ERROR.iter_unpack(parts[3])),
            objections=objection_pairs,
            data=encoded[at:],
        )


def _encode_objection(objection: tuple[str, str]) -> bytes:
    code, text = (part[:_MAX_OBJECTION_TEXT].encode() for part in objection)
    return _OBJECTION.pack(len(code), len(text)) + code + text


def _decode_objections(data: bytes) -> list[tuple[str, str]]:
    found = []
    at = 0
    while at < len(data):
        code, text = _OBJECTION.unpack_from(data, at)
        at += _OBJECTION.size
        if at + code + text > len(data):
            raise struct.error("an objection is truncated")
        found.append((data[at : at + code].decode(), data[at + code : at + code + text].decode()))
        at += code + text
    return found
