"""The issuer of an ACME authority, against Pebble: names to certificates, with account, challenges and orders."""

from __future__ import annotations

import asyncio
import json
import stat
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import pki
import tlsio
from acme_clients import client_of, issuer_of
from acme_proxy import AuthorityProxy
from acme_solvers import Alpn, Names, Recorder, Web
from pebble import Pebble
from tlsio.acme import AccountKey, ACMEIssuer, FileStorage, MemoryStorage
from tlsio.acme.issuers.acme_issuer import issuer_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from acme_proxy import Reply, Request
    from tlsio.acme import Challenge, Issued

pytestmark = pytest.mark.slow


def names_of(issued: Issued) -> set[str]:
    """Return the names of a new certificate, after a look at the rest."""
    leaf = x509.load_pem_x509_certificate(issued.chain)
    key = serialization.load_pem_private_key(issued.key, None)
    assert key.public_key() == leaf.public_key()
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) for one in found}


def der_of(issued: Issued) -> bytes:
    """Return the certificate alone."""
    return x509.load_pem_x509_certificate(issued.chain).public_bytes(pki.DER)


class Broken(Recorder):
    """Cannot show its answer."""

    type = "http-01"

    async def present(self, challenge: Challenge) -> None:
        """Fail half-way."""
        await super().present(challenge)
        raise tlsio.StoreError("the disk is full")


class Foreign(Broken):
    """Of a user, with errors of its own."""

    async def present(self, challenge: Challenge) -> None:
        """Fail."""
        await Recorder.present(self, challenge)
        raise RuntimeError("no such zone")

    async def clean_up(self, challenge: Challenge) -> None:
        """Fail too."""
        await super().clean_up(challenge)
        raise RuntimeError("no such zone either")


