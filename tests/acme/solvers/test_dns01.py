"""dns-01 over a real BIND: where the record goes, and the wait until it is there."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bind import KEY, KEY_NAME, Bind
from challenges import challenge
from ports import own_port
from tlsio.acme import Dns01, Rfc2136
from tlsio.acme.solvers.dns_questions import Questions
from tlsio.model.errors import ACMEError, ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own_bind() -> Iterator[Bind]:
    """One that the test may stop."""
    with Bind() as running:
        yield running


class Provider:
    """Notes what it is asked for, and maybe passes it on."""

    def __init__(self, bind: Bind | None = None) -> None:
        self.inner = None if bind is None else Rfc2136(bind.address, key_name=KEY_NAME, key=KEY)
        self.calls: list[tuple[str, str, str]] = []
        self.error: Exception | None = None

    async def add_txt(self, name: str, value: str) -> None:
        """Note it."""
        self.calls.append(("add", name, value))
        if self.error is not None:
            raise self.error
        if self.inner is not None:
            await self.inner.add_txt(name, value)

    async def remove_txt(self, name: str, value: str) -> None:
        """Note it."""
        self.calls.append(("remove", name, value))
        if self.error is not None:
            raise self.error
        if self.inner is not None:
            await self.inner.remove_txt(name, value)


class World:
    """A clock that moves when the solver sleeps; something may happen then."""

    def __init__(self, then: Any = None, after: int = 0) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._then, self._after = then, after

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        self.now += seconds
        if self._then is not None and len(self.slept) == self._after:
            await self._then()


def solver(bind: Bind, provider: Provider, world: World | None = None, **options: Any) -> Dns01:
    """Make one that asks this name server for everything."""
    times = {} if world is None else {"clock": world.clock, "sleep": world.sleep}
    return Dns01(provider, resolvers=[bind.address], port=bind.port, **times, **options)


@pytest.mark.parametrize(("is_wildcard", "is_ip", "can"), [(False, False, True), (True, False, True), (False, True, False)])
def test_solves_names_and_wildcards_but_no_addresses(is_wildcard: bool, is_ip: bool, can: bool) -> None:  # noqa: FBT001 - a table
    """RFC 8738 §7: "The existing dns-01 challenge MUST NOT be used to validate IP identifiers"."""
    assert Dns01(Provider()).can_solve("a", is_wildcard=is_wildcard, is_ip=is_ip) is can


async def test_the_record_is_there_from_presenting_to_cleaning_up(bind: Bind) -> None:
    """With the digest of the key authorization as its value."""
    provider, asked = Provider(bind), challenge("dns-01", "D1.example.test")
    one = solver(bind, provider)
    await one.present(asked)
    assert bind.txt("_acme-challenge.d1.example.test") == {asked.dns_value}
    await one.clean_up(asked)
    assert bind.txt("_acme-challenge.d1.example.test") == set()
    await one.clean_up(asked)
    assert [call[0] for call in provider.calls] == ["add", "remove"]


async def test_a_name_and_its_wildcard_are_proved_at_once(bind: Bind) -> None:
    """Both have their value under one name."""
    one = solver(bind, Provider(bind))
    asked = [challenge("dns-01", "d2.example.test"), challenge("dns-01", "d2.example.test", is_wildcard=True)]
    await asyncio.gather(*map(one.present, asked))
    assert bind.txt("_acme-challenge.d2.example.test") == {each.dns_value for each in asked}
    await one.clean_up(asked[0])
    assert bind.txt("_acme-challenge.d2.example.test") == {asked[1].dns_value}
    await one.clean_up(asked[1])


@pytest.mark.parametrize("name", ["alias.example.test", "chain.example.test"])
async def test_an_alias_is_followed_into_another_zone(bind: Bind, name: str) -> None:
    """Through several CNAME records; the record is removed from there."""
    provider, asked = Provider(bind), challenge("dns-01", name)
    one = solver(bind, provider)
    await one.present(asked)
    await one.clean_up(asked)
    assert [call[1] for call in provider.calls] == ["alias.delegated.test"] * 2


async def test_an_alias_is_not_followed_if_told(bind: Bind) -> None:
    """Nor is anything asked, without a wait."""
    provider = Provider()
    one = Dns01(provider, follow_alias=False, propagation=0, resolvers=["127.0.0.1:1"])
    await one.present(challenge("dns-01", "alias.example.test"))
    assert provider.calls[0][1] == "_acme-challenge.alias.example.test"


async def test_aliases_without_end_are_an_error(bind: Bind) -> None:
    """The provider is not called."""
    provider, asked = Provider(), challenge("dns-01", "loop.example.test")
    one = solver(bind, provider)
    with pytest.raises(ACMEError) as caught:
        await one.present(asked)
    assert caught.value.code == "ERR_ACME_DNS"
    await one.clean_up(asked)
    assert provider.calls == []


async def test_waits_until_the_servers_have_the_record(bind: Bind) -> None:
    """With pauses that grow to five seconds."""
    provider, asked = Provider(), challenge("dns-01", "d3.example.test")
    real = Rfc2136(bind.address, key_name=KEY_NAME, key=KEY)
    world = World(lambda: real.add_txt("_acme-challenge.d3.example.test", asked.dns_value), after=6)
    await solver(bind, provider, world).present(asked)
    assert world.slept == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    await real.remove_txt("_acme-challenge.d3.example.test", asked.dns_value)


async def test_gives_up_when_the_servers_never_have_it(bind: Bind) -> None:
    """Within `propagation`; what was added is removed."""
    provider, asked, world = Provider(), challenge("dns-01", "d4.example.test"), World()
    one = solver(bind, provider, world, propagation=20)
    with pytest.raises(ACMEError, match="not on all name servers") as caught:
        await one.present(asked)
    assert caught.value.code == "ERR_ACME_DNS_PROPAGATION"
    assert 15 < world.now <= 20
    await one.clean_up(asked)
    assert [call[0] for call in provider.calls] == ["add", "remove"]


async def test_a_server_that_never_answers_does_not_stop_it(
    bind: Bind, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the others have the record; the authority's resolver asks them as well."""
    monkeypatch.setattr("tlsio.acme.solvers.dns_questions._LIFETIME", 0.1)
    asked, world = challenge("dns-01", "d5.elsewhere.test"), World()
    one = solver(bind, Provider(bind), world, propagation=3)
    with caplog.at_level(logging.WARNING):
        await one.present(asked)
    assert "1 of the 2 name servers" in caplog.text
    await one.clean_up(asked)


