"""What a server asks in its handshakes, and what gives the answers: contexts by name, hooks, lists, responses, sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from tlsio.connection.context.name_table import NamedContexts
from tlsio.connection.context.secure_context import SecureContext, check_secure_context
from tlsio.connection.context.trust_digest import ServerPolicy
from tlsio.connection.handshake.session_storage import SESSION_HOOKS, ServerSessions
from tlsio.connection.revocation.crl_cache import make_cache
from tlsio.connection.revocation.stapler import Stapler
from tlsio.model.constants import defaults
from tlsio.model.errors import UsageTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.connection.revocation.crl_cache import CrlCache
    from tlsio.model.options.server import ServerOptions

__all__ = ["HOOKS", "HandshakePolicy"]

_ALWAYS = 1e9  # seconds; the engine counts nanoseconds in 63 bits

HOOKS = frozenset({"sni_callback", "alpn_callback", "ocsp_request", "check_client", "psk_callback"}) | SESSION_HOOKS


class Wants(TypedDict):
    """The questions for which the engine stops."""

    hello: bool
    """A hello with a server name, for its context."""
    alpn: bool
    """A hello with ALPN, for the choice. What `sni_callback` will give may have a callback of its own."""
    client: bool
    """A finished handshake, before anything of it is released."""
    status: bool
    """A client that wants an OCSP response."""
    psk: bool
    """A client that comes by a pre-shared key."""
    sessions: int
    """A hello that names a session, and sessions that were made, which wait to be stored."""


class HandshakePolicy:
    """One server's, for all its connections. Contexts are exchanged and hooks come and go; all else is decided once.

    Attributes:
        options: Checked options.
        names: The contexts, by server name.
        hooks: The user's functions, by name.
        crls: Where clients are looked for in revocation lists.
        stapler: What keeps OCSP responses.
        sessions: Where sessions are kept.
    """

    def __init__(self, options: ServerOptions) -> None:
        """Make the default context.

        Raises:
            UsageError: a wrong option.
            ConfigError: as `create_secure_context`.
        """
        given = (
            options.secure_context
            if options.secure_context is None
            else check_secure_context("options.secure_context", options.secure_context)
        )
        self.options = options
        self.crls = make_cache(options.fetch_crl)
        self.names = NamedContexts(_make_initial(given, options, self.crls))
        self.stapler = _make_stapler(options)
        self.hooks: dict[str, Callable[..., Any]] = {name: hook for name in HOOKS if (hook := getattr(options, name)) is not None}
        self.sessions = ServerSessions(options.session_store, self.hooks)

    @property
    def wants(self) -> Wants:
        """Which questions are asked now."""
        hooks, names = self.hooks, self.names
        return {
            "hello": "sni_callback" in hooks or bool(names),
            "alpn": "alpn_callback" in hooks or "sni_callback" in hooks or names.any_has_alpn_callback,
            "client": self.crls is not None or "check_client" in hooks,
            "status": self.asks_status,
            "psk": "psk_callback" in hooks,
            "sessions": self.sessions.find_wants(names.initial),
        }

    @property
    def asks_status(self) -> bool:
        """A client that wants an OCSP response may get one."""
        return self.stapler is not None or "ocsp_request" in self.hooks

    @property
    def asks_with_hello(self) -> bool:
        """Some hook is given a socket whose `client_hello` it may look at."""
        return not SESSION_HOOKS.issuperset(self.hooks)

    @property
    def renegotiation(self) -> tuple[int, float]:
        """How often a client may renegotiate within how many seconds; 0: never."""
        limit = defaults.client_reneg_limit if self.options.allow_renegotiation else 0
        return limit, min(defaults.client_reneg_window or _ALWAYS, _ALWAYS)


def _make_initial(given: SecureContext | None, options: ServerOptions, crls: CrlCache | None) -> SecureContext:
    """The context the server begins with; what the server decides beside it is part of its trust."""
    policy = ServerPolicy(resume_unmarked=options.resume_unmarked)
    if crls is not None:
        policy = replace(policy, fetch_crl=crls.policy, lists=crls.at_hand)
    if given is not None:
        return given.with_policy(policy)
    # The server's own alpn_callback is a hook, that `off` can take away; the one of a given context belongs to that.
    return SecureContext(replace(options.context, alpn_callback=None), policy=policy)


def _make_stapler(options: ServerOptions) -> Stapler | None:
    given = options.stapling
    if given is None or given is False:
        return None
    if given is not True and not isinstance(given, Stapler):
        raise UsageTypeError(f"options.stapling must be a bool or a Stapler, got {type(given).__name__}")
    if options.ocsp_request is not None:
        raise UsageTypeError("options.stapling cannot be combined with ocsp_request", code="ERR_INCOMPATIBLE_OPTION_PAIR")
    return Stapler() if given is True else given
