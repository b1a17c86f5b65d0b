"""Events for servers and sockets: Node's `on`, `once` and `off`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tlsio.connection.tasks import failure_of_task, find_listener_awaitable
from tlsio.model.checks import explain_unknown_event
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.model.other_names import OtherName, add_other_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

__all__ = ["Emitter", "Listener", "Once", "TaskEmitter"]

Listener = Callable[..., Any]
_F = TypeVar("_F", bound=Listener)


class Once:
    """A listener that is removed before its first call."""

    __slots__ = ("function",)

    def __init__(self, function: Listener) -> None:
        self.function = function


class Emitter:
    """The base of objects that emit events by name.

    Listeners of an event are called in the order they were added. A sync listener runs at once; the
    awaitable of an async one is passed to `_spawn`, and an exception of any of them to
    `_listener_failed`. KeyboardInterrupt and SystemExit propagate.
    """

    __slots__ = ("_listeners",)

    _EVENTS: ClassVar[frozenset[str]] = frozenset()
    _OTHER_NAMES: ClassVar[Mapping[str, str]] = {}  # other libraries' names of its attributes

    _listeners: dict[str, list[Listener | Once]] | None

    def __init__(self) -> None:
        self._listeners = None  # no dict before the first one: most sockets have none

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        add_other_names(cls, cls.__dict__.get("_OTHER_NAMES", {}))

    def __dir__(self) -> list[str]:
        """Return the names that exist."""
        return [name for name in super().__dir__() if not isinstance(getattr_static(self, name, None), OtherName)]

    def on(self, event: str, fn: Listener | None = None) -> Any:
        """Call `fn` for each `event`; returns `fn`. Without `fn`: a decorator.

        Raises:
            UsageError: there is no such event, or `fn` is not callable.
        """
        if fn is None:
            self._check_event(event)
            return lambda function: self._add(event, function, function)
        return self._add(event, fn, fn)

    def once(self, event: str, fn: Listener | None = None) -> Any:
        """As `on`, for the next `event` only."""
        if fn is None:
            self._check_event(event)
            return lambda function: self._add(event, function, Once(function))
        return self._add(event, fn, Once(fn))

    def off(self, event: str, fn: Listener) -> None:
        """Remove the listener, once if it was added several times; an unknown one is ignored."""
        self._check_event(event)
        for entry in reversed(self._listeners_of(event)):
            if fn in (entry, getattr(entry, "function", entry)):  # equal, not identical: each `self.method` is a new object
                self._remove(event, entry)
                return

    def _add(self, event: str, fn: _F, entry: Listener | Once) -> _F:
        self._check_event(event)
        if not callable(fn):
            raise UsageTypeError(f"The listener of {event!r} must be callable, got {type(fn).__name__}")
        if self._listeners is None:
            self._listeners = {}
        self._listeners.setdefault(event, []).append(entry)
        self._listeners_changed(event)
        return fn

    def _remove(self, event: str, entry: Listener | Once) -> None:
        self._listeners_of(event).remove(entry)
        self._listeners_changed(event)

    def _listeners_of(self, event: str) -> list[Listener | Once]:
        return self._listeners.get(event, []) if self._listeners else []

    def _has(self, event: str) -> bool:
        return bool(self._listeners and self._listeners.get(event))

    def _check_event(self, event: object) -> None:
        if not isinstance(event, str) or event not in self._EVENTS:
            hint = explain_unknown_event(event, self._EVENTS)
            raise UsageValueError(f"There is no event {event!r:.80}", code="ERR_TLS_UNKNOWN_EVENT", hint=hint)

    def _emit(self, event: str, *args: object) -> bool:
        """Call the listeners of `event`; return whether there were any."""
        if self._listeners is None or not self._listeners.get(event):
            return False  # the usual case: a fast path
        for fn in self._callables(event):
            self._call(fn, args)
        return True

    def _callables(self, event: str) -> list[Listener]:
        """Return the functions to call for one `event`.

        Those added by `once` are removed first, so that a nested `_emit` does not call them again.
        """
        functions: list[Listener] = []
        for entry in tuple(self._listeners_of(event)):
            if isinstance(entry, Once):
                self._remove(event, entry)
                functions.append(entry.function)
            else:
                functions.append(entry)
        return functions

    def _call(self, fn: Listener, args: tuple[object, ...]) -> None:
        try:
            awaitable = find_listener_awaitable(fn(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (user code: any exception is reported)
            self._listener_failed(error)
            return
        if awaitable is not None:
            self._spawn(awaitable)

    def _listeners_changed(self, event: str) -> None:
        """Hook for subclasses that work differently while an event has listeners."""

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        raise NotImplementedError

    def _listener_failed(self, error: BaseException) -> None:
        raise NotImplementedError


class TaskEmitter(Emitter):
    """An emitter that runs its async listeners in tasks, which it keeps until they end."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        super().__init__()
        self._tasks: set[asyncio.Task[Any]] = set()

    def _spawn(self, awaitable: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if (error := failure_of_task(task)) is not None:
            self._listener_failed(error)
