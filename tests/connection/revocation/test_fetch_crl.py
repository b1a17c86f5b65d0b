"""`fetch_crl`: lists fetched for the peer's chain, kept, and what becomes of peers they name or that have none."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import pki
import tlsio
from left_loop import left_loop
from net import once
from responder import ok, serve_http
from sessions import greet, visit
from tlsio.native._core import list_keys
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Sequence

    from net import Net

URL = "http://lists.example/ca1.crl"


def named(*urls: str, issuer: pki.Identity | None = None, client: bool = False, is_ca: bool = False) -> pki.Identity:
    """Make a certificate for localhost, or of a client, whose list is there."""
    points = [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
    name = "client" if client else "localhost"
    extensions: list[x509.ExtensionType] = [x509.CRLDistributionPoints(points)] if points else []
    if is_ca:
        extensions.append(x509.BasicConstraints(ca=True, path_length=None))
    return pki.leaf(name, issuer=issuer or pki.ca1(), names=[name], extensions=extensions)


def entry_of(who: pki.Identity, issuer: pki.Identity) -> bytes:
    """Return what a session remembers of a certificate."""
    serial = der.make_integer(who.certificate.serial_number)
    return list_keys([who.cert_der, issuer.cert_der])[0] + bytes([len(serial)]) + serial


class Lists:
    """Where lists are, without HTTP: each URL with the list, or an exception."""

    def __init__(self, policy: Any = "check", **options: Any) -> None:
        self.at: dict[str, Any] = {}
        self.asked: list[str] = []
        self.now = pki.NOW
        self.cache = tlsio.CrlCache(policy, fetch=self.fetch, now=lambda: self.now, **options)

    def put(
        self,
        url: str = URL,
        *,
        issuer: pki.Identity | None = None,
        revoked: Sequence[pki.Identity] = (),
        hours: float = 24,
        number: int | None = None,
        ago: dt.timedelta = pki.DAY,
    ) -> None:
        """Put a list of ca1's there."""
        extensions = [] if number is None else [(x509.CRLNumber(number), False)]
        times = {"last_update": pki.NOW - ago, "next_update": pki.NOW + dt.timedelta(hours=hours)}
        self.at[url] = pki.revocation_list(issuer or pki.ca1(), revoked=revoked, extensions=extensions, encoding=pki.DER, **times)

    async def fetch(self, url: str) -> bytes:
        """Fetch, not at once."""
        self.asked.append(url)
        await asyncio.sleep(0)
        found = self.at.get(url, OSError("nothing there"))
        if isinstance(found, Exception):
            raise found
        return bytes(found)

    async def check(self, *chain: pki.Identity) -> str | None:
        """Return the code of what speaks against a chain."""
        error = await self.cache.check([one.cert_der for one in chain])
        return error and error.code


async def ask_later(peer: tlsio.TLSSocket) -> str | None:
    """Ask a client for its certificate; the code of what speaks against it."""
    try:
        await peer.renegotiate(request_cert=True)
    except tlsio.CertificateError as error:
        return error.code
    return None


