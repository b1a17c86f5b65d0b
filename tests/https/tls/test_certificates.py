"""Certificates of many names, in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pki
from served import replace
from tlsio import FileSource
from tlsio.https.tls.certificates import NamedFiles
from tlsio.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from tlsio import SecureContext


def source(folder: Path, name: str, *names: str) -> FileSource:
    """Return a source of a certificate for names."""
    write(folder, name, *names)
    return FileSource(cert=folder / f"{name}.pem", key=folder / f"{name}.key")


def write(folder: Path, name: str, *names: str) -> None:
    """Write a certificate for names, and its key."""
    made = pki.leaf(name, names=names)
    replace(folder / f"{name}.key", made.key_pem)
    replace(folder / f"{name}.pem", made.cert_pem)


def title(context: SecureContext) -> str:
    """Return the common name of a context's certificate."""
    from cryptography import x509  # noqa: PLC0415

    (der, _), *_ = context.native.identities
    return str(x509.load_der_x509_certificate(der).subject.rfc4514_string()).rpartition("CN=")[2].partition(",")[0]


async def test_the_name_chooses(tmp_path: Path) -> None:
    """An exact name, a wildcard, the first of two with one name, and the default."""
    named = NamedFiles(
        [source(tmp_path, "one", "one.example", "both.example"), source(tmp_path, "two", "two.example", "both.example", "*.two.example")]
    )
    await named.start()
    expected = {
        "one.example": "one", "TWO.example": "two", "both.example": "one", "a.two.example": "two",
        "a.b.two.example": "one", "other.example": "one", "": "one", None: "one",
    }  # fmt: skip
    assert {name: title(named.context_now(name)) for name in expected} == expected


async def test_an_exact_name_goes_before_a_wildcard(tmp_path: Path) -> None:
    """In whatever order they are given."""
    named = NamedFiles([source(tmp_path, "all", "*.example.com"), source(tmp_path, "one", "one.example.com")])
    await named.start()
    assert title(named.context_now("one.example.com")) == "one"
    assert title(named.context_now("two.example.com")) == "all"


async def test_names_change_with_the_files(tmp_path: Path) -> None:
    """A renewed certificate may have others."""
    named = NamedFiles([source(tmp_path, "one", "one.example"), source(tmp_path, "two", "two.example")])
    await named.start()
    write(tmp_path, "two", "new.example")
    await named.reload()
    assert title(named.context_now("new.example")) == "two"
    assert title(named.context_now("two.example")) == "one"


async def test_one_that_cannot_be_reloaded(tmp_path: Path) -> None:
    """Is reported, and stays as it was; the others are new."""
    named = NamedFiles([source(tmp_path, "one", "one.example"), source(tmp_path, "two", "two.example")])
    await named.start()
    replace(tmp_path / "one.pem", b"nothing")
    write(tmp_path, "two", "new.example")
    with pytest.raises(ExceptionGroup) as caught:
        await named.reload()
    assert len(caught.value.exceptions) == 1
    assert title(named.context_now("one.example")) == "one"
    assert title(named.context_now("new.example")) == "two"


def test_at_least_one_is_needed() -> None:
    """There must be a default."""
    with pytest.raises(UsageError) as caught:
        NamedFiles([])
    assert caught.value.code == "ERR_MISSING_ARGS"
