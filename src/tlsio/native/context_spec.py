"""What a native context is made from: bytes that were read and choices that were made, nothing left to decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsio.native._core import Lists, Pfx, Roots

__all__ = ["ContextSpec", "LabelledMaterial"]


@dataclass(frozen=True, slots=True)
class LabelledMaterial:
    """One certificate, key, CRL, PKCS#12 or parameter file, PEM or DER.

    Attributes:
        label: Where it came from, for messages: `options.key[1]`, `options.cert (server.pem)`.
        data: Its content.
        passphrase: What decrypts it, None when there is none.
    """

    label: str
    data: bytes = field(repr=False)
    passphrase: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContextSpec:
    """Everything one SSL_CTX and its row are told.

    Attributes:
        roots: The trust, CRLs included; shared, never changed.
        min_version, max_version: Numbers of the protocol: 0x0303 is TLS 1.2.
        secure_options: `SSL_OP_*` bits set besides our own.
        cipher_list: For TLS 1.2 and older, `@SECLEVEL=n` included; None leaves OpenSSL's, "" is none.
        cipher_suites: For TLS 1.3; None leaves OpenSSL's, "" is none.
        certs: PEM each, leaf first, then its intermediates. `keys`: in any order, matched by public key.
        bundles: Identities read from PKCS#12.
        client_ca_names: DER of the names a server sends when it asks for a certificate; none: any will do.
        require_client: With `request_client`: no certificate, or a bad one, ends the handshake.
        groups: Colon list in order of preference; None leaves OpenSSL's.
        dh: Parameters, True for a size that fits the key, False for no DHE suites.
        session_id_context: At most 32 bytes.
        ticket_keys: 48 bytes each; the first encrypts. None: random.
        alpn: Wire form: one byte of length before each name. `npn`: the same; b"" is no NPN.
        pins: 32 bytes each, what a server checks clients against.
        trust: 32 bytes, of what finds a client's certificate good: its session is not resumed under other ones. b"" stands for zeros.
        lists: Revocation lists that a server consults before it resumes a client's session.
        resume_unmarked: Sessions without a mark of ours resume where a certificate is asked for.
        compression: Of certificates: "zlib", "brotli", "zstd", each at most once.
    """

    roots: Roots
    min_version: int
    max_version: int
    secure_options: int = 0
    server_preference: bool = True
    cipher_list: str | None = None
    cipher_suites: str | None = None
    certs: tuple[LabelledMaterial, ...] = ()
    keys: tuple[LabelledMaterial, ...] = ()
    bundles: tuple[Pfx, ...] = ()
    partial_chain: bool = False
    client_ca_names: tuple[bytes, ...] = ()
    request_client: bool = False
    require_client: bool = True
    sigalgs: str | None = None
    groups: str | None = None
    dh: LabelledMaterial | bool = False
    session_id_context: bytes = b""
    session_timeout: int = 300
    ticket_keys: tuple[bytes, ...] | None = field(default=None, repr=False)
    alpn: bytes = b""
    npn: bytes = b""
    pins: tuple[bytes, ...] = ()
    compression: tuple[str, ...] = ()
    trust: bytes = b""
    lists: Lists | None = None
    resume_unmarked: bool = False
