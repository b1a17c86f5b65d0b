"""Mistakes with files of certificates, keys, CRLs and PKCS#12: each made with a real file, its text asserted."""

from __future__ import annotations

import base64
import errno
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import pki
import tlsio
from explanations import check_words, error_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class FileMistake:
    """What was given in a file, by which option, and words of the error."""

    option: str
    content: Callable[[], bytes]
    says: tuple[str, ...]
    never: tuple[str, ...] = ()


def key() -> bytes:
    """Return the usual server's key."""
    return pki.localhost().key_pem


def cert() -> bytes:
    """Return the usual server's certificate."""
    return pki.localhost().cert_pem


def openssh(private: Any) -> bytes:
    """Return a key in OpenSSH's form."""
    made: bytes = private.private_bytes(pki.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return made


def ssh_public() -> bytes:
    """Return a public key in OpenSSH's form."""
    return pki.localhost().key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def without_labels(pem: bytes) -> bytes:
    """Return PEM without its first and last line."""
    return b"\n".join(pem.splitlines()[1:-1])


def weak() -> dict[str, Any]:
    """Return a certificate with a key of 1024 bits, and the key."""
    who = pki.leaf("weak", key=pki.rsa.generate_private_key(public_exponent=65537, key_size=1024))
    return {"cert": who.cert_pem, "key": who.key_pem}


NOT_A_KEY, NOT_A_CERTIFICATE = "Cannot read a private key from options.key (", "Cannot read a certificate from options.cert ("
NOT_AN_AUTHORITY, NOT_A_LIST = "Cannot read a certificate from options.ca (", "Failed to parse CRL from options.crl ("

MISTAKES: dict[str, FileMistake] = {
    "SSH public key": FileMistake(
        "key", ssh_public, (NOT_A_KEY, "It contains an SSH public key", "TLS needs an X.509 certificate in cert=")
    ),
    "OpenSSH private key": FileMistake(
        "key", lambda: openssh(pki.localhost().key), (NOT_A_KEY, "in OpenSSH's own format", "Convert a copy, since the file is overwritten")
    ),
    "OpenSSH ed25519 key": FileMistake(
        "key",
        lambda: openssh(Ed25519PrivateKey.generate()),
        (NOT_A_KEY, "ssh-keygen cannot convert an ed25519 key", "load_ssh_private_key()"),
        never=("ssh-keygen -p",),
    ),
    "PGP key": FileMistake(
        "key",
        lambda: b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQPGBF\n-----END PGP PRIVATE KEY BLOCK-----\n",
        (NOT_A_KEY, "It contains OpenPGP data", "it needs an X.509 certificate"),
    ),
    "key with literal line ends": FileMistake(
        "key", lambda: key().replace(b"\n", b"\\n"), (NOT_A_KEY, "a backslash and an n in place of each line break", 'text.replace("\\\\n"')
    ),
    "key on one line": FileMistake(
        "key", lambda: key().replace(b"\n", b" "), (NOT_A_KEY, "The PEM is on one line", "on lines of their own")
    ),
    "key without label lines": FileMistake(
        "key", lambda: without_labels(key()), (NOT_A_KEY, "Base64 without its label lines", "put -----BEGIN PRIVATE KEY-----")
    ),
    "key in Base64, with its label lines": FileMistake(
        "key",
        lambda: base64.b64encode(key()),
        (NOT_A_KEY, "PEM in Base64, as in a Secret of Kubernetes", "base64.b64decode()"),
        never=("put -----BEGIN",),
    ),
    "parameters of a curve alone": FileMistake(
        "key",
        lambda: b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
        (NOT_A_KEY, "the parameters of an elliptic curve, not a private key", "openssl genpkey"),
    ),
    "key in UTF-16": FileMistake(
        "key", lambda: key().decode().encode("utf-16"), (NOT_A_KEY, "text in UTF-16", "save it as ASCII or UTF-8")
    ),
    "key with typographic dashes": FileMistake(
        "key", lambda: key().decode().replace("-----", "\u2014\u2013\u2014").encode(), (NOT_A_KEY, "typographic", "copy the file itself")
    ),
    "key between quotation marks": FileMistake(
        "key", lambda: b'"' + key() + b'"', (NOT_A_KEY, "-----BEGIN must stand at the start of a line", "a quotation mark")
    ),
    "indented key": FileMistake(
        "key", lambda: b"  " + key().replace(b"\n", b"\n  "), (NOT_A_KEY, "The PEM is indented", "textwrap.dedent")
    ),
    "HTML page as key": FileMistake(
        "key", lambda: b"<!DOCTYPE html>\n<title>404</title>", (NOT_A_KEY, "It contains an HTML page", "download the file again")
    ),
    "key cut off": FileMistake("key", lambda: key()[:100], (NOT_A_KEY, "It was cut off", "Copy the whole file")),
    "DER key cut off": FileMistake("key", lambda: pki.localhost().key_der[:50], (NOT_A_KEY, "It was cut off")),
    "DER certificate as key": FileMistake(
        "key", lambda: pki.localhost().cert_der, (NOT_A_KEY, "It contains a certificate, not a private key", "Were cert= and key= swapped?")
    ),
    "empty key": FileMistake("key", lambda: b"\n", (NOT_A_KEY, "It is empty", "check the path")),
    "garbage as key": FileMistake("key", lambda: b"\x00\x01\x02", (NOT_A_KEY, "neither PEM nor DER", "a private key is expected")),
    "damaged key": FileMistake(
        "key", lambda: key().replace(b"M", b"A", 1), (NOT_A_KEY, "It is a private key, but damaged", "get it again from its source")
    ),
    "certificate request as certificate": FileMistake(
        "cert",
        lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        (NOT_A_CERTIFICATE, "a certificate request (CSR)", "Let a CA sign it"),
    ),
    "key as certificate": FileMistake(
        "cert", key, (NOT_A_CERTIFICATE, "It contains a private key, not a certificate", "Were cert= and key= swapped?")
    ),
    "PKCS#12 as certificate": FileMistake(
        "cert", lambda: pki.localhost().pfx(), (NOT_A_CERTIFICATE, "It contains PKCS#12", "Give it with pfx=")
    ),
    "certificate cut off": FileMistake("cert", lambda: cert()[:200], (NOT_A_CERTIFICATE, "It was cut off", "Copy the whole file")),
    "private key as ca": FileMistake(
        "ca",
        key,
        (NOT_AN_AUTHORITY, "It contains a private key", "ca= needs certificates: give the certificate of the CA"),
        never=("swapped",),
    ),
    "CRL as ca": FileMistake("ca", pki.ca1_crl, (NOT_AN_AUTHORITY, "a certificate revocation list", "Give it with crl=")),
    "PKCS#12 as ca": FileMistake(
        "ca", lambda: pki.localhost().pfx(), (NOT_AN_AUTHORITY, "It contains PKCS#12", "openssl pkcs12 -cacerts -nokeys"), never=("pfx=",)
    ),
    "Java keystore as ca": FileMistake("ca", lambda: b"\xfe\xed\xfe\xed\0\0\0\2", (NOT_AN_AUTHORITY, "a Java keystore", "keytool")),
    "certificate as CRL": FileMistake("crl", cert, (NOT_A_LIST, "It contains a certificate", "Give it with cert= or ca=")),
    "PEM as PKCS#12": FileMistake(
        "pfx", cert, ("Cannot read PKCS#12 from options.pfx (", "It contains a certificate", "Give it with cert=")
    ),
    "PKCS#12 with a passphrase": FileMistake(
        "pfx", lambda: pki.localhost().pfx(), ("Cannot open the PKCS#12", "It is encrypted", "set passphrase=")
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_file_of_another_form(name: str, tmp_path: Path) -> None:
    """The file, the option, what it is and what to do; none of the content."""
    mistake, path = MISTAKES[name], tmp_path / "file"
    path.write_bytes(mistake.content())
    options: dict[str, Any] = {"cert": cert(), "key": key()} if mistake.option in {"cert", "key"} else {}
    error = error_of(lambda: tlsio.create_secure_context(**options | {mistake.option: path}))
    check_words(error, (*mistake.says, *([str(path)] if "Cannot read" in mistake.says[0] else [])), mistake.never)
    secret = without_labels(key()).replace(b"\n", b"").decode()
    assert not any(secret[at : at + 12] in f"{error} {error.hint}" for at in range(0, len(secret) - 12, 12))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("/etc/ssl/key.pem", ("options.key is a str that is not PEM", "give a path as pathlib.Path")),
        ("https://example.com/key.pem", ("looks like a URL", "download the file")),
        ("$TLS_KEY", ("the name of a variable", "give the value")),
        ("${TLS_KEY}", ("the name of a variable", "give the value")),
        ("%TLS_KEY%", ("the name of a variable", "give the value")),
        ("nothing known", ("options.key is a str that is not PEM", "neither PEM nor DER")),
    ],
)
def test_text_instead_of_a_path(value: str, says: tuple[str, ...]) -> None:
    """The usual first attempt, with `ssl` in mind."""
    check_words(error_of(lambda: tlsio.create_secure_context(cert=cert(), key=value)), says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (lambda: {"key": pki.localhost().encrypted_key_pem()}, ("Cannot decrypt", "is encrypted: set passphrase=")),
        (
            lambda: {"key": pki.localhost().encrypted_key_pem(), "passphrase": "sesame"},
            ("Cannot decrypt", "The passphrase is not the one the key was encrypted with"),
        ),
        (
            lambda: {"key": pki.localhost().encrypted_key_pem(), "passphrase": "sample\n"},
            ("Cannot decrypt", "It ends with a line break", "rstrip()"),
        ),
        (
            lambda: {"cert": None, "key": None, "pfx": pki.localhost().pfx(), "passphrase": "sample\n"},
            ("The passphrase is wrong. It ends with a line break",),
        ),
        (lambda: {"key": pki.client().key_pem}, ("fits the certificate of options.cert", "are not a pair")),
        (
            lambda: {"cert": pki.ca3().cert_pem + pki.chained().cert_pem, "key": pki.chained().key_pem},
            ("Certificate 2 of options.cert fits the key", "put the leaf first"),
        ),
        (weak, ("too small", "create a new one (RSA with 2048 bits, or EC P-256)")),
        (lambda: {"ciphers": "@STRENGTH"}, ("The list has no cipher", "put DEFAULT")),
        (lambda: {"ca": key()}, ("options.ca contains no certificate", "ca= needs certificates")),
    ],
    ids=[
        "encrypted",
        "wrong passphrase",
        "line end",
        "line end of a pfx",
        "not a pair",
        "issuer first",
        "weak key",
        "no cipher",
        "key as ca",
    ],
)
def test_content_that_cannot_be_used(options: Callable[[], dict[str, Any]], says: tuple[str, ...]) -> None:
    """Nothing that was given is shown, a passphrase least of all."""
    error = error_of(lambda: tlsio.create_secure_context(**{"cert": cert(), "key": key()} | options()))
    check_words(error, says, never=("sesame",))


