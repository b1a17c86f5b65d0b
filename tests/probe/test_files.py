"""The doctor for files: a certificate and its key, before a server has them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from faulty_servers import good, leaf, small_key
from tlsio import probe

if TYPE_CHECKING:
    from pathlib import Path


def pair(who: pki.Identity, chain: bytes | None = None) -> dict[str, Any]:
    """Return what a server would be given."""
    return {"cert": who.chain_pem if chain is None else chain, "key": who.key_pem, "ca": pki.ca1().cert_pem}


async def ids(host: str = "localhost", **given: Any) -> set[str]:
    """Return the ids of what is found."""
    return {one.id for one in await probe.examine_files(host, **given)}


async def test_good_files_give_nothing() -> None:
    """As a certificate with its key, and as PKCS#12."""
    assert await ids(**pair(good())) == set()
    assert await ids(pfx=good().pfx(), passphrase=pki.PASSPHRASE, ca=pki.ca1().cert_pem) == set()


async def test_files_are_judged_for_a_host() -> None:
    """What clients would find, before there is a server."""
    assert await ids("example.test", **pair(good())) == {"wrong-host"}
    assert await ids(**pair(good(), good().cert_pem)) == {"missing-intermediate"}
    assert await ids(**pair(leaf(not_before=pki.NOW - 90 * pki.DAY, not_after=pki.NOW - pki.DAY))) == {"expired"}
    assert await ids(**pair(leaf(key=small_key()))) == {"weak-rsa"}


async def test_a_key_of_another_certificate_is_told() -> None:
    """It is the most common mistake with files."""
    assert await ids(cert=good().cert_pem, key=leaf().key_pem, ca=pki.ca1().cert_pem) == {"key-mismatch"}


@pytest.mark.parametrize("key", [b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", good().encrypted_key_pem()])
async def test_a_useless_file_is_told_with_its_reason(key: bytes) -> None:
    """Noise, and a key whose passphrase is missing."""
    [found] = await probe.examine_files("localhost", cert=good().cert_pem, key=key)
    assert (found.id, found.severity) == ("file-unusable", "error")
    assert found.remedy != probe.FINDINGS["file-unusable"].remedy


async def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    """With its path, as everywhere."""
    with pytest.raises(FileNotFoundError) as caught:
        await probe.examine_files("localhost", cert=tmp_path / "none.pem", key=good().key_pem)
    assert caught.value.filename == str(tmp_path / "none.pem")


async def test_a_wrong_option_raises() -> None:
    """It is no finding about files."""
    with pytest.raises(tlsio.UsageError):
        await probe.examine_files("localhost", certificate=good().cert_pem)


async def test_nothing_that_is_given_is_ignored() -> None:
    """Pins of a server's context have no effect here, and a naive instant could mean any time zone."""
    files = {"cert": good().cert_pem, "key": good().key_pem}
    with pytest.raises(tlsio.UsageTypeError, match="'pins'") as caught:
        await probe.examine_files("localhost", **files, pins=["sha256/" + "A" * 43 + "="])
    assert caught.value.code == "ERR_TLS_UNKNOWN_OPTION"
    with pytest.raises(tlsio.UsageTypeError, match="aware datetime"):
        await probe.examine_files("localhost", **files, at=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake itself
