"""The types of a server's events and hooks, for type checkers: arguments and results by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.checks import BytesLike

__all__ = ["ServerEvents"]

_NameAnswer: TypeAlias = "SecureContext | Mapping[str, Any] | None"
_ProtocolAnswer: TypeAlias = str | bytes | None
_CheckAnswer: TypeAlias = Exception | None
_StatusAnswer: TypeAlias = bytes | None
_SessionAnswer: TypeAlias = bytes | None

_Plain = TypeVar("_Plain", bound=Callable[[], object])
_Socket = TypeVar("_Socket", bound="Callable[[TLSSocket], object]")
_Failed = TypeVar("_Failed", bound="Callable[[Any, TLSSocket], object]")
_Line = TypeVar("_Line", bound="Callable[[bytes, TLSSocket], object]")
_Address = TypeVar("_Address", bound=Callable[[Any], object])
_Error = TypeVar("_Error", bound=Callable[[Exception], object])
_Name = TypeVar("_Name", bound="Callable[[str, TLSSocket], _NameAnswer | Awaitable[_NameAnswer]]")
_Protocol = TypeVar("_Protocol", bound="Callable[[str | None, Sequence[str], TLSSocket], _ProtocolAnswer | Awaitable[_ProtocolAnswer]]")
_Check = TypeVar("_Check", bound="Callable[[Any, TLSSocket], _CheckAnswer | Awaitable[_CheckAnswer]]")
_Store = TypeVar("_Store", bound="Callable[[bytes, bytes], object]")
_Lookup = TypeVar("_Lookup", bound="Callable[[bytes], _SessionAnswer | Awaitable[_SessionAnswer]]")

_Status = TypeVar("_Status", bound="Callable[[bytes, bytes | None, TLSSocket], _StatusAnswer | Awaitable[_StatusAnswer]]")
_Psk = TypeVar("_Psk", bound="Callable[[TLSSocket, str], BytesLike | None]")

PlainEvent = Literal["listening", "close"]
AddressEvent = Literal["connection", "drop"]
FailedEvent = Literal["tls_client_error", "client_error"]


class ServerEvents(Protocol):
    """The type of a server's `on` and `once`: they return the function, or a decorator."""

    @overload
    def __call__(self, event: Literal["secure_connection"], fn: _Socket) -> _Socket: ...
    @overload
    def __call__(self, event: FailedEvent, fn: _Failed) -> _Failed: ...
    @overload
    def __call__(self, event: AddressEvent, fn: _Address) -> _Address: ...
    @overload
    def __call__(self, event: Literal["keylog"], fn: _Line) -> _Line: ...
    @overload
    def __call__(self, event: Literal["error"], fn: _Error) -> _Error: ...
    @overload
    def __call__(self, event: PlainEvent, fn: _Plain) -> _Plain: ...
    @overload
    def __call__(self, event: Literal["sni_callback"], fn: _Name) -> _Name: ...
    @overload
    def __call__(self, event: Literal["alpn_callback"], fn: _Protocol) -> _Protocol: ...
    @overload
    def __call__(self, event: Literal["check_client"], fn: _Check) -> _Check: ...
    @overload
    def __call__(self, event: Literal["ocsp_request"], fn: _Status) -> _Status: ...
    @overload
    def __call__(self, event: Literal["new_session"], fn: _Store) -> _Store: ...
    @overload
    def __call__(self, event: Literal["resume_session"], fn: _Lookup) -> _Lookup: ...
    @overload
    def __call__(self, event: Literal["psk_callback"], fn: _Psk) -> _Psk: ...
    @overload
    def __call__(self, event: Literal["secure_connection"]) -> Callable[[_Socket], _Socket]: ...
    @overload
    def __call__(self, event: FailedEvent) -> Callable[[_Failed], _Failed]: ...
    @overload
    def __call__(self, event: AddressEvent) -> Callable[[_Address], _Address]: ...
    @overload
    def __call__(self, event: Literal["keylog"]) -> Callable[[_Line], _Line]: ...
    @overload
    def __call__(self, event: Literal["error"]) -> Callable[[_Error], _Error]: ...
    @overload
    def __call__(self, event: PlainEvent) -> Callable[[_Plain], _Plain]: ...
    @overload
    def __call__(self, event: Literal["sni_callback"]) -> Callable[[_Name], _Name]: ...
    @overload
    def __call__(self, event: Literal["alpn_callback"]) -> Callable[[_Protocol], _Protocol]: ...
    @overload
    def __call__(self, event: Literal["check_client"]) -> Callable[[_Check], _Check]: ...
    @overload
    def __call__(self, event: Literal["ocsp_request"]) -> Callable[[_Status], _Status]: ...
    @overload
    def __call__(self, event: Literal["new_session"]) -> Callable[[_Store], _Store]: ...
    @overload
    def __call__(self, event: Literal["resume_session"]) -> Callable[[_Lookup], _Lookup]: ...
    @overload
    def __call__(self, event: Literal["psk_callback"]) -> Callable[[_Psk], _Psk]: ...