class TestFilesThatCannotBeRead:
    """Python's own errors, with a hint that names the option."""

    def test_a_tilde(self) -> None:
        """It is the shell that replaces it."""
        error = error_of(lambda: tlsio.create_secure_context(ca=Path("~/no such file.pem")))
        check_words(error, ("was given as ca=", "~ is not replaced", "expanduser()"), never=("working directory",))

    def test_missing(self, tmp_path: Path) -> None:
        """The path is shown, as it was given."""
        error = error_of(lambda: tlsio.create_secure_context(ca=tmp_path / "ca.pem"))
        assert isinstance(error, FileNotFoundError)
        check_words(error, ("ca.pem' was given as ca=, and does not exist", "check the path"), never=("working directory",))

    def test_missing_relative(self) -> None:
        """What it is relative to is the usual question."""
        error = error_of(lambda: tlsio.create_secure_context(cert=[Path("a.pem"), Path("b.pem")]))
        check_words(error, ("was given as cert=, and does not exist", f"working directory, '{Path.cwd()}'"))

    def test_directory(self, tmp_path: Path) -> None:
        """`capath` of `ssl` takes one."""
        error = error_of(lambda: tlsio.create_secure_context(ca=tmp_path))
        assert isinstance(error, IsADirectoryError)
        check_words(error, ("was given as ca=, but it is a directory", "for several a list of files"))

    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root may read everything, so the refusal is played."""

        def refuse(path: Path, _mode: str) -> NoReturn:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "open", refuse)
        error = error_of(lambda: tlsio.create_secure_context(key=tmp_path / "key.pem"))
        assert isinstance(error, PermissionError)
        check_words(error, ("was given as key=", f"(uid {os.geteuid()}) may not read it", "check the permissions"))

    def test_another_failure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The option is named in any case."""

        def fail(path: Path, _mode: str) -> NoReturn:
            raise OSError(5, "Input/output error", str(path))

        monkeypatch.setattr(Path, "open", fail)
        check_words(error_of(lambda: tlsio.create_secure_context(crl=tmp_path / "crl.pem")), ("was given as crl=.",))


@pytest.mark.parametrize("is_pipe", [False, True])
@pytest.mark.parametrize("excess", [0, 1])
def test_size_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excess: int, *, is_pipe: bool) -> None:
    """The limit itself, and one byte more; of a pipe, whose size is not known, too."""
    content = pki.ca1().cert_pem
    monkeypatch.setattr("tlsio.connection.context.files._MAX_BYTES", len(content) - excess)
    path = tmp_path / "ca.pem"
    if is_pipe:
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=(content,)).start()
    else:
        path.write_bytes(content)
    if excess:
        with pytest.raises(OSError, match="too large") as caught:
            tlsio.create_secure_context(ca=path)
        assert caught.value.errno == errno.EFBIG
        assert "ca=" in str(caught.value.__notes__)
    else:
        assert tlsio.create_secure_context(ca=path).given_roots
