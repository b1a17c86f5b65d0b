"""What a client keeps of a session: OpenSSL's own bytes, and for which server and under which trust they were made.

A resumed connection shows no certificates. So the verdict on the server goes with the session: when it was made and until when it
counts, which name and keys it was about, what spoke against the server, and what a revocation list needs. All of it is judged
again before the session is offered and when it is resumed.
"""

import struct
from dataclasses import dataclass, field
from typing import Self

__all__ = ["ClientSession"]

_MAGIC = b"tlsio session 2\0"
# trust, verified_at, valid_until, then how many bytes of name and entries, digests, errors, bytes of objections
_HEAD = struct.Struct("!32sqqHHHHH")
_DIGEST = 32
_ERROR = struct.Struct("!HH")  # X509_V_ERR number, depth
_OBJECTION = struct.Struct("!HH")  # bytes of code and text
_LONGEST_TEXT = 1000  # characters of an objection


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSession:
    """A session and what it stands for.

    Attributes:
        name: The name the server was verified by; "" when there was none to verify.
        trust: 32 bytes; under any other digest the session is not offered.
        verified_at: POSIX time of the full handshake. A session that was made by resumption keeps that of the first.
        valid_until: POSIX time of the verdict's end.
        spki_digests: SHA-256 of the SPKI of each certificate of the verified chain, leaf first.
        entries: What `native` needs to look the chain up in revocation lists.
        verify_errors: Pairs of X509_V_ERR number and depth: chain errors that were let pass.
        objections: Pairs of code and text: what OCSP or a revocation list said against the server, and was let pass.
        data: The session, DER.
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
        """Return it as bytes. They are a secret: with them the session's traffic can be read and forged."""
        name = self.name.encode()
        errors = b"".join(_ERROR.pack(*pair) for pair in self.verify_errors)
        objections = b"".join(map(_encode_objection, self.objections))
        sizes = (len(name), len(self.entries), len(self.spki_digests), len(self.verify_errors), len(objections))
        head = _HEAD.pack(self.trust, self.verified_at, self.valid_until, *sizes)
        return b"".join((_MAGIC, head, name, self.entries, *self.spki_digests, errors, objections, self.data))

    @classmethod
    def decode(cls, encoded: bytes) -> Self | None:
        """Read what `encode` has made; None for anything else."""
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
            text, said = parts[0].decode(), tuple(_decode_objections(parts[4]))
        except (UnicodeDecodeError, struct.error):
            return None
        return cls(
            name=text,
            trust=trust,
            verified_at=verified_at,
            valid_until=valid_until,
            spki_digests=tuple(parts[2][start : start + _DIGEST] for start in range(0, len(parts[2]), _DIGEST)),
            entries=parts[1],
            verify_errors=tuple((number, depth) for number, depth in _ERROR.iter_unpack(parts[3])),
            objections=said,
            data=encoded[at:],
        )


def _encode_objection(objection: tuple[str, str]) -> bytes:
    code, text = (part[:_LONGEST_TEXT].encode() for part in objection)
    return _OBJECTION.pack(len(code), len(text)) + code + text


def _decode_objections(data: bytes) -> list[tuple[str, str]]:
    found = []
    at = 0
    while at < len(data):
        code, text = _OBJECTION.unpack_from(data, at)
        at += _OBJECTION.size
        if at + code + text > len(data):
            raise struct.error("an objection is cut")
        found.append((data[at : at + code].decode(), data[at + code : at + code + text].decode()))
        at += code + text
    return found
