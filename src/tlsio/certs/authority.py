"""A certificate authority of your own, and the certificates that it issues.

Two nouns, in the manner of trustme: an `Authority` issues, a `Leaf` is what a server or a client
presents. All that is issued satisfies the strict rules of RFC 5280 that OpenSSL checks with
`-x509_strict`, and Python's `ssl` since 3.13.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import AuthorityInformationAccessOID

from tlsio.certs.keys import generate_key, load_key, signature_hash
from tlsio.certs.leaf import Leaf, LeafOptions
from tlsio.certs.names import parse_name, parse_names, spiffe_faults
from tlsio.certs.pem import to_pem
from tlsio.certs.profile import (
    LEAF_DAYS,
    add_leaf_extensions,
    begin,
    check_arguments,
    check_days,
    check_instant,
    check_leaf_life,
    check_room_below,
    find_room_below,
    key_usage,
    make_constraints,
    make_life,
    may_issue,
    names_outside,
    spki,
    system_clock,
    title_of,
)
from tlsio.certs.request import USAGES, key_faults, load_request, request_facts, request_faults
from tlsio.certs.status import ListNumbers, Revocation, issuer_key_identifier, make_crl, make_ocsp_response
from tlsio.certs.subject import common_name_of, is_same_subject, named, parse_subject, subject_faults
from tlsio.certs.unreadable import UNREADABLE, unreadable
from tlsio.connection.context.files import read_file
from tlsio.model.checks import BytesLike, check_choice, check_int, wrong_type, wrong_value
from tlsio.model.errors import ConfigError
from tlsio.model.material import parse_certificates
from tlsio.trust.names import printable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from tlsio.certs.keys import PrivateKey, PublicKey
    from tlsio.certs.request import Usage
    from tlsio.model.material import Content, Material

__all__ = ["Authority", "AuthorityOptions"]

_ROOT_DAYS, _INTERMEDIATE_DAYS = 3650, 1825
_MAX_CRL_NUMBER = 2**159 - 1  # RFC 5280 §5.2.3: at most 20 octets
_MAX_SERIAL_NUMBER = 2**159 - 1  # RFC 5280 §4.1.2.2: the same
_MAX_PATH_LENGTH = 100  # deeper than verifiers follow; OpenSSL's default is 100 too


class AuthorityOptions(TypedDict, total=False):
    """Options of `Authority.create` and `Authority.intermediate`.

    Attributes:
        key: Its key, as `load_key` reads it. Default: a new one.
        kind: The kind of the new key, one of `KEY_KINDS`. Default: `"P-256"`.
        subject: Such as `"CN=Plant CA,O=Plant"`, instead of the common name alone.
        days: The length of its life. Default: 3650 for a root, 1825 for an intermediate.
        not_before: The start, an aware datetime. Default: an hour ago.
        not_after: The end, an aware datetime, instead of `days`.
        path_length: How many authorities may follow below it. Default: any number for a root, 0 for
            an intermediate.
        permitted: Name constraints: the only names that it may certify, as `parse_constraint` reads
            them. Names of kinds that do not occur are not permitted: no addresses if there are only
            names of DNS.
        excluded: Names that it may not certify, nor a wildcard that covers one of them; with a URI
            among them, nor a URI whose host cannot be compared, such as `urn:`.
        issuer_url: Where its certificate is, for clients that miss it (AIA).
        ocsp_url: Where its OCSP responder is.
        crl_url: Where its revocation list is.
        clock: Returns the time, an aware datetime. Default: the system's clock. Intermediates have
            the clock of their root.
    """

    key: Content | PrivateKey | None
    kind: str
    subject: str | x509.Name | None
    days: float | None
    not_before: datetime | None
    not_after: datetime | None
    path_length: int | None
    permitted: Sequence[str | x509.GeneralName]
    excluded: Sequence[str | x509.GeneralName]
    issuer_url: str | None
    ocsp_url: str | None
    crl_url: str | None
    clock: Callable[[], datetime] | None


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: a root or an intermediate.

    Make one with `Authority.create` or `Authority.load`.

    Attributes:
        key: Its private key.
        certificate: Its certificate. Peers with that of the root in `ca=` trust what it issues.
        above: The certificates of the authorities above it, up to the root if that is known.
    """

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()
    issuer_url: str | None = None
    ocsp_url: str | None = None
    crl_url: str | None = None
    clock: Callable[[], datetime] = field(default=system_clock, repr=False)
    _numbers: ListNumbers = field(default_factory=ListNumbers, init=False, repr=False, compare=False)

    @classmethod
    def create(cls, name: str = "tlsio authority", **options: Unpack[AuthorityOptions]) -> Authority:
        """Make a root.

        Args:
            name: Its common name.
            options: See `AuthorityOptions`.

        Raises:
            UsageError: a name, a constraint or a time is wrong.
            ConfigError: the kind of key is not available.
        """
        check_arguments("Authority.create", options, AuthorityOptions)
        return _make_authority(None, name, **options)

    @classmethod
    def load(  # noqa: PLR0913 - each is one thing that a certificate does not say, all by keyword
        cls,
        *,
        cert: Content | x509.Certificate | Sequence[Content | x509.Certificate],
        key: Content | PrivateKey,
        passphrase: str | BytesLike | None = None,
        issuer_url: str | None = None,
        ocsp_url: str | None = None,
        crl_url: str | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> Authority:
        """Read an authority that `write` or another program has written.

        Args:
            cert: Its certificate, and after it those of the authorities above it; in one file or
                as a list.
            key: Its key.
            passphrase: For an encrypted key.
            issuer_url: See `AuthorityOptions`.
            ocsp_url: See `AuthorityOptions`.
            crl_url: See `AuthorityOptions`.
            clock: See `AuthorityOptions`.

        Raises:
            OSError: a file cannot be read.
            ConfigError: they are not a certificate and a key, do not belong together
                (`ERR_OSSL_X509_KEY_VALUES_MISMATCH`), the certificate is not that of an authority,
                or authorities above it do not allow it (path length).
        """
        certificate, *above = _load_certificates(cert)
        secret = load_key(key, passphrase)
        if spki(secret.public_key()) != spki(certificate.public_key()):
            raise ConfigError(
                "The key of the authority does not belong to its certificate",
                code="ERR_OSSL_X509_KEY_VALUES_MISMATCH",
                hint="Give the files of one authority; its certificate comes first in a file with several.",
            )
        if not may_issue(certificate):
            raise ConfigError(
                f'The certificate "{title_of(certificate)}" is not that of an authority',
                hint="An authority's certificate has basicConstraints CA:true and the key usage keyCertSign.",
            )
        room = find_room_below((certificate, *above))
        if room is not None and room < 0:
            raise ConfigError(
                f'The authority "{title_of(certificate)}" is below more authorities than one of them allows',
                hint="No peer accepts what it issues: have it certified by an authority with a larger path length.",
            )
        return cls(secret, certificate, tuple(above), issuer_url, ocsp_url, crl_url, clock or system_clock)

    @property
    def cert_pem(self) -> bytes:
        """Its certificate in PEM: what `ca=` of the peers takes if it is a root."""
        return to_pem(self.certificate)

    @property
    def root_pem(self) -> bytes:
        """The certificate of the highest known authority in PEM: what `ca=` of the peers takes."""
        return to_pem((self.certificate, *self.above)[-1])

    def intermediate(self, name: str, **options: Unpack[AuthorityOptions]) -> Authority:
        """Make an authority below this one. Its leaves carry its certificate with them.

        Args:
            name: Its common name.
            options: See `AuthorityOptions`.

        Raises:
            UsageError: a name, a constraint or a time is wrong, or `path_length` is larger than
                the authorities above leave.
            UsageStateError: this authority may not have authorities below it.
            ConfigError: this authority has expired, or the kind of key is not available.
        """
        check_arguments("intermediate", options, AuthorityOptions)
        return _make_authority(self, name, **options)

    def server(self, *names: str | x509.GeneralName, **options: Unpack[LeafOptions]) -> Leaf:
        """Issue a certificate for a server.

        Its subject is empty unless `subject=` is given: clients compare the alternative names only.

        Args:
            names: What clients connect to: DNS names, wildcards, IP addresses, URIs.
            options: See `LeafOptions`.

        Raises:
            UsageError: a name or a time is wrong, or a name is outside the name constraints.
            ConfigError: this authority has expired, or the kind of key is not available.
        """
        check_arguments("server", options, LeafOptions)
        if not names:
            raise wrong_value("names", "is empty", hint="Give what clients connect to, such as localhost and 127.0.0.1.")
        return self._leaf("server", names, **options)

    def client(self, common_name: str, *names: str | x509.GeneralName, **options: Unpack[LeafOptions]) -> Leaf:
        """Issue a certificate for a client, which servers do not accept from each other.

        Args:
            common_name: Who the client is; its subject, unless `subject=` is given.
            names: More names: e-mail addresses, URIs such as `spiffe://example.org/shop`, DNS
                names. Servers with `chain_policy="strict"` accept only clients that have one.
            options: See `LeafOptions`.

        Raises:
            UsageError: a name or a time is wrong, or a name is outside the name constraints.
            ConfigError: this authority has expired, or the kind of key is not available.
        """
        check_arguments("client", options, LeafOptions)
        options.setdefault("subject", named(common_name))
        return self._leaf("client", names, **options)

    def sign(
        self,
        request: Content | x509.CertificateSigningRequest,
        *,
        usage: Usage = "server",
        names: Iterable[str | x509.GeneralName] | None = None,
        days: float | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Leaf:
        """Sign a request that was made elsewhere.

        The names, must-staple and, for clients, the subject are taken from the request, and nothing
        else. Look at them before: a request says what its sender wants to be.

        Args:
            request: The request: PEM, DER, a path or an object of `cryptography`.
            usage: `"server"` or `"client"`.
            names: The names to certify, instead of those of the request.
            days: See `LeafOptions`.
            not_before: See `LeafOptions`.
            not_after: See `LeafOptions`.

        Raises:
            OSError: the file cannot be read.
            ConfigError: not a request, or one that must not be signed; the message has every reason
                (`ERR_TLS_REQUEST_REFUSED`). Or this authority has expired.
            UsageError: a name or a time is wrong.
        """
        asked = load_request(request)
        check_choice("usage", usage, tuple(USAGES))
        faults = request_faults(asked, names_matter=names is None)
        facts = request_facts(asked)
        certified = facts.names if names is None else parse_names(names)
        subject = facts.subject if usage == "client" else x509.Name([])
        if facts.usages and USAGES[usage] not in facts.usages:
            faults.append(f"it asks for other usages than that of a {usage}")
        is_nameless = usage == "server" and not facts.names and names is None
        if is_nameless:
            faults.append("it has no alternative name, and clients read no other")
        else:
            faults += self._name_faults(subject, certified)
        if spki(asked.public_key()) == spki(self.certificate.public_key()):
            faults.append("its key is that of the authority")
        faults += subject_faults(subject)
        if faults:
            hint = _hint_for_nameless(facts.subject) if is_nameless else None
            raise ConfigError(f"The request was not signed: {'; '.join(dict.fromkeys(faults))}", code="ERR_TLS_REQUEST_REFUSED", hint=hint)
        certificate = self._issue(
            asked.public_key(),
            subject=subject,
            names=certified,
            usage=usage,
            must_staple=facts.must_staple,
            life=self._life(days, not_before, not_after),
        )
        return Leaf(certificate, self._sent())

    def crl(
        self, *revoked: Leaf | x509.Certificate | Revocation, days: float = 7, number: int | None = None
    ) -> x509.CertificateRevocationList:
        """Make the revocation list of this authority.

        Args:
            revoked: What is revoked; a certificate alone is revoked from now on, without a reason.
            days: For how long the list is current.
            number: Must grow from list to list (RFC 5280 §5.2.3). Default: the time in
                microseconds, or one more than that of the list before.

        Raises:
            UsageError: an argument is wrong, or a certificate is that of another authority.
        """
        now = self._now()
        entries = [self._revocation(one, now) for one in revoked]
        number = self._numbers.next(self.clock()) if number is None else check_int("number", number, 0, _MAX_CRL_NUMBER)
        return make_crl(self.certificate, self.key, entries, now=now, life=check_days("days", days), number=number)

    def ocsp(
        self, certificate: Leaf | x509.Certificate, *, revoked: bool | Revocation = False, days: float = 1, request: bytes | None = None
    ) -> bytes:
        """Make an OCSP response in DER about a certificate that this authority has issued.

        Args:
            certificate: The certificate.
            revoked: True: from now on, without a reason.
            days: For how long the response is current.
            request: The request that it answers, in DER; None for a response to staple.

        Raises:
            UsageError: an argument is wrong, or the certificate is that of another authority.
            ConfigError: the request cannot be read, or is about another certificate.
        """
        if not isinstance(request, BytesLike | None):
            raise wrong_type("request", "bytes", request)
        subject, now = self._own(certificate), self._now()
        revocation = self._revocation(subject if revoked is True else revoked, now) if revoked else None
        if revocation and revocation.serial_number != subject.serial_number:
            raise wrong_value("revoked", "is about another certificate")
        life = check_days("days", days)
        return make_ocsp_response(
            self.certificate,
            self.key,
            subject,
            revocation=revocation,
            now=now,
            life=life,
            request=None if request is None else bytes(request),
        )

    def write(
        self,
        *,
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str] | None = None,
        passphrase: str | BytesLike | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the certificates, its own first, and, if `key` is given, the key.

        Only its owner can read the file of the key.

        Raises:
            FileExistsError: a file exists, and `overwrite` is False; nothing was written.
            OSError: a folder does not exist or may not be written, or the disk is full.
        """
        Leaf(self.certificate, self.above, self.key).write(cert=cert, key=key, passphrase=passphrase, overwrite=overwrite)

    def _leaf(  # noqa: PLR0913 - LeafOptions
        self,
        usage: Usage,
        names: Iterable[str | x509.GeneralName],
        *,
        key: Content | PrivateKey | None = None,
        kind: str = "P-256",
        subject: str | x509.Name | None = None,
        days: float | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        must_staple: bool = False,
    ) -> Leaf:
        parsed, life = parse_names(names), self._life(days, not_before, not_after)
        who = parse_subject(subject)
        secret = generate_key(kind) if key is None else load_key(key)
        if faults := [*key_faults(secret.public_key()), *self._name_faults(who, parsed)]:
            raise wrong_value("names", f"cannot be certified: {'; '.join(faults)}")
        certificate = self._issue(secret.public_key(), subject=who, names=parsed, usage=usage, must_staple=must_staple, life=life)
        return Leaf(certificate, self._sent(), secret)

    def _issue(
        self,
        key: PublicKey,
        *,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        usage: Usage,
        must_staple: bool,
        life: tuple[datetime, datetime],
    ) -> x509.Certificate:
        builder = begin(subject, self.certificate.subject, key, life)
        builder = add_leaf_extensions(builder, subject, names, (usage,), must_staple=must_staple)
        builder = builder.add_extension(issuer_key_identifier(self.certificate), critical=False)
        return _add_places(builder, self).sign(self.key, signature_hash(self.key))

    def _name_faults(self, subject: x509.Name, names: Sequence[x509.GeneralName]) -> list[str]:
        chain = (self.certificate, *self.above)
        if not names and not subject.rdns:
            return ["there is neither a name nor a subject"]
        # Verifiers take a certificate whose subject is its issuer for a self-signed one.
        taken = ["the subject is that of the authority"] if any(is_same_subject(subject, one.subject) for one in chain) else []
        return [*taken, *spiffe_faults(names), *names_outside(subject, names, chain)]

    def _sent(self) -> tuple[x509.Certificate, ...]:
        return tuple(one for one in (self.certificate, *self.above) if one.subject != one.issuer)

    def _revocation(self, given: Leaf | x509.Certificate | Revocation, now: datetime) -> Revocation:
        if isinstance(given, Revocation):
            check_int("serial_number", given.serial_number, 1, _MAX_SERIAL_NUMBER)
            if not isinstance(given.reason, x509.ReasonFlags | None):
                raise wrong_type("reason", "one of x509.ReasonFlags, or None", given.reason)
            return replace(given, at=check_instant("at", given.at))
        return Revocation(self._own(given).serial_number, now)

    def _own(self, given: Leaf | x509.Certificate) -> x509.Certificate:
        """Return a certificate, if this authority has issued it."""
        found = given.certificate if isinstance(given, Leaf) else given
        if not isinstance(found, x509.Certificate):
            raise wrong_type("certificate", "a Leaf or an x509.Certificate", found)
        try:
            found.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise wrong_value(
                "certificate",
                f'was not issued by the authority "{title_of(self.certificate)}"',
                hint="Ask the authority that issued it; crl() takes a Revocation where this one had another key.",
            ) from None
        return found

    def _now(self) -> datetime:
        return check_instant("clock()", self.clock())

    def _life(self, days: float | None, not_before: datetime | None, not_after: datetime | None) -> tuple[datetime, datetime]:
        start, end = make_life(self._now(), days, not_before, not_after, default=LEAF_DAYS, issuer=self.certificate)
        check_leaf_life(start, end)
        return start, end


def _hint_for_nameless(subject: x509.Name) -> str:
    """Return what to do about a request without alternative names."""
    common_name = common_name_of(subject)
    such = f', such as "{printable(common_name)}" of its subject' if common_name else ""
    client = ' If it is for a client, give usage="client".' if subject.rdns else ""
    return f"Give the names that clients connect to as names={such}.{client}"


def _make_authority(  # noqa: PLR0913 - AuthorityOptions
    issuer: Authority | None,
    name: str,
    *,
    key: Content | PrivateKey | None = None,
    kind: str = "P-256",
    subject: str | x509.Name | None = None,
    days: float | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    path_length: int | None = None,
    permitted: Sequence[str | x509.GeneralName] = (),
    excluded: Sequence[str | x509.GeneralName] = (),
    issuer_url: str | None = None,
    ocsp_url: str | None = None,
    crl_url: str | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Authority:
    clock = clock or (issuer.clock if issuer else system_clock)
    if issuer and path_length is None:
        path_length = 0
    if path_length is not None:
        check_int("path_length", path_length, 0, _MAX_PATH_LENGTH)
        if issuer:
            check_room_below((issuer.certificate, *issuer.above), path_length)
    default = _INTERMEDIATE_DAYS if issuer else _ROOT_DAYS
    life = make_life(clock(), days, not_before, not_after, default=default, issuer=issuer.certificate if issuer else None)
    constraints = make_constraints(permitted, excluded)
    secret = generate_key(kind) if key is None else load_key(key)
    if faults := key_faults(secret.public_key()):
        raise wrong_value("key", f"cannot be certified: {'; '.join(faults)}")
    who = parse_subject(subject) if subject else named(name)
    if issuer and any(is_same_subject(who, one.subject) for one in (issuer.certificate, *issuer.above)):
        raise wrong_value("name", "is that of an authority above it", hint="Verifiers find issuers by their names: choose another one.")
    signer = issuer.key if issuer else secret
    identifier = x509.SubjectKeyIdentifier.from_public_key(secret.public_key())
    builder = begin(who, issuer.certificate.subject if issuer else who, secret.public_key(), life)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(key_usage(issues=True), critical=True)
    builder = builder.add_extension(
        issuer_key_identifier(issuer.certificate) if issuer else x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
        critical=False,
    )
    if constraints:
        # "Conforming CAs MUST mark this extension as critical" (RFC 5280 §4.2.1.10).
        builder = builder.add_extension(constraints, critical=True)
    if issuer:
        builder = _add_places(builder, issuer)
    certificate = builder.sign(signer, signature_hash(signer))
    above = (issuer.certificate, *issuer.above) if issuer else ()
    return Authority(secret, certificate, above, issuer_url, ocsp_url, crl_url, clock)


def _add_places(builder: x509.CertificateBuilder, issuer: Authority) -> x509.CertificateBuilder:
    """Say where the issuer's certificate, its responder and its list are."""
    places = [
        x509.AccessDescription(method, parse_name(f"URI:{url}"))
        for method, url in (
            (AuthorityInformationAccessOID.OCSP, issuer.ocsp_url),
            (AuthorityInformationAccessOID.CA_ISSUERS, issuer.issuer_url),
        )
        if url
    ]
    if places:
        builder = builder.add_extension(x509.AuthorityInformationAccess(places), critical=False)
    if issuer.crl_url:
        point = x509.DistributionPoint([parse_name(f"URI:{issuer.crl_url}")], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return builder


def _load_certificates(source: object) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for one in parse_certificates("cert", source):
        material = read_file("cert", one)
        try:
            loaded = _parse(material)
            for certificate in loaded:
                _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()  # parsed when asked for
        except UNREADABLE as error:
            raise unreadable(material, "a certificate", "cert", error) from None
        found += loaded
    if not found:
        raise wrong_value("cert", "is an empty list")
    return found


def _parse(material: Material) -> list[x509.Certificate]:
    if material.kind == "pem":
        return x509.load_pem_x509_certificates(material.data)
    return [x509.load_der_x509_certificate(material.data)]
