"""The default roots: what may be asked about them, how they are replaced, and what the environment adds."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from memory import shake, std_server
from tlsio.connection.context import default_roots as authorities
from tlsio.trust import roots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLES = ("TLSIO_EXTRA_CA_CERTS", "TLSIO_USE_SYSTEM_CA", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing had been read nor set; the machine's environment says nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(authorities, "_default", authorities._DefaultRoots())
    read_once = (authorities._initial_roots, roots.system, roots.extra)
    for function in read_once:
        function.cache_clear()
    yield
    for function in read_once:
        function.cache_clear()


def pem(who: pki.Identity) -> str:
    """Return a certificate as the functions give it."""
    return who.cert_pem.decode()


def judged(**options: Any) -> str:
    """Return what a client without a `ca` of its own says of a server that ca1 has certified; "" is yes."""
    return shake(tlsio.create_secure_context(**options), std_server(pki.localhost()), is_server=False).code


# --- asking ---


@pytest.mark.node("tls-get-ca-certificates-bundled")
def test_root_certificates_are_the_bundled_ones() -> None:
    """One tuple of PEM, the same each time, which nobody can change."""
    assert tlsio.root_certificates is tlsio.root_certificates
    assert tlsio.root_certificates is tlsio.get_ca_certificates("bundled")
    assert isinstance(tlsio.root_certificates, tuple)
    assert len(tlsio.root_certificates) > 100
    assert all(text.startswith("-----BEGIN CERTIFICATE-----\n") for text in tlsio.root_certificates)


def test_other_names_of_the_module_are_missing() -> None:
    """Only one name is made when asked for."""
    with pytest.raises(AttributeError, match="rootCertificates"):
        tlsio.rootCertificates  # noqa: B018


@pytest.mark.node("tls-get-ca-certificates-bundled-subset", "tls-get-ca-certificates-default")
def test_default_is_the_bundle_and_the_default_type() -> None:
    """Nothing set: the bundle alone, and the same object each time."""
    assert tlsio.get_ca_certificates() is tlsio.get_ca_certificates("default")
    assert tlsio.get_ca_certificates() == tlsio.root_certificates
    assert tlsio.get_ca_certificates("extra") == ()


@pytest.mark.node("tls-get-ca-certificates-error")
@pytest.mark.parametrize("kind", [1, None, len, True])
def test_type_is_a_str(kind: Any) -> None:
    """Node's code."""
    with pytest.raises(tlsio.UsageError, match=r"^type ") as caught:
        tlsio.get_ca_certificates(kind)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.node("tls-get-ca-certificates-error")
def test_type_is_one_of_four() -> None:
    """Node's code."""
    with pytest.raises(tlsio.UsageError, match=r"^type .*'test'") as caught:
        tlsio.get_ca_certificates("test")  # type: ignore[arg-type]
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.node("tls-get-ca-certificates-system-without-flag")
def test_system_can_be_read_without_being_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where `SSL_CERT_FILE` and `SSL_CERT_DIR` say, once; the default roots do not know it."""
    (tmp_path / "system.pem").write_bytes(pki.ca1().cert_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", "")
    assert tlsio.get_ca_certificates("system") == (pem(pki.ca1()),)
    assert tlsio.get_ca_certificates("system") is tlsio.get_ca_certificates("system")
    assert pem(pki.ca1()) not in tlsio.get_ca_certificates()


def test_system_without_environment_is_openssls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenSSL's own places, whatever they hold here."""
    asked = []
    monkeypatch.setattr(roots, "system", lambda *places: asked.append(places) or (str(tmp_path),))
    assert tlsio.get_ca_certificates("system") == (str(tmp_path),)
    [(file, directory)] = asked
    assert file.endswith("cert.pem")
    assert directory.endswith("certs")


# --- replacing ---


@pytest.mark.node(
    "tls-set-default-ca-certificates-basic", "tls-set-default-ca-certificates-array-buffer", "tls-set-default-ca-certificates-mixed-types"
)
def test_set_changes_the_default_alone() -> None:
    """Each once, in order, in any form; bundled and system stay."""
    system = tlsio.get_ca_certificates("system")
    tlsio.set_default_ca_certificates([pki.ca1().cert_pem, pem(pki.ca2()), memoryview(pki.ca1().cert_der), pki.ca3().certificate])
    assert tlsio.get_ca_certificates() == (pem(pki.ca1()), pem(pki.ca2()), pem(pki.ca3()))
    assert tlsio.get_ca_certificates() is tlsio.get_ca_certificates()
    assert len(tlsio.get_ca_certificates("bundled")) > 100
    assert tlsio.get_ca_certificates("system") == system


