"""Files between us and other programs: OpenSSL's commands, GnuTLS, Java, Node and NSS read ours, and we read theirs."""

from __future__ import annotations

import subprocess
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest

import foreign_peers
import pki
from tlsio import certs

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "changeit"  # Java requires six characters


@cache
def server() -> certs.Bundle:
    """The usual server with intermediate and root."""
    who = pki.chained()
    return certs.read(who.key_pem, who.chain_pem, pki.ca1().cert_pem)


certtool = partial(foreign_peers.find, "certtool", "gnutls-bin")
keytool = partial(foreign_peers.find, "keytool", "default-jre-headless")
pk12util = partial(foreign_peers.find, "pk12util", "libnss3-tools")
certutil = partial(foreign_peers.find, "certutil", "libnss3-tools")


def run(*command: object, given: bytes | None = None) -> bytes:
    """Run a program that must succeed, and return what it prints."""
    done = subprocess.run([str(part) for part in command], input=given, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout + done.stderr


def openssl(*arguments: object, given: bytes | None = None) -> bytes:
    """Run one of OpenSSL's commands, and return its output alone."""
    return subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=True).stdout


@pytest.fixture
def pfx(tmp_path: Path) -> Path:
    """Return the server's PKCS#12 as we write it."""
    path = tmp_path / "server.p12"
    path.write_bytes(server().to_pfx(PASSWORD, friendly_name="server", root=True))
    return path


def subjects(text: bytes) -> list[str]:
    """Return the common names that a listing of certificates has, in order."""
    lines = (line.decode() for line in text.splitlines() if line.startswith(b"subject"))
    return [line.rpartition("CN = ")[2].rpartition("CN=")[2] for line in lines]


class TestOpenSSL:
    """The commands that people know."""

    def test_reads_our_pfx(self, pfx: Path) -> None:
        """With the key, the chain in order, AES-256 and a MAC by SHA-256."""
        listed = openssl("pkcs12", "-in", pfx, "-passin", f"pass:{PASSWORD}", "-nokeys")
        assert subjects(listed) == ["localhost", "ca3", "ca1"]
        key = openssl("pkcs12", "-in", pfx, "-passin", f"pass:{PASSWORD}", "-nocerts", "-nodes")
        assert certs.match_key(key, pki.chained().cert_pem)
        details = run("openssl", "pkcs12", "-in", pfx, "-passin", f"pass:{PASSWORD}", "-noout", "-info").decode()
        assert details.count("AES-256-CBC") == 2
        assert "sha256" in details

    @pytest.mark.parametrize(
        ("options", "ciphers"),
        [
            ((), ("AES-256",)),
            (("-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"), ("3DES",)),
            (("-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-3DES"), ("RC2-40", "3DES")),
            (("-legacy", "-certpbe", "PBE-SHA1-RC2-128", "-keypbe", "PBE-SHA1-2DES"), ("RC2-128", "2-key 3DES")),
            (("-legacy", "-certpbe", "PBE-SHA1-RC4-128", "-keypbe", "PBE-SHA1-RC4-40"), ("RC4-128", "RC4-40")),
            (("-certpbe", "AES-128-CBC", "-keypbe", "AES-192-CBC"), ("AES-128", "AES-192")),
            (("-certpbe", "NONE", "-keypbe", "NONE"), ()),
            (("-certpbe", "NONE", "-keypbe", "NONE", "-nomac"), ()),
            (("-nomac",), ("AES-256",)),
        ],
    )
    def test_its_pfx_are_read(self, options: tuple[str, ...], ciphers: tuple[str, ...]) -> None:
        """Old and new ones; the old ones are told as such."""
        given = server().to_pem(key=True)
        data = openssl("pkcs12", "-export", "-passout", f"pass:{PASSWORD}", *options, given=given)
        bundle = certs.read(data, passphrase=PASSWORD)
        assert (bundle.key is not None, bundle.chain) == (True, server().chain)
        [item] = certs.inspect(data, passphrase=PASSWORD)
        assert item.facts["ciphers"] == ciphers
        outdated = [name for name in ciphers if not name.startswith("AES")]
        assert any("outdated" in note for note in bundle.notes) == bool(outdated)

    @pytest.mark.parametrize("form", ["PEM", "DER"])
    def test_pkcs7_both_ways(self, form: str, tmp_path: Path) -> None:
        """Its listing of ours has the same order; what it makes is read."""
        ours = server().to_pkcs7(pem=form == "PEM", root=True)
        assert subjects(openssl("pkcs7", "-inform", form, "-print_certs", "-noout", given=ours)) == ["localhost", "ca3", "ca1"]
        (tmp_path / "chain.pem").write_bytes(server().to_pem(root=True))
        theirs = openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem", "-outform", form)
        assert certs.read(theirs).chain == server().chain

    def test_verifies_our_chain(self, tmp_path: Path) -> None:
        """Also with its strict flag."""
        (tmp_path / "ca.pem").write_bytes(pki.ca1().cert_pem)
        (tmp_path / "chain.pem").write_bytes(server().to_pem())
        chain = tmp_path / "chain.pem"
        openssl("verify", "-x509_strict", "-CAfile", tmp_path / "ca.pem", "-untrusted", chain, chain)

    @pytest.mark.parametrize(
        "options",
        [("-traditional",), ("-traditional", "-aes128", "-passout", f"pass:{PASSWORD}"), ("-aes256", "-passout", f"pass:{PASSWORD}")],
    )
    @pytest.mark.parametrize("who", [pki.localhost, pki.localhost_rsa])
    def test_its_keys_are_read(self, options: tuple[str, ...], who: Any) -> None:
        """Traditional ones, encrypted or not."""
        pem = openssl("pkey", *options, given=who().key_pem)
        assert certs.match_key(pem, who().cert_pem, passphrase=PASSWORD)
        assert certs.inspect(pem, passphrase=PASSWORD)[0].kind == "private key"

    def test_its_ec_file_with_parameters_is_read(self) -> None:
        """`ecparam -genkey` writes two blocks."""
        pem = openssl("ecparam", "-name", "prime256v1", "-genkey")
        assert b"EC PARAMETERS" in pem
        assert [item.kind for item in certs.inspect(pem)] == ["private key"]

    def test_its_session_is_described(self, tmp_path: Path) -> None:
        """`-sess_out` of s_client and `openssl sess_id` speak of the same."""
        session = ssl_session(tmp_path)
        text = openssl("sess_id", "-noout", "-text", given=session).decode()
        [item] = certs.inspect(session)
        assert item.kind == "session"
        assert str(item.facts["protocol"]) in text
        secret = next(line.split(":")[1].strip() for line in text.splitlines() if "Master-Key" in line or "Resumption PSK" in line)
        assert secret.lower() not in "\n".join(item.lines()).lower()

    def test_its_certificate_text_has_our_facts(self) -> None:
        """Serial number, dates, fingerprint and names."""
        [item] = certs.inspect(pki.localhost().cert_pem)
        text = openssl(
            "x509", "-noout", "-serial", "-fingerprint", "-sha256", "-ext", "subjectAltName", given=pki.localhost().cert_pem
        ).decode()
        assert f"serial={item.facts['serial_number']}" in text
        assert str(item.facts["fingerprint_sha256"]).upper() in text.replace(":", "")
        assert ", ".join(item.facts["names"]) in text  # type: ignore[arg-type]

    def test_its_request_is_described(self) -> None:
        """With its names."""
        command = (
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-384",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/CN=x",
        )
        [item] = certs.inspect(openssl(*command, "-addext", "subjectAltName=DNS:a.example,IP:192.0.2.1"))
        assert (item.kind, item.title) == ("request", "DNS:a.example, IP Address:192.0.2.1")
        assert item.facts["signature_valid"] is True


