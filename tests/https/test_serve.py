"""`tlsio.https.serve`, for programs that do nothing else, and `Settings` in a loop of the caller."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import pki
from served import client_context, replace
from tlsio import FileSource
from tlsio.certs import dev
from tlsio.https import Files, Server, client_identity
from tlsio.https.serve import serve
from tlsio.model.errors import UsageError


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the path; `/held` does not end by itself."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    del receive
    if scope["path"] == "/held":
        HELD.set()
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


HELD: Any = None


@pytest.fixture(autouse=True)
def _held() -> None:
    globals()["HELD"] = asyncio.Event()


def identity() -> dict[str, Any]:
    """Return a certificate."""
    return {"cert": pki.localhost().chain_pem, "key": pki.localhost().key_pem}


async def ask(port: int, path: str = "/") -> bytes:
    """Ask once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(), server_hostname="localhost")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    try:
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


async def started(**options: Any) -> tuple[asyncio.Task[None], Server]:
    """Run `serve` until it accepts connections."""
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Server] = loop.create_future()
    running = loop.create_task(serve(app, "127.0.0.1", 0, on_start=made.set_result, lifespan="off", **options))
    await asyncio.wait((running, made), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    return running, await made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it(number: int) -> None:
    """The handlers are removed then."""
    before = signal.getsignal(number)
    running, server = await started(**identity())
    assert await ask(server.port or 0) == b"ok"
    os.kill(os.getpid(), number)
    await running
    assert signal.getsignal(number) == before


async def test_a_second_signal_does_not_wait() -> None:
    """The request is cut off."""
    running, server = await started(**identity())
    asking = asyncio.create_task(ask(server.port or 0, "/held"))
    await HELD.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    while server.tls_server.listening:  # noqa: ASYNC110 - the first signal has no other effect here
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert (await asyncio.gather(asking, return_exceptions=True))[0] != b"ok"


async def test_a_cancellation_ends_it() -> None:
    """Without signals, too."""
    running, server = await started(handle_signals=False, **identity())
    assert await ask(server.port or 0) == b"ok"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not server.tls_server.listening


async def test_sighup_reads_files_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is one line, and the old certificate stays."""
    caplog.set_level("INFO", "tlsio.https")
    for name, content in (("cert", pki.localhost().chain_pem), ("key", pki.localhost().key_pem)):
        (tmp_path / name).write_bytes(content)
    running, server = await started(secure_context=FileSource(cert=tmp_path / "cert", key=tmp_path / "key"))
    for content, line in ((b"nothing", "could not be read again"), (pki.localhost().key_pem, "were read again")):
        replace(tmp_path / "key", content)
        os.kill(os.getpid(), signal.SIGHUP)
        while line not in caplog.text:  # noqa: ASYNC110 - only the log shows it
            await asyncio.sleep(0.01)
        assert caplog.records[-1].exc_info is None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=False)
        writer.close()
        del reader
    os.kill(os.getpid(), signal.SIGTERM)
    await running


async def test_a_development_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Is made where there is no other, and the log says so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    running, server = await started(handle_signals=False)
    assert server.port
    assert "No certificate is given" in caplog.text
    assert Path(dev.where(), "root.pem").is_relative_to(tmp_path)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_wrong_options() -> None:
    """Are found before anything is opened."""
    with pytest.raises(UsageError):
        await started(**identity(), no_such_option=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("limits", {"max_streams": 1}),
        ("limits", 0),
        ("limits", {}),
        ("acme", "example.com"),
        ("acme", False),
        ("redirect_port", "80"),
        ("redirect_port", -1),
        ("redirect_port", False),
        ("redirect_host", b"localhost"),
        ("redirect_status", 302),
        ("redirect_status", [308]),
        ("wsgi_threads", "10"),
        ("wsgi_threads", 0),
    ],
)
def test_options_of_wrong_types(option: str, value: Any) -> None:
    """Each is named, also where another option decides whether it is used."""
    with pytest.raises(UsageError, match=option) as caught:
        Server(app, **identity(), **{option: value})
    assert caught.value.code in {"ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE", "ERR_OUT_OF_RANGE"}


@pytest.mark.parametrize("option", ["listing", "follow_symlinks"])
def test_what_opens_a_folder_is_true_or_false(tmp_path: Path, option: str) -> None:
    """A text such as "no" would be true."""
    with pytest.raises(UsageError, match=option) as caught:
        Files(tmp_path, **{option: "no"})
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize("folder", [b"/", None, 5, ""], ids=repr)
def test_a_folder_is_a_path(folder: Any) -> None:
    """And nothing else."""
    with pytest.raises(UsageError, match="folder must"):
        Files(folder)


def test_whether_a_client_is_required_is_true_or_false() -> None:
    """A text such as "no" would be true."""
    with pytest.raises(UsageError, match="required"):
        client_identity(required="no")  # type: ignore[call-overload]


def test_a_server_outlives_its_loop() -> None:
    """A `stop` waits for a `start` that it has interrupted, in each of two loops."""
    begun: list[asyncio.Event] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        del scope, send
        await receive()
        begun[-1].set()
        await asyncio.Event().wait()

    server = Server(slow, **identity(), lifespan="on")

    async def interrupt() -> None:
        begun.append(asyncio.Event())
        starting = asyncio.create_task(server.start("127.0.0.1", 0))
        await begun[-1].wait()
        await server.stop()
        with pytest.raises(UsageError, match="stop"):
            await starting

    for _ in range(2):
        asyncio.run(interrupt())
