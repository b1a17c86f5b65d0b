"""`session_timeout`: how long a session may be resumed, as the standard library's client is told and finds out."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import pki
from memory import TLS_1_2, TLS_1_3, server_of, shake, std_client

if TYPE_CHECKING:
    import ssl


def take_session(peer: ssl.SSLObject) -> ssl.SSLSession:
    """Return the session of a client that has shaken hands; the tickets of TLS 1.3 come behind the handshake."""
    with suppress(Exception):
        peer.read()
    assert peer.session is not None
    assert peer.session.has_ticket
    return peer.session


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize(("timeout", "told"), [(None, 300), (60, 60), (1, 1)])
def test_client_is_told_how_long(timeout: int | None, told: int, version: int) -> None:
    """Node's default, and what was given."""
    outcome = shake(server_of(pki.localhost(), session_timeout=timeout), std_client(ca=pki.ca1(), version=version))
    assert take_session(outcome.peer).ticket_lifetime_hint == told


@pytest.mark.node("sequential/tls-session-timeout")
@pytest.mark.slow
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_session_is_resumed_until_its_time_is_over(version: int) -> None:
    """OpenSSL counts whole seconds of the system's clock, which nothing here can turn forward: what lives longer is compared."""
    client = std_client(ca=pki.ca1(), version=version)
    short, long = (server_of(pki.localhost(), session_timeout=seconds) for seconds in (1, 3600))
    over, good = (take_session(shake(context, client).peer) for context in (short, long))
    time.sleep(2.1)
    late = shake(short, client, session=over)
    assert late.opened
    assert not late.peer.session_reused
    assert shake(long, client, session=good).peer.session_reused