class TestCache:
    """Without connections."""

    async def test_asks_once(self) -> None:
        """The list is kept for the next peer of the same issuer."""
        lists, one, other = Lists(), named(URL), named(URL)
        lists.put(revoked=[other])
        assert await lists.check(one, pki.ca1()) is None
        assert await lists.check(other, pki.ca1()) == "CERT_REVOKED"
        assert lists.asked == [URL]

    async def test_keeps_no_variables_of_its_first_peer(self) -> None:
        """The list is fetched for all of them."""
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
        seen: list[str] = []
        lists = Lists()

        async def fetch(url: str) -> bytes:
            seen.append(variable.get())
            return await lists.fetch(url)

        lists.put()
        variable.set("of a peer")
        await tlsio.CrlCache(fetch=fetch, now=lambda: lists.now).check([named(URL).cert_der, pki.ca1().cert_der])
        assert seen == ["none"]

    async def test_asks_once_for_many_at_a_time(self) -> None:
        """Who gives up does not take the others' answer away."""
        lists, who = Lists("require"), named(URL)
        lists.put()
        waiting = [asyncio.ensure_future(lists.check(who, pki.ca1())) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert await asyncio.gather(*waiting[1:]) == [None, None]
        assert lists.asked == [URL]

    @pytest.mark.parametrize(("minutes", "times"), [(59, 1), (61, 2)])
    async def test_asks_for_a_newer_one(self, minutes: int, times: int) -> None:
        """After an hour."""
        lists, who = Lists(), named(URL)
        lists.put()
        await lists.check(who, pki.ca1())
        lists.put(revoked=[who])
        lists.now += dt.timedelta(minutes=minutes)
        assert await lists.check(who, pki.ca1()) == ("CERT_REVOKED" if times == 2 else None)
        assert len(lists.asked) == times

    async def test_old_list_counts_until_its_end(self) -> None:
        """When there is no newer one."""
        lists, who = Lists("require"), named(URL)
        lists.put(hours=3)
        await lists.check(who, pki.ca1())
        lists.at.clear()
        lists.now += dt.timedelta(hours=2)
        assert await lists.check(who, pki.ca1()) is None
        lists.now += dt.timedelta(hours=2)
        assert await lists.check(who, pki.ca1()) == "UNABLE_TO_GET_CRL"

    async def test_place_that_gave_none_has_a_minute_of_peace(self) -> None:
        """However many peers come."""
        lists, who = Lists(), named(URL)
        for _ in range(3):
            assert await lists.check(who, pki.ca1()) is None
        assert len(lists.asked) == 1
        lists.now += dt.timedelta(seconds=61)
        lists.put(revoked=[who])
        assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"

    async def test_several_places(self) -> None:
        """One after the other, until one has a list."""
        lists, who = Lists("require"), named("http://first.example/", URL)
        lists.put(revoked=[who])
        assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
        assert lists.asked == ["http://first.example/", URL]

    @pytest.mark.parametrize(("place", "code"), [(3, "CERT_REVOKED"), (4, "UNABLE_TO_GET_CRL")])
    async def test_four_places_are_tried(self, place: int, code: str) -> None:
        """A certificate may name thousands."""
        urls = [f"http://{number}.example/" for number in range(1000)]
        lists, who = Lists("require"), named(*urls)
        lists.put(urls[place], revoked=[who])
        assert await lists.check(who, pki.ca1()) == code
        assert lists.asked == urls[:4]

    async def test_whole_chain(self) -> None:
        """An intermediate may be revoked too; nobody asks about the root."""
        points = x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier(URL)], None, None, None)])
        middle = pki.leaf("middle", issuer=pki.ca1(), extensions=[x509.BasicConstraints(ca=True, path_length=None), points])
        who = named("http://middle.example/", issuer=middle)
        lists = Lists("require")
        lists.put("http://middle.example/", issuer=middle)
        lists.put(revoked=[middle])
        assert await lists.check(who, middle, pki.ca1()) == "CERT_REVOKED"

    @pytest.mark.parametrize(("policy", "code"), [("check", None), ("require", "UNABLE_TO_GET_CRL")])
    async def test_none_to_be_had(self, policy: str, code: str | None) -> None:
        """None there, a forged one, none named: the policy decides."""
        lists = Lists(policy)
        assert await lists.check(named(URL), pki.ca1()) == code
        lists.at["http://forged.example/"] = pki.revocation_list(pki.ca1(), revoked=[], signer=pki.ca2(), encoding=pki.DER)
        assert await lists.check(named("http://forged.example/"), pki.ca1()) == code
        assert await lists.check(named(), pki.ca1()) == code

    async def test_no_answer_in_time(self) -> None:
        """The bound is one list's."""

        async def never(_url: str) -> bytes:
            return await asyncio.get_running_loop().create_future()

        cache = tlsio.CrlCache("require", fetch=never, timeout=0.01)
        error = await cache.check([named(URL).cert_der, pki.ca1().cert_der])
        assert error is not None
        assert "TimeoutError" in error.message

    async def test_older_list_is_not_taken(self) -> None:
        """By its time or its number: over plain HTTP anybody on the way can answer with one that has not ended yet."""
        who, minute = named(URL), dt.timedelta(minutes=1)
        for old, new in (
            ((1, 9 * minute), (2, 9 * minute)),
            ((2, 10 * minute), (2, 9 * minute)),
            ((None, 10 * minute), (None, 9 * minute)),
        ):
            lists = Lists("require")
            lists.put(revoked=[who], number=new[0], ago=new[1])
            assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
            lists.put(number=old[0], ago=old[1])
            lists.now += dt.timedelta(hours=2)
            assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
            assert len(lists.asked) == 2

    async def test_older_list_is_not_taken_after_the_newer_has_ended(self) -> None:
        """That it was there is remembered: also when nothing is left of it, and for certificates of the other kind."""
        who = named(URL)
        lists = Lists("require", max_entries=1)
        lists.put(revoked=[who], number=2, hours=1)
        assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
        lists.put("http://second.example/")
        assert await lists.check(named("http://second.example/"), pki.ca1()) is None
        lists.put(number=1)
        lists.now += dt.timedelta(hours=2)
        assert await lists.check(who, pki.ca1()) == "UNABLE_TO_GET_CRL"
        lists.now += dt.timedelta(minutes=2)
        lists.put(number=3)
        assert await lists.check(who, pki.ca1()) is None

    async def test_long_list(self) -> None:
        """It is read beside the loop."""
        lists, who = Lists("require"), named(URL)
        lists.put(revoked=[who] * 3000)
        assert len(lists.at[URL]) > 65_536
        assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
        assert await lists.check(named(URL), pki.ca1()) is None

    async def test_chain_that_cannot_be_read(self) -> None:
        """Nobody knows who has issued what then."""
        error = await Lists().cache.check([b"\x30\0", pki.ca1().cert_der])
        assert error is not None
        assert error.code == "CERT_REJECTED"

    async def test_long_chain(self) -> None:
        """Each certificate of it is looked for, also where a session could not remember as many."""
        lists, top = Lists(), named(URL, is_ca=True)
        chain = [top, pki.ca1()]
        for number in range(20):
            chain.insert(0, pki.authority(f"middle {number}", issuer=chain[0]))
        lists.put()
        assert await lists.check(*chain) is None
        lists.put(revoked=[top])
        lists.now += dt.timedelta(hours=2)
        assert await lists.check(*chain) == "CERT_REVOKED"

    async def test_newer_list_with_the_same_end_is_at_hand(self) -> None:
        """Two places have lists; the one that was out of reach has the newer one, and it ends with the other."""
        lists, who = Lists("require"), named("http://first.example/", URL)
        lists.put(hours=0.5)
        assert await lists.check(who, pki.ca1()) is None
        entry = entry_of(who, pki.ca1())
        assert lists.cache.passes(entry)
        lists.put("http://first.example/", hours=0.5, revoked=[who], ago=dt.timedelta(hours=1))
        lists.now += dt.timedelta(minutes=2)
        assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
        assert not lists.cache.passes(entry)

    async def test_bound(self) -> None:
        """The list that was not used for longest leaves."""
        lists = Lists(max_entries=2)
        first, second, third = (f"http://{name}.example/" for name in ("first", "second", "third"))
        for url in (first, second, first, third, first, second):
            lists.put(url)
            await lists.check(named(url), pki.ca1())
        assert lists.asked == [first, second, third, second]
        assert repr(lists.cache) == "<CrlCache check lists=2>"

    @pytest.mark.parametrize("failure", [asyncio.CancelledError, BaseExceptionGroup("several", [asyncio.CancelledError()])])
    @pytest.mark.parametrize(("policy", "code"), [("check", None), ("require", "UNABLE_TO_GET_CRL")])
    async def test_fetch_that_fails_by_any_exception(self, failure: Any, policy: Any, code: str | None) -> None:
        """Gave no list, which the policy decides about; and the place is not asked again at once."""
        asked = []

        async def fetch(url: str) -> bytes:
            asked.append(url)
            raise failure

        cache = tlsio.CrlCache(policy, fetch=fetch, now=lambda: pki.NOW)
        for _ in range(2):
            error = await cache.check([named(URL).cert_der, pki.ca1().cert_der])
            assert (error and error.code) == code
        assert asked == [URL]

    @pytest.mark.parametrize(
        ("found", "words"),
        [
            ("a str", "must return the CRL as bytes in DER, got str"),
            (None, "got NoneType"),
            (b"-----BEGIN X509 CRL-----", "in DER, not PEM"),
        ],
    )
    async def test_fetch_that_returns_something_else(self, found: Any, words: str, caplog: pytest.LogCaptureFixture) -> None:
        """The error names the mistake and says what to do; where the certificate passes without a list, the log does."""

        async def fetch(_url: str) -> Any:
            return found

        cache = tlsio.CrlCache("require", fetch=fetch, now=lambda: pki.NOW)
        error = await cache.check([named(URL).cert_der, pki.ca1().cert_der])
        assert error is not None
        assert words in str(error)
        assert "Check that this machine can reach the URL" in str(error.hint)
        caplog.clear()
        assert await tlsio.CrlCache("check", fetch=fetch, now=lambda: pki.NOW).check([named(URL).cert_der, pki.ca1().cert_der]) is None
        assert [words in record.message for record in caplog.records if record.levelno == logging.WARNING] == [True]

    def test_room_is_taken_when_it_is_needed(self) -> None:
        """The bound may be any number."""
        assert repr(tlsio.CrlCache(max_entries=2**31 - 1)) == "<CrlCache check lists=0>"

    @pytest.mark.parametrize("options", [{"policy": "off"}, {"max_entries": 0}, {"timeout": 0}, {"fetch": 1}])
    def test_arguments(self, options: Any) -> None:
        """Are checked when it is made."""
        with pytest.raises(tlsio.UsageError):
            tlsio.CrlCache(**options)


