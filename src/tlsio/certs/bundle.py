"""A bundle: a private key, its certificate and the chain above, read from and written to files.

`read` takes PEM, DER, PKCS#7 and PKCS#12, in any number of files, and puts the certificates in
order. `complete` fetches the intermediates that are missing. The methods of `Bundle` write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from tlsio.certs.chain_order import find_issuer, is_self_issued, order
from tlsio.certs.contents import Block, read_blocks
from tlsio.certs.key_match import match_key
from tlsio.certs.keys import encryption_under
from tlsio.certs.pkcs7 import read_pkcs7, write_pkcs7
from tlsio.certs.pkcs12 import open_pkcs12, read_protection, write_pkcs12
from tlsio.certs.private_key import load_private_key, spki_of
from tlsio.model.checks import check_filled_text, check_function, check_text_or_bytes, wrong_value
from tlsio.model.errors import CertificateError, ConfigError, TLSError, UsageStateError, UsageValueError
from tlsio.trust.certificate import MAX_TRIED_URLS, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from tlsio.certs.chain_order import OrderedChain
    from tlsio.certs.contents import Source
    from tlsio.model.checks import BytesLike
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["Bundle", "Fetch", "complete", "read"]

Fetch: TypeAlias = Callable[[str], Awaitable[bytes]]

# In all sources. Debian's bundle of all public CAs has about 150, OpenSSL's longest chain 100.
_MAX_CERTIFICATES = 1000
# The public CAs have one or two intermediates; more than this is a loop of cross-signed ones.
_MAX_FETCHED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A key, its certificate, and the certificates above it in order.

    Attributes:
        key: The private key of `certificate`; None if the files had none.
        certificate: The certificate that a server or client presents.
        intermediates: Its issuer, that one's issuer and so on, without the root.
        root: The root; None if the files had none.
        others: Certificates that do not belong to this chain.
        notes: What was put right and what is worth knowing, in sentences.
    """

    key: CertificateIssuerPrivateKeyTypes | None = field(default=None, repr=False)
    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()
    root: x509.Certificate | None = None
    others: tuple[x509.Certificate, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a server sends: the certificate and its intermediates."""
        return (self.certificate, *self.intermediates)

    def to_pem(self, *, key: bool = False, root: bool = False, passphrase: str | BytesLike | None = None) -> bytes:
        """Return the chain as PEM, the leaf first: what a server's certificate file holds.

        Args:
            key: Put the private key in front, as PKCS#8. Then the result is secret.
            root: Append the root. A server need not send it.
            passphrase: Encrypts the private key with AES-256.

        Raises:
            UsageStateError: there is no key, or no root.
            UsageValueError: the passphrase is empty, has a null character, or is longer than 1023
                bytes.
        """
        blocks = [one.public_bytes(Encoding.PEM) for one in self._chosen(root=root)]
        if key:
            secret = _check_new_passphrase(passphrase)
            encryption = encryption_under(secret)
            blocks.insert(0, self._own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return b"".join(blocks)

    def to_pfx(self, passphrase: str | BytesLike | None, *, friendly_name: str | None = None, root: bool = False) -> bytes:
        """Return key and chain as PKCS#12, encrypted with AES-256.

        Without a key the certificates are marked as trusted, as in a truststore of Java.

        Args:
            passphrase: None encrypts nothing; then the result is secret.
            friendly_name: The name that programs show, Java's alias.
            root: Include the root.

        Raises:
            UsageStateError: there is no root.
        """
        secret = _check_new_passphrase(passphrase)
        if friendly_name is not None:
            check_filled_text("friendly_name", friendly_name)
        return write_pkcs12(self.key, self._chosen(root=root), secret, friendly_name=friendly_name)

    def to_pkcs7(self, *, pem: bool = True, root: bool = False) -> bytes:
        """Return the chain as PKCS#7 ("p7b"), which has no private keys.

        Raises:
            UsageStateError: there is no root.
        """
        return write_pkcs7([one.public_bytes(Encoding.DER) for one in self._chosen(root=root)], pem=pem)

    def to_der(self) -> bytes:
        """Return the certificate alone, in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def _own_key(self) -> CertificateIssuerPrivateKeyTypes:
        if self.key is None:
            raise UsageStateError("The bundle has no private key", hint="Read the file of the key too: read(certificate, key).")
        return self.key

    def _chosen(self, *, root: bool) -> tuple[x509.Certificate, ...]:
        if not root:
            return self.chain
        if self.root is None:
            raise UsageStateError("The bundle has no root", hint="Read the file of the root too: read(certificate, root).")
        return (*self.chain, self.root)


def read(*sources: Source, passphrase: str | BytesLike | None = None) -> Bundle:
    """Read certificates and a key, and put them in order.

    The certificate of the key is the leaf. Without a key, the leaf is the certificate that is not a
    CA and has issued none of the others.

    Args:
        sources: Files (as `pathlib.Path`), PEM, DER, PKCS#7 or PKCS#12 in memory, and objects of
            `cryptography`, in any order.
        passphrase: Decrypts the key and the PKCS#12.

    Raises:
        ConfigError: a source cannot be read or decrypted, or there is no certificate, or the key
            belongs to none of the certificates, or there are several keys.
        OSError: a file cannot be read.
    """
    if not sources:
        raise UsageValueError("read needs at least one file, or its content")
    reader = _Reader(_check_passphrase(passphrase))
    for index, source in enumerate(sources):
        for block in read_blocks(source, f"sources[{index}]"):
            reader.take(block)
    return reader.make_bundle()


async def complete(bundle: Bundle, *, fetch: Fetch) -> Bundle:
    """Return the bundle with the missing intermediates, fetched from the URLs in the certificates.

    Each certificate names where its issuer's can be fetched ("CA Issuers" of authorityInfoAccess,
    RFC 5280 §4.2.2.1). What was fetched is used only if it signed the certificate; whether the
    chain is trusted is another question, which `verify` answers. Only certificates and PKCS#7 are
    read, in a thread. A root that is fetched on the way ends the search.

    A certificate may name several URLs: the next of the first four is tried if `fetch` raises an
    OSError or a TLSError, or if the issuer is not there. At most eight certificates are fetched, so
    `fetch` is called at most 32 times.

    Args:
        bundle: From `read`.
        fetch: Async function(url) that returns the content. It has to limit time and size.

    Raises:
        ConfigError: what was fetched cannot be read or is not the issuer; or none of several URLs
            had it (`ERR_TLS_ISSUER_UNAVAILABLE`), and the message has the cause for each.
        OSError: from `fetch`, if there is one URL.
        TLSError: from `fetch`, if there is one URL.
        Cancelled: nothing is kept.
    """
    check_function("fetch", fetch)
    intermediates, root, notes = list(bundle.intermediates), bundle.root, list(bundle.notes)
    top = parse(bundle.chain[-1].public_bytes(Encoding.DER))
    for _ in range(_MAX_FETCHED):
        if root is not None or is_self_issued(top) or not top.ca_issuers:
            break
        top = await _fetch_issuer(top, fetch)
        if is_self_issued(top):
            root = _as_x509(top)
        else:
            intermediates.append(_as_x509(top))
            notes.append(f'The intermediate "{top.title}" was missing, and was fetched.')
    return replace(bundle, intermediates=tuple(intermediates), root=root, notes=tuple(notes))


async def _fetch_issuer(certificate: PeerCertificate, fetch: Fetch) -> PeerCertificate:
    failures: list[tuple[str, Exception]] = []
    for url in certificate.ca_issuers[:MAX_TRIED_URLS]:
        try:
            content = await fetch(url) or b"\n"  # an empty answer is no wrong argument
        except (OSError, TLSError, UnicodeError) as error:  # UnicodeError: of a name that is no host
            failures.append((url, error))
            continue
        try:
            return await asyncio.to_thread(_read_issuer, content, url, certificate)
        except ConfigError as error:
            failures.append((url, error))
    last = failures[-1][1]
    if len(failures) == 1 and isinstance(last, OSError | TLSError):
        raise last
    causes = "; ".join(f"{url}: {getattr(error, 'message', error)}" for url, error in failures)
    if untried := len(certificate.ca_issuers) - len(failures):
        causes += f"; {untried} more are not tried"
    raise ConfigError(
        f'The issuer of "{certificate.title}" could not be fetched: {causes}',
        code="ERR_TLS_ISSUER_UNAVAILABLE",
        hint=_advise_reading_issuer(certificate),
    ) from last


def _read_issuer(content: bytes, url: str, certificate: PeerCertificate) -> PeerCertificate:
    """Find the issuer in what was fetched. Keys and PKCS#12 are costly, and no CA serves them."""
    reader = _Reader(None)
    for block in read_blocks(content, url):
        if block.kind in {"certificate", "PKCS#7"}:
            reader.take(block)
    issuer = find_issuer(certificate, reader.certificates)
    if issuer is None:
        raise ConfigError(
            f'What {url} has is not the issuer of "{certificate.title}"',
            code="ERR_TLS_ISSUER_UNAVAILABLE",
            hint=_advise_reading_issuer(certificate),
        )
    return issuer


def _advise_reading_issuer(certificate: PeerCertificate) -> str:
    return f'Get the certificate of "{certificate.issuer_text}" from its CA, and read it together with the others.'


class _Reader:
    """Collects keys and certificates of several files."""

    def __init__(self, passphrase: bytes | None) -> None:
        self.certificates: list[PeerCertificate] = []
        self._passphrase = passphrase
        self._keys: list[CertificateIssuerPrivateKeyTypes] = []
        self._ignored: list[str] = []
        self._notes: list[str] = []

    def take(self, block: Block) -> None:
        """Add what a block holds."""
        if block.kind == "certificate":
            self._add(block.data, block.source)
        elif block.kind in {"private key", "encrypted private key"}:
            self._keys.append(load_private_key(block, self._passphrase))
        elif block.kind == "PKCS#7":
            for data in read_pkcs7(block.data, block.source):
                self._add(data, block.source)
        elif block.kind == "PKCS#12":
            self._take_pkcs12(block)
        else:
            words = f"{block.kind}, which are" if block.kind.endswith("s") else f"a {block.kind}, which is"
            self._ignored.append(f"{block.source} has {words} not part of a bundle.")

    def _take_pkcs12(self, block: Block) -> None:
        key, certificates = open_pkcs12(block, self._passphrase)
        protection = read_protection(block.data)
        if key is not None:
            self._keys.append(load_private_key(Block("private key", key, block.source, block.work), None))
        for data in certificates:
            self._add(data, block.source)
        if protection.outdated:
            self._notes.append(
                f"{block.source} is encrypted with {' and '.join(protection.outdated)}, which is outdated: write it again with to_pfx()."
            )
        if not protection.has_mac:
            self._notes.append(f"{block.source} has no MAC, so nothing shows whether it was changed.")

    def _add(self, data: bytes, source: str) -> None:
        if len(self.certificates) == _MAX_CERTIFICATES:
            raise ConfigError(
                f"There are more than {_MAX_CERTIFICATES} certificates, the last one in {source}",
                code="ERR_TLS_TOO_MANY_CERTIFICATES",
                hint="Read only the certificate and those of its issuers.",
            )
        try:
            self.certificates.append(parse(data))
        except UsageValueError:
            raise ConfigError(
                f"A certificate of {source} cannot be read", code="ERR_TLS_CERTIFICATE_UNREADABLE", hint="Get it again from its source."
            ) from None

    def make_bundle(self) -> Bundle:
        """Put everything in order."""
        if not self.certificates:
            raise ConfigError(
                "There is no certificate among the files",
                code="ERR_TLS_NO_CERTIFICATE",
                hint=" ".join(self._ignored) or "Read the file of the certificate too: read(key, certificate).",
            )
        key = self._choose_key()
        ordered = order(self.certificates, None if key is None else spki_of(key))
        leaf = ordered.chain[0]
        if key is not None and leaf.spki != spki_of(key):
            raise _foreign_key(key, leaf)
        return Bundle(
            key=key,
            certificate=_as_x509(leaf),
            intermediates=tuple(map(_as_x509, ordered.chain[1:])),
            root=None if ordered.root is None else _as_x509(ordered.root),
            others=tuple(map(_as_x509, ordered.others)),
            notes=(*self._notes, *_describe_changes(self.certificates, ordered), *self._ignored),
        )

    def _choose_key(self) -> CertificateIssuerPrivateKeyTypes | None:
        by_spki = {spki_of(key): key for key in self._keys}
        if len(by_spki) <= 1:
            return next(iter(by_spki.values()), None)
        owned = [key for spki, key in by_spki.items() if any(one.spki == spki and not one.is_ca for one in self.certificates)]
        if len(owned) == 1:
            return owned[0]
        raise ConfigError(
            f"There are {len(by_spki)} private keys among the files, and {len(owned)} of them have a certificate here",
            code="ERR_TLS_SEVERAL_KEYS",
            hint="Read one key with its certificate at a time.",
        )


def _describe_changes(given: Sequence[PeerCertificate], ordered: OrderedChain) -> Iterable[str]:
    """Say in sentences how the result differs from what was given, and what is missing."""
    chain, root = ordered.chain, ordered.root
    if len(given) > len(set(given)):
        yield "Certificates that were there several times are kept once."
    wanted = [*chain, *([root] if root else [])]
    if [one for one in dict.fromkeys(given) if one in wanted] != wanted:
        yield "The certificates were in another order, and are now in that of the chain."
    top = chain[-1]
    for other in ordered.others:
        yield f'"{other.title}" does not belong to the chain of "{chain[0].title}".'
    if root is None and not is_self_issued(top):
        yield f'The issuer of "{top.title}", "{top.issuer_text}", is not among the files. It is needed unless it is a trusted root.'


def _foreign_key(key: CertificateIssuerPrivateKeyTypes, leaf: PeerCertificate) -> ConfigError:
    found = match_key(key, leaf.raw)
    return ConfigError(found.explanation, code="ERR_OSSL_X509_KEY_VALUES_MISMATCH", hint=found.hint)


def _as_x509(certificate: PeerCertificate) -> x509.Certificate:
    try:
        return certificate.x509
    except CertificateError as error:
        raise ConfigError(error.message, code=error.code, hint="Have it reissued. inspect() shows what it contains.") from None


def _check_new_passphrase(passphrase: str | BytesLike | None) -> bytes | None:
    secret = _check_passphrase(passphrase)
    if secret == b"":
        raise wrong_value("passphrase", "is empty", hint="Give None to write it without encryption.")
    if secret is not None and b"\0" in secret:  # OpenSSL's readers would stop there
        raise wrong_value("passphrase", "must not contain a null character")
    return secret


def _check_passphrase(passphrase: str | BytesLike | None) -> bytes | None:
    return None if passphrase is None else check_text_or_bytes("passphrase", passphrase)
