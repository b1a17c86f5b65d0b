"""`certs.inspect`: plain data about certificates, requests, lists, keys and sessions, and what is wrong with them."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID

import pki
import responses
import tlsio
from tlsio import ConfigError, UsageTypeError, UsageValueError, certs
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def good(**changes: object) -> pki.Identity:
    """Make a server's certificate that nothing is wrong with, except for the changes."""
    given: dict[str, object] = {
        "issuer": pki.ca1(),
        "names": ["localhost"],
        "usages": [SERVER],
        "not_before": pki.NOW - pki.DAY,
        "not_after": pki.NOW + 89 * pki.DAY,
    }
    return pki.leaf("localhost", **(given | changes))  # type: ignore[arg-type]


def codes(source: object, **options: object) -> list[str]:
    """Return the codes of everything that is found in a file."""
    [item] = certs.inspect(source, **options)  # type: ignore[arg-type]
    return [finding.code for finding in item.findings]


class TestCertificate:
    """What it says, and what will break."""

    def test_speaks_from_the_names(self) -> None:
        """A leaf without CN and SKI is described by its subjectAltName."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(pki.ca1().certificate.subject)
        builder = builder.public_key(key.public_key()).serial_number(7).not_valid_before(pki.NOW).not_valid_after(pki.NOW + 47 * pki.DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("b.example")]), critical=True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(pki.ca1().key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        [item] = certs.inspect(builder.sign(pki.ca1().key, hashes.SHA256()))
        assert item.title == "DNS:a.example, DNS:b.example"
        assert item.findings == ()
        assert item.lines()[0] == "certificate: DNS:a.example, DNS:b.example"

    def test_facts(self) -> None:
        """The fields that people look for."""
        [item] = certs.inspect(pki.localhost().cert_pem)
        assert item.kind == "certificate"
        assert item.facts["names"] == ["DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"]
        assert item.facts["extended_key_usage"] == ["serverAuth"]
        assert item.facts["ca"] is False
        assert item.facts["not_after"] == pki.localhost().certificate.not_valid_after_utc
        assert item.facts["fingerprint_sha256"] == pki.localhost().certificate.fingerprint(hashes.SHA256()).hex()

    @pytest.mark.parametrize(
        ("seconds", "days"), [(86_400 * 365 - 3601, 365), (86_400, 1), (86_401, 2), (1, 1), (0, 0), (-86_399, 0), (-86_400, -1)]
    )
    def test_days_that_are_left(self, seconds: int, days: int) -> None:
        """One that has begun counts, so that a new certificate, whose life began an hour ago, has all days."""
        who = good(not_before=pki.NOW - 10 * pki.DAY, not_after=pki.NOW)
        [item] = certs.inspect(who.cert_pem, at=pki.NOW - dt.timedelta(seconds=seconds))
        assert item.facts["days_left"] == days

    def test_the_pin_is_the_one_that_clients_take(self) -> None:
        """It is the value for `pins=`, and that of the openssl command."""
        [item] = certs.inspect(pki.localhost().cert_pem)
        key = item.as_json()["public_key"]
        command = "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64"
        said = subprocess.run(["sh", "-c", command], input=pki.localhost().cert_pem, check=True, capture_output=True).stdout
        assert key == {"algorithm": "EC", "curve": "P-256", "bits": 256, "pin": f"sha256/{said.decode().strip()}"}

    def test_key_usage_and_path_length(self) -> None:
        """Bits by name."""
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=True, data_encipherment=False, key_agreement=False,
            key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        who = pki.leaf("ca", extensions=[usage, x509.BasicConstraints(ca=True, path_length=2)])
        facts = certs.inspect(who.cert_pem)[0].facts
        assert facts["key_usage"] == ["digitalSignature", "keyEncipherment", "keyCertSign"]
        assert facts["path_length"] == 2

    def test_a_good_one_has_no_findings(self) -> None:
        """Nothing is said about it."""
        assert codes(good().cert_pem) == []
        assert codes(good().cert_pem, usage="server") == []

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"not_after": pki.NOW - pki.DAY / 2}, "expired"),
            ({"not_before": pki.NOW + pki.DAY}, "not_yet_valid"),
            ({"not_before": pki.NOW - 61 * pki.DAY, "not_after": pki.NOW + 29 * pki.DAY}, "expires_soon"),
            ({"names": []}, "no_subject_alt_name"),
            ({"names": ["other.example"], "issuer": pki.ca1()}, None),
            ({"not_after": pki.NOW + 400 * pki.DAY}, "long_life"),
            ({"not_after": pki.NOW + 900 * pki.DAY}, "long_life"),
            ({"key": ec.generate_private_key(ec.SECP224R1())}, "weak_key"),
            ({"key": rsa.generate_private_key(65537, 1024)}, "weak_key"),  # noqa: S505
            ({"extensions": [x509.TLSFeature([x509.TLSFeatureType.status_request])]}, "must_staple"),
            ({"extensions": [x509.SubjectAlternativeName([x509.DNSName("10.0.0.1")])], "names": []}, "address_as_name"),
        ],
    )
    def test_each_fault_is_found(self, changes: dict[str, object], expected: str | None) -> None:
        """One fault, one finding."""
        assert codes(good(**changes).cert_pem) == ([expected] if expected else [])

    @pytest.mark.parametrize(("left", "soon"), [(30, False), (29, True)])
    def test_a_third_of_the_life_is_the_limit(self, left: int, soon: bool) -> None:  # noqa: FBT001
        """Let's Encrypt's advice for renewals."""
        who = good(not_before=pki.NOW - (90 - left) * pki.DAY, not_after=pki.NOW + left * pki.DAY)
        assert codes(who.cert_pem, at=pki.NOW) == (["expires_soon"] if soon else [])

    def test_a_name_that_is_only_in_the_common_name(self) -> None:
        """Clients ignore it if there are other names, too."""
        who = pki.leaf("www.example.com", issuer=pki.ca1(), names=["example.com"], not_after=pki.NOW + 89 * pki.DAY)
        assert codes(who.cert_pem) == ["common_name_ignored"]

    def test_sha1(self) -> None:
        """Of a leaf; nobody checks the signature of a root."""
        command = ["openssl", "req", "-x509", "-new", "-sha1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-subj", "/CN=x", "-addext", "subjectAltName=DNS:x.example", "-days", "90", "-keyout", "/dev/null"]
        root = subprocess.run(command, check=True, capture_output=True).stdout
        assert "weak_signature" not in codes(root)
        weak = sign_with_sha1(good())
        assert codes(weak) == ["weak_signature"]

    @pytest.mark.parametrize(
        ("usages", "wanted", "expected"),
        [
            ([SERVER], "client", ["no_client_auth"]),
            ([CLIENT], "client", []),
            ([CLIENT], "server", ["no_server_auth"]),
            ([], "client", []),
            ([SERVER, CLIENT], "client", []),
            ([SERVER], None, []),
            ([CLIENT], None, []),
        ],
    )
    def test_usage(self, usages: Sequence[x509.ObjectIdentifier], wanted: str | None, expected: list[str]) -> None:
        """Public CAs no longer issue for clients: that is told where a client's is wanted."""
        assert codes(good(usages=usages).cert_pem, usage=wanted) == expected

    def test_a_given_instant(self) -> None:
        """What is good today will be expired."""
        later = pki.NOW + 100 * pki.DAY
        [item] = certs.inspect(good().cert_pem, at=later)
        assert [finding.code for finding in item.findings] == ["expired"]
        assert item.findings[0].when == pki.NOW + 89 * pki.DAY

    @pytest.mark.parametrize(
        "extension",
        [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x04\x00"),
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.19"), b"\x04\x00"),
        ],
    )
    def test_odd_extensions_do_not_raise(self, extension: x509.ExtensionType) -> None:
        """What cannot be read is left out."""
        facts = certs.inspect(good(extensions=[extension]).cert_pem)[0].facts
        assert (facts["key_usage"], facts["path_length"]) == ([], None)

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (
                lambda: good(extensions=[pki._key_usage(certificates=True), x509.BasicConstraints(ca=False, path_length=None)]),
                "keyCertSign invalid",
            ),
            (lambda: pki.leaf("ca", extensions=[x509.BasicConstraints(ca=True, path_length=None)]), "does not include key usage"),
            (
                lambda: pki.leaf("ca", issuer=pki.ca1(), extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
                "does not include key usage",
            ),
        ],
    )
    def test_strict_faults(self, make: Any, text: str) -> None:
        """What OpenSSL's strict flag rejects of this certificate alone: a leaf, a root and an intermediate."""
        findings = [finding for finding in certs.inspect(make().cert_pem)[0].findings if finding.code == "strict"]
        assert [text in finding.text for finding in findings] == [True]

    def test_openssl_agrees_about_strict_faults(self, tmp_path: Path) -> None:
        """It says the same of the real chain."""
        who = good(extensions=[pki._key_usage(certificates=True), x509.BasicConstraints(ca=False, path_length=None)])
        (tmp_path / "ca.pem").write_bytes(pki.ca1().cert_pem)
        command = ["openssl", "verify", "-x509_strict", "-CAfile", str(tmp_path / "ca.pem")]
        said = subprocess.run(command, input=who.cert_pem, capture_output=True, check=False).stderr
        assert b"Key usage keyCertSign invalid for non-CA cert" in said

    def test_malformed_dates(self) -> None:
        """A month that does not exist."""
        data = good(not_after=dt.datetime(2040, 12, 1, tzinfo=dt.UTC)).cert_der.replace(b"401201000000Z", b"401301000000Z")
        assert "bad_time" in codes(data)

    def test_a_ca_needs_no_names(self) -> None:
        """It is not a server."""
        assert codes(pki.ca1().cert_pem) == []

    def test_a_malformed_extension_does_not_raise(self) -> None:
        """It is told as a finding: those are the certificates that people look at."""
        damaged = good(extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x04\x01")], names=[])
        assert codes(damaged.cert_pem) == ["bad_names"]


def sign_with_sha1(who: pki.Identity) -> bytes:
    """Have `openssl` issue the certificate again, with SHA-1."""
    request = x509.CertificateSigningRequestBuilder().subject_name(who.certificate.subject)
    request = request.add_extension(who.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
    pem = request.sign(who.key, hashes.SHA256()).public_bytes(pki.PEM)
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("ca.pem", pki.ca1().cert_pem), ("ca.key", pki.ca1().key_pem)):
            (Path(folder) / name).write_bytes(content)
        command = ["openssl", "x509", "-req", "-sha1", "-days", "90", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"]
        command += ["-copy_extensions", "copy"]
        return subprocess.run(command, input=pem, check=True, capture_output=True).stdout


class TestOthers:
    """Everything else that files hold."""

    def test_request(self) -> None:
        """Its names and whether its key has signed it."""
        names = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://a/b")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
        builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"secret")
        pem = builder.sign(pki.localhost().key, hashes.SHA256()).public_bytes(pki.PEM)
        [item] = certs.inspect(pem)
        assert (item.kind, item.title, item.findings) == ("request", "DNS:a.example, URI:spiffe://a/b", ())
        assert item.facts["challenge_password"] is True
        assert "secret" not in json.dumps(item.as_json())

    def test_request_that_was_changed(self) -> None:
        """The signature no longer fits."""
        who = pki.localhost()
        der = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(who.key, hashes.SHA256()).public_bytes(pki.DER)
        assert codes(der[:-1] + bytes([der[-1] ^ 1])) == ["bad_signature", "no_subject_alt_name"]

    def test_crl(self) -> None:
        """How many it revokes, and until when it is valid."""
        number = x509.CRLNumber(7)
        data = pki.revocation_list(pki.ca1(), revoked=[pki.revoked()], extensions=[(number, False)])
        [item] = certs.inspect(data)
        assert (item.kind, item.facts["revoked"], item.facts["number"], item.findings) == ("crl", 1, 7, ())
        assert codes(data, at=pki.NOW + 4000 * pki.DAY) == ["expired"]

    @pytest.mark.parametrize("form", ["key_pem", "key_der"])
    def test_key(self, form: str) -> None:
        """Its kind and its pin; never the key."""
        [item] = certs.inspect(getattr(pki.localhost(), form))
        assert (item.kind, item.title) == ("private key", "EC P-256")
        assert set(item.as_json()) == {"kind", "title", "encrypted", "public_key", "findings"}

    def test_encrypted_key(self) -> None:
        """Without the passphrase it says that it is one."""
        locked = pki.localhost().encrypted_key_pem()
        assert codes(locked) == ["encrypted"]
        [item] = certs.inspect(locked, passphrase=pki.PASSPHRASE)
        assert (item.title, item.findings) == ("EC P-256", ())
        with pytest.raises(ConfigError):
            certs.inspect(locked, passphrase="wrong")

    def test_public_key(self) -> None:
        """Its pin."""
        pem = subprocess.run(["openssl", "pkey", "-pubout"], input=pki.localhost_rsa().key_pem, check=True, capture_output=True).stdout
        [item] = certs.inspect(pem)
        assert (item.kind, item.title) == ("public key", "RSA 2048")

    def test_pfx(self) -> None:
        """How it is encrypted is readable without the passphrase, the content is not."""
        assert codes(pki.localhost().pfx()) == ["encrypted"]
        assert codes(pki.legacy_pfx()) == ["outdated_encryption", "encrypted"]
        assert codes(pki.pfx_without_mac()) == ["no_mac", "encrypted"]
        [item] = certs.inspect(pki.legacy_pfx(), passphrase=pki.PASSPHRASE)
        assert [inner.kind for inner in item.items] == ["private key", "certificate"]
        assert item.facts["ciphers"] == ("RC2-40",)

    def test_unencrypted_pfx(self) -> None:
        """Its permissions are all that protects it."""
        [item] = certs.inspect(pki.localhost().pfx(None))
        assert [finding.code for finding in item.findings] == ["not_encrypted"] or item.facts["has_mac"]
        assert item.items

    def test_pkcs7(self) -> None:
        """Each certificate."""
        [item] = certs.inspect(certs.read(pki.chained().chain_pem).to_pkcs7())
        assert [inner.kind for inner in item.items] == ["certificate", "certificate"]

    def test_ocsp_response(self) -> None:
        """What it says of which certificate, and until when."""
        [item] = certs.inspect(responses.respond(pki.localhost()))
        assert (item.kind, item.findings) == ("OCSP response", ())
        [answer] = item.as_json()["answers"]
        assert answer["status"] == "good"
        assert answer["serial_number"] == f"{pki.localhost().certificate.serial_number:X}"
        assert codes(responses.respond(pki.localhost()), at=pki.NOW + 2 * pki.DAY) == ["expired"]

    def test_answers_are_lines_for_people(self) -> None:
        """Not the form that Python gives them."""
        [item] = certs.inspect(responses.respond(pki.localhost()))
        lines = [line.strip() for line in item.lines()]
        assert "status: good" in lines
        assert "{" not in "".join(lines)

    def test_requested_extensions_have_names(self) -> None:
        """Not their numbers."""
        request = certs.create_request(["example.org"], key=certs.generate_key(), must_staple=True)
        [item] = certs.inspect(request.public_bytes(pki.PEM))
        assert item.facts["requested_extensions"] == ["subjectAltName", "tlsFeature"]

    @pytest.mark.parametrize(("status", "code"), [(responses.REVOKED, "revoked"), (responses.UNKNOWN, "unknown")])
    def test_ocsp_response_about_a_bad_certificate(self, status: object, code: str) -> None:
        """It is told as an error."""
        assert codes(responses.respond(pki.localhost(), status=status)) == [code]  # type: ignore[arg-type]

    def test_ocsp_response_without_answer(self) -> None:
        """The responder refused."""
        [item] = certs.inspect(responses.refuse_to_answer())
        assert (item.title, [finding.code for finding in item.findings]) == ("try_later", ["no_answer"])

    @pytest.mark.parametrize("seconds", [2**62, 2**56, -(2**62)])
    def test_session_of_an_endless_time(self, seconds: int) -> None:
        """A time that no clock shows is the last one."""
        fields = (der.make_integer(1), der.make_integer(0x303), der.make(der.OCTET_STRING, b"\x13\x01"))
        secrets = (der.make(der.OCTET_STRING, bytes(32)), der.make(der.OCTET_STRING, bytes(48)))
        data = der.make(der.SEQUENCE, *fields, *secrets, der.make(0xA1, der.make_integer(seconds)))
        (item,) = certs.inspect(data)
        assert item.facts["established"].year == 9999

    async def test_session_of_ours(self) -> None:
        """Whose verdict it has; neither id nor keys."""
        who = pki.localhost()
        options: dict[str, Any] = {"cert": who.cert_pem, "key": who.key_pem, "max_version": "TLSv1.2"}
        async with (
            tlsio.serve(lambda sock: sock.end(b"x"), 0, "127.0.0.1", **options) as server,
            tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem) as sock,
        ):
            await sock.read()
            session = sock.get_session()
        [item] = certs.inspect(session)
        assert item.title == "localhost, TLSv1.2"
        assert item.facts["pins"] == [
            certs.inspect(who.cert_pem)[0].as_json()["public_key"]["pin"],
            certs.inspect(pki.ca1().cert_pem)[0].as_json()["public_key"]["pin"],
        ]
        assert item.facts["verified_name"] == "localhost"
        assert codes(session, at=pki.NOW + 2 * pki.DAY) == ["expired"]

    def test_openssh_key(self) -> None:
        """In its own format."""
        pem = pki.localhost().key.private_bytes(pki.PEM, pki.serialization.PrivateFormat.OpenSSH, pki.serialization.NoEncryption())
        assert certs.inspect(pem)[0].title == "EC P-256"

    @pytest.mark.parametrize(
        "content",
        [b"\x30\x0f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x02\x30\x00", b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"],
    )
    def test_pkcs7_without_certificates(self, content: bytes) -> None:
        """Empty, or damaged."""
        with pytest.raises(ConfigError, match="PKCS#7") as caught:
            certs.inspect(content)
        assert caught.value.code in {"ERR_TLS_NO_CERTIFICATE", "ERR_TLS_UNREADABLE_FILE"}

    def test_several_objects_of_a_file(self) -> None:
        """In their order."""
        items = certs.inspect(pki.localhost().key_pem + pki.localhost().cert_pem + pki.ca1_crl())
        assert [item.kind for item in items] == ["private key", "certificate", "crl"]

    def test_everything_is_json(self) -> None:
        """Instants as text, no bytes."""
        for content in (pki.localhost().cert_pem, pki.ca1_crl(), pki.localhost().key_pem, pki.legacy_pfx(), pki.agent1().cert_pem):
            for item in certs.inspect(content):
                assert json.loads(json.dumps(item.as_json()))["kind"] == item.kind

    def test_control_characters_are_not_printed(self) -> None:
        """A name may hold commands of the terminal."""
        hostile = pki.leaf("x\x1b[2Jy", names=["a\x1b]0;b\x07"])
        assert not any("\x1b" in line or "\x07" in line for line in certs.inspect(hostile.cert_pem)[0].lines())

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"at": dt.datetime(2026, 1, 1)}, UsageTypeError),  # noqa: DTZ001
            ({"usage": "both"}, UsageValueError),
            ({"passphrase": 7}, UsageTypeError),
        ],
    )
    def test_wrong_arguments_raise(self, options: dict[str, object], error: type[Exception]) -> None:
        """Before anything is read."""
        with pytest.raises(error):
            certs.inspect(pki.localhost().cert_pem, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "expected"), [("localhost", ["common_name_ignored"]), ("Plant CA", []), ("plant", [])])
def test_self_signed_authority_named_as_a_server_is_noted(name: str, expected: list[str]) -> None:
    """`openssl req -x509 -subj /CN=localhost` makes a CA."""
    found = codes(pki.authority(name).certificate)
    assert [code for code in found if "name" in code] == expected


@pytest.mark.parametrize(("kind", "name"), [(x25519.X25519PrivateKey, "X25519"), (x448.X448PrivateKey, "X448")])
def test_keys_for_agreement_have_their_names(kind: Any, name: str) -> None:
    """Not a number."""
    encoded = kind.generate().private_bytes(pki.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    [item] = certs.inspect(encoded)
    assert item.as_json()["public_key"]["algorithm"] == name
