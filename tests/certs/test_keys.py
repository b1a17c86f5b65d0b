from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

import tlsio
from tlsio.certs import KEY_KINDS, generate_key, key_kind, key_pem, load_key, self_signed, write_key

if TYPE_CHECKING:
    from pathlib import Path

QUICK = [kind for kind in KEY_KINDS if not kind.startswith("RSA-")]
# Not in the OpenSSL of every system: 3.5 has it first.
FOREIGN = [kind for kind in QUICK if not kind.startswith("ML-DSA")]


@pytest.mark.parametrize("kind", QUICK)
def test_a_key_of_each_kind_is_written_and_read(kind: str) -> None:
    """And is of that kind afterwards, for both halves."""
    key = generate_key(kind)
    again = load_key(key_pem(key, "a secret"), "a secret")
    assert key_kind(again) == key_kind(again.public_key()) == kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RSA-2048", "RSA-3072", "RSA-4096"])
def test_rsa_has_the_size_that_its_kind_names(kind: str) -> None:
    """With the usual exponent."""
    key = generate_key(kind)
    assert key_kind(key) == kind
    assert key.public_key().public_numbers().e == 65537  # type: ignore[union-attr]


@pytest.mark.parametrize("spelling", ["p-256", "P256", "p_256"])
def test_the_spelling_of_a_kind_is_free(spelling: str) -> None:
    """In case, hyphens and underscores."""
    assert key_kind(generate_key(spelling)) == "P-256"


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("EC", "P-256"),
        ("prime256v1", "P-256"),
        ("RSA-1024", "RSA-2048"),
        ("rsa", "RSA-2048"),
        ("2048", "RSA-2048"),
        ("EC-P256", "P-256"),
        ("secp384r1", "P-384"),
        ("P-521", "P-384"),
    ],
)
def test_a_likely_mistake_in_a_kind_gets_a_hint(kind: str, hint: str) -> None:
    """The names of other programs, and sizes that are not made."""
    with pytest.raises(tlsio.UsageValueError) as caught:
        generate_key(kind)
    assert hint in (caught.value.hint or "")


def test_an_unknown_kind_lists_those_there_are() -> None:
    """Also without a hint."""
    with pytest.raises(tlsio.UsageValueError, match="P-256, P-384, Ed25519") as caught:
        generate_key("DSA")
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


def test_a_kind_that_is_not_available_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions of `cryptography` have no ML-DSA."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    with pytest.raises(tlsio.ConfigError) as caught:
        generate_key("ML-DSA-65")
    assert caught.value.code == "ERR_CRYPTO_UNSUPPORTED_OPERATION"


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("passphrase", [None, "läckerli"])
def test_openssl_reads_what_is_written(kind: str, passphrase: str | None, tmp_path: Path) -> None:
    """And finds the key consistent."""
    path = tmp_path / "key.pem"
    write_key(path, generate_key(kind), passphrase=passphrase)
    command = ["openssl", "pkey", "-in", str(path), "-noout", "-check", "-passin", f"pass:{passphrase or ''}"]
    assert "valid" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("passphrase", [None, "a secret"])
def test_gnutls_reads_what_is_written(passphrase: str | None, tmp_path: Path) -> None:
    """certtool, in any version."""
    path = tmp_path / "key.pem"
    write_key(path, generate_key(), passphrase=passphrase)
    password = [f"--password={passphrase}"] if passphrase else []
    command = ["certtool", "--key-info", "--pkcs8", "--infile", str(path), *password]
    assert "SECP256R1" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "command",
    [
        "openssl genpkey -algorithm ed25519",
        "openssl ecparam -genkey -noout -name secp384r1",
        "openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -outform DER",
        "openssl genpkey -algorithm ed25519 -aes-256-cbc -pass pass:sample",
        "openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 | openssl ec -aes128 -passout pass:sample",
    ],
)
def test_keys_of_openssl_are_read(command: str) -> None:
    """PKCS#8 and older forms, PEM and DER, encrypted or not; a passphrase that is not needed is ignored."""
    data = subprocess.run(command, shell=True, check=True, capture_output=True).stdout  # noqa: S602
    assert key_kind(load_key(data, "sample")) in KEY_KINDS


class TestFile:
    """`write_key`."""

    def test_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        """Whatever the umask says."""
        before = os.umask(0)
        try:
            write_key(tmp_path / "key.pem", generate_key())
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600

    def test_a_file_that_exists_is_kept(self, tmp_path: Path) -> None:
        """The key in it may be the only copy."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"precious")
        with pytest.raises(FileExistsError) as caught:
            write_key(path, generate_key())
        assert (caught.value.filename, path.read_bytes()) == (str(path), b"precious")
        assert "overwrite=True" in caught.value.hint  # type: ignore[attr-defined]
        assert list(tmp_path.iterdir()) == [path]

    def test_told_to_it_replaces(self, tmp_path: Path) -> None:
        """And the new file is for its owner alone, though the old one was not."""
        path = tmp_path / "key.pem"
        path.write_bytes(b"old")
        path.chmod(0o644)
        key = generate_key()
        write_key(path, key, overwrite=True)
        assert path.read_bytes() == key_pem(key)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_it_is_read_by_its_path(self, tmp_path: Path) -> None:
        """As certificates and keys are everywhere."""
        key = generate_key()
        write_key(tmp_path / "key.pem", key)
        assert key_pem(load_key(tmp_path / "key.pem")) == key_pem(key)

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        """By Python's own error."""
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pem"):
            load_key(tmp_path / "nowhere.pem")


def test_a_key_is_taken_as_it_is() -> None:
    """An object of `cryptography`."""
    key = generate_key()
    assert load_key(key) is key


@pytest.mark.parametrize(("passphrase", "said"), [(None, "no passphrase was given"), ("wrong", "passphrase is wrong")])
def test_an_encrypted_key_needs_its_passphrase(passphrase: str | None, said: str) -> None:
    """And no message shows it."""
    pem = key_pem(generate_key(), "right")
    with pytest.raises(tlsio.ConfigError, match=said) as caught:
        load_key(pem, passphrase)
    assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"
    assert "right" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"nothing", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\x30\x03\x02\x01\x00"]
)
def test_what_is_no_key_is_refused(content: bytes, tmp_path: Path) -> None:
    """With the file's name and a hint."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(tlsio.ConfigError, match=r"key\.pem") as caught:
        load_key(path)
    assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"


def test_a_certificate_given_as_key_is_recognised() -> None:
    """The likely mistake."""
    leaf = self_signed("localhost")
    with pytest.raises(tlsio.ConfigError) as caught:
        load_key(leaf.cert_pem)
    assert "swapped" in (caught.value.hint or "")


def test_a_key_that_cannot_sign_is_refused() -> None:
    """X25519 agrees on secrets; it makes no certificates."""
    pem = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(tlsio.ConfigError) as caught:
        load_key(pem)
    assert caught.value.code == "ERR_CRYPTO_UNSUPPORTED_OPERATION"


@pytest.mark.parametrize("passphrase", ["", "x" * 1024])
def test_a_passphrase_has_a_length(passphrase: str) -> None:
    """An empty one would look like protection."""
    with pytest.raises(tlsio.UsageValueError, match="passphrase"):
        key_pem(generate_key(), passphrase)
    assert key_pem(generate_key(), "x" * 1023)


def test_other_kinds_have_names_too() -> None:
    """For messages about foreign keys."""
    assert key_kind(ec.generate_private_key(ec.SECP521R1())) == "P-521"
    assert key_kind(ec.generate_private_key(ec.SECP256K1())) == "secp256k1"
