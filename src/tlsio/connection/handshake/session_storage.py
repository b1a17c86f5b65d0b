"""Where a server's sessions are stored: the hooks `new_session` and `resume_session`, or a store.

Storage may be slow, unavailable or corrupt. Clients do not fail because of that: they get a full
handshake, and the server counts the failure and reports it to its `error` listeners.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from tlsio.connection.handshake.questions import AwaitAll, wrong_answer
from tlsio.model.statistics import StoreStats
from tlsio.native._core import MAX_SESSION_BYTES, SESSIONS, STATEFUL, STATEFUL_13
from tlsio.session.memory_store import MemorySessionStore
from tlsio.session.store import entry_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["SESSION_HOOKS", "ServerSessions"]

_log = logging.getLogger("tlsio")

SESSION_HOOKS = frozenset({"new_session", "resume_session"})


class ServerSessions:
    """One server's access to its hooks or its store, with statistics."""

    __slots__ = ("_hooks", "_warned", "errors", "hits", "misses", "seconds", "store", "stored")

    def __init__(self, store: Any, hooks: Mapping[str, Callable[..., Any]]) -> None:
        self.store = store
        self._hooks = hooks
        self._warned = False
        self.hits = self.misses = self.stored = self.errors = 0
        self.seconds = 0.0

    def find_wants(self, initial: SecureContext) -> int:
        """Return the questions that the engine must ask about sessions.

        A store replaces tickets that contain their session. The hooks alone do so in TLS 1.3, which
        has no session ids; in TLS 1.2 clients that support tickets get them, as in Node. A server
        with `ticket_keys=` always uses tickets.
        """
        if self.store is None and SESSION_HOOKS.isdisjoint(self._hooks):
            return 0
        if initial.options.ticket_keys is not None:
            return SESSIONS
        return SESSIONS | (STATEFUL_13 if self.store is None else STATEFUL)

    @property
    def sync_store(self) -> SyncSessionStore | None:
        """Direct access, if the store is the one in memory, which never waits or raises."""
        return SyncSessionStore(self) if type(self.store) is MemorySessionStore else None

    @property
    def store_stats(self) -> StoreStats | None:
        """The store's own statistics, if it has any."""
        read = getattr(self.store, "stats", None)
        found = read() if callable(read) else None
        return found if isinstance(found, StoreStats) else None

    def find(self, session_id: bytes, id_context: bytes) -> object:
        """Ask for a session. The result should be bytes, None, or an awaitable of either."""
        if self.store is not None:
            return self.store.get(entry_id(session_id, id_context))
        hook = self._hooks.get("resume_session")
        return None if hook is None else hook(session_id)

    def found(self, result: object, seconds: float, give: Callable[[bytes], bool]) -> None:
        """Check and count a result of `find`.

        `give` passes it to the engine and returns whether it is valid.

        Raises:
            UsageTypeError: the result is neither bytes nor None.
        """
        self.seconds += seconds
        if result is not None and not isinstance(result, bytes | bytearray | memoryview):
            raise wrong_answer("resume_session", "bytes or None", result)
        self._warned = False
        if result is None:
            self.misses += 1
        elif memoryview(result).nbytes <= MAX_SESSION_BYTES and give(bytes(result)):
            self.hits += 1
        else:
            self.errors += 1

    def keep(self, made: Sequence[tuple[bytes, bytes, int]], id_context: bytes) -> Awaitable[None] | None:
        """Store new sessions: id, DER, and lifetime in seconds."""
        waiting: list[Awaitable[object]] = []
        failures: list[Exception] = []
        for session_id, data, lifetime in made:
            try:
                result = self._keep_one(session_id, id_context, data, lifetime)
            except Exception as error:  # noqa: BLE001  (user code; the other sessions are still stored)
                failures.append(error)
                continue
            if inspect.isawaitable(result):
                waiting.append(result)
        if waiting:
            return AwaitAll(waiting, failures)
        if failures:
            raise failures[0]
        return None

    def _keep_one(self, session_id: bytes, id_context: bytes, data: bytes, lifetime: int) -> object:
        if self.store is not None:
            return self.store.put(entry_id(session_id, id_context), data, float(lifetime))
        hook = self._hooks.get("new_session")
        return None if hook is None else hook(session_id, data)

    def kept(self, count: int, seconds: float) -> None:
        """Count the sessions stored by `keep`; without a hook or store none were."""
        self.seconds += seconds
        if self.store is not None or "new_session" in self._hooks:
            self.stored += count
        self._warned = False

    def failed(self, error: BaseException, report: Callable[[BaseException], bool]) -> None:
        """Count a failure and report it; `report` returns whether there was a listener.

        Without a listener, only the first failure in a row is logged as a warning.
        """
        self.errors += 1
        if not report(error):
            _log.log(
                logging.DEBUG if self._warned else logging.WARNING, "Sessions cannot be stored or looked up: %s", error, exc_info=error
            )
            self._warned = True


class SyncSessionStore:
    """Direct access to the store in memory, for a handshake that has no socket yet."""

    __slots__ = ("_sessions", "_store")

    def __init__(self, sessions: ServerSessions) -> None:
        self._sessions = sessions
        self._store: MemorySessionStore = sessions.store

    def find(self, session_id: bytes, id_context: bytes) -> bytes | None:
        """Look up a session."""
        found = self._store.get(entry_id(session_id, id_context))
        if found is None:
            self._sessions.misses += 1
        else:
            self._sessions.hits += 1
        return found

    def keep(self, made: Sequence[tuple[bytes, bytes, int]], id_context: bytes) -> None:
        """Store new sessions."""
        self._sessions.keep(made, id_context)
        self._sessions.stored += len(made)

    def reject_last(self) -> None:
        """Correct the statistics: the session found last was not valid."""
        self._sessions.hits -= 1
        self._sessions.errors += 1
