"""Bundled and system roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pki
from tlsio.trust import roots
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's settings out, and what was read before."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    roots.system.cache_clear()
    roots.extra.cache_clear()


def names(pems: tuple[str, ...]) -> list[str]:
    """Return the common names of roots."""
    return [parse(data)["subject"]["CN"] for pem in pems for data in roots.read_pem(pem.encode())]


def test_bundled_roots_are_read_once() -> None:
    """Over a hundred, each in PEM."""
    assert len(roots.bundled()) > 100
    assert roots.bundled() is roots.bundled()
    assert all(pem.startswith("-----BEGIN CERTIFICATE-----\n") and pem.endswith("-----END CERTIFICATE-----\n") for pem in roots.bundled())


def test_system_roots_come_from_file_and_hashed_names(tmp_path: Path) -> None:
    """Each once, in order; a file in the directory that has no hashed name is not trusted."""
    file, directory = tmp_path / "cert.pem", tmp_path / "certs"
    directory.mkdir()
    file.write_bytes(pki.ca1().cert_pem + pki.ca1().cert_pem)
    (directory / "0123abcd.0").write_bytes(pki.ca1().cert_pem + pki.ca2().cert_pem)
    (directory / "0123abcd.r0").write_bytes(pki.ca3().cert_pem)
    (directory / "ca4.pem").write_bytes(pki.ca4().cert_pem)
    found = roots.system(str(file), str(directory))
    assert names(found) == ["ca1", "ca2"]
    assert found is roots.system(str(file), str(directory))


def test_environment_takes_the_place_of_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both, also if it names only one: who names one file trusts nothing else. Several directories, empty ones passed over."""
    for name, identity in (("a", pki.ca1()), ("b", pki.ca2())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0123abcd.0").write_bytes(identity.cert_pem)
    (tmp_path / "file.pem").write_bytes(pki.ca5().cert_pem)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'a'}::{tmp_path / 'b'}")
    assert names(roots.system(str(tmp_path / "file.pem"), str(tmp_path))) == ["ca1", "ca2"]
    roots.system.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "file.pem"))
    assert names(roots.system("/nowhere", "/nowhere")) == ["ca5", "ca1", "ca2"]
    roots.system.cache_clear()
    monkeypatch.delenv("SSL_CERT_DIR")
    assert names(roots.system("/nowhere", str(tmp_path / "a"))) == ["ca5"]
    roots.system.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert names(roots.system(str(tmp_path / "file.pem"), str(tmp_path / "a"))) == []


def test_missing_places_trust_nothing(tmp_path: Path) -> None:
    """A machine without roots is no error here."""
    assert roots.system(str(tmp_path / "no.pem"), str(tmp_path / "no")) == ()


def test_extra_roots_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, read once."""
    path = tmp_path / "extra.pem"
    path.write_bytes(pki.ca1().cert_pem + pki.ca2().cert_pem + pki.ca1().cert_pem)
    monkeypatch.setenv("TLSIO_EXTRA_CA_CERTS", str(path))
    found = roots.extra()
    assert names(found) == ["ca1", "ca2"]
    path.unlink()
    assert roots.extra() is found


@pytest.mark.parametrize("value", [None, ""])
def test_no_extra_roots(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty is the same as not set."""
    monkeypatch.delenv("TLSIO_EXTRA_CA_CERTS", raising=False)
    if value is not None:
        monkeypatch.setenv("TLSIO_EXTRA_CA_CERTS", value)
    assert roots.extra() == ()


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), (b"no certificate", "contains no certificate")])
def test_extra_file_that_is_no_use_warns_once(content: bytes | None, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the program goes on with the other roots."""
    path = tmp_path / "extra.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("TLSIO_EXTRA_CA_CERTS", str(path))
    with pytest.warns(UserWarning, match=f"TLSIO_EXTRA_CA_CERTS is ignored: .*{problem}") as caught:
        assert (roots.extra(), roots.extra()) == ((), ())
    assert len(caught) == 1


def test_settings_of_a_trusted_certificate_stay() -> None:
    """Cut off, an authority that was rejected would be trusted; one whose settings cannot be read is left out."""
    rejected = pki.with_settings(pki.ca1(), "-addreject", "serverAuth")
    [read] = roots.read_pem(rejected)
    assert read.startswith(pki.ca1().cert_der)
    assert len(read) > len(pki.ca1().cert_der)
    assert roots.to_pem([read, pki.ca1().cert_der]) == (rejected.decode(), pki.ca1().cert_pem.decode())
    damaged = pki.base64.b64encode(pki.ca1().cert_der + b"\x30\x05xx")
    for label in (b"CERTIFICATE", b"TRUSTED CERTIFICATE"):
        assert roots.read_pem(b"-----BEGIN " + label + b"-----\n" + damaged + b"\n-----END " + label + b"-----\n") == []


def test_only_certificates_are_read() -> None:
    """Text around, keys, damaged blocks and OpenSSL's own additions do no harm."""
    trusted = pki.base64.b64encode(pki.ca2().cert_der + b"\x30\x00")
    text = b"".join(
        [
            b"# a comment\n",
            pki.ca1().cert_pem.replace(b"\n", b"\r\n"),
            pki.ca1().key_pem,
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            b"-----BEGIN TRUSTED CERTIFICATE-----\n" + trusted + b"\n-----END TRUSTED CERTIFICATE-----\n",
        ]
    )
    assert roots.read_pem(text) == [pki.ca1().cert_der, pki.ca2().cert_der]