def ssl_session(folder: Path) -> bytes:
    """Return a session that `s_client` has saved, from a server of ours."""
    import asyncio  # noqa: PLC0415

    import tlsio  # noqa: PLC0415

    async def visit() -> None:
        who = pki.localhost()
        async with tlsio.serve(lambda sock: sock.end(b"x"), 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as made:
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-tls1_2", "-sess_out", str(folder / "session.pem")]
            client = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            await client.wait()

    asyncio.run(visit())
    return (folder / "session.pem").read_bytes()


class TestGnuTLS:
    """`certtool`."""

    def test_reads_our_pfx(self, pfx: Path) -> None:
        """Key and certificates."""
        text = run(certtool(), "--p12-info", "--inder", "--infile", pfx, "--password", PASSWORD).decode()
        assert text.count("BEGIN CERTIFICATE") == 3
        assert "PRIVATE KEY" in text

    @pytest.mark.parametrize("cipher", ["aes-256", "3des-pkcs12", "rc2-40"])
    def test_its_pfx_is_read(self, cipher: str, tmp_path: Path) -> None:
        """With its ciphers, old ones too."""
        who = pki.localhost()
        for name, content in (("cert.pem", who.cert_pem), ("key.pem", who.key_pem), ("ca.pem", pki.ca1().cert_pem)):
            (tmp_path / name).write_bytes(content)
        out = tmp_path / "out.p12"
        parts = [
            "--load-certificate",
            tmp_path / "cert.pem",
            "--load-privkey",
            tmp_path / "key.pem",
            "--load-ca-certificate",
            tmp_path / "ca.pem",
        ]
        run(
            certtool(), "--to-p12", *parts, "--p12-name", "x", "--password", PASSWORD, "--pkcs-cipher", cipher, "--outder", "--outfile", out
        )
        bundle = certs.read(out, passphrase=PASSWORD)
        assert (bundle.certificate, bundle.root) == (who.certificate, pki.ca1().certificate)

    def test_pkcs7(self, tmp_path: Path) -> None:
        """It lists ours."""
        (tmp_path / "chain.p7b").write_bytes(server().to_pkcs7(root=True))
        assert b"Number of certificates: 3" in run(certtool(), "--p7-info", "--infile", tmp_path / "chain.p7b")

    def test_verifies_our_chain(self, tmp_path: Path) -> None:
        """From the leaf to the root."""
        (tmp_path / "chain.pem").write_bytes(server().to_pem(root=True))
        assert b"Chain verification output: Verified" in run(certtool(), "--verify-chain", "--infile", tmp_path / "chain.pem")


@pytest.mark.slow
class TestJava:
    """`keytool`, whose keystores are PKCS#12."""

    def test_reads_our_pfx(self, pfx: Path) -> None:
        """As a keystore with one private key and its chain."""
        text = run(
            keytool(), "-J-Duser.language=en", "-list", "-v", "-keystore", pfx, "-storetype", "PKCS12", "-storepass", PASSWORD
        ).decode()
        assert "Alias name: server" in text
        assert "Entry type: PrivateKeyEntry" in text
        assert "Certificate chain length: 3" in text

    def test_reads_our_truststore(self, tmp_path: Path) -> None:
        """A PKCS#12 without a key has trusted certificates."""
        path = tmp_path / "trust.p12"
        path.write_bytes(certs.read(pki.ca1().cert_pem).to_pfx(PASSWORD, friendly_name="root"))
        text = run(keytool(), "-J-Duser.language=en", "-list", "-keystore", path, "-storetype", "PKCS12", "-storepass", PASSWORD).decode()
        assert "root" in text
        assert "trustedCertEntry" in text

    def test_its_keystore_is_read(self, tmp_path: Path) -> None:
        """Key and certificate."""
        path = tmp_path / "java.p12"
        options = ["-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=java", "-ext", "san=dns:java.example", "-alias", "x"]
        run(keytool(), "-genkeypair", *options, "-keystore", path, "-storetype", "PKCS12", "-storepass", PASSWORD)
        bundle = certs.read(path, passphrase=PASSWORD)
        assert bundle.key is not None
        [item] = certs.inspect(bundle.certificate)
        assert item.title == "DNS:java.example"

    def test_its_truststore_is_read(self, tmp_path: Path) -> None:
        """Certificates without a key."""
        (tmp_path / "ca.pem").write_bytes(pki.ca1().cert_pem)
        path = tmp_path / "trust.p12"
        options = ["-importcert", "-noprompt", "-alias", "root", "-file", tmp_path / "ca.pem"]
        run(keytool(), *options, "-keystore", path, "-storetype", "PKCS12", "-storepass", PASSWORD)
        assert certs.read(path, passphrase=PASSWORD).certificate == pki.ca1().certificate


class TestNode:
    """What Node loads and says."""

    def test_loads_our_pfx(self, pfx: Path) -> None:
        """As options of a server."""
        script = "require('tls').createSecureContext({pfx: require('fs').readFileSync(process.argv[1]), passphrase: process.argv[2]})"
        run(foreign_peers.find_node(), "-e", script, pfx, PASSWORD)

    def test_says_the_same_of_keys(self, tmp_path: Path) -> None:
        """`checkPrivateKey` agrees with `match_key`."""
        script = (
            "const c = require('crypto'), f = require('fs');"
            "console.log(new c.X509Certificate(f.readFileSync(process.argv[1])).checkPrivateKey(c.createPrivateKey(f.readFileSync(process.argv[2]))))"
        )
        (tmp_path / "cert.pem").write_bytes(pki.localhost().cert_pem)
        for who in (pki.localhost(), pki.client()):
            (tmp_path / "key.pem").write_bytes(who.key_pem)
            said = run(foreign_peers.find_node(), "-e", script, tmp_path / "cert.pem", tmp_path / "key.pem").strip() == b"true"
            assert said == bool(certs.match_key(who.key_pem, pki.localhost().cert_pem))


class TestNSS:
    """`pk12util` and `certutil`, which Firefox's store is made with."""

    def test_both_ways(self, pfx: Path, tmp_path: Path) -> None:
        """It imports ours, and we read what it exports."""
        store = f"sql:{tmp_path}"
        run(certutil(), "-N", "-d", store, "--empty-password")
        run(pk12util(), "-i", pfx, "-d", store, "-W", PASSWORD)
        assert b"server" in run(certutil(), "-L", "-d", store)
        out = tmp_path / "out.p12"
        run(pk12util(), "-o", out, "-n", "server", "-d", store, "-W", PASSWORD)
        bundle = certs.read(out, passphrase=PASSWORD)
        assert (bundle.certificate, bundle.key is not None) == (pki.chained().certificate, True)
