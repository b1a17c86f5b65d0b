"""The client against Pebble: everything that RFC 8555 and RFC 9773 let a client do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import pki
import tlsio
from acme_clients import Sleeps, client_of, obtain, register, validate
from acme_solvers import Alpn, Names, Web
from pebble import Pebble
from tlsio.acme import AccountKey, Client, ExternalAccount
from tlsio.certs import create_request, generate_key

if TYPE_CHECKING:
    from collections.abc import Iterator

EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def customers_only() -> Iterator[Pebble]:
    """An authority that wants an external account."""
    with Pebble(eab={"kid-1": EAB_KEY}) as running:
        yield running


@pytest.fixture(scope="module")
def with_other_chains() -> Iterator[Pebble]:
    """An authority with three roots, and an intermediate more; it refuses one nonce of seven."""
    with Pebble(nonce_reject=14, environment={"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "2"}) as running:
        yield running


async def test_the_directory_says_what_the_authority_is(pebble: Pebble) -> None:
    """And is fetched once an hour at most."""
    now = datetime(2026, 11, 30, tzinfo=UTC)
    async with client_of(pebble, clock=lambda: now) as client:
        found = await client.directory()
        assert set(found.profiles) == {"default", "shortlived", "seconds"}
        assert found.terms_of_service is not None
        assert found.renewal_info is not None
        assert not found.external_account_required
        assert await client.directory() is found
        now += timedelta(minutes=59)
        assert await client.directory() is found
        now -= timedelta(hours=2)  # a clock that was put right
        assert await client.directory() is not found


async def test_an_authority_that_is_not_trusted(pebble: Pebble) -> None:
    """The hint is about the authority's root, not about servers of one's own."""
    async with Client(pebble.directory_url) as client:
        with pytest.raises(tlsio.FetchError, match="unable to verify the first certificate") as caught:
            await client.directory()
    assert caught.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    assert caught.value.hint == (
        "If it is an authority of your own, give the root of its server as ca=, or `tlsio serve --acme-server-ca`. "
        "Otherwise another server may have answered."
    )
    assert caught.value.__notes__ == [caught.value.hint]
    assert isinstance(caught.value.__cause__, tlsio.CertificateError)


# --- accounts ---


async def test_an_account_is_made_once_for_a_key(pebble: Pebble) -> None:
    """RFC 8555 §7.3.1: the same request returns the same account."""
    async with client_of(pebble) as client:
        key = AccountKey.generate()
        made = await client.new_account(key, terms_agreed=True, contact=["mailto:ada@example.com"])
        assert made.is_usable
        assert made.contact == ("mailto:ada@example.com",)
        assert (await client.new_account(key, terms_agreed=True)).url == made.url
        assert (await client.find_account(key)).url == made.url


async def test_a_key_without_account_is_not_found(pebble: Pebble) -> None:
    """And makes none."""
    async with client_of(pebble) as client:
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.find_account(AccountKey.generate())
    assert (caught.value.code, caught.value.status) == ("ERR_ACME_ACCOUNT_DOES_NOT_EXIST", 400)


async def test_terms_must_be_agreed_to(pebble: Pebble) -> None:
    """The error names the page; nothing is sent for the caller."""
    async with client_of(pebble) as client:
        with pytest.raises(tlsio.ConfigError) as caught:
            await client.new_account(AccountKey.generate())
        terms = (await client.directory()).terms_of_service
    assert caught.value.code == "ERR_ACME_TERMS_NOT_AGREED"
    assert terms is not None
    assert terms in caught.value.message


async def test_the_contact_can_be_changed(pebble: Pebble) -> None:
    """And removed."""
    async with client_of(pebble) as client:
        account = await register(client, contact=["mailto:ada@example.com"])
        assert (await client.update_account(account, ["mailto:bob@example.com"])).contact == ("mailto:bob@example.com",)
        assert (await client.update_account(account, [])).contact == ()


async def test_a_contact_that_is_none_is_refused(pebble: Pebble) -> None:
    """By the authority."""
    async with client_of(pebble) as client:
        with pytest.raises(tlsio.ACMEError) as caught:
            await register(client, contact=["carrier-pigeon:ada"])
    assert caught.value.code in {"ERR_ACME_UNSUPPORTED_CONTACT", "ERR_ACME_INVALID_CONTACT"}


async def test_a_new_key_replaces_the_old_one(pebble: Pebble) -> None:
    """RFC 8555 §7.3.5: the old one has no account any more."""
    async with client_of(pebble) as client:
        account = await register(client)
        changed = await client.change_key(account, AccountKey.generate())
        assert changed.url == account.url
        assert (await client.find_account(changed.key)).url == account.url
        with pytest.raises(tlsio.ACMEError):
            await client.find_account(account.key)


async def test_a_deactivated_account_is_of_no_use(pebble: Pebble) -> None:
    """For ever."""
    async with client_of(pebble) as client:
        account = await register(client)
        gone = await client.deactivate_account(account)
        assert gone.status == "deactivated"
        assert not gone.is_usable
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.new_order(account, ["gone.example.test"])
    assert caught.value.code == "ERR_ACME_UNAUTHORIZED"


@pytest.mark.parametrize("kind", ["P-384", "RSA"])
async def test_other_kinds_of_account_keys_work(pebble: Pebble, kind: str) -> None:
    """RSA for certbot's older accounts."""
    key = AccountKey(pki.rsa_key() if kind == "RSA" else ec.generate_private_key(ec.SECP384R1()))
    async with client_of(pebble) as client:
        account = await client.new_account(key, terms_agreed=True)
        assert (await client.new_order(account, [f"{kind.lower()}.example.test"])).status == "pending"
        assert (await client.change_key(account, AccountKey.generate())).url == account.url