class Blind(Recorder):
    """Shows its answer where the authority does not look."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.type = kind


@pytest.fixture(scope="module")
def forgiving() -> Iterator[Pebble]:
    """An authority that uses every valid authorization again."""
    with Pebble(authz_reuse=100) as running:
        yield running


# --- certificates ---


async def test_names_addresses_and_wildcards_are_obtained(pebble: Pebble) -> None:
    """One order, with the type of challenge that each of them needs; nothing is presented afterwards."""
    async with Web().listen(pebble.http_port) as web, Alpn().listen(pebble.tls_port) as alpn:
        dns = Names(pebble)
        issuer = issuer_of(pebble, alpn, dns, web)
        wanted = {"issuer-1.example.test", "*.issuer-1.example.test", "127.0.0.1"}
        issued = await issuer.issue(sorted(wanted))
        assert names_of(issued) == wanted
        assert {one.identifier for one in alpn.seen} == {"issuer-1.example.test", "127.0.0.1"}
        assert [(one.identifier, one.is_wildcard) for one in dns.seen] == [("issuer-1.example.test", True)]
        assert not web.seen
        assert not alpn.presented
        assert not dns.presented
        assert issued.order_url is not None
        assert issued.key.startswith(b"-----BEGIN PRIVATE KEY-----")
        assert "PRIVATE" not in repr(issued)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
async def test_the_key_is_of_the_type_that_was_asked_for(pebble: Pebble, kind: str) -> None:
    """And another one each time."""
    async with Web().listen(pebble.http_port) as web:
        issuer = issuer_of(pebble, web, key_type=kind)
        first, second = [await issuer.issue(["issuer-2.example.test"]) for _ in range(2)]
    key = x509.load_pem_x509_certificate(first.chain).public_key()
    found = f"p{key.curve.key_size}" if isinstance(key, ec.EllipticCurvePublicKey) else f"rsa{key.key_size}"  # type: ignore[union-attr]
    assert found == kind
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    assert first.key != second.key


async def test_the_request_has_no_common_name(pebble: Pebble) -> None:
    """Names of more than 64 characters would not fit."""
    name = f"{'long.' * 15}example.test"
    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        assert names_of(await issuer_of(proxy, web).issue([name])) == {name}
    [sent] = [one.payload["csr"] for one in proxy.requests if one.kind == "finalize"]
    request = x509.load_der_x509_csr(urlsafe_b64decode(sent + "=="))
    assert not request.subject.rdns


async def test_a_profile_is_the_issuers_or_the_calls(pebble: Pebble) -> None:
    """The call's wins."""
    async with Web().listen(pebble.http_port) as web:
        issuer = issuer_of(pebble, web, profile="shortlived")
        lives = []
        for profile in (None, "seconds"):
            leaf = x509.load_pem_x509_certificate((await issuer.issue(["issuer-3.example.test"], profile=profile)).chain)
            lives.append((leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds())
    assert lives == [pytest.approx(160 * 3600, abs=2), pytest.approx(20, abs=2)]


async def test_unicode_and_case_are_one_name(pebble: Pebble) -> None:
    """A-labels in lower case are ordered, each once."""
    async with Web().listen(pebble.http_port) as web:
        issued = await issuer_of(pebble, web).issue(["Bücher.Example.Test", "xn--bcher-kva.example.test."])
    assert names_of(issued) == {"xn--bcher-kva.example.test"}


@pytest.mark.parametrize(
    "names", [[], ["ada@example.com"], ["spiffe://example.org/x"], ["a b"], [f"n{n}.example.test" for n in range(101)]]
)
async def test_what_acme_cannot_certify_is_refused_at_once(names: list[str]) -> None:
    """Nothing is requested."""
    issuer = ACMEIssuer("https://ca.invalid/directory", MemoryStorage(), [], terms_agreed=True)
    with pytest.raises(tlsio.UsageValueError):
        await issuer.issue(names)


# --- challenges in turn ---


async def test_types_are_tried_in_turn(pebble: Pebble) -> None:
    """A failed one makes the order invalid: the next one gets an order of its own, and the failed one is not tried again."""
    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        blind = Blind("tls-alpn-01")
        issued = await issuer_of(proxy, blind, web).issue(["issuer-4.example.test", "issuer-5.example.test"])
        assert names_of(issued) == {"issuer-4.example.test", "issuer-5.example.test"}
        assert proxy.count("new_order") == 2
        assert len(blind.seen) == len(web.seen) == 2
        assert not blind.presented


@pytest.mark.parametrize("is_permitted", [True, False], ids=["permitted", "refused"])
async def test_a_further_order_is_asked_for(pebble: Pebble, is_permitted: bool) -> None:  # noqa: FBT001
    """With the failure of the last one, which is raised if there may be no other."""
    asked: list[str] = []

    async def may_repeat(error: tlsio.ACMEError) -> bool:
        asked.append(error.code)
        return is_permitted

    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        issuing = issuer_of(proxy, Blind("tls-alpn-01"), web).issue(["issuer-26.example.test"], may_repeat=may_repeat)
        if is_permitted:
            await issuing
        else:
            with pytest.raises(tlsio.ACMEError) as caught:
                await issuing
            assert caught.value.code == "ERR_ACME_CHALLENGE_FAILED"
        assert proxy.count("new_order") == 1 + is_permitted
    assert asked == ["ERR_ACME_CHALLENGE_FAILED"]


async def test_a_solver_that_cannot_show_its_answer_costs_no_order(pebble: Pebble) -> None:
    """The authority has not looked; the answer's remains are cleaned up."""
    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        broken = Broken()
        await issuer_of(proxy, broken, web).issue(["issuer-6.example.test"])
        assert proxy.count("new_order") == 1
        assert len(broken.seen) == 1
        assert not broken.presented


async def test_a_solver_may_raise_anything(pebble: Pebble) -> None:
    """It is one name's failure, and another solver is tried."""
    foreign = Foreign()
    async with Web().listen(pebble.http_port) as web:
        assert names_of(await issuer_of(pebble, foreign, web).issue(["issuer-23.example.test"])) == {"issuer-23.example.test"}
        assert not foreign.presented
    with pytest.raises(tlsio.ACMEError, match="RuntimeError: no such zone") as caught:
        await issuer_of(pebble, foreign).issue(["issuer-23.example.test"])
    assert caught.value.code == "ERR_ACME_SOLVER"
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_every_name_that_fails_is_reported(pebble: Pebble) -> None:
    """With the authority's reason; one order, since there is no other type."""
    async with AuthorityProxy(pebble) as proxy:
        with pytest.raises(tlsio.ACMEError) as caught:
            await issuer_of(proxy, Blind("http-01")).issue(["issuer-7.example.test", "issuer-8.example.test"])
        assert caught.value.code == "ERR_ACME_CHALLENGE_FAILED"
        assert {one.identifier for one in caught.value.subproblems} == {"issuer-7.example.test", "issuer-8.example.test"}
        assert {one.problem for one in caught.value.subproblems} == {"connection"}
        assert proxy.count("new_order") == 1
        assert proxy.count("finalize") == 0


async def test_all_types_fail(pebble: Pebble) -> None:
    """One order for each, and no more."""
    async with AuthorityProxy(pebble) as proxy:
        solvers = [Blind("http-01"), Blind("tls-alpn-01"), Blind("dns-01")]
        with pytest.raises(tlsio.ACMEError) as caught:
            await issuer_of(proxy, *solvers).issue(["issuer-9.example.test"])
        assert caught.value.code == "ERR_ACME_CHALLENGE_FAILED"
        assert proxy.count("new_order") == 3
        assert [len(one.seen) for one in solvers] == [1, 1, 1]


@pytest.mark.parametrize("name", ["*.issuer-10.example.test", "127.0.0.1"])
async def test_no_solver_fits(pebble: Pebble, name: str) -> None:
    """The message says what the authority offers; the authorization is given up, since pending ones count."""
    async with AuthorityProxy(pebble) as proxy:
        solver = Web() if name.startswith("*") else Names(pebble)
        with pytest.raises(tlsio.ACMEError, match="offers") as caught:
            await issuer_of(proxy, solver).issue([name])
        assert caught.value.code == "ERR_ACME_NO_CHALLENGE"
        assert [one.payload for one in proxy.requests if one.kind == "authorization"][-1] == {"status": "deactivated"}


async def test_a_cancelled_call_leaves_no_answers(pebble: Pebble) -> None:
    """Nor tasks and connections: the test fails if it does."""
    blind = Blind("http-01")

    def keep_pending(request: Request, reply: Reply) -> None:
        if request.kind == "authorization":
            reply.update(status="pending")

    async with AuthorityProxy(pebble, keep_pending) as proxy:
        task = asyncio.create_task(issuer_of(proxy, blind).issue(["issuer-11.example.test"]))
        async with asyncio.timeout(10):
            while proxy.count("authorization") < 3:  # noqa: ASYNC110 - the authority's progress has no event
                await asyncio.sleep(0.01)
        assert blind.presented
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not blind.presented


async def test_a_call_may_be_cancelled_at_any_request(pebble: Pebble, tmp_path: Path) -> None:
    """Nothing is presented and no lock is held afterwards: the same issuer goes on, with the account that there is."""
    solved = asyncio.Event()
    wanted = 0

    def count(request: Request, reply: Reply) -> None:
        if len(proxy.requests) == wanted:
            reply.stalls = True
            solved.set()

    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble, count) as proxy:
        issuer = issuer_of(proxy, web, storage=FileStorage(tmp_path / "acme"))
        for wanted in range(1, 30):
            proxy.requests.clear()
            solved.clear()
            name = f"issuer-24-{wanted}.example.test"  # a new one: Pebble might use an authorization again, with fewer requests
            task = asyncio.create_task(issuer.issue([name]))
            stalled = asyncio.create_task(solved.wait())
            await asyncio.wait({task, stalled}, return_when=asyncio.FIRST_COMPLETED)
            stalled.cancel()
            if task.done():
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not web.presented
        assert names_of(await task) == {name}
        assert wanted > 8
        assert proxy.count("new_account") == 0


