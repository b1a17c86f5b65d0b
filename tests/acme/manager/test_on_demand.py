"""Certificates at the first handshake: who is asked in which order, and what strangers cannot do."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from manager_stage import DAY, Stage, issuer_of, leaf_of, serve
from tlsio.acme.manager.names import PublicSuffixes, address_of, is_private, parse_groups

if TYPE_CHECKING:
    from tlsio.acme import Manager

MINUTE = timedelta(minutes=1)
FIRST = "CN=first intermediate"


def permit(name: str) -> bool:
    """Permit what is below one domain."""
    return name.endswith(".shop.example")


async def permit_slowly(name: str) -> bool:
    """The same, async."""
    await asyncio.sleep(1)
    return permit(name)


@pytest.mark.parametrize("hook", [permit, permit_slowly], ids=["sync", "async"])
def test_handshake_waits_for_its_certificate(hook: Any) -> None:
    """The next one finds it in the table."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(on_demand=hook)
        await manager.start()
        assert issuer_of(await serve(manager, "a.shop.example")) == FIRST
        assert "a.shop.example" in manager.published
        assert await serve(manager, "a.other.example") is None
        assert manager.stats().on_demand_refused == 1
        [status] = manager.status()
        assert (status.names, status.is_on_demand) == (("a.shop.example",), True)

    stage.run(main)


def test_a_hundred_handshakes_are_one_order() -> None:
    """Also in several processes."""
    stage = Stage()

    async def main() -> None:
        managers = [stage.manage(on_demand=permit) for _ in range(4)]
        for manager in managers:
            await manager.start()
        found = await asyncio.gather(*(serve(manager, "a.shop.example") for manager in managers for _ in range(25)))
        assert {leaf_of(one) for one in found} == {leaf_of(found[0])}

    stage.run(main)
    assert len(stage.authority.orders) == 1


def test_permission_is_asked_before_the_storage() -> None:
    """A refusal is remembered for a minute."""
    stage, asked = Stage(), []

    def hook(name: str) -> bool:
        asked.append(name)
        return False

    async def main() -> None:
        manager = stage.manage(on_demand=hook)
        await manager.start()
        for _ in range(10):
            assert await serve(manager, "a.shop.example") is None
        assert not stage.storage.calls
        assert asked == ["a.shop.example"]
        await stage.pass_time(MINUTE)
        assert await serve(manager, "a.shop.example") is None
        assert asked == ["a.shop.example"] * 2

    stage.run(main)


@pytest.mark.parametrize(
    "name",
    ["com", "co.uk", "localhost", "a", "192.0.2.1", "a.1", "a..example.com", "-a.example.com", "a_b.example.com", "*.example.com", "4.3.2.1.in-addr.arpa",
     "a.onion", "a.invalid", "x" * 64 + ".example.com", "a." * 130 + "com", "xn--a.example.com/", "a b.example.com", "a\x00.example.com", ""],
)  # fmt: skip
def test_junk_never_reaches_hook_or_authority(name: str) -> None:
    """Public suffixes, addresses, and what is no host name."""
    stage, asked = Stage(), []

    async def main() -> None:
        manager = stage.manage(on_demand=lambda one: asked.append(one) or True)
        await manager.start()
        assert await serve(manager, name) is None

    stage.run(main)
    assert (asked, stage.authority.orders) == ([], [])


@pytest.mark.parametrize("answer", [None, 1, "yes", False], ids=repr)
def test_only_true_permits(answer: Any) -> None:
    """What else a hook returns by mistake does not."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(on_demand=lambda _name: answer)
        await manager.start()
        assert await serve(manager, "a.shop.example") is None

    stage.run(main)


async def hang(_name: str) -> bool:
    """Never answer."""
    await asyncio.sleep(1e6)
    return True


async def fail(_name: str) -> bool:
    """Fail."""
    raise ZeroDivisionError


@pytest.mark.parametrize("hook", [hang, fail])
def test_hook_that_fails_refuses(hook: Any) -> None:
    """After ten seconds at the latest."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(on_demand=hook)
        await manager.start()
        begin = stage.clock()
        assert await serve(manager, "a.shop.example") is None
        assert stage.clock() - begin <= timedelta(seconds=10)

    stage.run(main)


def test_handshake_waits_within_a_bound() -> None:
    """The order goes on without it, and the next handshake finds the certificate."""
    stage = Stage()
    stage.authority.latency = 60.0

    async def main() -> None:
        manager = stage.manage(on_demand=permit, on_demand_wait=5.0)
        await manager.start()
        begin = stage.clock()
        assert await serve(manager, "a.shop.example") is None
        assert stage.clock() - begin == timedelta(seconds=5)
        await stage.pass_time(MINUTE)
        assert issuer_of(await serve(manager, "a.shop.example")) == FIRST

    stage.run(main)
    assert len(stage.authority.orders) == 1


