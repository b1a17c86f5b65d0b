"""A server's questions in handshakes, and what answers them: contexts, hooks, CRLs, sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from tlsio.connection.context.name_table import NamedContexts
from tlsio.connection.context.safeguards import Safeguards
from tlsio.connection.context.secure_context import SecureContext, given_context
from tlsio.connection.context.source import check_answer, find_published, given_source, is_source
from tlsio.connection.context.trust_digest import ServerPolicy
from tlsio.connection.handshake.session_storage import SESSION_HOOKS, ServerSessions
from tlsio.connection.revocation.crl_cache import make_cache
from tlsio.connection.revocation.stapler import Stapler
from tlsio.model.constants import defaults
from tlsio.model.errors import HandshakeError, UsageTypeError
from tlsio.model.options.context import ContextOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.connection.revocation.crl_cache import CrlCache
    from tlsio.model.options.server import ServerOptions

__all__ = ["HOOKS", "HandshakePolicy"]

_NO_WINDOW = 1e9  # seconds, practically unlimited; the engine counts nanoseconds in 63 bits

_PROTOCOL_HOOKS = frozenset({"alpn_callback", "sni_callback"})
HOOKS = frozenset({"sni_callback", "alpn_callback", "ocsp_request", "check_client", "psk_callback"}) | SESSION_HOOKS


class Wants(TypedDict):
    """The questions for which the engine stops."""

    hello: bool
    """A ClientHello with a server name: choose its context."""
    nameless: bool
    """With `hello`: also one without a name."""
    alpn: bool
    """A ClientHello with ALPN: choose the protocol.

    A context from `sni_callback` may have a callback of its own.
    """
    client: bool
    """A finished handshake: accept the client, before any of its data is released."""
    status: bool
    """A client that requests an OCSP response."""
    psk: bool
    """A client that offers a pre-shared key."""
    sessions: int
    """A ClientHello with a session, and new sessions, which must be stored."""


class HandshakePolicy:
    """The policy of one server, for all its connections.

    Contexts and hooks may be replaced while the server runs; the rest is fixed.

    Attributes:
        options: Checked options.
        names: The contexts, by server name.
        source: The source of the default and of further contexts, or None.
        hooks: The user's functions, by name.
        crls: The cache of CRLs for client certificates.
        stapler: The source of OCSP responses.
        sessions: The storage of sessions.
        has_requested_later: Whether `renegotiate` has requested a certificate of some client.
    """

    def __init__(self, options: ServerOptions) -> None:
        """Make the default context; a source's comes later.

        Raises:
            UsageError: a wrong option.
            ConfigError: as `create_secure_context`, or an option that can never apply to a client.
        """
        self.options = options
        self.crls = make_cache(options.fetch_crl)
        guards = [name for name, is_set in (("fetch_crl", self.crls), ("check_client", options.check_client)) if is_set]
        self.source = given_source(options)
        self._shared = _make_shared_policy(options, self.crls)
        safeguards = Safeguards(guards, has_source=self.source is not None)
        self.names = NamedContexts(_make_initial(options, self._shared), safeguards, is_placeholder=self.source is not None)
        self.stapler = _make_stapler(options)
        self.hooks: dict[str, Callable[..., Any]] = {name: hook for name in HOOKS if (hook := getattr(options, name)) is not None}
        self.sessions = ServerSessions(options.session_store, self.hooks)
        self.has_requested_later = False

    @property
    def wants(self) -> Wants:
        """The questions to ask at present."""
        hooks, names = self.hooks, self.names
        return {
            "hello": "sni_callback" in hooks or bool(names) or self.source is not None,
            "nameless": self.source is not None,
            "alpn": self.needs_protocols or self.source is not None,
            "client": self.crls is not None or "check_client" in hooks,
            "status": self.asks_status,
            "psk": "psk_callback" in hooks,
            "sessions": self.sessions.find_wants(names.initial),
        }

    @property
    def needs_protocols(self) -> bool:
        """Whether a hook may choose the protocol, apart from those of a source's contexts."""
        return not _PROTOCOL_HOOKS.isdisjoint(self.hooks) or self.names.any_has_alpn_callback

    def derive_from_source(self, given: SecureContext) -> tuple[SecureContext, dict[str, SecureContext]]:
        """Return the default that a context of the source becomes, and the names' contexts."""
        return self.names.derive_from_source(given, self._shared)

    def find_published(self, name: str | None) -> SecureContext | None:
        """Return the context in the source's table; None: the source must be asked."""
        table = None if self.source is None else self.source.published
        if table is None:
            return None
        found = self.names.default if name is None else find_published(table, name)
        return found if found is None or name is None else self.complete_answer(found)

    def complete_answer(self, answer: object) -> SecureContext:
        """Return the context to use for an answer of the source.

        Raises:
            HandshakeError: the answer is None: the client is refused.
            UsageError: it is not a context, or contradicts the default.
            ConfigError: as `Safeguards.check`.
        """
        given = check_answer(answer)
        if given is None:
            raise HandshakeError(
                "The source in secure_context= has no context for the client's server name",
                code="ERR_TLS_UNRECOGNIZED_NAME",
                alert="unrecognized_name",
            )
        return self.names.complete_sourced(given)

    def complete_challenge(self, answer: object) -> SecureContext:
        """Return the context that answers an ACME authority, from the source's `challenge_for`.

        An authority has no certificate of its own, so none is requested.

        Raises:
            HandshakeError: the answer is None: the client is refused.
            UsageError: it is not a context, or contradicts the default.
        """
        given = check_answer(answer, "challenge_for")
        if given is None:
            raise HandshakeError(
                "No ACME challenge is pending for the client's server name",
                code="ERR_TLS_NO_CHALLENGE",
                alert="no_application_protocol",
            )
        return self.names.complete(given.replace(request_cert=False))

    @property
    def has_certificate(self) -> bool:
        """Whether some client can be served by a certificate or key, or a hook may supply one."""
        hooks = {"sni_callback", "alpn_callback", "psk_callback"}
        return bool(self.names.identities) or self.source is not None or not hooks.isdisjoint(self.hooks)

    @property
    def may_be_at_fault(self) -> bool:
        """Whether this server itself may fail clients: no certificate, a CRL that expires."""
        return not self.names.default.native.identities or self.names.any_has_lists

    @property
    def asks_status(self) -> bool:
        """Whether a client may get an OCSP response."""
        return self.stapler is not None or "ocsp_request" in self.hooks

    @property
    def asks_with_hello(self) -> bool:
        """Whether a hook gets a socket, whose `client_hello` it may read."""
        return not SESSION_HOOKS.issuperset(self.hooks)

    @property
    def renegotiation(self) -> tuple[int, float]:
        """How many renegotiations a client may start (0: none), and within how many seconds."""
        limit = defaults.client_reneg_limit if self.options.allow_renegotiation else 0
        return limit, min(defaults.client_reneg_window or _NO_WINDOW, _NO_WINDOW)