async def test_unknown_types_of_challenges_are_ignored(pebble: Pebble) -> None:
    """Whatever they contain."""

    def add_unknown(request: Request, reply: Reply) -> None:
        if request.kind == "authorization":
            reply.update(challenges=[{"type": "future-01", "url": 3}, {}, {"type": {}}, *reply.json["challenges"]])

    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble, add_unknown) as proxy:
        assert names_of(await issuer_of(proxy, web).issue(["issuer-12.example.test"])) == {"issuer-12.example.test"}


async def test_names_that_are_still_verified_need_no_challenge(forgiving: Pebble) -> None:
    """The authority uses their authorizations again."""
    async with Web().listen(forgiving.http_port) as web:
        issuer = issuer_of(forgiving, web)
        for _ in range(2):
            assert names_of(await issuer.issue(["issuer-25.example.test"])) == {"issuer-25.example.test"}
        assert len(web.seen) == 1


async def test_an_unknown_profile_is_an_error_of_ours(forgiving: Pebble) -> None:
    """Nothing is ordered."""
    with pytest.raises(tlsio.ConfigError) as caught:
        await issuer_of(forgiving, Web(), profile="platinum").issue(["issuer-26.example.test"])
    assert caught.value.code == "ERR_ACME_INVALID_PROFILE"


