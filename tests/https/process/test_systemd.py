"""Sockets and reports of a service manager, without processes."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tlsio.https.process.systemd import Notifier, passed_sockets, socket_of
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_no_sockets_were_passed() -> None:
    """Or they are of another process; the variables are removed in any case."""
    assert passed_sockets(lambda _: "") == []
    variables = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    assert passed_sockets(lambda name: variables.pop(name, "")) == []
    assert variables == {}


@pytest.mark.parametrize("count", ["-1", "x", "1.0", "²", "1" * 5000])
def test_a_count_that_is_none(count: str) -> None:
    """Is an error."""
    variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    with pytest.raises(ConfigError, match="LISTEN_FDS is not a number") as caught:
        passed_sockets(lambda name: variables.pop(name, ""))
    assert caught.value.code == "ERR_HTTPS_SOCKET"


def test_a_listening_socket() -> None:
    """Is used, and not inherited by child processes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        copy = os.dup(listening.fileno())
        os.set_inheritable(copy, True)  # noqa: FBT003
        with socket_of(copy) as found:
            assert found.getsockname() == listening.getsockname()
            assert not found.get_inheritable()


def test_sockets_that_do_not_listen() -> None:
    """Are refused, and stay open: they are of something else."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for one in (tcp, udp):
            with pytest.raises(ConfigError, match="not a listening TCP or Unix socket") as caught:
                socket_of(one.fileno())
            assert caught.value.code == "ERR_HTTPS_SOCKET"
            one.getsockname()
    with pytest.raises(ConfigError, match="is not a socket"):
        socket_of(999_999)


class TestNotifier:
    """Reports."""

    def test_without_a_manager(self) -> None:
        """Nothing happens."""
        notifier = Notifier(lambda _: "")
        notifier.ready("Serving")
        notifier.alive()
        assert notifier.watchdog_interval is None
        assert notifier.variables == {}

    def test_a_manager_that_has_gone(self, tmp_path: Path) -> None:
        """Is no failure of the server."""
        variables = {"NOTIFY_SOCKET": str(tmp_path / "missing")}
        Notifier(lambda name: variables.pop(name, "")).ready("Serving")

    def test_an_abstract_address(self) -> None:
        """As systemd writes it."""
        name = f"tlsio-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(f"\0{name}")
            variables = {"NOTIFY_SOCKET": f"@{name}"}
            notifier = Notifier(lambda one: variables.pop(one, ""))
            notifier.stopping()
            assert manager.recv(100) == b"STOPPING=1"
            assert notifier.variables == {"NOTIFY_SOCKET": f"@{name}"}

    @pytest.mark.parametrize(
        ("period", "pid", "interval"),
        [
            ("30000000", "", 15.0),
            ("30000000", str(os.getpid()), 15.0),
            ("30000000", "1", None),
            ("soon", "", None),
            ("", "", None),
            *((period, "", None) for period in ("²", "0", "9" * 5000)),
        ],
        ids=["anyone's", "ours", "another's", "no number", "none", "no digit", "zero", "huge"],
    )
    def test_the_watchdog(self, period: str, pid: str, interval: float | None) -> None:
        """Half of its time, and for the process that takes over the whole again."""
        variables = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": period, "WATCHDOG_PID": pid}
        notifier = Notifier(lambda name: variables.pop(name, ""))
        assert notifier.watchdog_interval == interval
        assert notifier.variables.get("WATCHDOG_USEC") == (period if interval else None)
        assert variables == {}
