"""What is recorded for who looks on: key logs, traces, what clients offer. Off unless asked for, and told to nobody else."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from net import Net, Pair, Version

# One line for each secret of TLS 1.3 (NSS key log format), one for the master secret of TLS 1.2.
LABELS = {
    "TLSv1.2": {b"CLIENT_RANDOM"},
    "TLSv1.3": {
        b"SERVER_HANDSHAKE_TRAFFIC_SECRET", b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"EXPORTER_SECRET", b"SERVER_TRAFFIC_SECRET_0",
        b"CLIENT_TRAFFIC_SECRET_0",
    },
}  # fmt: skip


def drain(sock: tlsio.TLSSocket) -> tlsio.TLSSocket:
    """Read and forget, and end when the client ends."""
    sock.on("data", lambda _chunk: None)
    return sock


def _readable_by_all(path: Path, _other: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o644)


def _of_another_user(path: Path, _other: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o600)
    os.chown(path, 65534, 65534)


# What others may have put where they know that a key log will be.
TRAPS: dict[str, Callable[[Path, Path], object]] = {
    "symbolic link": lambda path, other: path.symlink_to(other),
    "link to nothing": lambda path, other: path.symlink_to(other.with_name("nothing")),
    "hard link": lambda path, other: path.hardlink_to(other),
    "fifo": lambda path, _other: os.mkfifo(path, 0o600),
    "mode 0644": _readable_by_all,
    **({"another user's": _of_another_user} if os.geteuid() == 0 else {}),
}


class TestKeyLog:
    """The event, the option and the variable."""

    async def test_both_ends_tell_the_same(self, net: Net, version: Version) -> None:
        """A client's and a server's `keylog` have the same lines, each with its newline; the server's comes with the socket."""
        ours: list[bytes] = []
        theirs: list[tuple[bytes, tlsio.TLSSocket]] = []
        accepted: list[tlsio.TLSSocket] = []
        async with net.serve(lambda sock: accepted.append(drain(sock))) as server:
            server.on("keylog", lambda line, sock: theirs.append((line, sock)))
            client = await net.connect(server, on={"keylog": ours.append})
            await client.aclose()
        assert {line.split()[0] for line in ours} == LABELS[version]
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in ours)
        assert sorted(line for line, _ in theirs) == sorted(ours)
        assert {sock for _, sock in theirs} == set(accepted)

    async def test_before_secure_connect(self, net: Net) -> None:
        """Who wants to decrypt has the secrets before the handshake is told done."""
        order: list[str] = []
        async with net.serve(drain) as server:
            on = {"keylog": lambda _line: order.append("keylog"), "secure_connect": lambda: order.append("secure_connect")}
            client = await net.connect(server, on=on)
            client.destroy()
            await client.wait_closed()
        assert order[-1] == "secure_connect"
        assert "keylog" in order

    async def test_a_name_of_its_own(self, net: Net, version: Version) -> None:
        """A context that was chosen by name is logged too."""
        who = pki.localhost()
        lines: list[bytes] = []
        async with net.serve(drain) as server:
            server.add_context("localhost", {"cert": who.cert_pem, "key": who.key_pem})
            server.on("keylog", lambda line, _sock: lines.append(line))
            client = await net.connect(server)
            await client.aclose()
        assert {line.split()[0] for line in lines} == LABELS[version]

    async def test_nobody_asked(self, net: Net) -> None:
        """A connection that shares its context with a logged one tells nothing."""
        lines: list[bytes] = []
        context = tlsio.create_secure_context(ca=pki.ca1().cert_pem)
        async with net.serve(drain) as server:
            for on in ({"keylog": lines.append}, {}):
                client = await net.connect(server, secure_context=context, on=on)
                await client.aclose()
                count = len(lines)
                lines.clear()
        assert count == 0

    @pytest.mark.node("tls-tlswrap-segfault-2")
    async def test_listening_after_close(self, pair: Pair) -> None:
        """Too late, and no harm."""
        async with pair() as (client, _, _server):
            client.destroy()
            await client.wait_closed()
            client.on("keylog", lambda _line: None)

    @pytest.mark.node("tls-enable-keylog-cli")
    async def test_into_a_file(self, net: Net, tmp_path: Path, version: Version) -> None:
        """Server and client append to one file that only its owner may read; one warning says what it means."""
        path = tmp_path / "keys"
        with pytest.warns(UserWarning, match="can decrypt") as warned:
            async with net.serve(drain, keylog_file=path) as server:
                for _ in range(2):
                    client = await net.connect(server, keylog_file=str(path))
                    await client.aclose()
        assert len(warned) == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = path.read_bytes().splitlines()
        assert len(lines) == 4 * len(LABELS[version])
        assert len(set(lines)) == 2 * len(LABELS[version])

    @pytest.mark.node("tls-enable-keylog-cli")
    @pytest.mark.only_loop("asyncio")
    async def test_by_the_environment(self, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Version) -> None:
        """`SSLKEYLOGFILE` does what the option does."""
        path = tmp_path / "keys"
        monkeypatch.setenv("SSLKEYLOGFILE", str(path))
        with pytest.warns(UserWarning, match="can decrypt"):
            async with pair() as (client, _, _server):
                assert client.get_protocol() == version
        assert len(path.read_bytes().splitlines()) == 2 * len(LABELS[version])

    def test_a_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        """It is told when the server is made."""
        with pytest.raises(FileNotFoundError):
            tlsio.create_server(keylog_file=tmp_path / "missing" / "keys")

    async def test_a_file_that_goes_away(self, net: Net, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """No connection ends for it; the log says it, without the secrets."""
        folder = tmp_path / "folder"
        folder.mkdir()
        lines: list[bytes] = []
        with pytest.warns(UserWarning, match="can decrypt"):
            async with net.serve(drain) as server:
                made = net.client_options(keylog_file=folder / "keys", on={"keylog": lines.append})
                client = tlsio.connect(**made, socket=await net.dial(server), servername="localhost")
                (folder / "keys").unlink()
                folder.rmdir()
                await (await client).aclose()
        assert "Cannot write the key log" in caplog.text
        assert all(line.split()[2].decode() not in caplog.text for line in lines)

    @pytest.mark.parametrize("kind", [*TRAPS, "gone"])
    async def test_a_file_that_is_a_trap(self, net: Net, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """Refused at the start; set later, nothing is written there, and the loop is not held up."""
        path, secret = tmp_path / "keys", tmp_path / "of another"
        secret.write_bytes(b"as it was")
        secret.chmod(0o600)
        if kind in TRAPS:
            TRAPS[kind](path, secret)
            for make in (tlsio.create_server, lambda **options: tlsio.connect(443, **options)):
                with pytest.raises(OSError, match=r"key log|symbolic links|No such device") as caught:
                    make(keylog_file=path)
                assert any("keylog_file" in note for note in caught.value.__notes__)
            path.unlink()
        with pytest.warns(UserWarning, match="secrets"):
            server = tlsio.create_server(drain, keylog_file=path, **net.server_options())
        path.unlink()
        if kind in TRAPS:
            TRAPS[kind](path, secret)
        await server.listen(0, "127.0.0.1")
        async with tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem) as client:
            client.end()
            await client.read()
        server.close(0)
        await server.wait_closed()
        assert secret.read_bytes() == b"as it was"
        assert ("Cannot write the key log" in caplog.text) is (kind in TRAPS)
        assert kind in TRAPS or stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_secrets_are_in_no_repr(self, pair: Pair, tmp_path: Path) -> None:
        """Neither sockets nor servers show them."""
        with pytest.warns(UserWarning, match="can decrypt"):
            async with pair(server={"keylog_file": tmp_path / "keys"}) as (client, peer, server):
                shown = repr((client, peer, server))
        assert all(line.split()[2] not in shown.encode() for line in (tmp_path / "keys").read_bytes().splitlines())

    @pytest.mark.parametrize(("given", "kind"), [(3, TypeError), (b"keys", TypeError), ("", ValueError)])
    def test_wrong_paths(self, given: Any, kind: type[Exception]) -> None:
        """A str or os.PathLike, not empty."""
        with pytest.raises(kind, match="keylog_file"):
            tlsio.create_server(keylog_file=given)


class TestTrace:
    """`enable_trace`, the option and the method."""

    @pytest.mark.node("tls-enable-trace-cli")
    async def test_by_option(self, net: Net, capsys: pytest.CaptureFixture[str]) -> None:
        """The handshake is printed to stderr, and a warning tells that it exposes data."""
        async with net.serve(drain) as server:
            with pytest.warns(UserWarning, match="sensitive"):
                client = await net.connect(server, enable_trace=True)
            await client.aclose()
        printed = capsys.readouterr()
        assert "ClientHello" in printed.err
        assert "Certificate" in printed.err
        assert printed.out == ""

    @pytest.mark.only_loop("asyncio")
    async def test_of_a_server(self, net: Net, capsys: pytest.CaptureFixture[str]) -> None:
        """A server traces its connections from the first byte on."""
        with pytest.warns(UserWarning, match="sensitive"):
            async with net.serve(drain, enable_trace=True) as server:
                client = await net.connect(server)
                await client.aclose()
        assert "Received" in (printed := capsys.readouterr().err)
        assert "ClientHello" in printed

    async def test_into_a_file(self, pair: Pair) -> None:
        """From the call on, into any text file."""
        file = io.StringIO()
        async with pair() as (client, peer, _):
            with pytest.warns(UserWarning, match="sensitive"):
                client.enable_trace(file)
            await client.send(b"x" * 33)
            assert await peer.readexactly(33)
        assert "Sent" in file.getvalue()
        assert "ClientHello" not in file.getvalue()

    async def test_a_file_that_fails(self, pair: Pair) -> None:
        """It is the user's code: the socket ends with its error."""
        file = io.StringIO()
        file.close()
        async with pair() as (client, _, _server):
            with pytest.warns(UserWarning, match="sensitive"):
                client.enable_trace(file)
            heard: list[Exception] = []
            client.on("error", heard.append)
            client.write(b"x")
            await client.wait_closed()
            assert isinstance(heard[0], ValueError)


class TestClientHello:
    """`client_hello`."""

    async def test_by_option(self, pair: Pair, version: Version) -> None:
        """What the client offers is kept with the server's socket, also after the close."""
        client_options = {"alpn_protocols": ["h2", "http/1.1"], "ecdh_curve": "X25519:prime256v1", "sigalgs": "ECDSA+SHA256:RSA-PSS+SHA256"}
        async with pair(server={"client_hello": True}, client=client_options) as (client, peer, _):
            peer.destroy()
            await peer.wait_closed()
            hello = peer.client_hello
            assert hello is not None
            assert hello.server_name == "localhost"
            assert hello.alpn_protocols == (b"h2", b"http/1.1")
            assert hello.versions == (version,)
            assert hello.groups[:2] == (29, 23)
            assert hello.signature_algorithms == (0x0403, 0x0804)
            assert hello.ja4.startswith("t13d" if version == "TLSv1.3" else "t12d")
            assert client.client_hello is None

    @pytest.mark.parametrize("name", ["sni_callback", "alpn_callback", "check_client"])
    async def test_inside_hooks(self, net: Net, name: str) -> None:
        """Where there is a hook it is recorded, and readable there."""
        seen: list[Any] = []

        def hook(*args: Any) -> Any:
            seen.append(args[-1].client_hello)
            return "h2" if name == "alpn_callback" else None

        async with net.serve(drain, **{name: hook}) as server:
            client = await net.connect(server, alpn_protocols=["h2"])
            await client.aclose()
        assert [hello.alpn_protocols for hello in seen] == [(b"h2",)]

    async def test_not_recorded(self, pair: Pair) -> None:
        """Nobody asked in time: the error names the option."""
        async with pair() as (_, peer, _server):
            with pytest.raises(tlsio.UsageError) as caught:
                _ = peer.client_hello
            assert "client_hello=True" in (caught.value.hint or "")

    async def test_the_first_of_two(self, net: Net) -> None:
        """When the server asks for another key share, the hello is the client's first."""
        sockets: list[Any] = []
        async with net.serve(lambda sock: sockets.append(drain(sock)), client_hello=True, ecdh_curve="prime256v1") as server:
            client = await net.connect(server, ecdh_curve="X25519:prime256v1")
            await client.aclose()
        assert 44 not in sockets[0].client_hello.extensions  # the cookie of a second hello
        assert sockets[0].client_hello.groups == (29, 23)
