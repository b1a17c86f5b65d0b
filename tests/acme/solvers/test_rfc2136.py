"""Dynamic updates of a real BIND."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bind import KEY, KEY_NAME, Bind
from ports import own_port
from tlsio.acme import Rfc2136
from tlsio.model.errors import ACMEError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def provider(bind: Bind) -> Rfc2136:
    """One that may change the zones."""
    return Rfc2136(bind.address, key_name=KEY_NAME, key=KEY)


@pytest.fixture
def own_bind() -> Iterator[Bind]:
    """One that the test may stop."""
    with Bind() as running:
        yield running


async def test_adds_and_removes_a_record(bind: Bind, provider: Rfc2136) -> None:
    """In the zone that the server names."""
    name = "_acme-challenge.one.example.test"
    await provider.add_txt(name, "value")
    assert bind.txt(name) == {"value"}
    await provider.remove_txt(name, "value")
    assert bind.txt(name) == set()


async def test_values_of_one_name_are_independent(bind: Bind, provider: Rfc2136) -> None:
    """A name and its wildcard have one each, at the same time."""
    name = "_acme-challenge.two.example.test"
    await asyncio.gather(provider.add_txt(name, "a"), provider.add_txt(name, "b"))
    await provider.add_txt(name, "a")
    assert bind.txt(name) == {"a", "b"}
    await provider.remove_txt(name, "a")
    await provider.remove_txt(name, "a")
    assert bind.txt(name) == {"b"}
    await provider.remove_txt(name, "b")


async def test_the_longest_zone_of_the_server_is_changed(bind: Bind, provider: Rfc2136) -> None:
    """A zone below another one has a key of its own, maybe."""
    await provider.add_txt("_acme-challenge.a.sub.example.test", "value")
    assert bind.txt("_acme-challenge.a.sub.example.test") == {"value"}
    await provider.remove_txt("_acme-challenge.a.sub.example.test", "value")


async def test_a_given_zone_is_not_asked_for(bind: Bind) -> None:
    """As for servers that do not say."""
    provider = Rfc2136(bind.address, key_name=KEY_NAME, key=KEY, zone="Example.Test.", ttl=0)
    await provider.add_txt("_acme-challenge.three.example.test", "value")
    assert bind.txt("_acme-challenge.three.example.test") == {"value"}
    await provider.remove_txt("_acme-challenge.three.example.test", "value")


@pytest.mark.parametrize(
    ("options", "name", "hint"),
    [
        ({}, "a.example.test", "update-policy"),
        ({"key_name": "other", "key": KEY}, "a.example.test", "key of this name"),
        ({"key_name": KEY_NAME, "key": "AAAA"}, "a.example.test", "another key"),
        ({"key_name": KEY_NAME, "key": KEY, "algorithm": "hmac-sha512"}, "a.example.test", ""),
        ({"key_name": KEY_NAME, "key": KEY, "zone": "test"}, "a.example.test", "primary of the zone"),
        ({"key_name": KEY_NAME, "key": KEY, "zone": "other.test"}, "a.example.test", "not in this zone"),
        ({"key_name": KEY_NAME, "key": KEY}, "a.nowhere.test", "give zone="),
    ],
    ids=["no key", "unknown key", "wrong key", "wrong algorithm", "no zone of the server", "another zone", "unknown name"],
)
async def test_a_refusal_says_what_to_do(bind: Bind, options: dict[str, Any], name: str, hint: str) -> None:
    """Without the key."""
    with pytest.raises(ACMEError) as caught:
        await Rfc2136(bind.address, **options).add_txt(f"_acme-challenge.{name}", "value")
    assert caught.value.code == "ERR_ACME_DNS"
    assert hint in str(caught.value.hint)
    assert KEY not in f"{caught.value!r}{caught.value.hint}"


async def test_a_server_that_is_not_there_is_an_error() -> None:
    """At once."""
    with own_port() as port, pytest.raises(ACMEError, match="did not answer") as caught:
        await Rfc2136(f"127.0.0.1:{port}", zone="example.test").add_txt("a.example.test", "value")
    assert caught.value.code == "ERR_ACME_DNS"


async def test_a_server_that_hangs_is_given_up(own_bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time for one question."""
    monkeypatch.setattr("tlsio.acme.solvers.dns_questions._LIFETIME", 0.1)
    with own_bind.frozen(), pytest.raises(ACMEError, match="did not answer"):
        async with asyncio.timeout(5):
            await Rfc2136(own_bind.address, zone="example.test").add_txt("a.example.test", "value")


async def test_a_cancellation_leaves_nothing(own_bind: Bind) -> None:
    """No connection to the server."""
    with own_bind.frozen(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Rfc2136(own_bind.address, zone="example.test").add_txt("a.example.test", "value")


@pytest.mark.parametrize(
    "options",
    [
        {"server": "ns.example.com"},
        {"server": "127.0.0.1:x"},
        {"server": "127.0.0.1:0"},
        {"server": ""},
        {"key_name": "a"},
        {"key": KEY},
        {"key_name": "a", "key": "not base64!"},
        {"key_name": "a" * 64, "key": KEY},
        {"key_name": "a", "key": KEY, "algorithm": "hmac-md5"},
        {"ttl": -1},
        {"zone": ""},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(options: dict[str, Any]) -> None:
    """The key is not shown."""
    with pytest.raises(UsageError) as caught:
        Rfc2136(**{"server": "127.0.0.1", **options})
    assert "not base64!" not in f"{caught.value!r}"


def test_its_repr_has_no_key() -> None:
    """The name of the key is no secret."""
    assert repr(Rfc2136("[::1]:5353", key_name="tests", key=KEY)) == "<Rfc2136 server=::1 key_name=tests.>"
    assert repr(Rfc2136("192.0.2.1")) == "<Rfc2136 server=192.0.2.1>"
