"""The fixtures, which pytest finds by an entry point.

Every run of pytest imports this module where tlsio is installed, whether a test uses it or not: it
imports nothing of tlsio until a fixture is used. All names begin with `tlsio_`, so they hide none
of the user's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from tlsio.certs import Authority, Leaf
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.testing.dated import DatedCertificates
    from tlsio.testing.echo_server import EchoServer

__all__ = [
    "tlsio_authority",
    "tlsio_certificates_at",
    "tlsio_client_leaf",
    "tlsio_connected_pair",
    "tlsio_echo_server",
    "tlsio_server_leaf",
]


@pytest.fixture(scope="session")
def tlsio_authority() -> Authority:
    """A `tlsio.certs.Authority` for this run: its `cert_pem` is what `ca=` of the peers takes."""
    from tlsio.certs import Authority  # noqa: PLC0415

    return Authority.create("tlsio test authority")


@pytest.fixture(scope="session")
def tlsio_server_leaf(tlsio_authority: Authority) -> Leaf:
    """A certificate for servers at localhost, 127.0.0.1 and ::1."""
    return tlsio_authority.server("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def tlsio_client_leaf(tlsio_authority: Authority) -> Leaf:
    """A certificate for a client, with the common name "test client"."""
    return tlsio_authority.client("test client", "client@example.com")


@pytest.fixture
def tlsio_echo_server(tlsio_authority: Authority, tlsio_server_leaf: Leaf) -> Iterator[EchoServer]:
    """A running `tlsio.testing.EchoServer`: `port`, `ca_pem`, `errors`; any client can connect."""
    from tlsio.testing.echo_server import EchoServer  # noqa: PLC0415

    with EchoServer(tlsio_authority, tlsio_server_leaf) as server:
        yield server


@pytest.fixture
def tlsio_connected_pair(tlsio_authority: Authority) -> Callable[..., AbstractAsyncContextManager[tuple[TLSSocket, TLSSocket]]]:
    """`tlsio.testing.connected_pair`, with the authority of this run.

    `async with tlsio_connected_pair() as (client, server)`.
    """
    from functools import partial  # noqa: PLC0415

    from tlsio.testing.pair import connected_pair  # noqa: PLC0415

    return partial(connected_pair, tlsio_authority)


@pytest.fixture
def tlsio_certificates_at() -> Callable[..., DatedCertificates]:
    """`tlsio.testing.certificates_at`: certificates that are valid around a chosen instant."""
    from tlsio.testing.dated import certificates_at  # noqa: PLC0415

    return certificates_at
