"""Gives contexts that a program has made the options that HTTPS needs, unless they have their own.

A context without ALPN would serve HTTP/1.1 alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.context.source import is_source
from tlsio.connection.tasks import drop_awaitable, find_awaitable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator

__all__ = ["complete"]

Options = Mapping[str, Any]


def complete(given: Any, options: Options) -> Any:
    """Return a context or source with `options` set in each context that leaves them unset."""
    if isinstance(given, SecureContext):
        return _complete_context(given, options)
    return _Source(given, options) if is_source(given) else given  # the TLS server refuses anything else


def _complete_context(context: SecureContext, options: Options) -> SecureContext:
    own = context.options
    missing = {name: value for name, value in options.items() if getattr(own, name) is None}
    if own.alpn_callback is not None:
        missing.pop("alpn_protocols", None)
    return context.replace(**missing) if missing else context


class _Source:
    """A context source, as another one sees it; each context is completed once."""

    def __init__(self, given: Any, options: Options) -> None:
        self._given = given
        self._options = options
        self._completed: WeakKeyDictionary[SecureContext, SecureContext] = WeakKeyDictionary()
        self.context_for = self._wait_for if inspect.iscoroutinefunction(given.context_for) else self._ask_for

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)

    @property
    def published(self) -> Mapping[str, Any] | None:
        """The source's table."""
        table = getattr(self._given, "published", None)
        return None if table is None else _Table(table, self._complete)

    @property
    def context_now(self) -> Any:
        """The source's method of that name, if it has one."""
        ask = self._given.context_now
        return lambda name: self._complete(ask(name))

    def _complete(self, answer: Any) -> Any:
        if not isinstance(answer, SecureContext):
            return answer
        found = self._completed.get(answer)
        if found is None:
            found = _complete_context(answer, self._options)
            if found is not answer:  # a value that is its own key would keep itself alive
                self._completed[answer] = found
        return found

    def _ask_for(self, name: str | None) -> Any:
        answer = self._given.context_for(name)
        awaitable = find_awaitable(answer)
        return self._complete(answer) if awaitable is None else _Finishing(awaitable, self._complete)

    async def _wait_for(self, name: str | None) -> Any:
        return self._complete(await self._given.context_for(name))


class _Finishing:
    """An awaitable of the source, whose context is completed. It may be dropped."""

    def __init__(self, awaitable: Awaitable[Any], complete_one: Callable[[Any], Any]) -> None:
        self._awaitable = awaitable
        self._complete = complete_one

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._complete((yield from self._awaitable.__await__()))

    def __del__(self) -> None:
        drop_awaitable(self._awaitable)  # a coroutine that never started would warn


class _Table(Mapping[str, Any]):
    """A source's table, whose contexts are completed when they are read."""

    def __init__(self, table: Mapping[str, Any], complete_one: Any) -> None:
        self._table = table
        self._complete = complete_one

    def __getitem__(self, name: str) -> Any:
        return self._complete(self._table[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)
