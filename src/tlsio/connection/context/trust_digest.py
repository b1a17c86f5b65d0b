"""Which options decide a verdict, and the digests that keep sessions of different trust apart.

A session is resumed only under the digest it was made under. Every option of contexts, servers and
clients is listed here: in `DECIDES`, or with the reason in `CANNOT_DECIDE`.
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
        # What is trusted, and the CRLs that are consulted. A PKCS#12 may contain CA certificates
        # too.
        "ca", "extra_ca", "pfx", "crl", "allow_partial_trust_chain", "pins",
        # Whether a certificate is requested, and what happens to a peer that was refused.
        "request_cert", "reject_unauthorized",
        # Which keys and signatures of a chain OpenSSL accepts: @SECLEVEL, signature algorithms,
        # curves of certificates (TLS 1.2).
        "ciphers", "sigalgs", "ecdh_curve",
        # Further checks before the peer is accepted.
        "fetch_crl", "ocsp", "min_dh_size", "chain_policy", "identity",
        # The client's own identity: the server decided by it, and its sessions belong to that
        # identity.
        "cert",
    }
)  # fmt: skip

_OWN_IDENTITY = "is about how this side authenticates, not which peers it accepts; clients include `cert`"
_CHECKED_AGAIN = "is applied again to the stored facts when a session is resumed"
_WIRE = "changes the protocol, not which peers are accepted"
_STORAGE = "decides where a session is stored or what encrypts it"
_LIMIT = "bounds time, memory or bytes"
_DIAGNOSTICS = "only records what happens"

CANNOT_DECIDE: Final[Mapping[str, str]] = {
    "key": _OWN_IDENTITY,
    "passphrase": _OWN_IDENTITY,
    "ocsp_request": _OWN_IDENTITY,
    "stapling": _OWN_IDENTITY,
    "check_client": _CHECKED_AGAIN,
    "check_server_identity": _CHECKED_AGAIN,
    "identity_policy": _CHECKED_AGAIN,
    "servername": "is bound to a client's session as its name",
    "host": "is bound to a client's session as its name",
    "context": "its options are listed here one by one",
    "secure_context": "has its own digest",
    "sni_callback": "chooses a context, which has its own digest",
    "psk_callback": "authenticates by a key; no certificate is judged",
    "psk_identity_hint": "authenticates by a key; no certificate is judged",
    "request_ocsp": "only requests a response: `ocsp` decides what the response means",
    "resume_unmarked": "is checked for each session that does not record which verdict it was made under",
    "session_timeout": "expires sessions by the clock, whatever trust they were made under",
    "session_id_context": "is mixed with the digest unless the trust is that of the server's first context",
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
    "ticket_keys": _STORAGE,
    "session_store": _STORAGE,
    "new_session": _STORAGE,
    "resume_session": _STORAGE,
    "session": _STORAGE,
    "session_cache": _STORAGE,
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
    "max_connections_per_address": _LIMIT,
    "max_handshake_bytes": _LIMIT,
    "handshake_threads": "threads do the same as the loop",
    "keylog_file": _DIAGNOSTICS,
    "enable_trace": _DIAGNOSTICS,
    "client_hello": _DIAGNOSTICS,
    "plain_http_answer": _DIAGNOSTICS,
}


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """A server's settings that its contexts must know; each of them has a copy.

    Attributes:
        fetch_crl: The policy for CRLs: "off", "check" or "require".
        lists: The CRLs that are loaded, which the engine consults before it resumes a session.
        resume_unmarked: Whether sessions that do not record their verdict are resumed when a
            certificate is requested.
    """

    fetch_crl: str = "off"
    lists: Lists | None = None
    resume_unmarked: bool = False


def digest_chain(options: ContextOptions, roots_digest: bytes, security_level: int, policy: ServerPolicy) -> bytes:
    """Return 32 bytes that are equal in all processes that accept the same certificates.

    Args:
        options: The context's options.
        roots_digest: Digest of the roots and CRLs that `ca`, `extra_ca`, `pfx` and `crl` result in.
        security_level: The effective one, including OpenSSL's default.
        policy: The server's policy.
    """
    pins: tuple[bytes | str, ...] = tuple(sorted(set(options.pins or ())))
    if pins and options.reject_unauthorized is False:
        pins = ("of the leaf", *pins)
    return _digest(
        "tlsio chain",
        roots_digest,
        bool(options.allow_partial_trust_chain),
        pins,
        security_level,
        options.sigalgs,
        options.ecdh_curve or defaults.ecdh_curve,
        policy.fetch_crl,
    )


def digest_context(options: ContextOptions, chain: bytes) -> bytes:
    """Return 32 bytes that are equal in all processes for equal trust.

    That is: which certificates are accepted, and what happens to a peer without one.
    """
    return _digest("tlsio trust", chain, bool(options.request_cert), options.reject_unauthorized is not False)


def digest_identity(options: ContextOptions) -> bytes:
    """Return 32 bytes that differ between contexts that present different certificates."""
    presented = (*(options.cert or ()), *(options.pfx or ()))
    return _digest("tlsio identity", *(sha256(one.data).digest() for one in presented))


def digest_client(trust: bytes, identity: bytes, options: ConnectOptions, fetch_crl: str) -> bytes:
    """Return the 32 bytes that a client's session is bound to: it is resumed under no other digest.

    Args:
        trust: The trust digest of its context.
        identity: The identity digest of its context.
        options: The connection's options.
        fetch_crl: The policy for CRLs.
    """
    return _digest("tlsio client", trust, identity, options.ocsp, fetch_crl, options.min_dh_size, options.chain_policy, options.identity)


def _digest(*parts: object) -> bytes:
    """Digest the parts by their `repr`.

    It delimits bytes, text, numbers and tuples, and is the same in all processes.
    """
    return sha256(repr(parts).encode()).digest()
