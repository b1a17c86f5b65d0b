"""The stapler: what it asks, keeps, gives out and forgets."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509 import ocsp

import pki
import tlsio
from left_loop import left_loop
from responder import ok, serve_http, with_responder
from responses import HOUR, REVOKED, UNKNOWN, refuse_to_answer, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from net import Net

URL = "http://responder.example/ocsp"
MINUTE = 60.0


class World:
    """A responder and a clock. `answer` is what it says next: a response, or an exception."""

    def __init__(self, who: pki.Identity | None = None) -> None:
        self.who = who or with_responder(URL)
        self.answer: bytes | BaseException = respond(self.who)
        self.asked: list[tuple[str, bytes]] = []
        self.now = pki.NOW
        self.pauses: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()
        self.stapler = tlsio.Stapler(fetch=self.fetch, now=lambda: self.now, sleep=self.sleep)

    async def fetch(self, url: str, request: bytes) -> bytes:
        """Answer, not at once."""
        self.asked.append((url, request))
        await asyncio.sleep(0)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def sleep(self, seconds: float) -> None:
        """Sleep until `pause` has seen it."""
        woken = asyncio.get_running_loop().create_future()
        self.pauses.put_nowait((seconds, woken))
        await woken

    async def pause(self) -> float:
        """Wait until the stapler sleeps, let the time pass, wake it; return how long it was."""
        seconds, woken = await self.pauses.get()
        self.now += dt.timedelta(seconds=seconds)
        woken.set_result(None)
        return seconds

    async def rest(self) -> float:
        """Wait until the stapler sleeps, and let it; return for how long."""
        seconds, _ = await self.pauses.get()
        return seconds

    @contextlib.contextmanager
    def watched(self, issuer: bytes | None = b"") -> Iterator[tlsio.Stapler]:
        """Let it work for a server that has the one certificate."""
        self.stapler.watch(self, [(self.who.cert_der, pki.ca1().cert_der if issuer == b"" else issuer)])
        try:
            yield self.stapler
        finally:
            self.stapler.release(self)

    def staple(self) -> Any:
        """Return what a client would get now."""
        return self.stapler.staple(self.who.cert_der, pki.ca1().cert_der)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was told to whoever runs the server."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class TestKeeping:
    """By a clock of the test's own."""

    async def test_asks_ahead_of_the_clients(self) -> None:
        """The certificate's responder, about the certificate."""
        world = World()
        with world.watched():
            await world.rest()
            assert world.staple() == world.answer
        [(url, request)] = world.asked
        assert url == URL
        assert ocsp.load_der_ocsp_request(request).serial_number == world.who.certificate.serial_number

    async def test_asks_again_at_half_its_life(self) -> None:
        """Of 25 hours, one is over."""
        world = World()
        with world.watched():
            assert await world.pause() == 11.5 * 3600
            newer = world.answer = respond(world.who, this_update=world.now, next_update=world.now + 2 * HOUR)
            assert await world.rest() == 3600
            assert world.staple() == newer

    async def test_old_answer_is_asked_for_at_half_of_what_is_left(self) -> None:
        """A responder may give the same one for long."""
        world = World()
        with world.watched():
            world.now += dt.timedelta(hours=20)
            assert await world.rest() == 2 * 3600

    async def test_short_life(self) -> None:
        """Nobody is asked more than once a minute."""
        world = World()
        world.answer = respond(world.who, this_update=pki.NOW, next_update=pki.NOW + dt.timedelta(seconds=30))
        with world.watched():
            assert await world.rest() == MINUTE

    async def test_keeps_the_old_one_while_the_responder_is_down(self, caplog: pytest.LogCaptureFixture) -> None:
        """As long as it counts; the pauses grow; it is told once, until there is an answer again."""
        world = World()
        good = world.answer
        with world.watched(), caplog.at_level(logging.INFO, "tlsio"):
            await world.pause()
            world.answer = ConnectionRefusedError("down")
            assert [await world.pause() for _ in range(4)] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
            assert world.staple() == good
            assert len(warnings(caplog)) == 1
            assert URL in warnings(caplog)[0]
            assert "down" in warnings(caplog)[0]
            world.answer = respond(world.who, this_update=world.now, next_update=world.now + HOUR)
            await world.pause()  # the last of those behind which it was down
            await world.rest()
            assert world.staple() == world.answer
            assert "again" in caplog.records[-1].getMessage()

    async def test_responder_that_is_down_by_any_exception(self) -> None:
        """What the fetch waited for was cancelled, not the stapler: it goes on."""
        world = World()
        with world.watched():
            for failure in (asyncio.CancelledError(), BaseExceptionGroup("several", [asyncio.CancelledError()])):
                world.answer = failure
                await world.pause()
            world.answer = respond(world.who, this_update=world.now, next_update=world.now + HOUR)
            await world.rest()
            assert world.staple() == world.answer
            assert len(world.asked) == 3

    async def test_longest_pause(self) -> None:
        """An hour, however long it is down."""
        world = World()
        world.answer = OSError("down")
        with world.watched():
            assert [await world.pause() for _ in range(8)][-2:] == [3600, 3600]

    async def test_never_staples_an_expired_one(self) -> None:
        """Not a second longer than it says."""
        world = World()
        with world.watched():
            await world.rest()
            world.now = pki.NOW + 24 * HOUR - dt.timedelta(seconds=1)
            assert world.staple() == world.answer
            world.now += dt.timedelta(seconds=1)
            assert world.staple() is None

    @pytest.mark.parametrize(
        "make",
        [
            lambda _who: respond(pki.localhost()),
            lambda who: respond(who, signer=pki.ca2()),
            lambda who: respond(who, status=UNKNOWN),
            lambda who: respond(who, next_update=pki.NOW - HOUR),
            lambda _who: refuse_to_answer(),
            lambda _who: b"<html>",
            lambda _who: bytes(100_000),
        ],
        ids=["foreign", "forged", "unknown", "expired", "refusal", "malformed", "too long"],
    )
    async def test_never_staples_what_a_client_would_refuse(
        self, make: Callable[[pki.Identity], bytes], caplog: pytest.LogCaptureFixture
    ) -> None:
        """It counts as no answer."""
        world = World()
        world.answer = make(world.who)
        with world.watched():
            assert await world.rest() == MINUTE
            assert world.staple() is None
        assert len(warnings(caplog)) == 1

    async def test_revoked_is_stapled(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is the truth, and said aloud."""
        world = World()
        world.answer = respond(world.who, status=REVOKED)
        with world.watched():
            await world.pause()
            await world.rest()
            assert world.staple() == world.answer
        assert [record.levelname for record in caplog.records] == ["ERROR"]

    async def test_nobody_to_be_asked(self, caplog: pytest.LogCaptureFixture) -> None:
        """No responder named, or the issuer unknown: told once."""
        world = World(pki.localhost())
        other = World()
        with world.watched(), other.watched(issuer=None):
            await asyncio.sleep(0)
            assert world.staple() is None
            assert other.stapler.staple(other.who.cert_der, None) is None
            with other.watched(issuer=None):
                await asyncio.sleep(0)
        assert len(warnings(caplog)) == 2
        assert "names no OCSP responder" in warnings(caplog)[0]
        assert "issuer" in warnings(caplog)[1]
        assert world.asked == other.asked == []

    async def test_no_answer_in_time(self, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever fetches."""

        async def never(_url: str, _request: bytes) -> bytes:
            return await asyncio.get_running_loop().create_future()

        world = World()
        world.stapler = tlsio.Stapler(fetch=never, timeout=0.01, now=lambda: world.now, sleep=world.sleep)
        with world.watched():
            assert await world.rest() == MINUTE
        assert "TimeoutError" in warnings(caplog)[0]

    async def test_certificate_that_needs_it_waits_for_the_first_answer(self) -> None:
        """The others do not."""
        usual, needy = World(), World(with_responder(URL, must_staple=True))
        with usual.watched(), needy.watched():
            assert usual.staple() is None
            waiting = needy.staple()
            assert await waiting == needy.answer
            assert needy.staple() == needy.answer

    async def test_waiting_ends_with_the_server(self) -> None:
        """Without an answer."""
        world = World(with_responder(URL, must_staple=True))
        with world.watched():
            waiting = asyncio.ensure_future(world.staple())
            await asyncio.sleep(0)
        assert await waiting is None

    async def test_works_while_a_server_listens(self) -> None:
        """One stapler for two: until both have ended. Then it knows nothing any more."""
        world = World()
        identity = (world.who.cert_der, pki.ca1().cert_der)
        world.stapler.watch("other", [identity])
        with world.watched():
            await world.rest()
        assert world.staple() == world.answer
        world.stapler.release("other")
        world.stapler.release("other")
        assert world.staple() is None
        assert len(world.asked) == 1
        assert repr(world.stapler) == "<Stapler certificates=0 servers=0>"

    async def test_forgets_what_nobody_has_any_more(self) -> None:
        """A certificate that was replaced, and one that only a hook has given: when no client has asked since the last answer."""
        world = World()
        with world.watched():
            world.stapler.watch(world, [])
            world.staple()
            await world.pause()
            assert len(world.asked) == 1
            await world.pause()
            assert len(world.asked) == 2
            await asyncio.sleep(0)
            assert repr(world.stapler) == "<Stapler certificates=0 servers=1>"

    async def test_learns_what_it_is_asked_about(self) -> None:
        """Contexts of `sni_callback` are known when a client comes."""
        world = World()
        world.stapler.watch(world, [])
        assert world.staple() is None
        await world.rest()
        assert world.staple() == world.answer
        world.stapler.release(world)

    async def test_bounds_what_strangers_ask_for(self) -> None:
        """The one that was shown least recently leaves; those that a server has by itself stay."""
        world = World()
        world.stapler = tlsio.Stapler(fetch=world.fetch, now=lambda: world.now, sleep=world.sleep, max_entries=2)
        names = [pki.leaf(f"{number}.example", issuer=pki.ca1(), names=[f"{number}.example"]).cert_der for number in range(4)]
        with world.watched():
            for name in (names[0], names[1], names[0], names[2], names[0], names[3]):
                world.stapler.staple(name, pki.ca1().cert_der)
                await asyncio.sleep(0)
            assert repr(world.stapler) == "<Stapler certificates=3 servers=1>"
            assert {world.who.cert_der, names[0], names[3]} == set(world.stapler._entries)
            await asyncio.sleep(0)
            tasks = [task for task in asyncio.all_tasks() if task.get_name() == "tlsio stapling"]
            assert len(tasks) == 3
            world.stapler.watch("other", [(names[0], pki.ca1().cert_der)])
            for name in names[1:]:
                world.stapler.staple(name, pki.ca1().cert_der)
            assert {world.who.cert_der, names[0], names[2], names[3]} == set(world.stapler._entries)
            world.stapler.release("other")

    async def test_forgets_a_stranger_without_a_responder(self, caplog: pytest.LogCaptureFixture) -> None:
        """After an hour, in which the log was told once."""
        world = World(pki.localhost())
        world.stapler.watch(world, [])
        for _ in range(3):
            assert world.staple() is None
            await asyncio.sleep(0)
        assert await world.pause() == 60 * MINUTE
        await asyncio.sleep(0)
        assert repr(world.stapler) == "<Stapler certificates=0 servers=1>"
        assert len(warnings(caplog)) == 1
        world.stapler.release(world)

    @pytest.mark.parametrize("begun", [False, True])
    async def test_goes_on_after_its_tasks_were_cancelled(self, begun: bool) -> None:  # noqa: FBT001
        """An application may cancel all there are: the next client that is shown the certificate has it asked for again."""
        world = World(with_responder(URL, must_staple=True))
        with world.watched():
            waiting = asyncio.ensure_future(world.staple()) if not begun else None
            if begun:
                await world.rest()
            for task in asyncio.all_tasks():
                if task.get_name() == "tlsio stapling":
                    task.cancel()
            if waiting is not None:
                assert await waiting is None
            for _ in range(3):
                await asyncio.sleep(0)
            assert await world.staple() == world.answer

    async def test_keeps_no_variables_of_its_first_client(self) -> None:
        """It asks for all of them."""
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
        seen: list[str] = []
        world = World()

        async def fetch(url: str, request: bytes) -> bytes:
            seen.append(variable.get())
            return await world.fetch(url, request)

        world.stapler = tlsio.Stapler(fetch=fetch, now=lambda: world.now, sleep=world.sleep)
        world.stapler.watch(world, [])
        variable.set("of a client")
        world.staple()
        await world.rest()
        assert seen == ["none"]
        world.stapler.release(world)

    @pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "1"}, {"fetch": "curl"}, {"max_entries": 0}])
    def test_arguments(self, options: Any) -> None:
        """Are checked when it is made."""
        with pytest.raises(tlsio.UsageError):
            tlsio.Stapler(**options)


