"""A socket object for the descriptor of a connection, to read and set its options."""

from __future__ import annotations

import socket as _socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["borrow_socket"]


@contextmanager
def borrow_socket(descriptor: int) -> Iterator[_socket.socket]:
    """Use a descriptor as a socket object that does not own it, and does not close it."""
    borrowed = _socket.socket(fileno=descriptor)
    borrowed.settimeout(0)  # the descriptor's mode; `dup` applies what the object believes
    try:
        yield borrowed
    finally:
        borrowed.detach()
