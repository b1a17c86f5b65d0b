"""Certificate requests (CSRs, PKCS#10): made, read, and judged before an authority signs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID

from tlsio.certs.keys import key_kind, load_key, signature_hash
from tlsio.certs.names import describe_name, parse_name, parse_names, spiffe_faults
from tlsio.certs.subject import parse_subject, subject_faults
from tlsio.certs.unreadable import UNREADABLE, unreadable
from tlsio.connection.context.files import read_file
from tlsio.model.checks import check_choice, check_text_or_bytes, wrong_value
from tlsio.model.errors import UsageError
from tlsio.model.material import parse_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlsio.certs.keys import PrivateKey, PublicKey
    from tlsio.model.checks import BytesLike
    from tlsio.model.material import Content

__all__ = ["USAGES", "RequestFacts", "Usage", "create_request", "load_request", "request_facts", "request_faults"]

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
Usage = Literal["server", "client"]
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}

_MAX_CHALLENGE = 255  # RFC 2985 §5.4.1 and PKCS#9's pkcs-9-ub-challengePassword
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192  # CA/Browser Forum BR §6.1.5; above, each handshake of a peer becomes slow
_MIN_RSA_EXPONENT = 2**16  # FIPS 186-5 §A.1.1
_CURVES = {"P-256", "P-384", "P-521"}  # RFC 8446 §4.2.7 without the curves of Montgomery
_NAME_KINDS = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a request asks for.

    Attributes:
        names: Its subjectAltName.
        usages: Its extended key usages, as OIDs; empty if it asks for none.
        must_staple: Clients are to accept the certificate only with an OCSP response (RFC 7633).
        challenge_password: As text; None if there is none.
    """

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    usages: tuple[x509.ObjectIdentifier, ...]
    must_staple: bool
    challenge_password: str | None


def create_request(
    names: str | x509.GeneralName | Iterable[str | x509.GeneralName] = (),
    *,
    key: Content | PrivateKey,
    subject: str | x509.Name | None = None,
    usages: Sequence[Usage] = (),
    must_staple: bool = False,
    challenge_password: str | BytesLike | None = None,
) -> x509.CertificateSigningRequest:
    """Make a certificate request for an authority, read it back, and check it.

    Args:
        names: What the certificate is for, as `parse_name` reads it: DNS names, IP addresses,
            e-mail addresses, URIs.
        key: The key that the certificate will be for, as `load_key` reads it.
        subject: Such as `"CN=gateway,O=Plant"`. Public authorities ignore it; empty by default.
        usages: Extended key usages to ask for. None by default: public authorities decide
            themselves, and some refuse requests that ask.
        must_staple: Ask for a certificate that clients accept only with an OCSP response (RFC
            7633).
        challenge_password: Some authorities want it; it is readable by all who see the request.

    Raises:
        UsageValueError: a name is not one, or there are neither names nor a subject.
    """
    found, who, secret = parse_names(names), parse_subject(subject), load_key(key)
    if not found and not who.rdns:
        raise wrong_value("names", "is empty, and so is subject: the request would ask for nothing")
    builder = x509.CertificateSigningRequestBuilder().subject_name(who)
    if found:
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=not who.rdns)
    if usages:
        oids = [USAGES[check_choice("usages", one, tuple(USAGES))] for one in usages]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    if must_staple:
        builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    if challenge_password is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, _check_challenge(challenge_password))
    request = load_request(builder.sign(secret, signature_hash(secret)).public_bytes(Encoding.DER))
    if faults := request_faults(request):
        raise wrong_value("key", f"cannot be certified: {'; '.join(faults)}")
    return request


def load_request(source: Content | x509.CertificateSigningRequest) -> x509.CertificateSigningRequest:
    """Read a certificate request.

    Args:
        source: PEM as str or bytes, DER as bytes, a path, or a request, which is returned as it is.

    Raises:
        OSError: the file cannot be read.
        ConfigError: not a request (`ERR_CRYPTO_OPERATION_FAILED`).
    """
    if isinstance(source, x509.CertificateSigningRequest):
        return source
    material = read_file("request", parse_request("request", source))
    load = x509.load_pem_x509_csr if material.kind == "pem" else x509.load_der_x509_csr
    try:
        request = load(material.data)
        _ = request.subject, request.extensions, request.attributes, request.public_key()  # parsed when they are asked for
    except UNREADABLE as error:
        raise unreadable(material, "a certificate request (CSR)", "request", error) from None
    return request


