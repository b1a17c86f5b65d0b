"""FileSource: which sets of files it takes, when it looks, and what it tells."""

from __future__ import annotations

import asyncio
import copy
import errno
import logging
import os
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import pki
import tlsio
from file_clock import FileClock
from tlsio import certs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from net import Net


class Files:
    """A folder with `cert`, `key` and others, a clock, and a source of them."""

    def __init__(self, folder: Path, who: pki.Identity, **others: bytes) -> None:
        self.folder = folder
        self.time = FileClock()
        self.put(cert=who.chain_pem, key=who.key_pem, **others)
        self.others = others
        self.source = self.make()

    def make(self, **options: Any) -> tlsio.FileSource:
        """Make a source of the files."""
        paths = {name: self.folder / name for name in ("cert", "key", *self.others)}
        return tlsio.FileSource(clock=self.time.clock, now=self.time.now, **{"request_cert": False, **paths} | options)

    def put(self, **contents: bytes) -> None:
        """Write files in place."""
        for name, content in contents.items():
            (self.folder / name).write_bytes(content)

    def identity(self, who: pki.Identity) -> None:
        """Write certificate and key."""
        self.put(cert=who.chain_pem, key=who.key_pem)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The usual server in files."""
    return Files(tmp_path, pki.localhost())


def leaf_of(context: tlsio.SecureContext) -> bytes:
    """Return the certificate of a context."""
    [(leaf, _issuer)] = context.native.identities
    return leaf


async def ask(source: tlsio.FileSource) -> tlsio.SecureContext:
    """Ask as a connection does."""
    answer = source.context_for("localhost")
    return answer if isinstance(answer, tlsio.SecureContext) else await answer


def heard(source: tlsio.FileSource) -> list[object]:
    """Return a list to which each event is added: contexts and errors."""
    told: list[object] = []
    source.on("changed", told.append)
    source.on("error", told.append)
    return told


# ---- taking a change


async def test_connection_after_a_change_gets_the_new_files(files: Files) -> None:
    """Not only the one after it: a server may have one visitor a day."""
    first = await ask(files.source)
    assert leaf_of(first) == pki.localhost().cert_der
    files.identity(pki.localhost_rsa())
    files.time.forward()
    second = await ask(files.source)
    assert leaf_of(second) == pki.localhost_rsa().cert_der
    assert leaf_of(first) == pki.localhost().cert_der
    assert await ask(files.source) is second


async def test_server_and_client_follow_their_files(net: Net, tmp_path: Path) -> None:
    """Certificates on one side and roots on the other, changed together; open connections stay."""
    server_files = Files(tmp_path, pki.localhost())
    (tmp_path / "ca").write_bytes(pki.ca1().cert_pem)
    version = {"min_version": net.version, "max_version": net.version}
    source = server_files.make(**version)
    clock = server_files.time
    client: dict[str, Any] = {"secure_context": tlsio.FileSource(clock=clock.clock, now=clock.now, ca=tmp_path / "ca", **version)}  # type: ignore[arg-type]
    async with net.serve(secure_context=source) as server:
        old = await net.connect(server, **client)
        server_files.identity(pki.leaf("localhost", issuer=pki.ca2(), names=["localhost"]))
        clock.forward()
        with pytest.raises(tlsio.CertificateError):  # the server has changed, the client has not
            await net.connect(server, **client)
        (tmp_path / "ca").write_bytes(pki.ca2().cert_pem)
        clock.forward()
        new = await net.connect(server, **client)
        assert new.authorized
        assert not old.closed
        for sock in (old, new):
            sock.destroy()
            await sock.wait_closed()


@pytest.mark.parametrize("missing", ["key", "cert"])
async def test_certificate_without_its_key_waits_for_it(files: Files, missing: str, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, however often it is asked; then the key comes."""
    new = pki.localhost_rsa()
    parts = {"cert": new.chain_pem, "key": new.key_pem}
    late = {missing: parts.pop(missing)}
    old = await ask(files.source)
    told = heard(files.source)
    files.put(**parts)
    for _ in range(3):
        files.time.forward()
        assert await ask(files.source) is old
    [error] = told
    assert isinstance(error, tlsio.ConfigError)
    assert error.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
    [record] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "the old ones stay in use" in record.getMessage()
    assert f"[{error.code}]. {error.hint}" in record.getMessage()
    files.put(**late)
    files.time.forward()
    assert leaf_of(await ask(files.source)) == new.cert_der
    assert len(told) == 2