async def test_servers_of_which_none_answers_stop_it(own_bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is known."""
    monkeypatch.setattr("tlsio.acme.solvers.dns_questions._LIFETIME", 0.05)
    world = World()
    one = Dns01(Provider(), servers=[own_bind.address], follow_alias=False, propagation=3, clock=world.clock, sleep=world.sleep)
    with own_bind.frozen(), pytest.raises(ACMEError, match="did not answer") as caught:
        await one.present(challenge("dns-01", "d6.example.test"))
    assert caught.value.code == "ERR_ACME_DNS_PROPAGATION"


async def test_given_servers_are_asked_in_place_of_those_of_the_zone(bind: Bind) -> None:
    """As where these cannot be reached."""
    asked = challenge("dns-01", "d7.elsewhere.test")
    one = solver(bind, Provider(bind), servers=[bind.address])
    await one.present(asked)
    await one.clean_up(asked)


async def test_resolvers_that_do_not_answer_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as such."""
    monkeypatch.setattr("tlsio.acme.solvers.dns_questions._LIFETIME", 0.3)
    with own_port() as port, pytest.raises(ACMEError, match="do not say where") as caught:
        await Dns01(Provider(), resolvers=[f"127.0.0.1:{port}"]).present(challenge("dns-01", "a.example.test"))
    assert caught.value.code == "ERR_ACME_DNS"
    assert "resolvers=" in str(caught.value.hint)


async def test_a_zone_whose_servers_have_no_address_is_an_error(bind: Bind) -> None:
    """They are named."""
    asked = challenge("dns-01", "a.nameless.test")
    one = solver(bind, Provider(bind))
    with pytest.raises(ACMEError, match=r"name servers of nameless\.test have no addresses: ns\.nowhere\.example\.") as caught:
        await one.present(asked)
    assert caught.value.code == "ERR_ACME_DNS"
    await one.clean_up(asked)


async def test_a_server_that_refuses_questions_is_waited_for(bind: Bind) -> None:
    """It may not know the zone yet; what it answered is reported in the end."""
    world = World()
    one = Dns01(Provider(), servers=[bind.address], follow_alias=False, propagation=3, clock=world.clock, sleep=world.sleep)
    with pytest.raises(ACMEError, match="answered REFUSED") as caught:
        await one.present(challenge("dns-01", "a.secret.test"))
    assert caught.value.code == "ERR_ACME_DNS_PROPAGATION"


async def test_the_second_address_of_a_server_is_asked_if_the_first_does_not_answer(bind: Bind) -> None:
    """As that of IPv6, on a machine that has only IPv4."""
    questions, provider = Questions([]), Rfc2136(bind.address, key_name=KEY_NAME, key=KEY)
    await provider.add_txt("_acme-challenge.d10.example.test", "value")
    with own_port() as port:
        assert await questions.read_txt((("127.0.0.1", port), ("127.0.0.1", bind.port)), "_acme-challenge.d10.example.test") == {"value"}
        with pytest.raises(ACMEError, match="did not answer"):
            await questions.read_txt((("127.0.0.1", port), ("127.0.0.1", port)), "_acme-challenge.d10.example.test")
    await provider.remove_txt("_acme-challenge.d10.example.test", "value")


async def test_a_zone_that_cannot_be_found_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record was added, and is removed."""
    monkeypatch.setattr("tlsio.acme.solvers.dns_questions._LIFETIME", 0.1)
    provider, asked = Provider(), challenge("dns-01", "a.example.test")
    with own_port() as port:
        one = Dns01(provider, resolvers=[f"127.0.0.1:{port}"], follow_alias=False)
        with pytest.raises(ACMEError, match="do not say which zone"):
            await one.present(asked)
        await one.clean_up(asked)
    assert [call[0] for call in provider.calls] == ["add", "remove"]


async def test_a_failing_provider_is_an_error_and_its_failing_clean_up_is_logged(bind: Bind, caplog: pytest.LogCaptureFixture) -> None:
    """It is told to remove what it may have added."""
    provider, asked = Provider(), challenge("dns-01", "d8.example.test")
    provider.error = ACMEError("The provider is down")
    one = solver(bind, provider)
    with pytest.raises(ACMEError, match="is down"):
        await one.present(asked)
    with caplog.at_level(logging.WARNING):
        await one.clean_up(asked)
    assert "The TXT record of _acme-challenge.d8.example.test was not removed: The provider is down" in caplog.text


async def test_a_cancellation_leaves_nothing_but_the_record(bind: Bind) -> None:
    """Which the clean-up removes."""
    provider, asked = Provider(bind), challenge("dns-01", "d9.example.test")
    one = Dns01(provider, resolvers=[bind.address], servers=[bind.address], propagation=60)
    provider.inner = None  # it is never there
    task = asyncio.create_task(one.present(asked))
    while not provider.calls:  # noqa: ASYNC110 - a call is no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # it asks the servers
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await one.clean_up(asked)
    assert [call[0] for call in provider.calls] == ["add", "remove"]


@pytest.mark.parametrize(
    "options",
    [{"propagation": -1}, {"propagation": "5"}, {"servers": ["ns.example.com"]}, {"resolvers": ["a:b"]}, {"port": 0}, {"follow_alias": 1}],
    ids=str,
)
def test_wrong_arguments_are_refused(options: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(UsageError):
        Dns01(Provider(), **options)


def test_what_is_no_provider_is_refused() -> None:
    """It needs two methods."""
    with pytest.raises(UsageError, match="add_txt"):
        Dns01(object())  # type: ignore[arg-type]
    assert repr(Dns01(Provider())) == "<Dns01 provider=Provider>"


def test_without_dnspython_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """How to install it."""
    monkeypatch.setitem(sys.modules, "dns.asyncquery", None)
    with pytest.raises(ConfigError) as caught:
        Dns01(Provider())
    assert caught.value.code == "ERR_TLS_MISSING_EXTRA"
    assert "tlsio[acme]" in str(caught.value.hint)
