"""The parts behind the fixtures, used without pytest."""

from __future__ import annotations

import asyncio
import errno
import threading
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import tlsio
from tlsio import testing
from tlsio.certs import Authority
from tlsio.testing import EchoServer, certificates_at, connected_pair, echo_server


def test_each_name_is_there() -> None:
    """Imported when it is first used; another one is refused as Python does."""
    assert all(getattr(testing, name).__module__.startswith("tlsio.testing.") for name in testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        testing.Nothing  # type: ignore[attr-defined]  # noqa: B018


class TestEchoServer:
    """In a thread."""

    def test_a_loop_that_cannot_be_made_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As without descriptors; the caller would wait for the port without end."""

        def fail() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(asyncio.events, "new_event_loop", fail)
        with pytest.raises(OSError, match="Too many open files"), EchoServer():
            pass

    def test_an_interrupt_while_it_starts_ends_the_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C arrives where the main thread waits for the port."""

        class Interrupted(Future[int]):
            def result(self, timeout: float | None = None) -> int:
                if threading.current_thread() is threading.main_thread():
                    raise KeyboardInterrupt
                return super().result(timeout)

        monkeypatch.setattr(echo_server, "Future", Interrupted)
        with pytest.raises(KeyboardInterrupt), EchoServer():
            pass
        assert all(one.name != "tlsio echo server" for one in threading.enumerate())

    async def test_it_tells_why_a_client_failed(self) -> None:
        """This one trusts another authority."""
        with EchoServer() as server:
            with pytest.raises(tlsio.CertificateError):
                await tlsio.connect(server.port, server.host, ca=Authority.create().cert_pem)
            while not server.errors:  # noqa: ASYNC110 - the thread of the server may be behind
                await asyncio.sleep(0.01)
        assert isinstance(server.errors[0], tlsio.AlertReceived)

    async def test_options_are_those_of_servers(self) -> None:
        """`request_cert=True` trusts its own authority."""
        with EchoServer(request_cert=True, alpn_protocols=["echo"]) as server:
            leaf = server.authority.client("Ada")
            options = {"cert": leaf.chain_pem, "key": leaf.key, "ca": server.ca_pem, "alpn_protocols": ["echo"]}
            async with tlsio.connect(server.port, server.host, **options) as sock:
                await sock.send(b"hello")
                assert (await sock.readexactly(5), sock.alpn_protocol) == (b"hello", "echo")

    def test_a_wrong_option_raises_where_it_is_started(self) -> None:
        """And leaves no thread."""
        with pytest.raises(tlsio.UsageError), EchoServer(ciphers=""):
            pass

    def test_its_port_is_there_while_it_runs(self) -> None:
        """Once."""
        server = EchoServer()
        with pytest.raises(tlsio.UsageStateError):
            _ = server.port
        with server:
            assert server.port
        with pytest.raises(tlsio.UsageStateError), server:
            pass

    async def test_open_connections_do_not_keep_it(self) -> None:
        """A test that failed may leave one."""
        with EchoServer() as server:
            sock = await tlsio.connect(server.port, server.host, ca=server.ca_pem)
        with pytest.raises(tlsio.TLSError):
            await sock.readexactly(1)
        sock.destroy()


class TestPair:
    """In memory of the kernel."""

    async def test_options_are_added_or_replace(self) -> None:
        """For each side."""
        alpn = {"alpn_protocols": ["test"]}
        async with connected_pair(client=alpn, server=alpn) as (client, server):
            assert client.alpn_protocol == server.alpn_protocol == "test"
            assert client.authorized
            assert not server.authorized

    async def test_a_failure_is_raised(self) -> None:
        """The client asks for another name."""
        with pytest.raises(tlsio.CertificateAltNameError):
            async with connected_pair(client={"servername": "example.com"}):
                pass


def test_certificates_are_around_the_instant() -> None:
    """And the root around both."""
    instant = datetime(2030, 1, 1, tzinfo=UTC)
    made = certificates_at(instant, "example.com", span=timedelta(hours=2))
    leaf, root = made.leaf.certificate, made.authority.certificate
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (
        instant - timedelta(hours=1),
        instant + timedelta(minutes=59, seconds=59),
    )
    assert root.not_valid_before_utc < datetime.now(UTC) < leaf.not_valid_after_utc < root.not_valid_after_utc


@pytest.mark.parametrize(
    ("instant", "span", "code"),
    [
        (datetime(2026, 1, 1), timedelta(1), "ERR_INVALID_ARG_VALUE"),  # noqa: DTZ001
        ("2026", timedelta(1), "ERR_INVALID_ARG_TYPE"),
        (datetime.max.replace(tzinfo=UTC), timedelta(1), "ERR_OUT_OF_RANGE"),
        (datetime.min.replace(tzinfo=UTC), timedelta(1), "ERR_OUT_OF_RANGE"),
        (datetime(2026, 1, 1, tzinfo=UTC), timedelta(0), "ERR_OUT_OF_RANGE"),
        (datetime(2026, 1, 1, tzinfo=UTC), timedelta(398, microseconds=1), "ERR_OUT_OF_RANGE"),
        (datetime(2026, 1, 1, tzinfo=UTC), timedelta.max, "ERR_OUT_OF_RANGE"),
        (datetime(2026, 1, 1, tzinfo=UTC), 1, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_a_time_that_certificates_cannot_have(instant: Any, span: Any, code: str) -> None:
    """It is refused before anything is made; the longest span is not."""
    with pytest.raises(tlsio.UsageError) as caught:
        certificates_at(instant, span=span)
    assert caught.value.code == code
    assert certificates_at(datetime(2026, 1, 1, tzinfo=UTC), span=timedelta(398))
