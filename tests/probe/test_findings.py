"""The doctor tells misconfigurations apart: each is built, and the set of its findings is exact."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import failures
import pki
from doctor_cases import CASES
from tlsio import openssl_version, probe

ROOT = Path(__file__).parents[2]


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", CASES)
async def test_each_fault_has_its_findings(name: str) -> None:
    """Nothing less, and nothing more."""
    case = CASES[name]
    async with case.server() as port:
        seen = await probe.examine(case.host, port, **{"ca": pki.ca1().cert_pem, "timeout": 5.0} | case.options())
    assert {one.id for one in seen.findings} == case.findings, seen.findings


def test_there_are_sixty_faults_and_each_finding_has_one() -> None:
    """A finding that no server provokes is not known to work."""
    shown = {one for case in CASES.values() for one in case.findings}
    if openssl_version >= "OpenSSL 4":
        shown.add("weak-ec")  # it supports no such curve, so there is no certificate to look at
    assert len(CASES) >= 60
    assert shown == set(probe.FINDINGS) - {"file-unusable", "key-mismatch"}


def test_the_reference_has_every_finding() -> None:
    """With its severity and its remedy."""
    page = (ROOT / "docs" / "reference" / "probe.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {kind.severity} | {kind.remedy} |" for name, kind in probe.FINDINGS.items()]
    assert page.rstrip().splitlines()[-len(rows) :] == rows


@pytest.mark.skipif(openssl_version >= "OpenSSL 4", reason="the page is written with OpenSSL 3, which finds more of one fault")
def test_the_comparison_has_every_fault() -> None:
    """`make failures` writes it anew."""
    page = (ROOT / "docs" / "explanation" / "failures.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^(.+): (.+)\n: ", page, re.MULTILINE))
    assert list(listed) == [name for name, case in CASES.items() if failures.is_comparable(case)]
    for name, found in listed.items():
        assert set(re.findall(r"[a-z][\w-]+", found)) == CASES[name].findings
