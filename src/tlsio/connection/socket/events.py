"""The types of a socket's events, for type checkers: each name with its listeners' arguments."""

from collections.abc import Callable
from typing import Literal, Protocol, TypeVar, overload

__all__ = ["SocketEvents"]

_Plain = TypeVar("_Plain", bound=Callable[[], object])
_Data = TypeVar("_Data", bound=Callable[[bytes], object])
_Error = TypeVar("_Error", bound=Callable[[Exception], object])
_Close = TypeVar("_Close", bound=Callable[[bool], object])
_Response = TypeVar("_Response", bound=Callable[[bytes | None], object])

BytesEvent = Literal["data", "keylog", "session"]
PlainEvent = Literal["secure", "secure_connect", "end", "drain", "timeout"]


class SocketEvents(Protocol):
    """The type of a socket's `on` and `once`: they return the function, or a decorator."""

    @overload
    def __call__(self, event: BytesEvent, fn: _Data) -> _Data: ...
    @overload
    def __call__(self, event: Literal["error"], fn: _Error) -> _Error: ...
    @overload
    def __call__(self, event: Literal["close"], fn: _Close) -> _Close: ...
    @overload
    def __call__(self, event: Literal["ocsp_response"], fn: _Response) -> _Response: ...
    @overload
    def __call__(self, event: PlainEvent, fn: _Plain) -> _Plain: ...
    @overload
    def __call__(self, event: BytesEvent) -> Callable[[_Data], _Data]: ...
    @overload
    def __call__(self, event: Literal["error"]) -> Callable[[_Error], _Error]: ...
    @overload
    def __call__(self, event: Literal["close"]) -> Callable[[_Close], _Close]: ...
    @overload
    def __call__(self, event: Literal["ocsp_response"]) -> Callable[[_Response], _Response]: ...
    @overload
    def __call__(self, event: PlainEvent) -> Callable[[_Plain], _Plain]: ...