def request_facts(request: x509.CertificateSigningRequest) -> RequestFacts:
    """Return what a request asks for."""
    alternative = _extension(request, x509.SubjectAlternativeName)
    usages = _extension(request, x509.ExtendedKeyUsage)
    features = _extension(request, x509.TLSFeature)
    try:
        challenge = request.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode("utf-8", "replace")
    except x509.AttributeNotFound:
        challenge = None
    return RequestFacts(
        subject=request.subject,
        names=tuple(alternative or ()),
        usages=tuple(usages or ()),
        must_staple=features is not None and x509.TLSFeatureType.status_request in features,
        challenge_password=challenge,
    )


def request_faults(request: x509.CertificateSigningRequest, *, names_matter: bool = True) -> list[str]:
    """Return every reason not to sign a request; an empty list if there is none.

    The signature proves that the sender has the key. A weak key, a weak hash, a name that no client
    accepts, control characters, several URIs with a SPIFFE ID, and the wish to be an authority are
    reasons.

    Args:
        request: The request.
        names_matter: False if other names will be certified than those of the request.
    """
    faults = key_faults(request.public_key())
    if fault := _signature_fault(request):
        faults.append(fault)
    facts = request_facts(request)
    if names_matter and not facts.names and not facts.subject.rdns:
        faults.append("it asks for no name")
    if names_matter:
        faults += [fault for name in facts.names if (fault := _name_fault(name))]
        faults += [*spiffe_faults(facts.names), *subject_faults(facts.subject)]
    constraints, usage = _extension(request, x509.BasicConstraints), _extension(request, x509.KeyUsage)
    if (constraints and constraints.ca) or (usage and usage.key_cert_sign):
        faults.append("it asks for the certificate of an authority")
    return faults


def key_faults(key: PublicKey) -> list[str]:
    """Return the reasons why no certificate should be made for a public key."""
    kind = key_kind(key)
    if isinstance(key, rsa.RSAPublicKey):
        if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            return [f"its key is RSA with {key.key_size} bits, and {_MIN_RSA_BITS} to {_MAX_RSA_BITS} are accepted"]
        if key.public_numbers().e < _MIN_RSA_EXPONENT:
            return ["its RSA key has a small public exponent"]
    if (isinstance(key, ec.EllipticCurvePublicKey) and kind not in _CURVES) or isinstance(key, dsa.DSAPublicKey):
        return [f"its key is of the kind {kind}, which TLS peers do not accept"]
    return []


def _signature_fault(request: x509.CertificateSigningRequest) -> str | None:
    try:
        algorithm = request.signature_hash_algorithm
        is_weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
        is_valid = is_weak or request.is_signature_valid
    except UNREADABLE as error:
        return f"its signature cannot be checked: {error}"
    if is_weak and algorithm:
        return f"it is signed with {algorithm.name}, which can be forged"
    return None if is_valid else "its signature is not by the key in it"


def _name_fault(name: x509.GeneralName) -> str | None:
    if not isinstance(name, _NAME_KINDS):
        return f"it asks for a name of the kind {type(name).__name__}: {describe_name(name)}"
    try:
        parsed = parse_name(_with_kind(name))
    except UsageError as error:
        return f"it {error.message.removeprefix('names ')}"
    # What was read of the name has been checked, but the name itself would be certified.
    if parsed.value != _with_host_in_lower_case(name):
        return f'it has the name "{describe_name(name)}", which is not in the preferred syntax: "{describe_name(parsed)}"'
    return None


def _with_host_in_lower_case(name: x509.GeneralName) -> object:
    """Return the value of a name; hosts of DNS and e-mail are compared without regard to case."""
    if isinstance(name, x509.DNSName):
        return name.value.lower()
    if isinstance(name, x509.RFC822Name):
        local, at, host = name.value.rpartition("@")
        return f"{local}{at}{host.lower()}"
    return name.value


def _with_kind(name: x509.GeneralName) -> str:
    kinds: tuple[tuple[type[x509.GeneralName], str], ...] = (
        (x509.DNSName, "DNS"),
        (x509.IPAddress, "IP"),
        (x509.RFC822Name, "email"),
        (x509.UniformResourceIdentifier, "URI"),
    )
    prefix = next(text for kind, text in kinds if isinstance(name, kind))
    return f"{prefix}:{name.value}"


def _extension(request: x509.CertificateSigningRequest, kind: type[_Extension]) -> _Extension | None:
    try:
        return request.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_challenge(value: str | BytesLike) -> bytes:
    secret = check_text_or_bytes("challenge_password", value)
    if not 0 < len(secret) <= _MAX_CHALLENGE:
        raise wrong_value("challenge_password", f"must have 1 to {_MAX_CHALLENGE} bytes")
    try:
        secret.decode()
    except UnicodeDecodeError:
        raise wrong_value("challenge_password", "must be UTF-8 (RFC 2985 §5.4.1)") from None
    return secret
