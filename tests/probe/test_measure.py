"""How fast a server is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from faulty_servers import good, openssl, ours, script
from tlsio import probe
from tlsio.probe.measure import PERCENTILES, _summarise

if TYPE_CHECKING:
    from tlsio.probe.measure import Progress

CA = pki.ca1().cert_pem


async def test_handshakes_and_echoes_are_counted() -> None:
    """With percentiles and progress."""
    steps: list[Progress] = []
    async with ours() as port:
        seen = await probe.measure("localhost", port, seconds=0.05, concurrency=2, ca=CA, on_progress=steps.append)
    assert seen.version == "TLSv1.3"
    for rate in (seen.handshakes, seen.echoes):
        assert rate is not None
        assert rate.count > 0
        assert rate.failures == 0
        assert list(rate.percentiles) == list(PERCENTILES)
        assert sorted(rate.percentiles.values()) == list(rate.percentiles.values())
    assert [one.phase for one in steps if one.done == 1] == ["handshakes", "echoes"]
    assert json.loads(json.dumps(seen.as_json()))["handshakes"]["count"] == seen.handshakes.count


async def test_a_server_that_does_not_echo_has_no_echoes() -> None:
    """Its handshakes are measured all the same."""
    async with ours(page=b"something else, and longer than a message of the usual 64 bytes, so that it is read whole") as port:
        seen = await probe.measure("localhost", port, seconds=0.02, ca=CA)
    assert seen.echoes is None


@pytest.mark.parametrize("phase", ["handshakes", "echoes"])
async def test_cancelled_measurement_is_not_lost(phase: str) -> None:
    """What was measured until then is passed on."""
    begun, kept = asyncio.Event(), list[probe.Measurement]()

    def notice(step: Progress) -> None:
        if step.phase == phase:
            begun.set()

    async with ours() as port:
        seconds = 60.0 if phase == "handshakes" else 0.2
        task = asyncio.create_task(probe.measure("localhost", port, seconds=seconds, ca=CA, on_progress=notice, on_cancel=kept.append))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    [seen] = kept
    assert not seen.is_complete
    assert seen.handshakes.count > 0
    assert seen.handshakes.percentiles
    assert (seen.echoes is None) is (phase == "handshakes")


async def test_silent_server_is_named() -> None:
    """With the time that it had."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError, match=f"127.0.0.1 port {port}: no connection with TLS was established within 0.1 seconds"):
            await probe.measure("127.0.0.1", port, timeout=0.1)


async def test_server_that_goes_before_the_echoes_keeps_its_handshakes() -> None:
    """They were measured; the echoes have a failure."""
    who = good()
    async with probe.listen(cert=who.chain_pem, key=who.key) as server:

        def end(step: Progress) -> None:
            if step.done == 1:
                server.close()

        seen = await probe.measure("localhost", server.port, seconds=0.05, ca=CA, on_progress=end)
    assert seen.handshakes.count > 0
    assert seen.echoes is not None
    assert (seen.echoes.count, seen.echoes.failures) == (0, 1)


async def test_server_that_refuses_a_later_connection_keeps_none_open() -> None:
    """The echoes need three connections at once, and the server takes two more."""
    who = good()
    steps: list[Progress] = []
    echoing: list[tlsio.TLSSocket] = []

    def choose(_name: str, sock: tlsio.TLSSocket) -> None:
        if len(echoing) == 2:
            raise tlsio.HandshakeError(alert="access_denied")
        if steps:  # the handshakes have been measured
            echoing.append(sock)

    async def serve(sock: tlsio.TLSSocket) -> None:
        async for chunk in sock:
            await sock.send(chunk)

    async with tlsio.serve(serve, 0, "127.0.0.1", cert=who.chain_pem, key=who.key_pem, sni_callback=choose) as server:
        seen = await probe.measure("localhost", server.port, seconds=0.05, concurrency=3, ca=CA, on_progress=steps.append)
        async with asyncio.timeout(5):
            for one in echoing:
                await one.wait_closed()
    assert len(echoing) == 2
    assert seen.echoes is not None
    assert (seen.echoes.count, seen.echoes.failures) == (0, 1)


async def test_progress_that_raises_ends_every_worker() -> None:
    """Not the one alone that reported it."""

    def fail(_: Progress) -> None:
        raise LookupError("the terminal has gone")

    async with ours() as port:
        with pytest.raises(LookupError):
            await probe.measure("localhost", port, seconds=60, concurrency=3, ca=CA, on_progress=fail)
        assert not [task for task in asyncio.all_tasks() if task.get_coro().cr_code.co_filename.endswith("probe/measure.py")]


async def test_a_server_that_is_refused_is_not_measured() -> None:
    """The first connection raises."""
    async with ours(pki.self_signed()) as port:
        with pytest.raises(tlsio.CertificateError):
            await probe.measure("localhost", port, seconds=0.1, ca=CA)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("echo", [True, False])
async def test_a_client_without_the_certificate_that_the_server_requires_is_refused(version: str, echo: bool) -> None:  # noqa: FBT001
    """The first connection raises, also in TLS 1.3, where the server says so after the client's handshake."""
    async with ours(request_cert=True, ca=CA, max_version=version) as port:
        with pytest.raises(tlsio.AlertReceived) as caught:
            await probe.measure("localhost", port, seconds=0.02, echo=echo, ca=CA)
    assert caught.value.alert == ("certificate_required" if version == "TLSv1.3" else "handshake_failure")
    assert "requires a client certificate" in caught.value.message
    assert "Give cert= and key=" in (caught.value.hint or "")


async def test_a_server_without_tickets_is_measured() -> None:
    """Nothing shows that it accepts the client; it has refused nothing in the time it is given."""
    async with openssl("-num_tickets", "0") as port:
        seen = await probe.measure("localhost", port, seconds=0.02, echo=False, timeout=0.5, ca=CA)
    assert seen.handshakes.count > 0


async def test_measuring_after_starttls() -> None:
    """The dialog is part of each connection."""
    server = tlsio.create_server(cert=good().chain_pem, key=good().key_pem)
    async with script(lambda _: b"N") as port:
        with pytest.raises(tlsio.HandshakeError) as caught:
            await probe.measure("localhost", port, starttls="postgres", seconds=0.1, ca=CA)
    assert caught.value.code == "ERR_TLS_STARTTLS_MISSING"
    server.close()


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"concurrency": 0}, {"size": 0}, {"starttls": "gopher"}])
async def test_wrong_arguments_raise(wrong: dict[str, object]) -> None:
    """Before anything is sent."""
    with pytest.raises(tlsio.UsageError):
        await probe.measure("localhost", 1, **wrong)  # type: ignore[arg-type]


def test_percentiles_are_of_the_nearest_rank() -> None:
    """The median of ten is the fifth; nothing at all has none."""
    rate = _summarise([n / 1000 for n in range(10, 0, -1)], 1, 2.0)
    assert rate.percentiles == {50: 5.0, 75: 8.0, 90: 9.0, 95: 10.0, 99: 10.0, 100: 10.0}
    assert (rate.count, rate.failures, rate.per_second) == (10, 1, 5.0)
    assert _summarise([], 3, 1.0).percentiles == {}
