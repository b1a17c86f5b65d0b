from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

import tlsio
from tlsio.certs import Authority, create_request, generate_key, load_request, to_pem, write_pem

if TYPE_CHECKING:
    from pathlib import Path


def test_objects_follow_each_other() -> None:
    """Of every kind."""
    authority = Authority.create()
    request = create_request("localhost", key=generate_key())
    labels = [line for line in to_pem(authority.certificate, request, authority.crl()).splitlines() if b"BEGIN" in line]
    assert labels == [b"-----BEGIN CERTIFICATE-----", b"-----BEGIN CERTIFICATE REQUEST-----", b"-----BEGIN X509 CRL-----"]


def test_a_key_is_not_written_for_everybody() -> None:
    """It has functions of its own."""
    with pytest.raises(tlsio.UsageTypeError) as caught:
        to_pem(generate_key())  # type: ignore[arg-type]
    assert "key_pem()" in (caught.value.hint or "")


def test_a_file_is_read_again(tmp_path: Path) -> None:
    """Everybody may, and one that exists is kept."""
    request = create_request("localhost", key=generate_key())
    write_pem(tmp_path / "my.csr", request)
    assert load_request(tmp_path / "my.csr") == request
    assert stat.S_IMODE((tmp_path / "my.csr").stat().st_mode) & 0o444
    with pytest.raises(FileExistsError):
        write_pem(tmp_path / "my.csr", request)
    write_pem(tmp_path / "my.csr", request, overwrite=True)
