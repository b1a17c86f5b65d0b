"""What `connect` returns: something to await, or to enter by `async with`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from tlsio.model.errors import UsageTypeError

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

__all__ = ["Connecting"]

_T = TypeVar("_T", bound="AbstractAsyncContextManager[Any]")


class Connecting(Coroutine[Any, Any, _T], Generic[_T]):
    """The result of `connect`: to be awaited, entered by `async with`, or made into a task."""

    __slots__ = ("_coroutine", "_made", "_name")

    def __init__(self, coroutine: Coroutine[Any, Any, _T], name: str) -> None:
        """Take a coroutine and its name, for the warning that it was never awaited."""
        coroutine.__qualname__ = name  # type: ignore[attr-defined]
        self._coroutine = coroutine
        self._name = name
        self._made: _T | None = None

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Continue the coroutine."""
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error in the coroutine."""
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """End the coroutine."""
        self._coroutine.close()

    def __enter__(self) -> NoReturn:
        self._coroutine.close()
        raise UsageTypeError("A connection is entered by `async with`, not by `with`", hint=f"async with {self._name}(...) as ...: ...")

    def __exit__(self, *_error: object) -> None:
        """Exist, so that `with` calls `__enter__`."""

    async def __aenter__(self) -> _T:
        self._made = await self._coroutine
        return self._made

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._made is not None:
            await self._made.__aexit__(kind, error, trace)
