"""The doctor tells misconfigurations apart: each is built, and the set of its findings is exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import pki
from faulty_servers import CLIENTS, LIFE, good, leaf, openssl, ours, pem, script
from tlsio import probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

DAY, NOW = pki.DAY, pki.NOW


@cache
def deeper() -> pki.Identity:
    """An intermediate under ca3."""
    return pki.authority("deeper", issuer=pki.ca3())


@cache
def deep() -> pki.Identity:
    """For localhost, under two intermediates."""
    return leaf(issuer=deeper())


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes:
        server: Makes the server; None: nothing listens.
        findings: All that the doctor may say.
        host: What is asked for.
        options: Of `examine`.
    """

    server: Callable[[], AbstractAsyncContextManager[int]]
    findings: set[str]
    host: str = "localhost"
    options: Callable[[], dict[str, Any]] = dict
    is_slow: bool = field(default=False, kw_only=True)


CASES: dict[str, Case] = {
    "good": Case(ours, set()),
    # ---- reaching the server
    "silence": Case(lambda: script(lambda _: None, hold=True), {"silent"}, options=lambda: {"timeout": 0.2}),
    "reset": Case(lambda: script(lambda _: None, reset=True), {"reset-at-hello"}),
    "closed": Case(lambda: script(lambda _: None), {"closed-at-hello"}),
    "plain HTTP": Case(lambda: script(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n"), {"plain-http"}),
    "SSH": Case(lambda: script(lambda _: None, greeting=b"SSH-2.0-OpenSSH_9.2\r\n"), {"other-protocol"}),
    # ---- certificates
    "expired": Case(lambda: ours(leaf(not_before=NOW - LIFE, not_after=NOW - DAY)), {"expired"}),
    "expires soon": Case(lambda: ours(leaf(not_before=NOW - LIFE, not_after=NOW + DAY)), {"expires-soon"}),
    "not yet valid": Case(lambda: ours(leaf(not_before=NOW + DAY)), {"not-yet-valid"}),
    "long life": Case(lambda: ours(leaf(not_after=NOW + 400 * DAY)), {"lifetime"}),
    "wrong host": Case(lambda: ours(leaf(names=["example.test"])), {"wrong-host"}),
    "www only": Case(lambda: ours(leaf(names=["www.localhost"])), {"wrong-host-www"}),
    "common name only": Case(lambda: ours(leaf(names=[])), {"name-only-in-cn"}),
    "self-signed": Case(lambda: ours(leaf(issuer=None)), {"self-signed"}),
    "unknown root": Case(lambda: ours(leaf(issuer=pki.ca5())), {"missing-intermediate"}),
    "missing intermediate": Case(lambda: ours(chain=good().cert_pem), {"missing-intermediate"}),
    "root sent": Case(lambda: ours(chain=good().chain_pem + pki.ca1().cert_pem), {"root-sent"}),
    "wrong order": Case(lambda: openssl(who=deep(), chain=pem(pki.ca3(), deeper())), {"chain-order"}),
    "for clients": Case(lambda: ours(leaf(usages=[CLIENTS])), {"not-a-server-certificate"}),
    "foreign": Case(lambda: ours(chain=pem(good(), pki.ca3(), pki.ca6())), {"chain-foreign"}),
    "twice": Case(lambda: ours(chain=pem(good(), pki.ca3(), pki.ca3())), {"chain-duplicate"}),
}


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if case.is_slow else []) for name, case in CASES.items()])
async def test_each_fault_has_its_findings(name: str) -> None:
    """Nothing less, and nothing more."""
    case = CASES[name]
    async with case.server() as port:
        seen = await probe.examine(case.host, port, **{"ca": pki.ca1().cert_pem, "timeout": 5.0} | case.options())
    assert {one.id for one in seen.findings} == case.findings, seen.findings