# --- the account ---


async def test_the_account_is_made_once(pebble: Pebble, tmp_path: Path) -> None:
    """By ten calls at once, of two issuers over one storage, and by a third one later."""
    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        storages = [FileStorage(tmp_path / "acme") for _ in range(3)]
        issuers = [issuer_of(proxy, web, storage=one, contact="ada@example.com") for one in storages]
        await asyncio.gather(*(issuers[n % 2].issue([f"issuer-13-{n}.example.test"]) for n in range(10)))
        account = await issuers[2].account()
        assert proxy.count("new_account") == 1
        assert account.contact == ("mailto:ada@example.com",)
        folder = tmp_path / "acme" / "accounts" / issuers[0].name
        assert json.loads((folder / "account.json").read_text()) == {"url": account.url, "contact": ["mailto:ada@example.com"]}
        assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
        assert AccountKey((folder / "key.pem").read_bytes()).thumbprint == account.key.thumbprint


@pytest.mark.parametrize("contact", ["ada", "mailto:ada", "ada@", "ada@example.com,bob@example.com", "ada @example.com"])
def test_a_contact_that_is_no_address(contact: str) -> None:
    """It is found before the authority is asked."""
    with pytest.raises(tlsio.UsageError, match=r"contact must be an e-mail address such as ada@example\.com") as caught:
        ACMEIssuer("https://ca.example/dir", MemoryStorage(), [], contact=contact)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


def test_a_contact_of_another_kind() -> None:
    """RFC 8555 §7.3: the authority decides about other schemes."""
    ACMEIssuer("https://ca.example/dir", MemoryStorage(), [], contact="tel:+12025551212")


async def test_another_contact_is_told_to_the_authority(pebble: Pebble) -> None:
    """Once."""
    storage = MemoryStorage()
    async with AuthorityProxy(pebble) as proxy:
        first = await issuer_of(proxy, storage=storage, contact="ada@example.com").account()
        for _ in range(2):
            account = await issuer_of(proxy, storage=storage, contact=["bob@example.com"]).account()
            assert (account.url, account.contact) == (first.url, ("mailto:bob@example.com",))
        assert proxy.count("new_account") == 1
        assert proxy.count("account") == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"url": 3}', b'{"url": "ftp://x"}', b"\xff", b'{"url": "https://x/", "contact": 3}']
)
async def test_a_broken_account_file_is_made_again(pebble: Pebble, content: bytes) -> None:
    """From the key: it is the same account."""
    storage = MemoryStorage()
    issuer = issuer_of(pebble, storage=storage)
    account = await issuer.account()
    await storage.store(f"accounts/{issuer.name}/account.json", content)
    assert (await issuer_of(pebble, storage=storage).account()).url == account.url
    assert json.loads(await storage.load(f"accounts/{issuer.name}/account.json") or b"")["url"] == account.url


async def test_a_broken_key_is_not_replaced_silently(pebble: Pebble) -> None:
    """The account would be lost; the error names the place."""
    storage = MemoryStorage()
    issuer = issuer_of(pebble, storage=storage)
    await storage.store(f"accounts/{issuer.name}/key.pem", b"nonsense")
    with pytest.raises(tlsio.ConfigError, match=r"key\.pem"):
        await issuer.account()


