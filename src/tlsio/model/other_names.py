"""Finds the attribute that was meant by a name of Python's `ssl`, asyncio or Node."""

from collections.abc import Mapping
from typing import NoReturn

from tlsio.model.checks import to_camel_case

__all__ = ["SERVER_NAMES", "SOCKET_NAMES", "OtherName", "add_other_names"]

_LISTENERS = {"add_listener": "on()", "add_event_listener": "on()", "remove_listener": "off()", "prepend_listener": "on()"}

SOCKET_NAMES: Mapping[str, str] = {
    **_LISTENERS,
    "abort": "destroy()",
    "at_eof": "read(), which returns b'' at the end",
    "cipher": "get_cipher()",
    "do_handshake": "handshake()",
    "getTLSTicket": "get_tls_ticket()",
    "getpeercert": "get_peer_certificate()",
    "getpeername": "remote_address and remote_port",
    "getsockname": "address, or local_address and local_port",
    "get_extra_info": "an attribute or method of its own for each fact, such as get_peer_certificate()",
    "is_closing": "closed and writable",
    "recv": "read()",
    "recv_into": "read()",
    "selected_alpn_protocol": "alpn_protocol",
    "sendall": "send(), or write() and drain()",
    "server_hostname": "servername",
    "session": "get_session()",
    "session_reused": "is_session_reused()",
    "settimeout": "asyncio.timeout() around a call, or set_timeout() for idle connections",
    "shutdown": "end() for one direction, or close()",
    "unwrap": "close()",
    "version": "get_protocol()",
    "write_eof": "end()",
    "writelines": "write() for each, which gathers them",
}

SERVER_NAMES: Mapping[str, str] = {
    **_LISTENERS,
    "abort_clients": "destroy() of each of open_sockets()",
    "aclose": "close()",
    "close_all_connections": "destroy() of each of open_sockets()",
    "close_clients": "close() of each of open_sockets()",
    "get_connections": "connections",
    "is_serving": "listening",
    "load_cert_chain": "set_secure_context()",
    "sockets": "open_sockets() for the connections, address for where it listens",
    "start_serving": "listen()",
}


class OtherName:
    """An attribute that does not exist; the error of reading it says what there is instead.

    A `__getattr__` that did this would slow down every attribute: CPython then neither specialises
    nor caches the lookup, which cost a handshake 75,000 instructions, a third of what it spends in
    Python.
    """

    __slots__ = ("_instead", "_name")

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def __get__(self, owner: object, kind: type) -> NoReturn:
        """Raise. An instance may still have an attribute of this name, and a subclass too."""
        message = f"{kind.__name__!r} object has no attribute {self._name!r}: {self._instead}"
        raise AttributeError(message, name=self._name, obj=kind if owner is None else owner)


def add_other_names(kind: type, others: Mapping[str, str]) -> None:
    """Give a class an `OtherName` for each name in `others`, and for Node's spelling of all names.

    Args:
        kind: The class. Names that it has are left as they are.
        others: What is used here in place of a name of another library.
    """
    found = {name: f"use {instead}" for name, instead in others.items()}
    found |= {to_camel_case(name): f"use {instead}" for name, instead in others.items()}
    found |= {to_camel_case(name): f"it is spelled {name}" for name in vars(kind) if not name.startswith("_") and "_" in name}
    for name, instead in found.items():
        if name not in vars(kind):
            setattr(kind, name, OtherName(name, instead))
