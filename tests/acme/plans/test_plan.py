"""Plans: what is accepted, and that they survive the storage."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tlsio.acme.plans.plan import Plan, load_plan, load_plans, normalize, plan_key, store_plan
from tlsio.acme.storage.memory_storage import MemoryStorage
from tlsio.model.errors import StoreError, UsageError

SERVER = "https://acme.example.test/directory"
FULL: dict[str, Any] = {
    "names": ("a.example.test", "*.b.example.test", "192.0.2.1", "2001:db8::1"),
    "server": SERVER,
    "server_ca": "root.pem",
    "contact": ("mailto:ada@example.test",),
    "profile": "shortlived",
    "key_type": "p384",
    "preferred_chain": "Root X",
    "webroots": {"a.example.test": "/var/www"},
    "address": "127.0.0.1",
    "http_port": 8080,
    "tls_port": 8443,
    "dns": "rfc2136",
    "dns_settings": "/etc/dns.toml",
    "cert": "/etc/a.pem",
    "key": "/etc/a.key",
    "pre_hooks": ("one",),
    "post_hooks": ("two", "three"),
    "deploy_hooks": ("systemctl reload nginx",),
    "is_renewed": False,
}


def test_a_plan_survives_the_storage() -> None:
    """With every field."""
    assert set(FULL) == {one.name for one in fields(Plan)}
    plan = Plan(**FULL)
    assert Plan.from_json(plan.to_json(), "plan") == plan


def test_what_is_as_usual_is_not_written() -> None:
    """So that a person who reads it sees what was chosen."""
    assert Plan(names=("a.example.test",), server=SERVER).to_json().decode() == (
        '{\n  "names": [\n    "a.example.test"\n  ],\n  "server": "https://acme.example.test/directory"\n}\n'
    )


async def test_plans_are_found_in_a_storage() -> None:
    """One by its first name, all by name."""
    storage = MemoryStorage()
    plans = [Plan(names=(name, "www." + name.removeprefix("*.")), server=SERVER) for name in ("*.example.test", "b.test", "a.test")]
    for plan in plans:
        await store_plan(storage, plan)
    assert await load_plans(storage) == [plans[0], plans[2], plans[1]]
    assert await load_plan(storage, "*.example.test") == plans[0]
    assert await load_plan(storage, "example.test") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b'{"names": ["a.test"]}', b'{"names": "a.test", "server": "x"}', b'{"names": [1], "server": "x"}',
     b'{"names": ["a.test"], "server": "x", "more": 1}', b'{"names": ["a.test"], "server": "x", "webroots": ["y"]}',
     b'{"names": ["a.test"], "server": "x", "webroots": {"a.test": 1}}', b'{"names": ["a.test"], "server": "x", "http_port": 65536}',
     b'{"names": ["a.test"], "server": "x", "http_port": true}', b'{"names": ["a.test"], "server": "x", "is_renewed": "no"}',
     b'{"names": ["../a"], "server": "x"}', b'{"names": [], "server": "x"}', b"[" * 100_000],
    ids=range(17),
)  # fmt: skip
async def test_a_damaged_plan_is_named(data: bytes) -> None:
    """It is in a file that people edit."""
    storage = MemoryStorage()
    await storage.store(plan_key("a.test"), data)
    with pytest.raises(StoreError, match=r"plans/a\.test\.json") as caught:
        await load_plans(storage)
    assert caught.value.code == "ERR_ACME_PLAN"


def test_names_are_written_as_certificates_have_them() -> None:
    """A-labels in lower case, addresses in their short form, each once and in order."""
    given = ["Bücher.Example", "a.test.", "A.test", "2001:DB8:0::1", "*.A.test"]
    assert normalize(given) == ("xn--bcher-kva.example", "a.test", "2001:db8::1", "*.a.test")


def test_a_hundred_names_are_the_most() -> None:
    """Let's Encrypt's limit."""
    names = [f"a{number}.test" for number in range(101)]
    assert len(normalize(names[:100])) == 100
    with pytest.raises(UsageError, match="1 to 100 names, got 101"):
        normalize(names)


@pytest.mark.parametrize("name", ["", "a b", "ada@example.test", "https://example.test/", "a.test:443", "*", "a/../b", "-a.test"])
def test_what_is_no_host_is_refused(name: str) -> None:
    """An authority would refuse the order."""
    with pytest.raises(UsageError):
        normalize([name])


@pytest.mark.parametrize(
    ("change", "word"),
    [({"names": ()}, "names"), ({"dns": "magic"}, "dns"), ({"key": "a", "cert": None}, "cert"), ({"http_port": -1}, "http_port"), ({"server": ""}, "server"),
     ({"address": "a.."}, "address")],
    ids=["no names", "no such provider", "a key without its certificate", "no such port", "no server", "no address"],
)  # fmt: skip
def test_values_are_checked(change: dict[str, Any], word: str) -> None:
    """The message names the field."""
    with pytest.raises(UsageError, match=word):
        Plan(**(FULL | change))
