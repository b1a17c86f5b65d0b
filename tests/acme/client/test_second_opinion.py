"""certbot's library `acme` and ours against one Pebble: an account made by one is used by the other."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import josepy
import pytest
from acme import client as certbots
from acme import crypto_util, messages
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

import pki
from acme_clients import client_of, obtain, register
from acme_solvers import Web
from tlsio.acme import AccountKey
from tlsio.certs import create_request, generate_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pebble import Pebble

pytestmark = pytest.mark.slow


@contextmanager
def certbots_client(pebble: Pebble, key: AccountKey, folder: Path, account_url: str | None = None) -> Iterator[certbots.ClientV2]:
    """A client of certbot's with this key."""
    (folder / "ca.pem").write_bytes(pebble.ca)
    private: Any = load_pem_private_key(key.pem, None)
    jwk = josepy.JWKEC(key=private) if key.algorithm == "ES256" else josepy.JWKRSA(key=private)
    algorithm = josepy.ES256 if key.algorithm == "ES256" else josepy.RS256
    account = None if account_url is None else messages.RegistrationResource(uri=account_url, body=messages.Registration())
    network = certbots.ClientNetwork(jwk, alg=algorithm, account=account, verify_ssl=str(folder / "ca.pem"), user_agent="tests")
    try:
        yield certbots.ClientV2(certbots.ClientV2.get_directory(pebble.directory_url, network), network)
    finally:
        network.session.close()


def account_keys() -> dict[str, AccountKey]:
    """ES256, and RS256 as certbot's older accounts have."""
    return {"ES256": AccountKey.generate(), "RS256": AccountKey(pki.rsa_key())}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_an_account_of_certbots_is_ours(pebble: Pebble, tmp_path: Path, algorithm: str) -> None:
    """Found by its key, and used for a certificate."""
    key = account_keys()[algorithm]

    def make() -> str:
        with certbots_client(pebble, key, tmp_path) as theirs:
            made = theirs.new_account(messages.NewRegistration.from_data(email="ada@example.com", terms_of_service_agreed=True))
            return str(made.uri)

    url = await asyncio.to_thread(make)
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await client.find_account(key)
        assert account.url == url
        chain = await obtain(client, account, [f"second-{algorithm.lower()}.example.test"], web)
        assert chain.leaf["subjectaltname"] == f"DNS:second-{algorithm.lower()}.example.test"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_an_account_of_ours_is_certbots(pebble: Pebble, tmp_path: Path, algorithm: str) -> None:
    """It uses the account, orders, reads our authorization, and revokes our certificate."""
    key = account_keys()[algorithm]
    name = f"third-{algorithm.lower()}.example.test"
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await client.new_account(key, terms_agreed=True)
        chain = await obtain(client, account, [name], web)

        def use() -> tuple[str, str]:
            with certbots_client(pebble, key, tmp_path, account.url) as theirs:
                private = generate_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                order = theirs.new_order(crypto_util.make_csr(private, [f"new.{name}"]))
                theirs.revoke(x509.load_der_x509_certificate(chain.leaf.raw), 4)
                found = theirs.query_registration(theirs.net.account)
                return str(found.body.status), str(order.body.status)

        assert await asyncio.to_thread(use) == ("valid", "Status(pending)")
        assert (await asyncio.to_thread(pebble.status_of, chain.leaf.serial))["Status"] == "Revoked"


async def test_an_order_of_ours_is_finished_by_certbots(pebble: Pebble, tmp_path: Path) -> None:
    """The key authorizations are the same: it answers the challenge that we have presented."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await register(client)
        order = await client.new_order(account, ["fourth.example.test"])
        authorization = await client.authorization(account, order.authorizations[0])
        [offer] = [one for one in authorization.offers if one.type == "http-01"]
        await web.present(client.challenge(account, authorization, offer))
        request = create_request("fourth.example.test", key=generate_key()).public_bytes(Encoding.PEM)

        def finish() -> str:
            with certbots_client(pebble, account.key, tmp_path, account.url) as theirs:
                found = messages.AuthorizationResource(uri=authorization.url, body=messages.Authorization())
                found, _ = theirs.poll(found)
                [body] = [one for one in found.body.challenges if one.chall.typ == "http-01"]
                theirs.answer_challenge(body, body.response(theirs.net.key))
                whole = messages.OrderResource(
                    uri=order.url,
                    csr_pem=request,
                    authorizations=[found],
                    body=messages.Order(finalize=order.finalize, authorizations=order.authorizations),
                )
                return str(theirs.poll_and_finalize(whole).fullchain_pem)

        pem = await asyncio.to_thread(finish)
        done = await client.order(account, order.url)
        assert done.certificate is not None
        chain = await client.download(account, done.certificate)
        assert chain.pem.decode().split() == pem.split()


async def test_both_name_a_certificate_alike(pebble: Pebble, tmp_path: Path) -> None:
    """RFC 9773: certbot asks for the same renewal information."""
    async with client_of(pebble) as client, Web().listen(pebble.http_port) as web:
        account = await register(client)
        chain = await obtain(client, account, ["fifth.example.test"], web, profile="default")
        ours = await client.renewal_info(chain.leaf.raw)

        def ask() -> Any:
            with certbots_client(pebble, account.key, tmp_path, account.url) as theirs:
                return theirs.renewal_time(chain.pem)[0]

        assert ours is not None
        assert ours.start <= await asyncio.to_thread(ask) <= ours.end