@pytest.mark.parametrize("cut", [0, 5, 40, 200, -40, -8])
@pytest.mark.parametrize("name", ["cert", "key", "ca", "crl"])
async def test_file_that_is_cut_off_is_not_taken(tmp_path: Path, name: str, cut: int) -> None:
    """Wherever it ends: also within the first line of a second block, where OpenSSL sees nothing but its first."""
    who, ca = pki.localhost(), pki.ca1().cert_pem
    whole = {"cert": who.cert_pem + ca, "key": who.key_pem, "ca": ca + pki.ca2().cert_pem, "crl": pki.ca1_crl() + pki.ca2_crl()}
    first = {"cert": who.cert_pem, "key": b"", "ca": ca, "crl": pki.ca1_crl()}[name]
    files = Files(tmp_path, who, ca=whole["ca"], crl=whole["crl"])
    old = await ask(files.source)
    told = heard(files.source)
    second = whole[name].removeprefix(first)
    files.put(**{name: first + second[:cut]})
    files.time.forward()
    if first and not cut:
        return  # complete in itself: nothing tells that more was to come
    assert await ask(files.source) is old
    assert len(told) == 1


async def test_der_that_looks_cut_off_is_taken(files: Files) -> None:
    """Bytes like a newline and a hyphen occur in one of some hundred certificates."""
    key = certs.generate_key()
    der = b""
    while not der.rpartition(b"\n")[2].startswith(b"-"):
        der = certs.self_signed("localhost", key=key).certificate.public_bytes(Encoding.DER)
    files.put(cert=der, key=certs.key_pem(key))
    assert leaf_of(await ask(files.source)) == der