@pytest.mark.node("tls-set-default-ca-certificates-basic")
def test_set_takes_what_get_gives() -> None:
    """A subset of the bundle, and the whole of it again."""
    tlsio.set_default_ca_certificates(tlsio.root_certificates[:3])
    assert tlsio.get_ca_certificates() == tlsio.root_certificates[:3]
    tlsio.set_default_ca_certificates(tlsio.root_certificates)
    assert tlsio.get_ca_certificates() == tlsio.root_certificates


def test_set_reads_files(tmp_path: Path) -> None:
    """As `ca` does; several in one file count each."""
    (tmp_path / "two.pem").write_bytes(pki.ca1().cert_pem + pki.ca2().cert_pem)
    tlsio.set_default_ca_certificates([tmp_path / "two.pem"])
    assert tlsio.get_ca_certificates() == (pem(pki.ca1()), pem(pki.ca2()))


@pytest.mark.node("tls-set-default-ca-certificates-error")
@pytest.mark.parametrize("certs", [None, 1, "", b"one", {}])
def test_set_takes_a_list_only(certs: Any) -> None:
    """One certificate alone would be easy to mistake for all."""
    with pytest.raises(tlsio.UsageError, match=r"^certs must be a list") as caught:
        tlsio.set_default_ca_certificates(certs)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.node("tls-set-default-ca-certificates-error")
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (1, "ERR_INVALID_ARG_TYPE"),
        (None, "ERR_INVALID_ARG_TYPE"),
        ({}, "ERR_INVALID_ARG_TYPE"),
        ("", "ERR_INVALID_ARG_VALUE"),
        ("no certificate", "ERR_INVALID_ARG_VALUE"),
        (pki.ca1().key_pem, "ERR_INVALID_ARG_VALUE"),
        (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "ERR_OSSL_ASN1_FIELD_MISSING"),
        (b"-----BEGIN CERTIFICATE-----\nM\n-----END CERTIFICATE-----\n", "ERR_OSSL_PEM_BAD_BASE64_DECODE"),
    ],
    ids=["int", "None", "dict", "empty", "text", "key", "damaged", "cut"],
)
def test_set_is_all_or_nothing(bad: Any, code: str) -> None:
    """The message names the element, and what was trusted is trusted still."""
    tlsio.set_default_ca_certificates([pki.ca2().cert_pem])
    with pytest.raises(tlsio.TLSError, match=r"certs\[1\]") as caught:
        tlsio.set_default_ca_certificates([pki.ca1().cert_pem, bad])
    assert caught.value.code == code
    assert tlsio.get_ca_certificates() == (pem(pki.ca2()),)


def test_missing_file_changes_nothing(tmp_path: Path) -> None:
    """The note names the element."""
    with pytest.raises(FileNotFoundError) as caught:
        tlsio.set_default_ca_certificates([tmp_path / "missing.pem"])
    assert "was given as certs[0], and does not exist" in caught.value.__notes__[0]
    assert tlsio.get_ca_certificates() == tlsio.root_certificates


@pytest.mark.node(
    "tls-set-default-ca-certificates-basic",
    "tls-set-default-ca-certificates-precedence-empty",
    "tls-set-default-ca-certificates-append-https-request",
    "tls-set-default-ca-certificates-reset-https-request",
)
def test_contexts_made_later_trust_what_was_set() -> None:
    """Appended, replaced by nothing, and back; an older context stays what it is."""
    before = tlsio.create_secure_context()
    assert judged() == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    tlsio.set_default_ca_certificates([*tlsio.root_certificates, pki.ca1().cert_pem])
    assert judged() == ""
    assert shake(before, std_server(pki.localhost()), is_server=False).code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    tlsio.set_default_ca_certificates([])
    assert tlsio.get_ca_certificates() == ()
    assert judged() == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


@pytest.mark.node(
    "tls-set-default-ca-certificates-precedence-bundled", "tls-set-default-ca-certificates-precedence-empty", "internet/tls-add-ca-cert"
)
def test_ca_of_a_context_wins_over_the_default() -> None:
    """Set to nobody, or to somebody else; `extra_ca` still adds."""
    tlsio.set_default_ca_certificates([])
    assert judged(ca=pki.ca1().cert_pem) == ""
    assert judged(extra_ca=pki.ca1().cert_pem) == ""
    tlsio.set_default_ca_certificates([pki.ca1().cert_pem])
    assert judged(ca=pki.ca2().cert_pem) == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


