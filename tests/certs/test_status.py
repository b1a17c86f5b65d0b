"""Revocation lists and OCSP responses, judged by OpenSSL and GnuTLS."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import tlsio
from tlsio.certs import Authority, Revocation

if TYPE_CHECKING:
    from pathlib import Path


async def read(sock: tlsio.TLSSocket) -> None:
    """Wait for the client's end."""
    await sock.read()


NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def run(*command: str, data: bytes = b"", fails: bool = False) -> str:
    """Run a program; return all that it printed."""
    done = subprocess.run(command, input=data, check=False, capture_output=True)
    assert bool(done.returncode) == fails, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


def number_of(crl: x509.CertificateRevocationList) -> int:
    """Return its number."""
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.fixture
def authority() -> Authority:
    """A root."""
    return Authority.create()


class TestLists:
    """`Authority.crl`."""

    def test_openssl_refuses_what_is_on_it(self, authority: Authority, tmp_path: Path) -> None:
        """And accepts the others."""
        good, bad = authority.server("good"), authority.server("bad")
        (tmp_path / "ca.pem").write_bytes(authority.cert_pem)
        (tmp_path / "crl.pem").write_bytes(authority.crl(bad).public_bytes(Encoding.PEM))
        files = ["-CAfile", str(tmp_path / "ca.pem"), "-CRLfile", str(tmp_path / "crl.pem")]
        check = ["openssl", "verify", "-x509_strict", "-crl_check", *files]
        run(*check, data=good.cert_pem)
        assert "certificate revoked" in run(*check, data=bad.cert_pem, fails=True)

    def test_openssl_shows_what_it_holds(self, authority: Authority) -> None:
        """Reason, date and number."""
        bad = authority.server("bad").certificate
        entry = Revocation(bad.serial_number, datetime(2026, 1, 2, tzinfo=UTC), x509.ReasonFlags.key_compromise)
        text = run("openssl", "crl", "-text", "-noout", data=authority.crl(entry, number=7).public_bytes(Encoding.PEM))
        for line in ("Key Compromise", "Jan  2 00:00:00 2026 GMT", "X509v3 Authority Key Identifier"):
            assert line in text
        assert re.search(r"X509v3 CRL Number:\s+7\s", text)  # OpenSSL 3.6 indents it less

    def test_certtool_reads_it(self, authority: Authority) -> None:
        """GnuTLS, in any version."""
        crl = authority.crl(authority.server("bad")).public_bytes(Encoding.PEM)
        assert "Revoked certificates (1)" in run("certtool", "--crl-info", data=crl)

    def test_its_life_and_number_follow_the_clock(self) -> None:
        """A later list has a higher number."""
        crl = Authority.create(clock=lambda: NOW).crl(days=2)
        assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + timedelta(days=2))
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == NOW.timestamp() * 10**6

    def test_numbers_grow_within_an_instant(self) -> None:
        """Lists with different content never have the same number."""
        authority = Authority.create(clock=lambda: NOW)
        numbers = [number_of(authority.crl()) for _ in range(3)]
        assert numbers == sorted(set(numbers))

    def test_a_certificate_of_another_authority_is_not_listed(self, authority: Authority) -> None:
        """Its serial number may be that of a good certificate here."""
        for other in (Authority.create("another"), Authority.create()):  # by name, by signature
            with pytest.raises(tlsio.UsageValueError, match="not issued by") as caught:
                authority.crl(other.server("localhost"))
            assert caught.value.code == "ERR_INVALID_ARG_VALUE"

    async def test_our_server_refuses_who_is_on_it(self, authority: Authority) -> None:
        """As `crl=`."""
        ada = authority.client("Ada")
        leaf, ca = authority.server("localhost"), authority.cert_pem
        refused: list[tlsio.TLSError] = []
        server = tlsio.create_server(cert=leaf.chain_pem, key=leaf.key, ca=ca, crl=authority.crl(ada), request_cert=True)
        server.on("tls_client_error", lambda error, _socket: refused.append(error))
        async with server:
            await server.listen(0, "127.0.0.1")
            async with tlsio.connect(server.port, "localhost", ca=ca, cert=ada.cert_pem, key=ada.key) as sock:
                with pytest.raises(tlsio.AlertReceived):
                    await sock.read()
        assert [error.code for error in refused] == ["CERT_REVOKED"]