async def test_file_that_was_just_written_is_left_alone(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is warned of a key that is being written."""
    old = await ask(files.source)
    files.put(key=pki.localhost_rsa().key_pem[:300])
    files.time.forward(0.1)
    assert await ask(files.source) is old
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert leaf_of(await ask(files.source)) == pki.localhost_rsa().cert_der
    assert caplog.records == []


async def test_file_from_the_future_is_taken_when_it_stays(files: Files) -> None:
    """As on a file server whose clock is ahead of ours."""
    await ask(files.source)
    files.identity(pki.localhost_rsa())
    for name in ("cert", "key"):
        os.utime(files.folder / name, (2**32, 2**32))
    for _ in range(2):
        files.time.forward(1.0)
        found = await ask(files.source)
    assert leaf_of(found) == pki.localhost_rsa().cert_der


async def test_set_that_was_taken_at_the_start_is_read_again(files: Files) -> None:
    """It may have been just written, and what follows within the same tick of the kernel's clock looks the same."""
    first = await ask(files.source)
    told = heard(files.source)
    files.time.forward()
    assert await ask(files.source) is first
    assert told == []


async def test_touched_files_are_no_change(files: Files) -> None:
    """The content counts: the context, and its sessions, stay."""
    first = await ask(files.source)
    told = heard(files.source)
    files.identity(pki.localhost())
    files.time.forward()
    assert await ask(files.source) is first
    assert told == []


def kubernetes(folder: Path, number: int, who: pki.Identity) -> None:
    """Write a secret as kubelet does: a folder of its own, and `..data` renamed over the old link."""
    data = folder / f"..{number}"
    data.mkdir()
    (data / "cert").write_bytes(who.chain_pem)
    (data / "key").write_bytes(who.key_pem)
    link = folder / "..data_tmp"
    link.symlink_to(data.name)
    link.replace(folder / "..data")


async def test_each_swap_of_a_parent_symlink_is_followed(tmp_path: Path) -> None:
    """Whoever watches the file's own inode misses every second one."""
    cast = [pki.localhost(), pki.localhost_rsa(), pki.chained(), pki.self_signed()]
    kubernetes(tmp_path, 0, cast[0])
    for name in ("cert", "key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    time = FileClock()
    source = tlsio.FileSource(cert=tmp_path / "cert", key=tmp_path / "key", clock=time.clock, now=time.now)
    assert leaf_of(await ask(source)) == cast[0].cert_der
    for number, who in enumerate(cast[1:], start=1):
        kubernetes(tmp_path, number, who)
        time.forward()
        assert leaf_of(await ask(source)) == who.cert_der


@pytest.mark.parametrize("old_is_valid", [True, False])
async def test_expired_certificate_does_not_replace_a_valid_one(tmp_path: Path, *, old_is_valid: bool) -> None:
    """Such as a backup that was copied over the present files."""
    files = Files(tmp_path, pki.localhost() if old_is_valid else pki.self_signed())
    if not old_is_valid:
        files.identity(pki.expired())
    await ask(files.source)
    told = heard(files.source)
    expired = pki.leaf("localhost", not_before=pki.NOW - 9 * pki.DAY, not_after=pki.NOW - pki.DAY)
    files.identity(expired)
    files.time.forward()
    found = leaf_of(await ask(files.source))
    assert found == (pki.localhost().cert_der if old_is_valid else expired.cert_der)
    assert [getattr(one, "code", None) for one in told] == (["CERT_HAS_EXPIRED"] if old_is_valid else [None])


async def test_certificate_for_later_is_taken_when_it_becomes_valid(files: Files) -> None:
    """The files are not read each second until then."""
    await ask(files.source)
    told = heard(files.source)
    files.identity(pki.not_yet_valid())
    files.time.forward()
    assert leaf_of(await ask(files.source)) == pki.localhost().cert_der
    [error] = told
    assert getattr(error, "code", None) == "CERT_NOT_YET_VALID"
    files.time.forward(2 * 86400)
    assert leaf_of(await ask(files.source)) == pki.not_yet_valid().cert_der


async def test_missing_file_keeps_the_old_set(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """Until all are there again."""
    old = await ask(files.source)
    (files.folder / "key").unlink()
    for _ in range(3):
        files.time.forward()
        assert await ask(files.source) is old
    [record] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert str(files.folder / "key") in record.getMessage()
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert leaf_of(await ask(files.source)) == pki.localhost_rsa().cert_der


async def test_unreadable_file_is_tried_again(files: Files) -> None:
    """A directory in its place is replaced by the file."""
    old = await ask(files.source)
    (files.folder / "key").unlink()
    (files.folder / "key").mkdir()
    files.time.forward()
    assert await ask(files.source) is old
    (files.folder / "key").rmdir()
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert leaf_of(await ask(files.source)) == pki.localhost_rsa().cert_der


@pytest.mark.parametrize("step", ["SecureContext", "read_all"])
async def test_failure_without_a_text_is_reported(
    files: Files, step: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a MemoryError, wherever it happens."""
    old = await ask(files.source)
    told = heard(files.source)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"tlsio.connection.context.file_source.{step}", fail)
    files.identity(pki.localhost_rsa())
    for _ in range(2):
        files.time.forward()
        assert await ask(files.source) is old
    assert [type(error) for error in told] == [MemoryError]
    assert "MemoryError" in caplog.text
    assert files.source.stats().failures == 1


# ---- looking


async def test_files_are_looked_at_once_a_second_and_only_on_use(files: Files) -> None:
    """A source that nobody uses costs nothing."""
    assert files.source.stats().checks == 0
    await files.source.start()
    for _ in range(100):
        await ask(files.source)
    assert files.source.stats().checks == 1
    files.time.forward(60)
    assert files.source.stats().checks == 1
    for _ in range(100):
        await ask(files.source)
    assert files.source.stats().checks == 2


async def test_file_system_that_hangs_stops_no_connection(
    files: Files, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection waits and reports it, later ones do not wait; a load that ends after all is taken."""
    old = await ask(files.source)
    told = heard(files.source)
    goes_on, changed = threading.Event(), asyncio.Event()
    files.source.on("changed", lambda _context: changed.set())

    def hang(options: Any) -> tlsio.SecureContext:
        goes_on.wait()
        return tlsio.SecureContext(options)

    monkeypatch.setattr("tlsio.connection.context.file_source.SecureContext", hang)
    monkeypatch.setattr("tlsio.connection.context.file_source._PATIENCE", 0.01)
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert await asyncio.gather(ask(files.source), ask(files.source)) == [old, old]
    [error] = told
    assert getattr(error, "code", None) == "ERR_TLS_FILES_HANGING"
    assert "were not read within a second" in caplog.text
    for _ in range(3):
        files.time.forward()
        assert files.source.context_for("localhost") is old  # not an awaitable
        assert files.source.context_now() is old
    assert len(told) == files.source.stats().failures == 1
    goes_on.set()
    await changed.wait()
    assert leaf_of(await ask(files.source)) == pki.localhost_rsa().cert_der


def test_thread_without_a_loop_waits_once_for_files_that_hang(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reports them as a loop does."""
    old = files.source.context_now()
    told = heard(files.source)
    goes_on = threading.Event()
    monkeypatch.setattr("tlsio.connection.context.file_source.SecureContext", lambda _options: goes_on.wait())
    monkeypatch.setattr("tlsio.connection.context.file_source._PATIENCE", 0.01)
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert files.source.context_now() is old
    assert [getattr(error, "code", None) for error in told] == ["ERR_TLS_FILES_HANGING"]
    goes_on.set()


@pytest.mark.parametrize("kind", ["pipe", "large"])
async def test_path_that_is_no_longer_a_file_to_read(files: Files, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a pipe, nor reads without end; good files are taken afterwards, and by reload()."""
    old = await ask(files.source)
    told = heard(files.source)
    path = files.folder / "key"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x" * 100_001)
        monkeypatch.setattr("tlsio.connection.context.files._MAX_BYTES", 100_000)
    files.time.forward()
    assert await ask(files.source) is old
    with pytest.raises((tlsio.ConfigError, OSError), match=str(path)):
        await files.source.reload()
    assert len(told) == 1
    path.unlink()
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert leaf_of(await ask(files.source)) == pki.localhost_rsa().cert_der


async def test_cancelled_connection_does_not_stop_the_load_for_others(files: Files) -> None:
    """They wait for the same."""
    await ask(files.source)
    files.identity(pki.localhost_rsa())
    files.time.forward()
    first, second = (asyncio.create_task(ask(files.source)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert leaf_of(await second) == pki.localhost_rsa().cert_der


# ---- starting


async def test_first_set_must_be_usable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`start` and `context_for` raise, again and again, until it is."""
    files = Files(tmp_path, pki.localhost())
    (tmp_path / "key").unlink()
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as missing:
            await files.source.start()
        assert "options" not in str(missing.value.__notes__)
        assert "key=" in str(missing.value.__notes__)
    files.put(key=pki.localhost_rsa().key_pem)
    files.time.forward()
    for _ in range(2):
        with pytest.raises(tlsio.ConfigError):
            await ask(files.source)
    files.put(key=pki.localhost().key_pem)
    files.time.forward()
    await files.source.start()
    assert caplog.records == []


@pytest.mark.parametrize("options", [{}, {"cert": b"x", "key": b"x"}, {"ciphers": "DEFAULT"}])
def test_source_needs_a_file(options: dict[str, Any]) -> None:
    """What has none does not change."""
    with pytest.raises(tlsio.UsageError, match="no file to watch") as caught:
        tlsio.FileSource(**options)
    assert caught.value.code == "ERR_MISSING_ARGS"


def test_options_are_checked_at_once(tmp_path: Path) -> None:
    """Their files are not."""
    with pytest.raises(tlsio.UsageError, match="cret"):
        tlsio.FileSource(cert=tmp_path / "cert", cret=3)  # type: ignore[call-arg]
    assert str(tmp_path / "cert") in repr(tlsio.FileSource(cert=tmp_path / "cert"))


@pytest.mark.parametrize("attempt", [pickle.dumps, copy.copy])
def test_source_is_not_copied(files: Files, attempt: Callable[[object], object]) -> None:
    """It holds private keys."""
    with pytest.raises(tlsio.UsageError, match="pickled or copied"):
        attempt(files.source)


# ---- reload


async def test_reload_takes_what_was_just_written(files: Files) -> None:
    """As a deploy hook wants it; it counts as a use, and its failure raises and keeps the old."""
    old = await ask(files.source)
    files.put(key=pki.localhost_rsa().key_pem)
    with pytest.raises(tlsio.ConfigError):
        await files.source.reload()
    assert await ask(files.source) is old
    files.put(cert=pki.localhost_rsa().chain_pem)
    new = await files.source.reload()
    assert leaf_of(new) == pki.localhost_rsa().cert_der
    assert await files.source.reload() is new
    first, second = await asyncio.gather(files.source.reload(), files.source.reload())
    assert first is second is new


# ---- statistics and events


async def test_stats_tell_the_next_expiry(tmp_path: Path) -> None:
    """Of certificates, lists and roots, whichever ends first."""
    soon = pki.leaf("soon", not_after=pki.NOW + 2 * pki.DAY)
    files = Files(tmp_path, soon, ca=pki.ca1().cert_pem, crl=pki.revocation_list(pki.ca1(), revoked=[], next_update=pki.NOW + pki.DAY))
    assert files.source.stats() == tlsio.FileSourceStats()
    await files.source.start()
    stats = files.source.stats()
    assert (stats.loads, stats.failures, stats.next_expiry) == (1, 0, pki.NOW + pki.DAY)
    assert stats.loaded_at is not None
    files.put(crl=pki.revocation_list(pki.ca1(), revoked=[]))
    await files.source.reload()
    assert files.source.stats().next_expiry == pki.NOW + 2 * pki.DAY
    files.put(
        ca=pki.authority("old", not_after=pki.NOW - pki.DAY).cert_pem
        + pki.authority("new", not_after=pki.NOW + pki.DAY).cert_pem
        + pki.ca1().cert_pem
    )
    await files.source.reload()
    assert files.source.stats().next_expiry == pki.NOW + pki.DAY
    assert files.source.stats().loads == 3


async def test_listeners_run_in_their_loop(files: Files, loop_errors: list[Any]) -> None:
    """Sync, async, once and removed ones; a failing one is reported there."""
    here = threading.get_ident()
    told: list[str] = []
    done = asyncio.Event()

    async def tell_later(_context: tlsio.SecureContext) -> None:
        await asyncio.sleep(0)
        told.append(f"async {threading.get_ident() == here}")
        if len(told) >= 5:
            done.set()

    def never(_context: tlsio.SecureContext) -> None:
        raise AssertionError("it was removed")

    def fail(_context: tlsio.SecureContext) -> None:
        raise ZeroDivisionError

    await ask(files.source)
    files.source.on("changed", lambda _context: told.append(f"sync {threading.get_ident() == here}"))
    files.source.once("changed", lambda _context: told.append(f"once {threading.get_ident() == here}"))
    files.source.on("changed", tell_later)
    files.source.once("changed", fail)
    files.source.on("changed", never)
    files.source.off("changed", never)
    files.source.once("changed", never)
    files.source.off("changed", never)
    for who in (pki.localhost_rsa(), pki.self_signed()):
        files.identity(who)
        await files.source.reload()
    await done.wait()
    assert sorted(told) == ["async True", "async True", "once True", "sync True", "sync True"]
    [report] = loop_errors
    assert isinstance(report["exception"], ZeroDivisionError)
    loop_errors.clear()


def test_listener_without_a_loop_runs_in_the_loading_thread(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """A plain program has none; what fails there is logged."""

    async def never(_context: tlsio.SecureContext) -> None:
        """Need a loop."""

    told: list[object] = []
    files.source.context_for()
    files.source.on("changed", never)
    files.source.on("changed", told.append)
    files.identity(pki.localhost_rsa())
    files.time.forward()
    context = files.source.context_for()
    for thread in threading.enumerate():
        if thread.name == "tlsio FileSource":
            thread.join()
    assert told == [context]
    assert [record.message for record in caplog.records] == ["A listener of a FileSource failed"]


def test_listener_of_a_closed_loop_is_not_called(files: Files) -> None:
    """Its loop is gone."""
    told: list[object] = []

    async def listen() -> None:
        files.source.on("changed", told.append)
        await files.source.start()

    asyncio.run(listen())
    files.identity(pki.localhost_rsa())
    files.time.forward()
    files.source.context_for()
    assert told == []


# ---- threads, processes, and calls that cannot wait


def test_thread_without_a_loop_waits_for_the_files(files: Files) -> None:
    """Such as one that uses a SecurePair."""
    server = tlsio.create_secure_pair(files.source, is_server=True)
    files.identity(pki.localhost_rsa())
    files.time.forward()
    client = tlsio.create_secure_pair(is_server=False, servername="localhost", ca=pki.ca1().cert_pem, reject_unauthorized=True)
    for _ in range(4):
        server.encrypted.write(client.encrypted.read())
        client.encrypted.write(server.encrypted.read())
    assert client.cleartext.authorized
    assert bytes(client.cleartext.get_peer_certificate()["raw"]) == pki.localhost_rsa().cert_der  # type: ignore[index]


async def test_call_that_cannot_wait_reads_the_files_itself(files: Files) -> None:
    """In a loop, `TLSSocket(stream, ...)` and SecurePair do not get an awaitable."""
    files.source.context_now()
    files.identity(pki.localhost_rsa())
    files.time.forward()
    assert leaf_of(files.source.context_now()) == pki.localhost_rsa().cert_der


def test_one_source_serves_several_loops(files: Files) -> None:
    """Each thread has a loop, a server and clients; the files change all the time."""
    cast = [pki.localhost(), pki.localhost_rsa(), pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"])]
    known = {who.cert_der for who in cast}
    failures: list[BaseException] = []
    files.source.context_now()

    async def run() -> None:
        async with tlsio.serve(greet, 0, "127.0.0.1", secure_context=files.source) as server:
            for _ in range(10):
                async with tlsio.connect(server.port, "127.0.0.1", servername="localhost", ca=pki.ca1().cert_pem) as sock:
                    assert await sock.read_all() == b"hello"
                    assert bytes(sock.get_peer_certificate()["raw"]) in known  # type: ignore[index]

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for one in threads:
        one.start()
    number = 0
    while any(one.is_alive() for one in threads):
        number += 1
        files.identity(cast[number % 3])
        files.time.forward()
        threads[0].join(0.01)
    for one in threads:
        one.join()
    assert failures == []


async def greet(sock: tlsio.TLSSocket) -> None:
    """Say hello."""
    await sock.send(b"hello")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_source_survives_a_fork(files: Files) -> None:
    """The child has no thread that would finish a load."""
    files.source.context_for()
    files.identity(pki.localhost_rsa())
    files.time.forward()
    child = os.fork()
    if not child:
        found = files.source.context_for()
        os._exit(0 if isinstance(found, tlsio.SecureContext) and leaf_of(found) == pki.localhost_rsa().cert_der else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_statistics_are_available_after_a_fork(tmp_path: Path) -> None:
    """Another thread of the parent was looking at the files, and holds the lock in the child for good."""
    holds, forked = threading.Event(), threading.Event()

    def clock() -> float:
        """Stop within a look."""
        holds.set()
        forked.wait()
        return 0.0

    files = Files(tmp_path, pki.localhost())
    files.time.clock = clock  # type: ignore[method-assign]
    source = files.make()
    looker = threading.Thread(target=source.context_now)
    looker.start()
    holds.wait()
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(source.stats().loads)
    forked.set()
    looker.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_during_the_first_load(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child reads the files itself."""
    reads, forked = threading.Event(), threading.Event()

    def read(options: Any) -> tlsio.SecureContext:
        reads.set()
        forked.wait()
        return tlsio.SecureContext(options)

    monkeypatch.setattr("tlsio.connection.context.file_source.SecureContext", read)
    loader = threading.Thread(target=files.source.context_now)
    loader.start()
    reads.wait()
    child = os.fork()
    if not child:
        signal.alarm(10)
        monkeypatch.undo()
        os._exit(0 if leaf_of(files.source.context_now()) == pki.localhost().cert_der else 1)
    forked.set()
    loader.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_first_load_without_a_thread_is_tried_again(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt raises an OSError until threads can be started."""
    start = threading.Thread.start

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="thread") as caught:
            files.source.context_now()
        assert caught.value.errno == errno.EAGAIN
    monkeypatch.setattr(threading.Thread, "start", start)
    assert leaf_of(files.source.context_now()) == pki.localhost().cert_der
