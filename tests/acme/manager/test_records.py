"""What the manager keeps: certificates, their facts, and the ledger of orders. Broken values never stop it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

import tlsio
from manager_stage import Stage
from tlsio import certs
from tlsio.acme import Limits, MemoryStorage
from tlsio.acme.issuers.issuer import Issued
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.order_ledger import OrderLedger
from virtual_time import BEGIN, VirtualTime

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def make(*names: str) -> Certificate:
    """Return a certificate with an intermediate."""
    leaf = certs.Authority.create("root").intermediate("below").server(*names)
    return Certificate.of(Issued(leaf.chain_pem, leaf.key_pem), "x")


def test_certificate_is_written_as_it_is_read() -> None:
    """Key first, then the chain, in PEM that every program reads."""
    made = make("a.example", "*.b.example", "192.0.2.1", "2001:db8::1")
    again = Certificate.read(made.pem, "x")
    assert again.pem == made.pem
    assert again.names == {"a.example", "*.b.example", "192.0.2.1", "2001:db8::1"}
    assert (again.fingerprint, again.not_after) == (made.fingerprint, made.not_after)
    assert made.pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert made.pem.count(b"-----BEGIN CERTIFICATE-----") == 2
    assert tlsio.create_secure_context(cert=made.pem, key=made.pem)
    assert again.above is made.above  # kept once for all of an issuer


def test_secrets_are_in_no_repr() -> None:
    """Neither of the certificate nor of what an issuer returns."""
    made = make("a.example")
    body = made.key.splitlines()[1].decode()
    assert body not in repr(made)
    assert body not in repr(Issued(made.chain_pem, made.key))


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"-----BEGIN CERTIFICATE-----\n", make("a.example").chain_pem, make("a.example").key, make("a.example").key * 2 + make("b.example").chain_pem,
     make("a.example").key + b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
     make("a.example").key + b"-----BEGIN CERTIFICATE-----\nM\n-----END CERTIFICATE-----\n",
     make("a.example").key + make("a.example").chain_pem * 10],
    ids=["empty", "text", "cut off", "no key", "no chain", "two keys", "not a certificate", "not base64", "endless"],
)  # fmt: skip
def test_broken_certificate_is_refused(value: bytes) -> None:
    """With one code, and a hint."""
    with pytest.raises(tlsio.ConfigError) as refused:
        Certificate.read(value, "x")
    assert refused.value.code == "ERR_ACME_INVALID_CERTIFICATE"
    assert refused.value.hint


def test_facts_are_read_as_they_were_written() -> None:
    """All of them."""
    made = make("a.example")
    facts = Facts(
        made.fingerprint,
        BEGIN,
        BEGIN + HOUR,
        (BEGIN, BEGIN + 2 * HOUR),
        BEGIN + SECOND,
        "https://why.example/",
        BEGIN,
        "https://order.example/1",
        "p",
    )
    assert Facts.read(facts.write(made), made) == facts


@pytest.mark.parametrize(
    "data",
    [None, b"", b"{", b"[1]", b"\xff\xfe", b'{"fingerprint": 1}', b"[" * 100_000, b'{"fingerprint": "00"}'],
    ids=lambda data: repr(data)[:30],
)
def test_broken_facts_are_forgotten(data: bytes | None) -> None:
    """So are those of another certificate."""
    made = make("a.example")
    assert Facts.read(data, made) == Facts(made.fingerprint)


def test_wrong_fact_is_left_out_alone() -> None:
    """The others stay."""
    made = make("a.example")
    data = (
        Facts(made.fingerprint, obtained_at=BEGIN)
        .write(made)
        .replace(b'"issuer"', b'"window_start": "yesterday", "next_poll": 7, "issuer"')
    )
    assert Facts.read(data, made) == Facts(made.fingerprint, obtained_at=BEGIN)


def test_ledger_allows_ten_orders_in_ten_seconds() -> None:
    """The eleventh is told when to come back; several processes share the count."""
    time, storage = VirtualTime(), MemoryStorage()
    ledgers = [OrderLedger(storage, time.clock) for _ in range(3)]

    async def main() -> None:
        for number in range(10):
            assert await ledgers[number % 3].reserve("x", Limits(), is_renewal=False) is None
        assert await ledgers[0].reserve("x", Limits(), is_renewal=False) == BEGIN + 10 * SECOND
        assert await ledgers[0].reserve("x", Limits(), is_renewal=True) == BEGIN + 10 * SECOND
        assert await ledgers[0].reserve("y", Limits(), is_renewal=False) is None
        await asyncio.sleep(10)
        assert await ledgers[0].reserve("x", Limits(), is_renewal=False) is None

    time.run(main)


def test_ledger_allows_renewals_beyond_the_long_limit() -> None:
    """Let's Encrypt leaves them out (RFC 9773 §5)."""
    time, storage = VirtualTime(), MemoryStorage()
    ledger = OrderLedger(storage, time.clock)
    limits = Limits(burst=100, orders=3)

    async def main() -> None:
        for _ in range(3):
            assert await ledger.reserve("x", limits, is_renewal=False) is None
        assert await ledger.reserve("x", limits, is_renewal=False) == BEGIN + 3 * HOUR
        assert await ledger.reserve("x", limits, is_renewal=True) is None
        await asyncio.sleep(3 * 3600)
        assert await ledger.reserve("x", limits, is_renewal=False) is None

    time.run(main)


@pytest.mark.parametrize("value", [b"", b"{", b'{"recent": 5, "orders": [1, null, "x", "2999-01-01T00:00:00+00:00"]}'], ids=repr)
def test_broken_ledger_is_empty(value: bytes) -> None:
    """A time of the future comes from a clock that was wrong."""
    time, storage = VirtualTime(), MemoryStorage()

    async def main() -> None:
        await storage.store("accounts/x/orders.json", value)
        assert await OrderLedger(storage, time.clock).reserve("x", Limits(burst=1, orders=1), is_renewal=False) is None

    time.run(main)


def test_values_in_the_storage_have_their_places() -> None:
    """Those of the contract, which other programs read too."""
    stage = Stage()

    async def main() -> None:
        await stage.manage("a.example").start()
        await asyncio.sleep(60)
        assert await stage.storage.list("") == [
            "accounts/first/orders.json",
            "certificates/first/a.example/certificate.json",
            "certificates/first/a.example/certificate.pem",
        ]

    stage.run(main)