async def test_an_external_account_is_bound(customers_only: Pebble) -> None:
    """RFC 8555 §7.3.4; without one, or with a wrong secret, there is no account."""
    async with client_of(customers_only) as client:
        with pytest.raises(tlsio.ConfigError) as missing:
            await register(client)
        with pytest.raises(tlsio.ACMEError) as wrong:
            await register(client, external_account=ExternalAccount("kid-1", "AAAA" * 10))
        assert (await register(client, external_account=ExternalAccount("kid-1", EAB_KEY))).is_usable
    assert missing.value.code == "ERR_ACME_EXTERNAL_ACCOUNT_REQUIRED"
    assert wrong.value.code == "ERR_ACME_EXTERNAL_ACCOUNT"
    assert "AAAAAAAA" not in str(wrong.value)
    assert wrong.value.hint is not None
    assert wrong.value.code == "ERR_ACME_EXTERNAL_ACCOUNT"
    assert wrong.value.hint.startswith("Compare external_account=")


# --- orders ---


async def test_each_type_of_challenge_leads_to_a_certificate(pebble: Pebble) -> None:
    """A name by http-01, an address by tls-alpn-01, a wildcard by dns-01."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web, Alpn().listen(pebble.tls_port) as alpn:
        account = await register(client)
        for solver, name in ((web, "client-1.example.test"), (alpn, "127.0.0.1"), (Names(pebble), "*.client-1.example.test")):
            key = generate_key()
            chain = await obtain(client, account, [name], solver, key=key, profile="shortlived")
            assert chain.leaf["subjectaltname"] in {f"DNS:{name}", f"IP Address:{name}"}
            assert chain.leaf.not_after is not None
            assert chain.leaf.not_before is not None
            assert chain.leaf.not_after - chain.leaf.not_before < timedelta(hours=161)
            assert chain.pem.count(b"BEGIN CERTIFICATE") == len(chain.certificates) == 2


async def test_one_nonce_of_seven_may_be_refused(with_other_chains: Pebble) -> None:
    """RFC 8555 §6.5: with the nonce of the refusal. Ten refusals in a row, which are too many, have a chance of 3e-9, and of 2e-7 in all requests of this file."""
    pebble = with_other_chains
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        chain = await obtain(client, await register(client), ["client-2.example.test"], web)
    assert chain.leaf["subjectaltname"] == "DNS:client-2.example.test"


async def test_a_client_that_is_not_entered_keeps_no_connections(pebble: Pebble) -> None:
    """Each request has one of its own; the test fails if one is left."""
    client = client_of(pebble)
    account = await register(client)
    assert (await client.new_order(account, ["client-3.example.test"])).status == "pending"


async def test_requests_overlap(pebble: Pebble) -> None:
    """With nonces of their own."""
    async with client_of(pebble) as client:
        account = await register(client)
        orders = await asyncio.gather(*(client.new_order(account, [f"client-4-{n}.example.test"]) for n in range(10)))
        assert len({order.url for order in orders}) == 10


async def test_a_client_may_be_entered_twice(pebble: Pebble) -> None:
    """Connections are kept until the last one leaves."""
    async with client_of(pebble) as client:
        async with client:
            await client.directory()
        await register(client)


async def test_an_unknown_profile_is_refused_before_it_is_sent(pebble: Pebble) -> None:
    """With those that there are."""
    async with client_of(pebble) as client:
        with pytest.raises(tlsio.ConfigError) as caught:
            await client.new_order(await register(client), ["client-5.example.test"], profile="platinum")
    assert caught.value.code == "ERR_ACME_INVALID_PROFILE"
    assert "seconds, shortlived" in (caught.value.hint or "")


async def test_a_name_that_cannot_be_verified(pebble: Pebble) -> None:
    """Nobody answers: the authority's reason is in the error, and the order is invalid."""
    async with client_of(pebble) as client:
        account = await register(client)
        order = await client.new_order(account, ["client-6.example.test"])
        with pytest.raises(tlsio.ACMEError) as caught:
            await validate(client, account, order, Web())  # without a server
        assert caught.value.code == "ERR_ACME_CHALLENGE_FAILED"
        assert caught.value.problem == "connection"
        assert caught.value.identifier == "client-6.example.test"
        assert caught.value.subproblems[0].code == "ERR_ACME_CONNECTION"
        with pytest.raises(tlsio.ACMEError) as invalid:
            await client.wait_for_order(account, await client.order(account, order.url), "ready")
    assert invalid.value.code == "ERR_ACME_ORDER_INVALID"