def test_a_task_of_a_loop_that_was_closed_is_replaced() -> None:
    """It would never ask again."""
    world = World()

    async def watch() -> None:
        world.stapler.watch(world, [(world.who.cert_der, pki.ca1().cert_der)])
        await asyncio.wait_for(world.rest(), 5)

    async def go_on() -> None:
        world.pauses = asyncio.Queue()
        await watch()
        assert world.staple() == world.answer
        world.stapler.release(world)

    with left_loop() as loop:
        loop.run_until_complete(watch())
        loop.is_left = True
        asyncio.run(go_on())
    assert len(world.asked) == 2


@pytest.mark.parametrize("fetch", ["", 0, {}, "http://x"], ids=repr)
def test_what_fetches_is_a_function(fetch: Any) -> None:
    """Anything else would be plain HTTP without a word."""
    with pytest.raises(tlsio.UsageError, match="fetch must be a function") as caught:
        tlsio.Stapler(fetch=fetch)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


class TestServer:
    """Over live connections, with a responder on the loopback."""

    async def test_staples(self, net: Net) -> None:
        """`stapling=True` is all there is to do; a client that requires a response is content."""
        who: list[pki.Identity] = []
        async with serve_http(lambda _body: ok(respond(who[0]))) as responder:
            who.append(with_responder(responder.url, must_staple=True))
            options = {"cert": who[0].cert_pem, "key": who[0].key_pem, "ca": pki.ca1().cert_pem}
            async with net.serve(stapling=True, **options) as server:
                for _ in range(2):
                    sock = await net.connect(server, ocsp="require")
                    assert sock.authorized
                    sock.destroy()
            head, _ = responder.requests[0]
        assert len(responder.requests) == 1
        assert head.startswith("POST /ocsp HTTP/1.0\r\n")
        assert "Content-Type: application/ocsp-request\r\n" in head

    async def test_responder_that_is_down(self, net: Net, caplog: pytest.LogCaptureFixture) -> None:
        """Clients that do not insist are served."""
        async with serve_http(ok) as responder:
            pass
        who = with_responder(responder.url, must_staple=True)
        async with net.serve(stapling=True, cert=who.cert_pem, key=who.key_pem, ca=pki.ca1().cert_pem) as server:
            (await net.connect(server, request_ocsp=True)).destroy()
            assert (await net.refused(server, ocsp="check"))[1].code == "OCSP_RESPONSE_MISSING"
        assert len(warnings(caplog)) == 1

    async def test_each_context_has_its_own(self, net: Net) -> None:
        """Those of names, and the default that takes the old one's place."""
        world, other = World(with_responder(URL, must_staple=True)), World(with_responder(URL, must_staple=True))
        known = {one.who.certificate.serial_number: respond(one.who) for one in (world, other)}

        async def fetch(_url: str, request: bytes) -> bytes:
            return known[ocsp.load_der_ocsp_request(request).serial_number]

        first, second = ({"cert": one.who.cert_pem, "key": one.who.key_pem} for one in (world, other))
        async with net.serve(stapling=tlsio.Stapler(fetch=fetch), ca=pki.ca1().cert_pem, **first) as server:
            server.add_context("127.0.0.1", second)
            server.add_context("other.test", second)
            options = {"servername": "other.test", "check_server_identity": lambda *_: None}
            (await net.connect(server, ocsp="require", **options)).destroy()
            (await net.connect(server, ocsp="require")).destroy()
            server.set_secure_context(**second)
            (await net.connect(server, ocsp="require")).destroy()

    async def test_contexts_are_watched_when_they_come(self, net: Net) -> None:
        """Before any client has asked; from another thread too."""
        world = World()
        who = world.who
        async with net.serve(stapling=world.stapler) as server:
            if not net.is_native:  # it starts with the first connection
                (await net.connect(server)).destroy()
            await asyncio.to_thread(server.add_context, "a.test", {"cert": who.cert_pem, "key": who.key_pem, "ca": pki.ca1().cert_pem})
            await world.rest()
            assert world.staple() == world.answer
            server.remove_context("a.test")
            await asyncio.sleep(0)

    async def test_hook_and_stapling(self) -> None:
        """One of them answers."""
        with pytest.raises(tlsio.UsageError) as caught:
            tlsio.create_server(stapling=True, ocsp_request=lambda *_: None)
        assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"
        server = tlsio.create_server(stapling=True)
        with pytest.raises(tlsio.UsageError):
            server.on("ocsp_request", lambda *_: None)
        tlsio.create_server(stapling=False, ocsp_request=lambda *_: None)
        with pytest.raises(tlsio.UsageError):
            tlsio.create_server(stapling="yes")  # type: ignore[arg-type]

    async def test_socket_that_stands_alone(self) -> None:
        """Nobody would keep the responses for the next one; a server's stapler has them already."""
        who = pki.localhost()
        below, other = socket.socketpair()
        with below, other:
            for options in ({"stapling": True}, {"stapling": "yes"}):
                with pytest.raises(tlsio.UsageError):
                    tlsio.TLSSocket(below, is_server=True, cert=who.cert_pem, key=who.key_pem, **options)
            sock = tlsio.TLSSocket(below, is_server=True, cert=who.cert_pem, key=who.key_pem, stapling=tlsio.Stapler())
            sock.destroy()
            await sock.wait_closed()
        with pytest.raises(tlsio.UsageError):
            tlsio.create_secure_pair(is_server=True, stapling=True)

    @pytest.mark.only_loop("asyncio")
    async def test_certificate_that_needs_what_is_not_there(self, caplog: pytest.LogCaptureFixture) -> None:
        """Who forgets `stapling` is told when the server listens."""
        who = pki.must_staple()
        for options, told in (({}, 1), ({"ocsp_request": lambda *_: None}, 0)):
            caplog.clear()
            async with tlsio.serve(lambda _sock: None, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem, **options):
                pass
            assert len(warnings(caplog)) == told
