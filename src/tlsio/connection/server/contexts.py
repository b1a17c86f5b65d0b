"""What a server serves: its contexts, the source of its default, its hooks; and what the gate asks.

Contexts are replaced while connections are accepted. Any thread may do so, under a lock; a
handshake takes the contexts that are there when its hello has come.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.safeguards import check_guards
from tlsio.connection.context.secure_context import SecureContext, parse_context
from tlsio.connection.emitter import Emitter
from tlsio.connection.handshake.server_handshake import ServerHandshake
from tlsio.connection.handshake.server_policy import HOOKS, HandshakePolicy
from tlsio.connection.handshake.session_storage import SESSION_HOOKS
from tlsio.connection.server.answer import Answer
from tlsio.connection.server.entries import Entries
from tlsio.connection.server.ticket_keys import TicketKeys
from tlsio.connection.tasks import current_loop, drop_awaitable, failure_of_task
from tlsio.model.checks import check_function, check_plain_function
from tlsio.model.errors import UsageStateError, UsageTypeError
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from tlsio.connection.context.source import Source
    from tlsio.connection.server.task_group import TaskGroup
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.context import ContextOptionsDict
    from tlsio.model.options.server import ServerOptions
    from tlsio.native._core import Gate

__all__ = ["ServerContexts"]

_log = logging.getLogger("tlsio")


class ServerContexts(Emitter):
    """The part of a Server that has no connections."""

    _gate: Gate
    _tasks: TaskGroup

    def __init__(self, options: ServerOptions) -> None:
        super().__init__()
        self._options = options
        self._policy = HandshakePolicy(options)
        self._entries = Entries(self._policy, options.hook_timeout)
        self._side = ServerHandshake(self._policy)
        self._ticket_keys = TicketKeys(self._policy.names.default.options)
        self._failure_watch: Callable[[BaseException, TLSSocket], object] | None = None
        self._has_warned = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._source_loop: asyncio.AbstractEventLoop | None = None  # asks the context source for its default
        self._unsubscribe: Callable[[], object] | None = None  # ends the reports of the context source
        self._closing = False
        self._is_stapling = False
        self._lock = threading.RLock()  # any thread may replace contexts

    # ---- contexts

    def add_context(self, hostname: str, context: SecureContext | ContextOptionsDict) -> None:
        """Serve `hostname` with a context of its own.

        A `*` matches any part of a single label. If several names match, the one added last is
        used. Options that the context leaves unset are the server's. An existing name is replaced.
        May be called from any thread.

        Raises:
            UsageError: `hostname` is empty (ERR_TLS_REQUIRED_SERVER_NAME) or not a host name, or an
                option is wrong; nothing was changed.
            ConfigError: a certificate or key that cannot be used; nothing was changed.
        """
        given = parse_context(context)
        with self._lock:
            self._policy.names.add(hostname, given)
        self._update_wants()
        self._identities_changed()

    def remove_context(self, hostname: str) -> None:
        """Serve `hostname` with the default context again; an unknown name is ignored.

        May be called from any thread.
        """
        with self._lock:
            self._policy.names.remove(hostname)
        self._update_wants()
        self._identities_changed()

    def set_secure_context(self, context: SecureContext | None = None, /, **options: Unpack[ContextOptionsDict]) -> None:
        """Replace the default context for new connections.

        May be called from any thread. Options that are not given keep their value.

        Raises:
            UsageError: a wrong option; nothing was changed.
            ConfigError: a certificate or key that cannot be used; nothing was changed.
            UsageStateError: the contexts come from the source in `secure_context=`.
        """
        if self._policy.source is not None:
            raise UsageStateError(
                "This server's default context cannot be set: it comes from the source in secure_context=",
                hint="Change what the source returns, or use add_context() for a name of its own.",
            )
        if context is not None and options:
            raise UsageTypeError("set_secure_context() takes a context or options, not both", code="ERR_INCOMPATIBLE_OPTION_PAIR")
        given = parse_context(options if context is None else context)
        keys = (given.options if isinstance(given, SecureContext) else given).ticket_keys
        with self._lock:
            names = self._policy.names
            made, named = names.derive_all(given)
            if keys is not None:
                self._ticket_keys.replace(keys)
            names.replace_default(made, named)
            self._update_wants(made)
        self._identities_changed()

    def get_ticket_keys(self) -> bytes:
        """Return the key that encrypts tickets, a secret of 48 bytes.

        It is 16 bytes of name, 16 of HMAC key and 16 of AES key.
        """
        return self._ticket_keys.ring.first()

    def set_ticket_keys(self, keys: Any) -> None:
        """Use other ticket keys. May be called from any thread.

        Args:
            keys: A key of 48 bytes, which encrypts from now on, while older keys decrypt for one
                more `session_timeout`; or a list of keys, which replaces all.

        Raises:
            UsageTypeError: `keys` are not keys; the old ones stay.
            UsageValueError: a key has a wrong length; the old ones stay.
            UsageStateError: `ticket_keys=` is a source of keys, which alone supplies them.
        """
        self._ticket_keys.use(keys)

    def _identities_changed(self) -> None:
        if self._is_stapling and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._start_stapling)

    def _warn_at_start(self) -> None:
        """Warn of what only the whole configuration shows."""
        self._has_warned = True
        names = self._policy.names
        if not self._policy.has_certificate:
            names.safeguards.warn("This server has no certificate, so it can serve no client: give cert= and key= (or pfx=).")
        if self._policy.asks_status:
            return
        for certificate in (parse(one) for one, _ in names.identities):
            if certificate.requires_staple:
                name = certificate.subject_name.describe()
                names.safeguards.warn(f'The certificate "{name}" is valid only with an OCSP response (must-staple): set stapling=True')

    # ---- the context source

    async def _start_source(self) -> None:
        """Start the context source, and use its default."""
        source = self._policy.source
        if source is None:
            return
        self._source_loop = asyncio.get_running_loop()
        if self._unsubscribe is None:
            self._unsubscribe = source.subscribe(self._source_changed)
        self._take_default(await source.find_default(self._options.hook_timeout))

    def _stop_source(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()

    def _take_default(self, given: SecureContext) -> None:
        """Use a context of the source as the default, for new connections."""
        names = self._policy.names
        if names.is_default_of_source(given):
            return
        with self._lock:
            default, named = self._policy.derive_from_source(given)
            self._ticket_keys.adopt(default.options, is_first=not names.is_complete)
            names.replace_by_source(given, default, named)
            self._update_wants(default)
        self._identities_changed()

    def _source_changed(self) -> None:
        """Ask the source for its new default; any thread."""
        self._gate.forget()
        loop = self._source_loop
        if loop is current_loop():
            self._refresh_default()
        elif loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._refresh_default)

    def _refresh_default(self) -> None:
        source = self._policy.source
        if source is not None and self._unsubscribe is not None:
            self._tasks.run(self._replace_default(source), self._refreshed)

    async def _replace_default(self, source: Source) -> None:
        self._take_default(await source.find_default(self._options.hook_timeout))

    def _refreshed(self, task: asyncio.Task[Any]) -> None:
        error = failure_of_task(task)
        if error is None or self._emit("error", error):
            return
        _log.warning("The new default of the context source cannot be used, and the old one stays: %s", error)

    # ---- stapling

    def _start_stapling(self) -> None:
        """Pass the current certificates to the stapler."""
        if self._policy.stapler is not None and not self._closing:
            with self._lock:
                identities = self._policy.names.identities
            self._policy.stapler.watch(self, identities)
            self._is_stapling = True

    def _stop_stapling(self) -> None:
        if self._is_stapling and self._policy.stapler is not None and self._loop is not None and not self._loop.is_closed():
            self._policy.stapler.release(self)
        self._is_stapling = False

    # ---- hooks, and what the gate asks

    def _add(self, event: str, fn: Any, entry: Any) -> Any:
        self._check_event(event)
        if event not in HOOKS:
            return super()._add(event, fn, entry)
        (check_plain_function if event == "psk_callback" else check_function)(event, fn)
        if entry is not fn:
            raise UsageTypeError(f"{event} is called for every connection: set it by on(), not once()")
        default = self._policy.names.default.options
        if event in SESSION_HOOKS and self._policy.sessions.store is not None:
            raise UsageTypeError(f"{event} cannot be combined with session_store=", code="ERR_INCOMPATIBLE_OPTION_PAIR")
        taken = {"alpn_callback": default.alpn_callback, "ocsp_request": self._policy.stapler}
        if event in self._policy.hooks or taken.get(event) is not None:
            raise UsageStateError(
                f"{event} is already set", hint=f"A hook has one function: remove the old one with off({event!r}, ...) first."
            )
        if event == "check_client" and self._policy.names.is_complete:
            check_guards(default, [event])
        if event == "alpn_callback" and default.alpn_protocols is not None:
            raise UsageTypeError("alpn_callback cannot be combined with alpn_protocols=", code="ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS")
        self._policy.hooks[event] = fn
        self._update_wants()
        return fn

    def off(self, event: str, fn: Any) -> None:
        """Remove a listener or hook; an unknown one is ignored."""
        self._check_event(event)
        if event not in HOOKS:
            super().off(event, fn)
        elif self._policy.hooks.get(event) == fn:
            del self._policy.hooks[event]
            self._update_wants()

    def _listeners_changed(self, event: str) -> None:
        if event != "secure_connection":
            self._update_wants()

    def _update_wants(self, default: SecureContext | None = None) -> None:
        """Set on the gate which questions and notifications are needed, and a new default context.

        A handshake thread may accept a connection meanwhile: it gets both, or neither.
        """
        with self._lock:
            self._set_wants(default)

    def _set_wants(self, default: SecureContext | None) -> None:
        policy, diagnostics = self._policy, self._side.diagnostics
        wants = policy.wants
        self._gate.store = policy.sessions.sync_store
        stores = wants["sessions"] and self._gate.store is None
        wants_socket = bool(policy.hooks or policy.crls or stores) or policy.needs_protocols
        self._gate.wants_socket |= wants_socket  # before the first connection that asks
        self._gate.set_wants(
            **wants,
            accepted=self._has("connection"),
            dropped=self._has("drop"),
            context=None if default is None else default.native,
        )
        self._gate.record(
            keys=diagnostics.keys or self._has("keylog"),
            offer=diagnostics.offer or policy.asks_with_hello,
            trace=diagnostics.trace,
        )
        self._gate.answers_challenges = policy.source is not None and policy.source.answers_challenges
        self._gate.wants_socket = wants_socket
        self._entries.changed()
        has_listener = self._has("tls_client_error") or self._has("client_error")
        is_watched = self._failure_watch is not None and self._entries.may_request_cert
        self._gate.wants_failures = has_listener or is_watched or policy.may_be_at_fault
        self._gate.forget()

    def _find(self, name: str | None) -> Answer | None:
        """Return what serves a name; None: that needs a socket."""
        policy = self._policy
        found = policy.names.find(name) if name is not None else None
        if found is not None or policy.source is None:
            return Answer(found, math.inf)
        try:
            return self._find_in_source(policy.source, name)
        except Exception:  # noqa: BLE001  (user code: it is asked again for a socket, which reports the failure)
            return None

    def _find_in_source(self, source: Source, name: str | None) -> Answer | None:
        found, lasts = self._policy.find_published(name), source.published_for
        if found is None:
            answer = None if source.is_async else source.ask(name)
            if not isinstance(answer, SecureContext):
                drop_awaitable(answer)
                return None
            found, lasts = self._policy.complete_answer(answer), 0.0
        # A context's own callback needs the socket.
        return Answer(found, lasts) if found.options.alpn_callback is None else None