async def test_a_process_that_keeps_the_lock(pebble: Pebble, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for it has an end, and so have the calls."""
    monkeypatch.setattr("tlsio.acme.issuers.stored_account._LOCK_TIMEOUT", 0.05)
    storage = MemoryStorage()
    issuer = issuer_of(pebble, storage=storage)
    async with storage.lock(f"account-{issuer.name}"):
        with pytest.raises(tlsio.StoreError) as caught:
            await issuer.account()
    assert caught.value.code == "ERR_ACME_LOCK_TIMEOUT"
    assert (await issuer.account()).is_usable


async def test_an_account_that_the_authority_forgot_is_made_again(pebble: Pebble) -> None:
    """With its key, and the order goes on."""
    forgets = True

    def forget(request: Request, reply: Reply) -> None:
        nonlocal forgets
        if request.kind == "new_order" and forgets:
            forgets = False
            reply.refuse(400, "accountDoesNotExist")

    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble, forget) as proxy:
        await issuer_of(proxy, web).issue(["issuer-14.example.test"])
        assert proxy.count("new_account") == 2
        assert proxy.count("new_order") == 2


async def test_an_authority_that_knows_no_account_is_not_hammered(pebble: Pebble) -> None:
    """Each order refused: two registrations more, then the error."""

    def forget(request: Request, reply: Reply) -> None:
        if request.kind == "new_order":
            reply.refuse(400, "accountDoesNotExist")

    async with AuthorityProxy(pebble, forget) as proxy:
        with pytest.raises(tlsio.ACMEError) as caught:
            await issuer_of(proxy, Web()).issue(["issuer-15.example.test"])
        assert caught.value.code == "ERR_ACME_ACCOUNT_DOES_NOT_EXIST"
        assert len(proxy.requests) < 12


async def test_a_key_that_another_process_changed_is_used(pebble: Pebble) -> None:
    """Our own one is refused first."""
    storage = MemoryStorage()
    async with Web().listen(pebble.http_port) as web:
        ours, theirs = (issuer_of(pebble, web, storage=storage) for _ in range(2))
        before = await ours.account()
        changed = await theirs.change_account_key()
        assert changed.key.thumbprint != before.key.thumbprint
        assert names_of(await ours.issue(["issuer-16.example.test"])) == {"issuer-16.example.test"}
        assert (await ours.account()).key.thumbprint == changed.key.thumbprint


@pytest.mark.parametrize("last", ["stored", "sent"])
async def test_a_crash_during_the_change_of_the_key_loses_no_account(pebble: Pebble, last: str) -> None:
    """The authority knows which of both keys is valid."""
    storage = MemoryStorage()
    issuer = issuer_of(pebble, storage=storage)
    account, new = await issuer.account(), AccountKey.generate()
    await storage.store(f"accounts/{issuer.name}/new-key.pem", new.pem)
    if last == "sent":
        async with client_of(pebble) as client:
            await client.change_key(account, new)
    found = await issuer_of(pebble, storage=storage).account()
    assert found.url == account.url
    assert found.key.thumbprint == (new if last == "sent" else account.key).thumbprint
    assert await storage.list(f"accounts/{issuer.name}") == [
        f"accounts/{issuer.name}/account.json",
        f"accounts/{issuer.name}/key.pem",
    ]


async def test_a_key_change_in_which_another_process_died(pebble: Pebble) -> None:
    """The authority has the new key: a process that has the old one orders with it, once."""
    storage = MemoryStorage()
    async with Web().listen(pebble.http_port) as web:
        ours = issuer_of(pebble, web, storage=storage)
        account, new = await ours.account(), AccountKey.generate()
        await storage.store(f"accounts/{ours.name}/new-key.pem", new.pem)
        async with client_of(pebble) as client:
            await client.change_key(account, new)
        assert names_of(await ours.issue(["issuer-died.example.test"])) == {"issuer-died.example.test"}
        assert (await ours.account()).key.thumbprint == new.thumbprint


async def test_an_account_whose_key_was_changing_is_deactivated(pebble: Pebble) -> None:
    """With the key that the authority has."""
    storage = MemoryStorage()
    issuer = issuer_of(pebble, storage=storage)
    account, new = await issuer.account(), AccountKey.generate()
    await storage.store(f"accounts/{issuer.name}/new-key.pem", new.pem)
    async with client_of(pebble) as client:
        await client.change_key(account, new)
    assert (await issuer_of(pebble, storage=storage).deactivate_account()).url == account.url
    assert await storage.list("accounts") == []


async def test_a_deactivated_account_leaves_the_storage(pebble: Pebble) -> None:
    """The next call makes another one."""
    storage = MemoryStorage()
    issuer = issuer_of(pebble, storage=storage)
    first = await issuer.account()
    assert (await issuer.deactivate_account()).status == "deactivated"
    assert await storage.list("accounts") == []
    with pytest.raises(tlsio.ACMEError) as caught:
        await issuer.deactivate_account()
    assert caught.value.code == "ERR_ACME_ACCOUNT_DOES_NOT_EXIST"
    assert (await issuer.account()).url != first.url


async def test_without_consent_there_is_no_account(pebble: Pebble) -> None:
    """Nor an order."""
    async with AuthorityProxy(pebble) as proxy:
        with pytest.raises(tlsio.ConfigError) as caught:
            await issuer_of(proxy, Web(), terms_agreed=False).issue(["issuer-17.example.test"])
        assert caught.value.code == "ERR_ACME_TERMS_NOT_AGREED"
        assert proxy.count("new_account") == 0


# --- renewal and revocation ---


async def test_what_is_renewed_is_named_to_the_authority(pebble: Pebble) -> None:
    """RFC 9773 §5; left out for one that was replaced already."""
    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        issuer = issuer_of(proxy, web)
        old = der_of(await issuer.issue(["issuer-18.example.test"]))
        for _ in range(2):
            await issuer.issue(["issuer-18.example.test"], replaces=old)
        sent = ["replaces" in one.payload for one in proxy.requests if one.kind == "new_order"]
        assert sent == [False, True, True, False]


async def test_what_is_renewed_is_named_in_the_first_order_only(pebble: Pebble) -> None:
    """The second try of another type of challenge comes without."""
    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble) as proxy:
        issuer = issuer_of(proxy, Blind("tls-alpn-01"), web)
        old = der_of(await issuer.issue(["issuer-19.example.test"]))
        proxy.requests.clear()
        await issuer.issue(["issuer-19.example.test"], replaces=old)
        sent = ["replaces" in one.payload for one in proxy.requests if one.kind == "new_order"]
        assert sent == [True, False]


async def test_a_private_certificate_replaces_nothing(pebble: Pebble) -> None:
    """It has no name that this authority knows."""
    async with Web().listen(pebble.http_port) as web:
        issuer = issuer_of(pebble, web)
        assert names_of(await issuer.issue(["issuer-20.example.test"], replaces=_without_identifier())) == {"issuer-20.example.test"}
        assert await issuer.renewal_info(_without_identifier()) is None


def _without_identifier() -> bytes:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, pki.NOW, pki.NOW + pki.DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(pki.DER)


async def test_renewal_information_of_an_authority_that_has_none(pebble: Pebble) -> None:
    """None; and a renewal does not name the old certificate."""

    def without(request: Request, reply: Reply) -> None:
        if request.kind == "directory":
            reply.update(renewalInfo=None)

    async with Web().listen(pebble.http_port) as web, AuthorityProxy(pebble, without) as proxy:
        issuer = issuer_of(proxy, web)
        old = der_of(await issuer.issue(["issuer-21.example.test"]))
        assert await issuer.renewal_info(old) is None
        await issuer.issue(["issuer-21.example.test"], replaces=old)
        assert not any("replaces" in one.payload for one in proxy.requests if one.kind == "new_order")


async def test_a_certificate_is_revoked(pebble: Pebble) -> None:
    """Twice is no error."""
    async with Web().listen(pebble.http_port) as web:
        issuer = issuer_of(pebble, web)
        leaf = der_of(await issuer.issue(["issuer-22.example.test"]))
        found = await issuer.renewal_info(leaf)
        assert found is not None
        for _ in range(2):
            await issuer.revoke(leaf, "keyCompromise")
        serial = x509.load_der_x509_certificate(leaf).serial_number
        assert (await asyncio.to_thread(pebble.status_of, serial))["Status"] == "Revoked"


@pytest.mark.parametrize("key_type", ["rsa1", "rsa", "", 2048, None])
async def test_a_type_of_keys_that_does_not_exist_is_refused_at_once(pebble: Pebble, key_type: Any) -> None:
    """Not after an order, which would be in vain each time."""
    with pytest.raises(tlsio.UsageError, match="key_type"):
        issuer_of(pebble, key_type=key_type)


@pytest.mark.parametrize("url", ["https://[bad/d", "https://", "x://y", "", "https://ada:secret@ca.example/d"])
def test_what_is_no_url_has_no_name(url: str) -> None:
    """It is a wrong value, and may have a password."""
    with pytest.raises(tlsio.UsageValueError) as caught:
        issuer_name(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["HTTPS://CA.Example/d", "https://ca.example:443/d", "https://ca.example/d#x"])
def test_all_ways_to_write_a_url_have_one_name(url: str) -> None:
    """Else what is stored under one is not found under another."""
    assert issuer_name(url) == "ca.example-d"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://acme-v02.api.letsencrypt.org/directory", "acme-v02.api.letsencrypt.org-directory"),
        ("https://ca.example:8443/acme/acme/directory/", "ca.example-8443-acme-acme-directory"),
        ("https://[2001:db8::1]/d?x=1", "-2001-db8--1--dx-1"),
    ],
)
def test_the_name_is_host_and_path(url: str, name: str) -> None:
    """As certmagic's, so that a person finds it."""
    assert issuer_name(url) == name
    assert len(issuer_name("https://ca.example/" + "x" * 2000)) < 200