async def test_a_request_for_other_names_is_refused(pebble: Pebble) -> None:
    """By the authority."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await register(client)
        order = await client.new_order(account, ["client-7.example.test"])
        await validate(client, account, order, web)
        request = create_request("other.example.test", key=generate_key()).public_bytes(pki.DER)
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.finalize(account, order, request)
    assert caught.value.code in {"ERR_ACME_BAD_CSR", "ERR_ACME_UNAUTHORIZED", "ERR_ACME_MALFORMED"}


async def test_an_order_is_not_ready_before_its_names_are(pebble: Pebble) -> None:
    """The authority says so; nothing waits."""
    async with client_of(pebble) as client:
        account = await register(client)
        order = await client.new_order(account, ["client-8.example.test"])
        request = create_request("client-8.example.test", key=generate_key()).public_bytes(pki.DER)
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.finalize(account, order, request)
    assert caught.value.code == "ERR_ACME_ORDER_NOT_READY"


async def test_an_authorization_can_be_given_up(pebble: Pebble) -> None:
    """RFC 8555 §7.5.2."""
    async with client_of(pebble) as client:
        account = await register(client)
        order = await client.new_order(account, ["client-9.example.test"])
        [url] = order.authorizations
        await client.deactivate_authorization(account, url)
        assert (await client.authorization(account, url)).status == "deactivated"


async def test_an_order_that_is_not_decided_in_time(pebble: Pebble) -> None:
    """Nobody has told the authority to look: the wait ends, after a number of questions that is bounded."""
    sleeps = Sleeps()
    async with client_of(pebble, sleep=sleeps, poll_timeout=60.0) as client:
        account = await register(client)
        order = await client.new_order(account, ["client-10.example.test"])
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.wait_for_order(account, order, "ready")
    assert caught.value.code == "ERR_ACME_TIMEOUT"
    assert 40 <= sum(sleeps.waits) <= 60  # slow answers count too, and those of a busy machine may take seconds
    assert len(sleeps.waits) <= 20


async def test_the_preferred_chain_is_chosen_by_its_root(with_other_chains: Pebble) -> None:
    """RFC 8555 §7.4.2; the authority's own choice if none has that root."""
    pebble = with_other_chains
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await register(client)
        order = await client.new_order(account, ["client-11.example.test"])
        await validate(client, account, order, web)
        request = create_request("client-11.example.test", key=generate_key()).public_bytes(pki.DER)
        order = await client.finalize(account, order, request)
        assert order.certificate is not None
        first = await client.download(account, order.certificate)
        for number in range(3):
            root = tlsio.certs.read(await asyncio.to_thread(pebble.root, number)).certificate.subject
            name = root.get_attributes_for_oid(tlsio.certs.authority.x509.NameOID.COMMON_NAME)[0].value
            chosen = await client.download(account, order.certificate, preferred_chain=str(name))
            assert chosen.root_name == name
        assert (await client.download(account, order.certificate, preferred_chain="No Such Root")).pem == first.pem