class TestAnswers:
    """`Authority.ocsp`."""

    @pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
    @pytest.mark.parametrize(("revoked", "said"), [(False, "good"), (True, "revoked")])
    def test_openssl_accepts_the_answer_to_its_request(self, kind: str, said: str, tmp_path: Path, *, revoked: bool) -> None:
        """Its hash and its nonce included."""
        authority = Authority.create(kind=kind)
        leaf = authority.server("localhost")
        (tmp_path / "ca.pem").write_bytes(authority.cert_pem)
        (tmp_path / "leaf.pem").write_bytes(leaf.cert_pem)
        about = ["-issuer", str(tmp_path / "ca.pem"), "-cert", str(tmp_path / "leaf.pem")]
        run("openssl", "ocsp", *about, "-reqout", str(tmp_path / "request"))
        (tmp_path / "answer").write_bytes(authority.ocsp(leaf, revoked=revoked, request=(tmp_path / "request").read_bytes()))
        files = ["-reqin", str(tmp_path / "request"), "-respin", str(tmp_path / "answer"), "-CAfile", str(tmp_path / "ca.pem")]
        text = run("openssl", "ocsp", *about, *files, "-no_nonce")  # but that of the request
        assert f"leaf.pem: {said}" in text
        assert "Response verify OK" in text
        assert "WARNING" not in text  # about the nonce

    def test_reason_and_time_are_told(self, authority: Authority, tmp_path: Path) -> None:
        """To all who ask."""
        leaf = authority.server("localhost").certificate
        revocation = Revocation(leaf.serial_number, datetime(2026, 1, 2, tzinfo=UTC), x509.ReasonFlags.superseded)
        (tmp_path / "answer").write_bytes(authority.ocsp(leaf, revoked=revocation))
        text = run("openssl", "ocsp", "-respin", str(tmp_path / "answer"), "-resp_text", "-noverify")
        assert "Revocation Reason: superseded" in text
        assert "Revocation Time: Jan  2 00:00:00 2026 GMT" in text

    def test_a_request_about_another_certificate_is_not_answered(self, authority: Authority) -> None:
        """The caller has looked up the wrong one."""
        builder = x509.ocsp.OCSPRequestBuilder()
        asked = builder.add_certificate(authority.server("a").certificate, authority.certificate, x509.ocsp.hashes.SHA256()).build()
        with pytest.raises(tlsio.ConfigError, match="another certificate"):
            authority.ocsp(authority.server("b"), request=asked.public_bytes(Encoding.DER))

    def test_a_request_to_another_authority_is_not_answered(self, authority: Authority) -> None:
        """The serial number alone says nothing."""
        leaf, other = authority.server("a"), Authority.create("another")
        asked = x509.ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, other.certificate, x509.ocsp.hashes.SHA1()).build()
        with pytest.raises(tlsio.ConfigError, match="another certificate"):
            authority.ocsp(leaf, request=asked.public_bytes(Encoding.DER))

    def test_a_certificate_of_another_authority_has_no_answer(self, authority: Authority) -> None:
        """A "good" would say that it was issued here."""
        for other in (Authority.create("another"), Authority.create()):
            for revoked in (False, True):
                with pytest.raises(tlsio.UsageValueError, match="not issued by") as caught:
                    authority.ocsp(other.server("localhost"), revoked=revoked)
                assert caught.value.code == "ERR_INVALID_ARG_VALUE"

    def test_what_is_no_request_is_refused(self, authority: Authority) -> None:
        """It comes from the network."""
        with pytest.raises(tlsio.ConfigError) as caught:
            authority.ocsp(authority.server("a"), request=b"nothing")
        assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"

    async def test_our_client_accepts_it_stapled(self, authority: Authority) -> None:
        """With must-staple."""
        leaf = authority.server("localhost", must_staple=True)
        response = authority.ocsp(leaf)
        options = {"cert": leaf.chain_pem, "key": leaf.key, "ocsp_request": lambda *_: response}
        async with (
            tlsio.serve(read, 0, "127.0.0.1", **options) as server,
            tlsio.connect(server.port, "localhost", ca=authority.cert_pem, ocsp="require") as sock,
        ):
            assert sock.authorized