def test_few_names_are_pending_at_a_time() -> None:
    """The 65th is refused at once; when the others have theirs, it gets one too."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(on_demand=permit_slowly)
        await manager.start()
        found = await asyncio.gather(*(serve(manager, f"n{number}.shop.example") for number in range(65)))
        assert found[-1] is None
        assert sum(order.names[0] == "n64.shop.example" for order in stage.authority.orders) == 0
        await stage.pass_time(5 * MINUTE)
        assert issuer_of(await serve(manager, "n64.shop.example")) == FIRST

    stage.run(main)


def test_failed_order_is_not_repeated_by_handshakes() -> None:
    """Thousands of them within an hour cause five orders at most."""
    stage = Stage()
    stage.authority.fault = "refuses"

    async def main() -> None:
        manager = stage.manage(on_demand=permit)
        await manager.start()
        for _ in range(360):
            assert await serve(manager, "a.shop.example") is None
            await stage.pass_time(timedelta(seconds=10))
        assert manager.status() == []

    stage.run(main)
    assert 2 <= len(stage.authority.orders) <= 5


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "unused"])
@pytest.mark.parametrize("is_permitted", [True, False], ids=["permitted", "no longer"])
def test_only_what_is_used_and_permitted_is_renewed(is_used: bool, is_permitted: bool) -> None:  # noqa: FBT001
    """Unused for a whole life, it is forgotten when a renewal is due; the certificate stays in the storage."""
    stage, permitted = Stage(), [True]

    async def main() -> None:
        manager = stage.manage(on_demand=lambda _name: permitted[0])
        await manager.start()
        await serve(manager, "a.shop.example")
        permitted[0] = is_permitted
        for _ in range(50):
            await stage.pass_time(DAY)
            if is_used and manager.status():
                await serve(manager, "a.shop.example")
        assert len(manager.status()) == (is_used and is_permitted)
        assert await stage.storage.list("certificates")

    stage.run(main)
    assert len(stage.authority.orders) == 1 + is_permitted + (is_permitted and is_used)


def test_stored_certificate_needs_no_order_after_a_restart() -> None:
    """It is read at the first handshake."""
    stage = Stage()

    async def main() -> None:
        managers: list[Manager] = []
        for _ in range(2):
            managers.append(stage.manage(on_demand=permit))
            await managers[-1].start()
            assert issuer_of(await serve(managers[-1], "a.shop.example")) == FIRST
            await managers[-1].stop()

    stage.run(main)
    assert len(stage.authority.orders) == 1


@pytest.mark.parametrize("names", ["a.shop.example", ["b.shop.example", "a.shop.example"]], ids=["alone", "in a group"])
def test_name_that_was_obtained_on_demand_can_be_added(names: Any) -> None:
    """Its certificate is kept, and served until that of the group is there; then it is renewed without the hook."""
    stage = Stage()

    async def main() -> None:
        manager = stage.manage(on_demand=permit)
        await manager.start()
        before = leaf_of(await serve(manager, "a.shop.example"))
        manager.add(names)
        assert [one.is_on_demand for one in manager.status()] == [False]
        assert leaf_of(await serve(manager, "a.shop.example")) == before
        await stage.pass_time(MINUTE)
        assert (leaf_of(await serve(manager, "a.shop.example")) == before) is isinstance(names, str)
        with pytest.raises(tlsio.UsageError):
            manager.add("a.shop.example")

    stage.run(main)


def test_stopping_ends_what_is_pending() -> None:
    """Handshakes that wait are refused; no task is left."""
    stage = Stage()
    stage.authority.fault = "hangs"

    async def main() -> None:
        manager = stage.manage(on_demand=permit)
        await manager.start()
        waiting = asyncio.ensure_future(serve(manager, "a.shop.example"))
        await stage.pass_time(timedelta(seconds=3))
        await manager.stop()
        assert await waiting is None

    stage.run(main)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `on_demand=` needs the public suffix list."""
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    Stage().manage("a.example")
    with pytest.raises(tlsio.ConfigError) as refused:
        Stage().manage("a.example", on_demand=permit)
    assert refused.value.code == "ERR_TLS_MISSING_EXTRA"


class Challenges:
    """What `TlsAlpn01` is to the manager."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def context_for_challenge(self, server_name: str) -> None:
        """Note the question."""
        self.asked.append(server_name)


def test_challenges_of_managed_and_pending_names_are_answered() -> None:
    """Those of strangers are not looked for. An address is asked for by its reverse name (RFC 8738 §6)."""
    stage, challenges = Stage(), Challenges()
    stage.authority.latency = 60.0

    async def main() -> None:
        manager = stage.manage("a.example", "192.0.2.1", "2001:db8::1", on_demand=permit, challenges=challenges)
        await manager.start()
        waiting = asyncio.ensure_future(serve(manager, "b.shop.example"))
        await stage.pass_time(timedelta(seconds=1))
        reverse = "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"
        names = ["a.example", "1.2.0.192.in-addr.arpa", reverse, "b.shop.example"]
        for name in [*names, "c.example", "2.2.0.192.in-addr.arpa", "x.in-addr.arpa"]:
            answer = manager.challenge_for(name)
            assert not asyncio.iscoroutine(answer) or await answer is None
        assert challenges.asked == names
        await waiting

    stage.run(main)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.example.com", False), ("a.test", True), ("localhost", True), ("a.internal", True), ("nas", True), ("10.0.0.1", True), ("1.1.1.1", False), ("*.home.arpa", True)],
)  # fmt: skip
def test_private_names(name: str, expected: bool) -> None:  # noqa: FBT001
    """Those that no public authority certifies."""
    assert is_private(name) is expected


def test_names_are_parsed_as_those_of_certificates() -> None:
    """U-labels become A-labels; duplicates in a group count once."""
    assert parse_groups(["Bücher.example", ["B.example", "b.example."], "::1"]) == [("xn--bcher-kva.example",), ("b.example",), ("::1",)]
    assert address_of("a.example") is None
    assert PublicSuffixes().is_host("a.co.uk")
