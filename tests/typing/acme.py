"""The public face of `tlsio.acme` as a type checker sees it; never run."""

from datetime import datetime
from typing import assert_type

from tlsio import acme


class Solver:
    """What a user may write."""

    type = "http-01"

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:
        """Everything."""
        return True

    async def present(self, challenge: acme.Challenge) -> None:
        """Show the answer."""
        assert_type(challenge.key_authorization, str)
        assert_type(challenge.digest, bytes)

    async def clean_up(self, challenge: acme.Challenge) -> None:
        """Remove it."""


async def an_issuer(storage: acme.Storage) -> None:
    """Obtain, renew and revoke."""
    account = acme.ExternalAccount("kid", "secret")
    issuer = acme.ACMEIssuer("https://ca.example/", storage, [Solver()], contact="ada@example.com", external_account=account, ca=[b"..."])
    as_protocol: acme.Issuer = issuer
    issued = await as_protocol.issue(["example.com"], replaces=b"...", profile="shortlived")
    assert_type(issued, acme.Issued)
    info = await issuer.renewal_info(b"...")
    if info is not None:
        assert_type(info.start, datetime)
        assert_type(info.retry_after, float)
    await issuer.revoke(b"...", "superseded")
    assert_type(await issuer.account(), acme.Account)
    acme.ACMEIssuer("https://ca.example/", storage, [], terms_agreed=True, poll_timeout=60.0, timeout=5.0, proxy=None)
    acme.ACMEIssuer("https://ca.example/", storage, [], agree_tos=True)  # type: ignore[call-arg]


async def a_client() -> None:
    """Each step by hand."""
    async with acme.Client("https://ca.example/", timeout=5.0, min_version="TLSv1.3") as client:
        assert_type(client, acme.Client)
        assert_type((await client.directory()).profiles, dict[str, str])
        account = await client.new_account(acme.AccountKey.generate(), terms_agreed=True)
        order = await client.new_order(account, ["example.com"])
        assert_type(order.identifiers, tuple[acme.Identifier, ...])
        authorization = await client.authorization(account, order.authorizations[0])
        offers = authorization.offers
        assert_type(offers, tuple[acme.Offer, ...])
        await client.respond(account, offers[0])
        order = await client.finalize(account, order, b"...")
        chain = await client.download(account, order.certificate or "")
        assert_type(chain, acme.Chain)
        assert_type(chain.pem, bytes)
        await client.revoke(chain.leaf.raw, key=acme.AccountKey(b"..."))
