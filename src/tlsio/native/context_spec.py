"""What a native context is made from: bytes already read and choices already made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlsio.native._core import Lists, Pfx, Roots

__all__ = ["ContextSpec", "LabelledMaterial"]


@dataclass(frozen=True, slots=True)
class LabelledMaterial:
    """One certificate, key, CRL, PKCS#12 or parameter file, PEM or DER.

    Attributes:
        label: Where it came from, for messages: `options.key[1]`, `options.cert (server.pem)`.
        data: Its content.
        passphrase: Decrypts it; None if there is none.
        signer: For a private key that lives elsewhere: the object that signs. `data` is then its
            public key in DER, or empty.
    """

    label: str
    data: bytes = field(repr=False)
    passphrase: bytes | None = field(default=None, repr=False)
    signer: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContextSpec:
    """All settings of one SSL_CTX, and those that the engine keeps next to it.

    Attributes:
        roots: The trusted roots and CRLs; shared, never changed.
        min_version, max_version: Wire numbers of the protocol: 0x0303 is TLS 1.2.
        secure_options: `SSL_OP_*` bits to set in addition to our own.
        cipher_list: For TLS 1.2 and older, `@SECLEVEL=n` included; None: OpenSSL's default, "":
            none.
        cipher_suites: For TLS 1.3; None: OpenSSL's default, "": none.
        certs: One PEM each, leaf first, then its intermediates.
        keys: In any order, matched by public key.
        bundles: Identities read from PKCS#12.
        client_ca_names: DER of the names that a server sends with a certificate request; none: any
            CA.
        require_client: With `request_client`: a missing or bad certificate ends the handshake.
        groups: Colon-separated, in order of preference; None: OpenSSL's default.
        dh: Parameters, True for a size that fits the key, False for no DHE suites.
        session_id_context: At most 32 bytes.
        ticket_keys: 48 bytes each; the first encrypts. None: random.
        alpn: Wire format: a length byte before each name.
        npn: Wire format; b"": no NPN.
        pins: 32 bytes each; a server checks clients against them.
        trust: 32 bytes, digest of the trust settings: a client's session is not resumed under
            others. b"" stands for zeros.
        lists: The CRLs that a server consults before it resumes a client's session.
        resume_unmarked: Resume sessions without a mark of ours although a certificate is requested.
        compression: For certificates: "zlib", "brotli", "zstd", each at most once.
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
