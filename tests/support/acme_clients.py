"""Our ACME client and issuer, set up for Pebble, and the steps from an order to a certificate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.acme import AccountKey, ACMEIssuer, Client, MemoryStorage
from tlsio.certs import create_request, generate_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acme_proxy import AuthorityProxy
    from acme_solvers import Recorder
    from pebble import Pebble
    from tlsio.acme import Account, Chain, Order, Storage


class Sleeps:
    """A sleep that hardly takes time, and remembers what was wanted."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Let the authority work for a moment, and for a longer one when it has been asked often: the machine may be busy."""
        self.waits.append(seconds)
        await asyncio.sleep(min(seconds, 0.02 if len(self.waits) < 20 else 0.1))


def client_of(authority: Pebble | AuthorityProxy, **options: Any) -> Client:
    """Return a client that trusts this authority, and waits quickly."""
    return Client(authority.directory_url, **_options(authority) | options)


def issuer_of(authority: Pebble | AuthorityProxy, *solvers: Recorder, storage: Storage | None = None, **options: Any) -> ACMEIssuer:
    """Return an issuer that agrees to the terms, and waits quickly."""
    given = {"terms_agreed": True, **_options(authority), **options}
    return ACMEIssuer(authority.directory_url, MemoryStorage() if storage is None else storage, solvers, **given)


def _options(authority: Pebble | AuthorityProxy) -> dict[str, Any]:
    is_plain = authority.directory_url.startswith("http:")
    return {"allow_http": is_plain, "sleep": Sleeps(), "ca": authority.ca}


async def register(client: Client, **options: Any) -> Account:
    """Make an account with a new key."""
    return await client.new_account(AccountKey.generate(), terms_agreed=True, **options)


async def validate(client: Client, account: Account, order: Order, solver: Recorder) -> None:
    """Validate all names of an order, one after the other. Pebble uses one of a hundred valid authorizations again."""
    for url in order.authorizations:
        authorization = await client.authorization(account, url)
        if authorization.status == "valid":
            continue
        [offer] = [one for one in authorization.offers if one.type == solver.type]
        challenge = client.challenge(account, authorization, offer)
        await solver.present(challenge)
        await client.respond(account, offer)
        await client.wait_for_authorization(account, url)
        await solver.clean_up(challenge)


async def obtain(client: Client, account: Account, names: Sequence[str], solver: Recorder, *, key: Any = None, **options: Any) -> Chain:
    """Order, validate, finalize and download."""
    order = await client.new_order(account, names, **options)
    await validate(client, account, order, solver)
    order = await client.wait_for_order(account, await client.order(account, order.url), "ready")
    request = create_request(names, key=key or generate_key())
    order = await client.finalize(account, order, request.public_bytes(Encoding.DER))
    assert order.certificate is not None
    return await client.download(account, order.certificate)