# --- environment ---


@pytest.fixture
def extra_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with ca1, named by the environment."""
    path = tmp_path / "extra.pem"
    path.write_bytes(pki.ca1().cert_pem)
    monkeypatch.setenv("TLSIO_EXTRA_CA_CERTS", str(path))
    return path


@pytest.mark.node(
    "tls-env-extra-ca", "tls-get-ca-certificates-extra", "tls-get-ca-certificates-extra-subset", "tls-off-thread-cert-loading"
)
@pytest.mark.usefixtures("extra_file")
def test_extra_roots_are_added_to_the_default() -> None:
    """Beside the bundle, and by themselves as `extra`."""
    assert tlsio.get_ca_certificates("extra") == (pem(pki.ca1()),)
    assert tlsio.get_ca_certificates() == (*tlsio.root_certificates, pem(pki.ca1()))
    assert judged() == ""


@pytest.mark.node("tls-env-extra-ca-with-options")
@pytest.mark.usefixtures("extra_file")
def test_extra_roots_stay_trusted_beside_other_options() -> None:
    """What copies the trust copies them too."""
    assert judged(extra_ca=pki.ca2().cert_pem) == ""
    assert judged(crl=pki.ca1_crl()) == ""
    assert judged(pfx=pki.rsa_cert().pfx(b"sample"), passphrase="sample") == ""


@pytest.mark.usefixtures("extra_file")
def test_ca_and_set_leave_extra_roots_out() -> None:
    """Who names the roots means these alone."""
    assert judged(ca=pki.ca2().cert_pem) == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    tlsio.set_default_ca_certificates(tlsio.root_certificates)
    assert judged() == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


@pytest.mark.usefixtures("extra_file")
def test_setuid_program_has_no_extra_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts it must not choose whom it trusts."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert tlsio.get_ca_certificates("extra") == ()
    assert tlsio.get_ca_certificates() is tlsio.root_certificates


def test_missing_extra_file_warns_and_the_bundle_stays(extra_file: Path) -> None:
    """A program goes on; whoever needed the file reads why it fails."""
    extra_file.unlink()
    with pytest.warns(UserWarning, match="TLSIO_EXTRA_CA_CERTS is ignored: .*extra.pem"):
        assert tlsio.get_ca_certificates() == tlsio.root_certificates
    assert judged() == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"


@pytest.mark.node(
    "tls-get-ca-certificates-bundled-subset",
    "tls-get-ca-certificates-node-use-system-ca",
    "tls-get-ca-certificates-system",
    "tls-get-ca-certificates-system-without-flag",
)
@pytest.mark.parametrize(("value", "trusted"), [("1", True), ("true", True), ("Yes", True), ("on", True), ("0", False), ("", False)])
def test_system_roots_are_added_on_request(value: str, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """`TLSIO_USE_SYSTEM_CA=1`, as Node's NODE_USE_SYSTEM_CA."""
    (tmp_path / "system.pem").write_bytes(pki.ca1().cert_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", "")
    monkeypatch.setenv("TLSIO_USE_SYSTEM_CA", value)
    assert (pem(pki.ca1()) in tlsio.get_ca_certificates()) is trusted
    assert tlsio.get_ca_certificates("system") == (pem(pki.ca1()),)
    assert set(tlsio.root_certificates) <= set(tlsio.get_ca_certificates())


def test_value_that_is_neither_on_nor_off_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a wish that silently has no effect."""
    monkeypatch.setenv("TLSIO_USE_SYSTEM_CA", "enabled")
    with pytest.warns(UserWarning, match="TLSIO_USE_SYSTEM_CA is ignored: it must be 1 or 0, got 'enabled'"):
        assert tlsio.get_ca_certificates() == tlsio.root_certificates


def refused(**options: Any) -> str:
    """Return the hint of a client about a server that an unknown authority has certified."""
    return tlsio.create_secure_context(**options).describe_roots()


def test_hint_names_the_variables_and_which_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which roots are in use, which variables add more, and which are set without effect."""
    assert "in use are Mozilla's." in refused()
    assert "none of them is set" in refused()
    monkeypatch.setenv("SSL_CERT_FILE", "/company.pem")
    assert "only with it, SSL_CERT_FILE and SSL_CERT_DIR count" in refused()
    assert "set: SSL_CERT_FILE=/company.pem." in refused()
    monkeypatch.setenv("TLSIO_USE_SYSTEM_CA", "true")
    (tmp_path / "extra.pem").write_bytes(pki.ca1().cert_pem)
    monkeypatch.setenv("TLSIO_EXTRA_CA_CERTS", str(tmp_path / "extra.pem"))
    roots.extra.cache_clear()
    assert "in use are Mozilla's and the system's and those of TLSIO_EXTRA_CA_CERTS." in refused()


def test_hint_says_that_an_explicit_ca_replaces_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said when nothing is set."""
    assert refused(ca=pki.ca1().cert_pem) == ""
    monkeypatch.setenv("SSL_CERT_FILE", "/company.pem")
    assert refused(ca=pki.ca1().cert_pem) == "ca= replaces the default roots and those of SSL_CERT_FILE=/company.pem."
    tlsio.set_default_ca_certificates([pki.ca2().cert_pem])
    assert refused().startswith("set_default_ca_certificates() has replaced the default roots")


@pytest.mark.node("tls-env-extra-ca")
@pytest.mark.slow
def test_environment_of_another_process(tmp_path: Path) -> None:
    """All of it at once, as a user sets it."""
    (tmp_path / "extra.pem").write_bytes(pki.ca1().cert_pem)
    (tmp_path / "system.pem").write_bytes(pki.ca2().cert_pem)
    environment = {
        "TLSIO_EXTRA_CA_CERTS": str(tmp_path / "extra.pem"), "SSL_CERT_FILE": str(tmp_path / "system.pem"), "SSL_CERT_DIR": "",
        "TLSIO_USE_SYSTEM_CA": "1", "TLSIO_MIN_VERSION": "TLSv1.3", "TLSIO_CIPHER_LIST": "TLS_AES_128_GCM_SHA256",
    }  # fmt: skip
    source = "import tlsio; print(tlsio.defaults); print(''.join(tlsio.get_ca_certificates()[-2:]), end='')"
    run = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True, env=os.environ | environment)
    said, _, certificates = run.stdout.partition("\n")
    assert "ciphers='TLS_AES_128_GCM_SHA256'" in said
    assert "min_version='TLSv1.3'" in said
    assert certificates == pem(pki.ca2()) + pem(pki.ca1())


@pytest.mark.node("tls-cli-min-max-conflict")
@pytest.mark.slow
def test_import_fails_for_versions_that_exclude_each_other() -> None:
    """Before anything is done with them."""
    environment = {"TLSIO_MIN_VERSION": "TLSv1.3", "TLSIO_MAX_VERSION": "TLSv1.2"}
    run = subprocess.run([sys.executable, "-c", "import tlsio"], check=False, capture_output=True, text=True, env=os.environ | environment)
    assert run.returncode == 1
    assert "ERR_TLS_PROTOCOL_VERSION_CONFLICT" in run.stderr
    assert "Set the minimum to the maximum or below" in run.stderr


REJECTED = {
    "rejected": ("-addreject", "serverAuth"),
    "trusted for others": ("-addtrust", "emailProtection"),
    "for clients": ("-addtrust", "clientAuth"),
}


@pytest.mark.parametrize("way", ["extra", "extra beside itself", "system", "hashed", "set", "set from get", "ca from get", "extra_ca"])
@pytest.mark.parametrize("settings", REJECTED.values(), ids=REJECTED)
def test_settings_of_openssl_hold_by_any_way(way: str, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that is not trusted for servers is not, however it comes in."""
    path = tmp_path / "bundle.pem"
    path.write_bytes(pki.with_settings(pki.ca1(), *settings))
    options: dict[str, Any] = {}
    if way in {"extra", "extra beside itself"} or way.endswith("from get"):
        if way == "extra beside itself":
            path.write_bytes(pki.ca1().cert_pem + path.read_bytes())
        monkeypatch.setenv("TLSIO_EXTRA_CA_CERTS", str(path))
    if way in {"system", "hashed"}:
        (tmp_path / "hashed").mkdir()
        (tmp_path / "hashed" / "0123abcd.0").write_bytes(path.read_bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(path) if way == "system" else "")
        monkeypatch.setenv("SSL_CERT_DIR", "" if way == "system" else str(tmp_path / "hashed"))
        monkeypatch.setenv("TLSIO_USE_SYSTEM_CA", "1")
    if way == "set":
        tlsio.set_default_ca_certificates([path])
    elif way == "set from get":
        tlsio.set_default_ca_certificates(tlsio.get_ca_certificates("extra"))
    elif way == "ca from get":
        options = {"ca": list(tlsio.get_ca_certificates("extra"))}
    elif way == "extra_ca":
        options = {"extra_ca": path}
    assert judged(**options) == "INVALID_PURPOSE"