def _make_shared_policy(options: ServerOptions, crls: CrlCache | None) -> ServerPolicy:
    """Return the server's policy that is part of the trust of all its contexts."""
    policy = ServerPolicy(resume_unmarked=options.resume_unmarked)
    return policy if crls is None else replace(policy, fetch_crl=crls.policy, lists=crls.native_lists)


def _make_initial(options: ServerOptions, policy: ServerPolicy) -> SecureContext:
    """Return the server's first context; for a source a placeholder, which serves no connection."""
    if is_source(options.secure_context):
        return SecureContext(ContextOptions())
    given = given_context(options)
    if given is not None:
        return given.with_policy(policy)
    # The server's own alpn_callback is a hook, which `off` can remove; a given context keeps its
    # own.
    return SecureContext(replace(options.context, alpn_callback=None), policy=policy)


def _make_stapler(options: ServerOptions) -> Stapler | None:
    given = options.stapling
    if given is None or given is False:
        return None
    if given is not True and not isinstance(given, Stapler):
        raise UsageTypeError(f"options.stapling must be a bool or a tlsio.Stapler, got {type(given).__name__}")
    if options.ocsp_request is not None:
        raise UsageTypeError("options.stapling cannot be combined with ocsp_request", code="ERR_INCOMPATIBLE_OPTION_PAIR")
    return Stapler() if given is True else given