class TestConnections:
    """Clients and servers."""

    async def test_server(self, net: Net) -> None:
        """Is let in while it is in no list, and refused with the fitting alert before it has anything of ours."""
        good, bad = named(URL), named(URL)
        lists = Lists("require")
        lists.put(revoked=[bad])
        async with net.serve(cert=good.cert_pem, key=good.key_pem) as server:
            sock = await net.connect(server, fetch_crl=lists.cache)
            assert sock.authorized
            sock.destroy()
            server.set_secure_context(cert=bad.cert_pem, key=bad.key_pem)
            told, got = await net.refused(server, fetch_crl=lists.cache)
            assert (got.code, got.alert, told.alert) == ("CERT_REVOKED", *["certificate_revoked"] * 2)  # type: ignore[attr-defined]

    async def test_server_by_http(self, net: Net) -> None:
        """A word is enough where nothing is shared."""
        revoked: list[pki.Identity] = []
        async with serve_http(lambda _body: ok(pki.revocation_list(pki.ca1(), revoked=revoked, encoding=pki.DER))) as place:
            who = named(place.url)
            revoked.append(who)
            async with net.serve(cert=who.cert_pem, key=who.key_pem) as server:
                assert (await net.refused(server, fetch_crl="check"))[1].code == "CERT_REVOKED"
                (await net.connect(server, fetch_crl="off")).destroy()

    async def test_server_without_list(self, net: Net) -> None:
        """The policy decides; beside a check of the user's own, sync or async."""

        async def later(*_args: object) -> None:
            await asyncio.sleep(0)

        async with net.serve() as server:
            for check in (None, lambda *_: None, later):
                (await net.connect(server, fetch_crl="check", check_server_identity=check)).destroy()
                _, got = await net.refused(server, fetch_crl="require", check_server_identity=check)
                assert (got.code, got.reasons) == ("UNABLE_TO_GET_CRL", ("UNABLE_TO_GET_CRL",))  # type: ignore[attr-defined]

    async def test_let_in_all_the_same(self, net: Net) -> None:
        """With `reject_unauthorized=False` it is only said."""
        async with net.serve() as server:
            sock = await net.connect(server, fetch_crl="require", reject_unauthorized=False)
            assert (sock.authorized, sock.authorization_error) == (False, "UNABLE_TO_GET_CRL")
            sock.destroy()

    async def test_with_ocsp(self, net: Net) -> None:
        """Both are asked."""
        async with net.serve() as server:
            (await net.connect(server, fetch_crl="check", ocsp="check")).destroy()
            assert (await net.refused(server, fetch_crl="check", ocsp="require"))[1].code == "OCSP_RESPONSE_MISSING"

    async def test_list_that_does_not_come(self, net: Net) -> None:
        """`hook_timeout` bounds all of it: closed."""

        async def never(_url: str) -> bytes:
            return await asyncio.get_running_loop().create_future()

        who = named(URL)
        async with net.serve(cert=who.cert_pem, key=who.key_pem) as server:
            _, got = await net.refused(server, fetch_crl=tlsio.CrlCache(fetch=never, timeout=0.05), hook_timeout=0.01)
            assert got.code == "ERR_TLS_HOOK_TIMEOUT"
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "tlsio CRL"))

    async def test_session_is_offered_by_lists_at_hand_only(self, net: Net) -> None:
        """A resumed connection shows no chain to fetch a list for; and a session made without lists is not resumed with them."""
        lists, who = Lists("check"), named(URL)
        lists.put()
        async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
            first = await visit(net, server)
            assert not (await visit(net, server, fetch_crl=lists.cache, session=first.session)).reused
            second = await visit(net, server, fetch_crl=lists.cache)
            assert (await visit(net, server, fetch_crl=lists.cache, session=second.session)).reused
            assert not (await visit(net, server, fetch_crl=Lists("check").cache, session=second.session)).reused
            lists.now += dt.timedelta(hours=2)  # a newer list may be had
            assert not (await visit(net, server, fetch_crl=lists.cache, session=second.session)).reused

    @pytest.mark.parametrize("policy", ["check", "require"])
    async def test_server_without_a_list_is_resumed_where_it_passes(self, net: Net, policy: str) -> None:
        """What lets a full handshake pass lets a session pass."""
        lists, who = Lists(policy), named(URL)
        if policy == "require":
            lists.put()
        async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
            first = await visit(net, server, fetch_crl=lists.cache)
            assert (await visit(net, server, fetch_crl=lists.cache, session=first.session)).reused

    async def test_server_that_was_revoked_since(self, net: Net) -> None:
        """The list that says so was fetched for another connection."""
        lists, who = Lists("require"), named(URL)
        lists.put()
        async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
            first = await visit(net, server, fetch_crl=lists.cache)
            lists.put(revoked=[who])
            lists.now += dt.timedelta(hours=2)
            assert await lists.check(who, pki.ca1()) == "CERT_REVOKED"
            with pytest.raises(tlsio.CertificateError) as caught:
                await visit(net, server, fetch_crl=lists.cache, session=first.session)
        assert caught.value.code == "CERT_REVOKED"

    async def test_client_that_was_revoked_since(self, net: Net) -> None:
        """By ticket, from another server of the cluster, and by id: the engine looks into the lists before it resumes."""
        who, lists = named(URL, client=True), Lists("require")
        lists.put()
        options = {"request_cert": True, "ca": pki.ca1().cert_pem, "fetch_crl": lists.cache, "ticket_keys": bytes(range(48))}
        shown = {"cert": who.cert_pem, "key": who.key_pem}
        async with net.serve(greet, **options) as server:
            first = await visit(net, server, **shown)
            second = await visit(net, server, session=first.session, **shown)
            assert second.reused == (net.version == "TLSv1.3")  # what is asked after the handshake cannot be refused in TLS 1.2
            lists.put(revoked=[who])
            lists.now += dt.timedelta(minutes=59)
            assert (await visit(net, server, session=second.session, **shown)).reused == second.reused
            lists.now += dt.timedelta(minutes=2)  # a newer list is fetched, in a full handshake
            told, got = await net.refused(server, session=second.session, **shown)
        assert (told.code, got.alert) == ("CERT_REVOKED", "certificate_revoked")  # type: ignore[attr-defined]

    @pytest.mark.parametrize("version", ["TLSv1.3"])
    async def test_servers_lists_are_at_hand_or_the_handshake_is_full(self, net: Net) -> None:
        """After a restart there are none; a full handshake fetches them."""
        who, keys = named(URL, client=True), {"ticket_keys": bytes(range(48)), "request_cert": True, "ca": pki.ca1().cert_pem}
        shown = {"cert": who.cert_pem, "key": who.key_pem}
        one, other = Lists("require"), Lists("require")
        one.put()
        other.put()
        async with net.serve(greet, **keys, fetch_crl=one.cache) as server, net.serve(greet, **keys, fetch_crl=other.cache) as restarted:
            first = await visit(net, server, **shown)
            second = await visit(net, restarted, session=first.session, **shown)
            assert (first.reused, second.reused) == (False, False)
            assert (await visit(net, restarted, session=second.session, **shown)).reused

    @pytest.mark.parametrize("version", ["TLSv1.3"])
    async def test_certificate_that_a_resumed_client_shows_later(self, net: Net) -> None:
        """It is new to the connection, and judged like any other."""
        good, bad = named(URL, client=True), named(URL, client=True)
        lists = Lists("require")
        lists.put(revoked=[bad])
        async with net.serve(ca=pki.ca1().cert_pem, fetch_crl=lists.cache) as server:
            for who, code in ((good, None), (bad, "CERT_REVOKED")):
                cache = tlsio.ClientSessionCache()
                for reused in (False, True):
                    let_in = once(server, "secure_connection")
                    sock = await net.connect(server, session_cache=cache, cert=who.cert_pem, key=who.key_pem)
                    peer = await let_in
                    reading = asyncio.ensure_future(sock.read())
                    assert (await ask_later(peer), peer.is_session_reused(), peer.authorized) == (code, reused, code is None)
                    peer.destroy()
                    await asyncio.gather(reading, return_exceptions=True)
                    sock.destroy()
                    await sock.wait_closed()

    @pytest.mark.parametrize("hook", [None, lambda *_: None], ids=["alone", "before check_client"])
    async def test_client(self, net: Net, hook: Any) -> None:
        """A server asks about those who show a certificate."""
        good, bad = named(URL, client=True), named(URL, client=True)
        lists = Lists("require")
        lists.put(revoked=[bad])
        options = {"request_cert": True, "ca": pki.ca1().cert_pem, "fetch_crl": lists.cache, "check_client": hook}
        async with net.serve(**options) as server:
            let_in = once(server, "secure_connection")
            sock = await net.connect(server, cert=good.cert_pem, key=good.key_pem)
            assert (await let_in).authorized
            sock.destroy()
            told, got = await net.refused(server, cert=bad.cert_pem, key=bad.key_pem)
            assert (told.code, got.alert) == ("CERT_REVOKED", "certificate_revoked")  # type: ignore[attr-defined]

    async def test_client_without_certificate(self, net: Net) -> None:
        """There is nobody to be looked for."""
        async with net.serve(fetch_crl="require") as server:
            let_in = once(server, "secure_connection")
            (await net.connect(server)).destroy()
            await let_in

    async def test_wrong_value(self) -> None:
        """Words of its own, or a cache."""
        for make in (tlsio.create_server, lambda **options: tlsio.connect(1, **options)):
            for value in (True, "yes", 1):
                with pytest.raises(tlsio.UsageError):
                    make(fetch_crl=value)


@pytest.mark.parametrize("fetch", ["", 0, {}, "http://x"], ids=repr)
def test_what_fetches_is_a_function(fetch: Any) -> None:
    """Anything else would be plain HTTP without a word."""
    with pytest.raises(tlsio.UsageError, match="fetch must be a function") as caught:
        tlsio.CrlCache(fetch=fetch)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


def test_a_fetch_of_a_loop_that_was_closed_is_not_waited_for() -> None:
    """It never ends."""
    lists, who = Lists("require"), named(URL)
    lists.put()
    goes_on = lists.cache._fetch

    async def hang(_url: str) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    chain = [who.cert_der, pki.ca1().cert_der]
    with left_loop() as loop:
        lists.cache._fetch = hang
        left = loop.create_task(lists.cache.check(chain))
        loop.run_until_complete(asyncio.sleep(0.01))
        lists.cache._fetch = goes_on
        assert asyncio.run(asyncio.wait_for(lists.cache.check(chain), 5)) is None
        assert not left.done()
