"""The development authority: its files, what it issues, and browsers and programs that trust it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509 import ExtendedKeyUsage, load_pem_x509_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

import tlsio
from browser import browse
from foreign_peers import find
from tlsio.certs import dev
from tlsio.certs.dev.authority import where
from tlsio.certs.dev.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_USER = 12345


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder is the test's: no store of the real user is looked at."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {}, "/me/.local/share/tlsio/dev"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/tlsio/dev"),
        ("macos", {"XDG_DATA_HOME": "/data"}, "/me/Library/Application Support/tlsio/dev"),
        ("windows", {"LOCALAPPDATA": "/local"}, "/local/tlsio/dev"),
        ("windows", {}, "/me/AppData/Local/tlsio/dev"),
    ],
)
def test_folder_of_each_system(system: Any, variables: dict[str, str], expected: str) -> None:
    """Where such programs keep their data."""
    assert where(machine=Machine(system, Path("/me"), read_variable=variables.get)) == Path(expected)


def test_authority_of_another_folder_has_another_name() -> None:
    """Stores and verifiers can tell it from that of the machine."""
    usual, other = dev.init(), dev.init(folder="lim")
    assert usual.certificate.subject != other.certificate.subject
    assert other.certificate.subject.rfc4514_string().endswith(" in lim")


def test_files(home: Path) -> None:
    """The key is readable by the user alone, whatever the umask is."""
    before = os.umask(0)
    try:
        authority = dev.init()
    finally:
        os.umask(before)
    folder = home / ".local/share/tlsio/dev"
    assert dev.where() == folder
    assert {path.name: mode(path) for path in (folder, *folder.iterdir())} == {"dev": 0o700, "root.pem": 0o644, "root.key": 0o600}
    assert dev.load().certificate == authority.certificate
    assert authority.certificate.subject.rfc4514_string().startswith("CN=tlsio dev ")


def test_authority_is_never_overwritten() -> None:
    """Machines may trust it."""
    first = dev.init()
    with pytest.raises(FileExistsError) as caught:
        dev.init()
    assert any("authority already" in note for note in caught.value.__notes__)
    assert dev.load().certificate == first.certificate


def test_missing_authority(tmp_path: Path) -> None:
    """Each call says how to make one, and changes nothing."""
    for call in (dev.load, lambda: dev.cert("localhost"), lambda: dev.trust(only=["nss"])):
        with pytest.raises(FileNotFoundError) as caught:
            call()  # type: ignore[operator]
        assert caught.value.hint == "Make one: tlsio.certs.dev.init()."  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "bits"), [("root.key", 0o640), ("root.key", 0o604), (".", 0o770), (".", 0o702)])
def test_exposed_authority_is_not_used(name: str, bits: int) -> None:
    """Somebody else may have its key, or may have put another root in its place; trust in it can still be removed."""
    dev.init()
    (dev.where() / name).chmod(bits)
    for call in (dev.load, lambda: dev.cert("localhost"), lambda: dev.trust(only=["nss"])):
        with pytest.raises(tlsio.ConfigError) as caught:
            call()  # type: ignore[operator]
        assert caught.value.code == "ERR_TLS_KEY_EXPOSED"
    assert dev.untrust(only=["nss"], dry_run=True) is not None


@pytest.mark.parametrize("name", ["root.key", "root.pem", "."])
def test_authority_of_another_user_is_not_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner knows the key, whatever the mode is; trust in it can still be removed."""
    dev.init()
    if os.geteuid() == 0:
        os.chown(dev.where() / name, OTHER_USER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)
    for call in (dev.load, lambda: dev.cert("localhost"), lambda: dev.trust(only=["nss"])):
        with pytest.raises(tlsio.ConfigError, match="belongs to the user") as caught:
            call()  # type: ignore[operator]
        assert caught.value.code == "ERR_TLS_KEY_EXPOSED"
    assert dev.untrust(only=["nss"], dry_run=True) is not None


