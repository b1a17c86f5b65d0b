"""`check_uri_identity`: URIs, such as SPIFFE IDs, in the place of host names."""

from __future__ import annotations

import pytest
from cryptography import x509

import pki
import tlsio
from tlsio.trust.certificate import parse

WEB = "spiffe://example.org/ns/prod/sa/web"


def workload(*uris: str, extensions: tuple[x509.ExtensionType, ...] = (), dns: tuple[str, ...] = ()) -> pki.Identity:
    """Make a workload's certificate, by ca1."""
    names = [x509.UniformResourceIdentifier(uri) for uri in uris] + [x509.DNSName(name) for name in dns]
    return pki.leaf("workload", issuer=pki.ca1(), extensions=[x509.SubjectAlternativeName(names), *extensions])


def reason(identity: str, who: pki.Identity) -> str | None:
    """Return why the certificate is refused."""
    error = tlsio.check_uri_identity(identity, parse(who.cert_der))
    return None if error is None else error.reason


@pytest.mark.parametrize("form", [lambda who: parse(who.cert_der), lambda who: who.certificate])
def test_the_same_uri_is_accepted(form: object) -> None:
    """Of our own mapping, and of `cryptography`."""
    assert tlsio.check_uri_identity(WEB, form(workload(WEB))) is None  # type: ignore[operator]


@pytest.mark.parametrize(
    "found",
    [
        "spiffe://example.org/ns/prod/sa/webx",
        "spiffe://example.org/ns/prod/sa",
        "spiffe://example.com/ns/prod/sa/web",
        "spiffe://EXAMPLE.org/ns/prod/sa/web",
        "spiffe://example.org/ns/prod/sa/web/",
        "spiffe://example.org/ns/prod/sa/web?x",
        "https://example.org/ns/prod/sa/web",
    ],
)
def test_another_uri_is_refused(found: str) -> None:
    """Every octet counts."""
    assert reason(WEB, workload(found)) == f"URI: {WEB} is not in the cert's list: {found}"


def test_no_wildcards() -> None:
    """A star is not even a SPIFFE ID."""
    assert reason("https://example.org/a", workload("https://example.org/*")) is not None


def test_names_of_hosts_do_not_count() -> None:
    """The identity is the URI."""
    assert reason(WEB, pki.localhost()) == f"URI: {WEB} is not in the cert's list: none"
    assert reason(WEB, workload(WEB, dns=("other.example",))) is None


def test_a_spiffe_certificate_has_one_uri() -> None:
    """X509-SVID §2; for other URIs there is no such rule."""
    assert "exactly one" in (reason(WEB, workload(WEB, "spiffe://example.org/other")) or "")
    assert reason("urn:a:b", workload("urn:a:b", "urn:a:c")) is None


@pytest.mark.parametrize(
    "extensions",
    [
        (x509.BasicConstraints(ca=True, path_length=None),),
        (pki._key_usage(certificates=True),),
    ],
)
def test_a_ca_is_not_a_workload(extensions: tuple[x509.ExtensionType, ...]) -> None:
    """X509-SVID §4.1 and §4.3: an intermediate of the trust domain could otherwise be any of its workloads."""
    assert "of a CA" in (reason(WEB, workload(WEB, extensions=extensions)) or "")


def test_key_usage_without_signing_is_a_workload() -> None:
    """The usual leaf."""
    assert reason(WEB, workload(WEB, extensions=(pki._key_usage(certificates=False),))) is None


def test_malformed_key_usage_is_refused() -> None:
    """It may say anything."""
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x04\x00")
    assert "of a CA" in (reason(WEB, workload(WEB, extensions=(broken,))) or "")


def test_error_has_the_code_and_a_hint() -> None:
    """As for host names."""
    error = tlsio.check_uri_identity(WEB, pki.localhost().certificate)
    assert isinstance(error, tlsio.CertificateAltNameError)
    assert (error.code, error.host) == ("ERR_TLS_CERT_ALTNAME_INVALID", WEB)
    assert "has no URI" in (error.hint or "")
    assert "another peer" in (getattr(tlsio.check_uri_identity(WEB, workload("urn:a:b").certificate), "hint", ""))


@pytest.mark.parametrize("cert", [None, {"subjectaltname": f"URI:{WEB}"}, b"x"])
def test_only_certificates_are_compared(cert: object) -> None:
    """The text of a mapping could be forged by a name with a comma."""
    with pytest.raises(tlsio.UsageTypeError):
        tlsio.check_uri_identity(WEB, cert)  # type: ignore[arg-type]


def test_wrong_identity_raises() -> None:
    """What can never match."""
    with pytest.raises(tlsio.UsageValueError):
        tlsio.check_uri_identity("example.org", pki.localhost().certificate)
