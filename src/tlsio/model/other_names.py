"""Finds the attribute that was meant by a name of Python's `ssl`, asyncio or Node."""

from collections.abc import Mapping

from tlsio.model.checks import to_snake_case

__all__ = ["SERVER_NAMES", "SOCKET_NAMES", "missing_attribute"]

_LISTENERS = {"add_listener": "on()", "add_event_listener": "on()", "remove_listener": "off()", "prepend_listener": "on()"}

SOCKET_NAMES: Mapping[str, str] = {
    **_LISTENERS,
    "abort": "destroy()",
    "at_eof": "read(), which returns b'' at the end",
    "cipher": "get_cipher()",
    "do_handshake": "handshake()",
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


def missing_attribute(owner: object, name: str, others: Mapping[str, str]) -> AttributeError:
    """Return the error for an attribute that does not exist.

    Args:
        owner: The object that lacks it.
        name: What was asked for.
        others: What is used here in place of a name of another library.
    """
    message = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if not name.startswith("_"):
        snake = to_snake_case(name)
        if snake != name and hasattr(type(owner), snake):
            message = f"{message}: it is spelled {snake}"
        elif snake in others:
            message = f"{message}: use {others[snake]}"
    return AttributeError(message, name=name, obj=owner)