def test_no_authority_is_made_in_a_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could read the key."""
    (tmp_path / "theirs").mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path / "theirs", OTHER_USER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)
    with pytest.raises(tlsio.ConfigError, match="belongs to the user"):
        dev.init(folder=tmp_path / "theirs")
    assert list((tmp_path / "theirs").iterdir()) == []


def test_folder_of_others_is_not_used(tmp_path: Path) -> None:
    """They could replace the authority later."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(tlsio.ConfigError) as caught:
        dev.init(folder=tmp_path / "shared")
    assert caught.value.code == "ERR_TLS_KEY_EXPOSED"
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"])
def test_damaged_root(content: bytes) -> None:
    """The message names the file."""
    dev.init()
    (dev.where() / "root.pem").write_bytes(content)
    for call in (dev.load, lambda: dev.trust(only=["nss"])):
        with pytest.raises(tlsio.ConfigError, match=r"root\.pem"):
            call()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("names", "client", "stem"),
    [
        (["localhost"], False, "localhost"),
        (["localhost", "127.0.0.1", "::1"], False, "localhost+2"),
        (["*.example.test"], False, "_wildcard.example.test"),
        (["::1"], False, "__1"),
        (["ada"], True, "ada-client"),
        (["../ada lovelace"], True, "_ada_lovelace-client"),
    ],
)
def test_names_of_files(names: list[str], client: bool, stem: str, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter of the test
    """They stay in the folder, and the key is private."""
    dev.init()
    issued = dev.cert(*names, client=client, into=tmp_path)
    assert (issued.cert, issued.key) == (tmp_path / f"{stem}.pem", tmp_path / f"{stem}-key.pem")
    assert mode(issued.key) == 0o600
    assert load_pem_x509_certificate(issued.cert.read_bytes()) == issued.leaf.certificate
    with pytest.raises(FileExistsError):
        dev.cert(*names, client=client, into=tmp_path)
    dev.cert(*names, client=client, into=tmp_path, overwrite=True)


def test_usages_and_lives() -> None:
    """A server's certificate is not a client's, and none lives longer than 398 days."""
    dev.init()
    for client, usage in ((False, ExtendedKeyUsageOID.SERVER_AUTH), (True, ExtendedKeyUsageOID.CLIENT_AUTH)):
        certificate = dev.cert("localhost", client=client, days=397).leaf.certificate
        assert list(certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value) == [usage]
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 398
    with pytest.raises(tlsio.UsageError):
        dev.cert("other.test", days=399)
    with pytest.raises(tlsio.UsageError):
        dev.cert()


def test_name_constraints() -> None:
    """What is outside cannot be issued."""
    dev.init(permitted=["test", "localhost", "127.0.0.0/8"], name="constrained")
    dev.cert("shop.test", "127.0.0.1")
    with pytest.raises(tlsio.UsageError):
        dev.cert("example.org")


def test_openssl_accepts_what_is_issued() -> None:
    """Under the strict rules."""
    dev.init(permitted=["localhost"])
    issued = dev.cert("localhost")
    verify = [
        "openssl",
        "verify",
        "-x509_strict",
        "-CAfile",
        str(dev.where() / "root.pem"),
        "-verify_hostname",
        "localhost",
        str(issued.cert),
    ]
    subprocess.run(verify, check=True, capture_output=True)


async def test_mutual_tls() -> None:
    """With the files, and nothing else."""
    dev.init()
    server, client, ca = dev.cert("localhost"), dev.cert("ada", client=True), dev.where() / "root.pem"

    async def answer(sock: tlsio.TLSSocket) -> None:
        await sock.send(sock.get_peer_x509_certificate().subject.rfc4514_string().encode())  # type: ignore[union-attr]

    async with (
        tlsio.serve(answer, 0, "localhost", cert=server.cert, key=server.key, ca=ca, request_cert=True) as listening,
        tlsio.connect(listening.port, "localhost", ca=ca, cert=client.cert, key=client.key) as sock,
    ):
        assert await sock.read_all() == b"CN=ada"


# --- a browser ---

SITE = """
import asyncio, sys
from pathlib import Path
import tlsio

PAGE = b"<p>welcome</p>"

async def answer(socket):
    await socket.readuntil(b"\\r\\n\\r\\n")
    await socket.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % len(PAGE) + PAGE)

async def main():
    async with tlsio.serve(answer, 0, "127.0.0.1", cert=Path(sys.argv[1]), key=Path(sys.argv[2])) as server:
        print(server.port, flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def site(issued: dev.Issued) -> Iterator[str]:
    """Serve a page with a certificate, in another process."""
    command = [sys.executable, "-c", SITE, str(issued.cert), str(issued.key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"https://localhost:{int(process.stdout.readline())}/"
        finally:
            process.kill()


@pytest.mark.slow
def test_chromium(home: Path) -> None:
    """It refuses the site, trusts it after `trust`, and no more after `untrust`."""
    find("certutil", "libnss3-tools")
    dev.init()
    with site(dev.cert("localhost")) as url:
        assert "ERR_CERT_AUTHORITY_INVALID" in browse(url, home, "welcome")
        [outcome] = dev.trust(only=["nss"])
        assert (outcome.state, outcome.problem) == ("added", None)
        assert "<p>welcome</p>" in browse(url, home, "welcome")
        assert [one.state for one in dev.untrust(only=["nss"])] == ["removed"]
        assert "ERR_CERT_AUTHORITY_INVALID" in browse(url, home, "welcome")


@pytest.mark.slow
def test_chromium_that_never_ran(home: Path) -> None:
    """The database is made where it looks; a constrained authority is enough for it."""
    find("certutil", "libnss3-tools")
    dev.init(permitted=["localhost"])
    assert [one.state for one in dev.trust(only=["nss"])] == ["added"]
    with site(dev.cert("localhost")) as url:
        assert "<p>welcome</p>" in browse(url, home, "welcome")
