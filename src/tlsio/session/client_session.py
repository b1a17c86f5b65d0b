"""What a client keeps of a session: OpenSSL's own bytes, and for whom and under which trust they were made.

A resumed connection shows no certificates. So what was found out about the server goes with the session: who it was verified
to be, by which keys, what spoke against it, and until when. All of it is judged again when the session is resumed.
"""

import struct
from dataclasses import dataclass, field
from typing import Self

__all__ = ["ClientSession"]

_MAGIC = b"tlsio session 1\0"
_HEAD = struct.Struct("!32sqHHH")  # trust, valid_until, bytes of the name, digests, errors
_DIGEST = 32
_ERROR = struct.Struct("!HH")  # X509_V_ERR number, depth


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSession:
    """A session and what it stands for.

    Attributes:
        name: Whom the server was verified to be; "" when nobody was looked for.
        trust: 32 bytes; another digest means that something was trusted, pinned or shown that is not now.
        valid_until: POSIX time, when the first certificate of the verified chain expires.
        spki_digests: SHA-256 of the SPKI of each certificate of the verified chain, leaf first.
        verify_errors: Pairs of X509_V_ERR number and depth: what was let pass.
        data: The session, DER.
    """

    name: str
    trust: bytes
    valid_until: int
    spki_digests: tuple[bytes, ...]
    verify_errors: tuple[tuple[int, int], ...]
    data: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Put it into bytes: a secret, whoever has them can read and forge the session's traffic."""
        name = self.name.encode()
        head = _HEAD.pack(self.trust, self.valid_until, len(name), len(self.spki_digests), len(self.verify_errors))
        errors = b"".join(_ERROR.pack(*pair) for pair in self.verify_errors)
        return b"".join((_MAGIC, head, name, *self.spki_digests, errors, self.data))

    @classmethod
    def decode(cls, encoded: bytes) -> Self | None:
        """Read what `encode` has made; None: something else."""
        if not encoded.startswith(_MAGIC) or len(encoded) < len(_MAGIC) + _HEAD.size:
            return None
        at = len(_MAGIC) + _HEAD.size
        trust, valid_until, name_size, digests, errors = _HEAD.unpack_from(encoded, len(_MAGIC))
        end = at + name_size + digests * _DIGEST + errors * _ERROR.size
        try:
            name = encoded[at : at + name_size].decode()
        except UnicodeDecodeError:
            return None
        if len(encoded) <= end:
            return None
        at += name_size
        keys = tuple(encoded[start : start + _DIGEST] for start in range(at, at + digests * _DIGEST, _DIGEST))
        at += digests * _DIGEST
        found = tuple((number, depth) for number, depth in _ERROR.iter_unpack(encoded[at:end]))
        return cls(name=name, trust=trust, valid_until=valid_until, spki_digests=keys, verify_errors=found, data=encoded[end:])
