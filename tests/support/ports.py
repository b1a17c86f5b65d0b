"""Ports that belong to one test, so that no other process answers on them meanwhile."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def own_port() -> Iterator[int]:
    """A port on which nobody listens, on any address of this machine: calls are refused.

    A socket that does not listen holds it until the end of the block: the kernel gives it to nobody who asks for any port. Whoever
    asks for this one, with SO_REUSEADDR, gets it all the same (Linux): a server that the test starts, or a client's local port.
    """
    dual = socket.has_dualstack_ipv6()
    with socket.socket(socket.AF_INET6 if dual else socket.AF_INET) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.bind(("", 0))
        yield holder.getsockname()[1]
