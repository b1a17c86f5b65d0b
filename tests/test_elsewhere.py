"""What `tools/elsewhere.py` reads from pytest, hands into a root, and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import elsewhere
from elsewhere import SERVED, Result

if TYPE_CHECKING:
    from pathlib import Path


def result(**more: Any) -> Result:
    """Return a good one."""
    facts = {"system": "Debian 13 (trixie)", "python": "3.13.5", "openssl": "3.5.9", "demo": SERVED, "counts": {"passed": 9}}
    return Result(**facts | {"day": "2026-11-29"} | more)


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("...\n===== 13 failed, 9 passed, 1 skipped, 2 errors in 83.00s (0:01:23) =====\n", (9, 15, 1)),
        ("==== 9 passed in 0.02s ====\nmake: *** [Makefile:31: test] Error 1\n", (9, 0, 0)),
        ("======= FAILURES =======\n==== 9 passed in the log of a test =====\n", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_counts_are_those_of_the_last_line(output: str, counts: tuple[int, int, int]) -> None:
    """What could not be collected has failed; without such a line nothing has passed."""
    found = result(counts=elsewhere.counts_of(output))
    assert found.row().split(" | ")[4:7] == list(map(str, counts))
    assert found.is_good == (counts == (9, 0, 0))


def test_demo_that_does_not_end_well_is_not_good() -> None:
    """Whatever the tests say."""
    assert not result(demo="does not serve: ended with 2").is_good


def test_page_keeps_the_rows_of_other_systems() -> None:
    """Those of a system that was tried again are replaced; the newest system comes last."""
    old = elsewhere.page(
        "", [result(system="Debian testing (forky)", openssl="3.6.5"), result(counts={"failed": 1}), result(system="Debian 12 (bookworm)")]
    )
    rows = elsewhere.page(old, [result()]).splitlines()[-3:]
    assert [row.split(" | ")[0] for row in rows] == ["| Debian 12 (bookworm)", "| Debian 13 (trixie)", "| Debian testing (forky)"]
    assert rows[1] == result().row()
    assert "Debian testing" not in elsewhere.page(old, [result(system="Debian 14 (forky)")])


def test_what_pip_needs_is_handed_in(tmp_path: Path) -> None:
    """Variables and configuration, with the paths of this machine under `/host`, and what has to be mounted there."""
    index, bundle = tmp_path / "index" / "simple", tmp_path / "ca.pem"
    index.mkdir(parents=True)
    bundle.touch()
    environment = {"PIP_CERT": str(bundle), "https_proxy": "http://proxy.example:8080/", "HOME": "/nowhere", "PIP_LOG": "/not/there"}
    config = f"global.extra-index-url='file://{index} https://pip.example/simple'\nglobal.cert='{bundle}'\n:env:.cert='{bundle}'"
    variables, text, named = elsewhere.handed_in(environment, config)
    assert variables == {"PIP_CERT": f"/host{bundle}", "https_proxy": "http://proxy.example:8080/", "PIP_LOG": "/not/there"}
    assert text == f"[global]\nextra-index-url = file:///host{index} https://pip.example/simple\ncert = /host{bundle}\n"
    assert named == [bundle, index.parent]


def test_what_is_within_something_handed_in_is_not_mounted_twice(tmp_path: Path) -> None:
    """A bundle beside other certificates, for one."""
    (tmp_path / "ca.pem").touch()
    environment = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "SSL_CERT_DIR": str(tmp_path)}
    assert elsewhere.handed_in(environment, "")[2] == [tmp_path]