# --- certificates ---


async def test_a_certificate_is_revoked_by_its_account(pebble: Pebble) -> None:
    """With a reason; once."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await register(client)
        leaf = (await obtain(client, account, ["client-12.example.test"], web)).leaf
        await client.revoke(leaf.raw, account=account, reason="superseded")
        status = await asyncio.to_thread(pebble.status_of, leaf.serial)
        assert (status["Status"], status["Reason"]) == ("Revoked", 4)
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.revoke(leaf.raw, account=account)
    assert caught.value.code == "ERR_ACME_ALREADY_REVOKED"


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048"])
async def test_a_certificate_is_revoked_by_its_own_key(pebble: Pebble, kind: str) -> None:
    """RFC 8555 §7.6: whoever has the key may, without an account."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        key = generate_key(kind)
        leaf = (await obtain(client, await register(client), ["client-13.example.test"], web, key=key)).leaf
        await client.revoke(leaf.raw, key=AccountKey(key), reason="keyCompromise")
        assert (await asyncio.to_thread(pebble.status_of, leaf.serial))["Status"] == "Revoked"


async def test_a_stranger_cannot_revoke(pebble: Pebble) -> None:
    """Neither by another account nor by another key."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        leaf = (await obtain(client, await register(client), ["client-14.example.test"], web)).leaf
        with pytest.raises(tlsio.ACMEError):
            await client.revoke(leaf.raw, account=await register(client))
        with pytest.raises(tlsio.ACMEError):
            await client.revoke(leaf.raw, key=AccountKey.generate())
        assert (await asyncio.to_thread(pebble.status_of, leaf.serial))["Status"] == "Valid"


async def test_renewal_information(pebble: Pebble) -> None:
    """As the authority suggests, and as it is made to suggest."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        leaf = (await obtain(client, await register(client), ["client-15.example.test"], web, profile="default")).leaf
        found = await client.renewal_info(leaf.raw)
        assert found is not None
        assert datetime.now(UTC) < found.start < found.end
        forced = {
            "suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"},
            "explanationURL": "https://ca.test/why",
        }
        pem = leaf.x509.public_bytes(pki.PEM)
        await asyncio.to_thread(pebble.set_renewal_info, pem, forced)
        found = await client.renewal_info(leaf.raw)
        assert found is not None
        assert (found.start.year, found.explanation_url) == (2020, "https://ca.test/why")
        await asyncio.to_thread(pebble.set_renewal_info, pem, '{"suggestedWindow": {"start": ')
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.renewal_info(leaf.raw)
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"


async def test_a_certificate_is_replaced_once(pebble: Pebble) -> None:
    """RFC 9773 §5."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await register(client)
        leaf = (await obtain(client, account, ["client-16.example.test"], web)).leaf
        await obtain(client, account, ["client-16.example.test"], web, replaces=leaf.raw)
        with pytest.raises(tlsio.ACMEError) as caught:
            await client.new_order(account, ["client-16.example.test"], replaces=leaf.raw)
    assert caught.value.code == "ERR_ACME_ALREADY_REPLACED"


# --- wrong calls ---


def test_a_missing_package_is_named_with_its_extra() -> None:
    """That of ACME, not that of the HTTP client below it."""
    source = "import sys; sys.modules['h11'] = None\nimport tlsio.acme\ntry: tlsio.acme.Client\nexcept Exception as error: print(error.code, error.hint)"
    shown = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert shown == "ERR_TLS_MISSING_EXTRA pip install 'tlsio[acme]'\n"


async def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    """The directory must be https."""
    with pytest.raises(tlsio.UsageValueError, match="allow_http"):
        Client("http://ca.example/directory", allow_http=False)
    for url in ("ca.example", "", "https://", "https://user:secret@ca.example/"):
        with pytest.raises(tlsio.UsageValueError) as caught:
            Client(url)
        assert "secret" not in str(caught.value)
    client = Client("https://ca.example/directory")
    for options in ({}, {"key": AccountKey.generate(), "reason": "boredom"}):
        with pytest.raises(tlsio.UsageValueError):
            await client.revoke(b"", **options)  # type: ignore[arg-type]
    with pytest.raises(tlsio.UsageError):
        Client("https://ca.example/directory", timeout=0)
