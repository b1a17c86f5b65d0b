"""Which options decide a verdict, and the digests that keep sessions of different trust apart.

A session resumes only under the digest it was made under. This is the one place that says what goes in: every option of contexts,
servers and clients is either in `DECIDES` or, with the reason, in `CANNOT_DECIDE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from tlsio.model.constants import defaults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.model.options.connect import ConnectOptions
    from tlsio.model.options.context import ContextOptions
    from tlsio.native._core import Lists

__all__ = ["CANNOT_DECIDE", "DECIDES", "ServerPolicy", "digest_chain", "digest_client", "digest_context", "digest_identity"]

DECIDES: Final[frozenset[str]] = frozenset(
    {
        # What is trusted, and the lists that are consulted. A PKCS#12 brings authorities too.
        "ca", "extra_ca", "pfx", "crl", "allow_partial_trust_chain", "pins",
        # What is asked, and what happens to a peer that was refused.
        "request_cert", "reject_unauthorized",
        # Which keys and signatures of a chain OpenSSL takes: @SECLEVEL, signature algorithms, curves of certificates (TLS 1.2).
        "ciphers", "sigalgs", "ecdh_curve",
        # What else is looked at before the peer is let in.
        "fetch_crl", "ocsp", "min_dh_size",
        # What a client shows of itself: the server has decided by it, and its sessions belong to that identity.
        "cert",
    }
)  # fmt: skip

_SELF = "says how this side authenticates, not whom it accepts; `cert` stands for both on clients"
_JUDGED_AGAIN = "is applied again to the remembered facts when a session is resumed"
_WIRE = "changes what is spoken, not who may speak"
_PLACE = "says where a session is kept or what encrypts it"
_LIMIT = "bounds time, memory or bytes"
_RECORDS = "records what happens"

CANNOT_DECIDE: Final[Mapping[str, str]] = {
    "key": _SELF,
    "passphrase": _SELF,
    "ocsp_request": _SELF,
    "stapling": _SELF,
    "check_client": _JUDGED_AGAIN,
    "check_server_identity": _JUDGED_AGAIN,
    "identity_policy": _JUDGED_AGAIN,
    "servername": "is bound to a client's session as its name",
    "host": "is bound to a client's session as its name",
    "context": "its options are named here one by one",
    "secure_context": "brings a digest of its own",
    "sni_callback": "chooses a context, which brings a digest of its own",
    "psk_callback": "authenticates by a key; no certificate is judged",
    "psk_identity_hint": "authenticates by a key; no certificate is judged",
    "request_ocsp": "only asks: `ocsp` decides what the response is worth",
    "resume_unmarked": "is consulted for each session that does not say by which verdict it was made",
    "session_timeout": "ends sessions by the clock, whatever trust they were made under",
    "session_id_context": "is mixed with the digest wherever the trust is not the server's first",
    "min_version": _WIRE,
    "max_version": _WIRE,
    "dhparam": _WIRE,
    "honor_cipher_order": _WIRE,
    "alpn_protocols": _WIRE,
    "alpn_callback": _WIRE,
    "alpn_mismatch": _WIRE,
    "npn_protocols": _WIRE,
    "secure_options": _WIRE,
    "certificate_compression": _WIRE,
    "allow_renegotiation": _WIRE,
    "allow_half_open": _WIRE,
    "allow_truncation": _WIRE,
    "no_delay": _WIRE,
    "keep_alive": _WIRE,
    "keep_alive_initial_delay": _WIRE,
    "family": _WIRE,
    "local_address": _WIRE,
    "local_port": _WIRE,
    "ticket_keys": _PLACE,
    "session_store": _PLACE,
    "new_session": _PLACE,
    "resume_session": _PLACE,
    "session": _PLACE,
    "session_cache": _PLACE,
    "timeout": _LIMIT,
    "handshake_timeout": _LIMIT,
    "hook_timeout": _LIMIT,
    "partial_record_timeout": _LIMIT,
    "close_timeout": _LIMIT,
    "shutdown_timeout": _LIMIT,
    "read_limit": _LIMIT,
    "high_water_mark": _LIMIT,
    "max_connections": _LIMIT,
    "max_handshakes": _LIMIT,
    "max_handshake_bytes": _LIMIT,
    "keylog_file": _RECORDS,
    "enable_trace": _RECORDS,
    "client_hello": _RECORDS,
}


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """What a server decides beside its contexts; each of them carries it.

    Attributes:
        fetch_crl: The policy of its revocation lists: "off", "check" or "require".
        lists: Those at hand, which the engine consults before it resumes a session.
        resume_unmarked: Sessions that do not say by which verdict they were made resume where a certificate is asked for.
    """

    fetch_crl: str = "off"
    lists: Lists | None = None
    resume_unmarked: bool = False


def digest_chain(options: ContextOptions, roots_digest: bytes, security_level: int, policy: ServerPolicy) -> bytes:
    """Return 32 bytes that are equal in all processes where the same certificates are found good.

    Args:
        options: Of the context.
        roots_digest: Of the roots and CRLs that `ca`, `extra_ca`, `pfx` and `crl` come to.
        security_level: What OpenSSL applies, the library's default included.
        policy: What the server decides beside its context.
    """
    return _digest(
        "tlsio chain",
        roots_digest,
        bool(options.allow_partial_trust_chain),
        tuple(sorted(set(options.pins or ()))),
        security_level,
        options.sigalgs,
        options.ecdh_curve or defaults.ecdh_curve,
        policy.fetch_crl,
    )


def digest_context(options: ContextOptions, chain: bytes) -> bytes:
    """Return 32 bytes that are equal in all processes for equal trust: which certificates are good, and what becomes of the others."""
    return _digest("tlsio trust", chain, bool(options.request_cert), options.reject_unauthorized is not False)


def digest_identity(options: ContextOptions) -> bytes:
    """Return 32 bytes that differ between contexts that show different certificates."""
    shown = (*(options.cert or ()), *(options.pfx or ()))
    return _digest("tlsio identity", *(sha256(one.data).digest() for one in shown))


def digest_client(trust: bytes, identity: bytes, options: ConnectOptions, fetch_crl: str) -> bytes:
    """Return 32 bytes: under any other digest a client resumes no session.

    Args:
        trust: Of its context.
        identity: Of what it shows.
        options: Of the connection.
        fetch_crl: The policy of its revocation lists.
    """
    return _digest("tlsio client", trust, identity, options.ocsp, fetch_crl, options.min_dh_size)


def _digest(*parts: object) -> bytes:
    """`repr` of bytes, text, numbers and tuples says where each part ends, and is the same in all processes."""
    return sha256(repr(parts).encode()).digest()
