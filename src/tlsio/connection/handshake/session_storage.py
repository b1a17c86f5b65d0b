"""Where a server's sessions are kept: the hooks `new_session` and `resume_session`, or a store.

What is kept elsewhere may be late, broken or wrong. None of that is the client's matter: it shakes hands in full, and the
server counts it and tells its `error` listeners.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from tlsio.connection.handshake.questions import Together, wrong_answer
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
    """One server's way to its hooks or its store, and what came of it."""

    __slots__ = ("_hooks", "_warned", "errors", "hits", "misses", "seconds", "store", "stored")

    def __init__(self, store: Any, hooks: Mapping[str, Callable[..., Any]]) -> None:
        self.store = store
        self._hooks = hooks
        self._warned = False
        self.hits = self.misses = self.stored = self.errors = 0
        self.seconds = 0.0

    def find_wants(self, initial: SecureContext) -> int:
        """What the engine is told to ask.

        A store takes the place of tickets that carry their session. The hooks alone do so in TLS 1.3, which knows no session
        ids; in TLS 1.2 clients that take tickets get them, as in Node. Whoever gives `ticket_keys` wants tickets.
        """
        if self.store is None and SESSION_HOOKS.isdisjoint(self._hooks):
            return 0
        if initial.options.ticket_keys is not None:
            return SESSIONS
        return SESSIONS | (STATEFUL_13 if self.store is None else STATEFUL)

    @property
    def at_once(self) -> SyncSessionStore | None:
        """The short way, if the store is one that answers at once and raises nothing."""
        return SyncSessionStore(self) if type(self.store) is MemorySessionStore else None

    @property
    def store_stats(self) -> StoreStats | None:
        """What the store itself has counted, if it does."""
        read = getattr(self.store, "stats", None)
        found = read() if callable(read) else None
        return found if isinstance(found, StoreStats) else None

    def find(self, session_id: bytes, id_context: bytes) -> object:
        """Ask for a session. Bytes, None, or an awaitable of it, if whoever was asked keeps to the rules."""
        if self.store is not None:
            return self.store.get(entry_id(session_id, id_context))
        hook = self._hooks.get("resume_session")
        return None if hook is None else hook(session_id)

    def found(self, result: object, seconds: float, give: Callable[[bytes], bool]) -> None:
        """Count and check what came of `find`; `give` hands it on, and says whether it is a session at all.

        Raises:
            UsageTypeError: neither bytes nor None.
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
        """Give new sessions away: id, DER, and seconds they may live."""
        waiting: list[Awaitable[object]] = []
        failures: list[Exception] = []
        for session_id, data, lifetime in made:
            try:
                result = self._keep_one(session_id, id_context, data, lifetime)
            except Exception as error:  # noqa: BLE001  (code of the user; the other sessions have their turn)
                failures.append(error)
                continue
            if inspect.isawaitable(result):
                waiting.append(result)
        if waiting:
            return Together(waiting, failures)
        if failures:
            raise failures[0]
        return None

    def _keep_one(self, session_id: bytes, id_context: bytes, data: bytes, lifetime: int) -> object:
        if self.store is not None:
            return self.store.put(entry_id(session_id, id_context), data, float(lifetime))
        hook = self._hooks.get("new_session")
        return None if hook is None else hook(session_id, data)

    def kept(self, count: int, seconds: float) -> None:
        """Count what came of `keep`; without a hook for it nothing was kept."""
        self.seconds += seconds
        if self.store is not None or "new_session" in self._hooks:
            self.stored += count
        self._warned = False

    def failed(self, error: BaseException, tell: Callable[[BaseException], bool]) -> None:
        """Count a failure; `tell` says whether anybody listened. One warning for each time it begins to fail."""
        self.errors += 1
        if not tell(error):
            _log.log(logging.DEBUG if self._warned else logging.WARNING, "sessions cannot be kept or found: %s", error, exc_info=error)
            self._warned = True


class SyncSessionStore:
    """The way to the store in memory: no socket is made for it, and nobody waits."""

    __slots__ = ("_sessions", "_store")

    def __init__(self, sessions: ServerSessions) -> None:
        self._sessions = sessions
        self._store: MemorySessionStore = sessions.store

    def find(self, session_id: bytes, id_context: bytes) -> bytes | None:
        """Look for a session."""
        found = self._store.get(entry_id(session_id, id_context))
        if found is None:
            self._sessions.misses += 1
        else:
            self._sessions.hits += 1
        return found

    def keep(self, made: Sequence[tuple[bytes, bytes, int]], id_context: bytes) -> None:
        """Put new ones."""
        self._sessions.keep(made, id_context)
        self._sessions.stored += len(made)

    def reject_last(self) -> None:
        """What was found was no session."""
        self._sessions.hits -= 1
        self._sessions.errors += 1
