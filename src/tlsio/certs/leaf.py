"""A certificate for a server or a client, with its chain and its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, Unpack

from cryptography import x509

from tlsio.certs.files import PRIVATE, PUBLIC, NewFile, write_files
from tlsio.certs.keys import generate_key, key_pem, load_key, signature_hash
from tlsio.certs.names import describe_name, parse_names
from tlsio.certs.pem import to_pem
from tlsio.certs.profile import LEAF_DAYS, add_leaf_extensions, begin, check_arguments, check_leaf_life, make_life, system_clock
from tlsio.certs.request import key_faults
from tlsio.certs.subject import MAX_COMMON_NAME, named, parse_subject
from tlsio.model.checks import wrong_value
from tlsio.model.errors import UsageStateError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from tlsio.certs.keys import PrivateKey
    from tlsio.model.checks import BytesLike
    from tlsio.model.material import Content

__all__ = ["Leaf", "LeafOptions", "self_signed"]


class LeafOptions(TypedDict, total=False):
    """Options of every call that issues a leaf.

    Attributes:
        key: The key to certify, as `load_key` reads it. Default: a new one.
        kind: The kind of the new key, one of `KEY_KINDS`. Default: `"P-256"`.
        subject: Such as `"CN=gateway,O=Plant"`.
        days: The length of its life, at most 398. Default: 365, or until the authority ends.
        not_before: The start, an aware datetime. Default: an hour ago.
        not_after: The end, an aware datetime, instead of `days`.
        must_staple: Clients accept the certificate only with an OCSP response (RFC 7633).
    """

    key: Content | PrivateKey | None
    kind: str
    subject: str | x509.Name | None
    days: float | None
    not_before: datetime | None
    not_after: datetime | None
    must_staple: bool


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for a server or a client.

    Attributes:
        certificate: The certificate.
        intermediates: Those that are sent after it, without the root.
        key: Its private key; None if the authority signed a foreign request.
    """

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...] = ()
    key: PrivateKey | None = field(default=None, repr=False)

    @property
    def cert_pem(self) -> bytes:
        """The certificate alone, in PEM."""
        return to_pem(self.certificate)

    @property
    def chain_pem(self) -> bytes:
        """The certificate and its intermediates, in PEM: what `cert=` takes."""
        return to_pem(self.certificate, *self.intermediates)

    @property
    def key_pem(self) -> bytes:
        """The key, unencrypted, in PEM: what `key=` takes.

        Raises:
            UsageStateError: the key is not known, because a foreign request was signed.
        """
        return key_pem(self._known_key())

    def write(
        self,
        *,
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str] | None = None,
        passphrase: str | BytesLike | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the chain and, if `key` is given, the key, whose file only its owner can read.

        Both are written or none; what existed is then unchanged, also with `overwrite`.

        Raises:
            FileExistsError: a file exists, and `overwrite` is False; nothing was written.
            OSError: a folder does not exist or may not be written, or the disk is full.
            UsageStateError: the key is not known, because a foreign request was signed.
            UsageValueError: `cert` and `key` are the same path.
        """
        files = [NewFile(cert, self.chain_pem, PUBLIC)]
        if key is not None:
            files.insert(0, NewFile(key, key_pem(self._known_key(), passphrase), PRIVATE))
        write_files(*files, overwrite=overwrite)

    def _known_key(self) -> PrivateKey:
        if self.key is None:
            raise UsageStateError("The key of this certificate is not known", hint="It is where the request was made.")
        return self.key


def self_signed(names: str | x509.GeneralName | Iterable[str | x509.GeneralName], **options: Unpack[LeafOptions]) -> Leaf:
    """Make a key and a certificate that is signed by that key, in memory.

    A peer trusts it by having this very certificate in `ca=`. It is for servers and for clients.

    Args:
        names: What it is for, as `parse_name` reads it.
        options: See `LeafOptions`. The subject is by default the first name.

    Raises:
        UsageError: a name or a time is wrong.
        ConfigError: the kind of key is not available.
    """
    check_arguments("self_signed", options, LeafOptions)
    return _self_sign(parse_names(names), **options)


def _self_sign(  # noqa: PLR0913 - LeafOptions
    names: Sequence[x509.GeneralName],
    *,
    key: Content | PrivateKey | None = None,
    kind: str = "P-256",
    subject: str | x509.Name | None = None,
    days: float | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    must_staple: bool = False,
) -> Leaf:
    if not names:
        raise wrong_value("names", "is empty", hint="Give what clients connect to, such as localhost and 127.0.0.1.")
    secret = generate_key(kind) if key is None else load_key(key)
    if faults := key_faults(secret.public_key()):
        raise wrong_value("key", f"cannot be certified: {'; '.join(faults)}")
    start, end = make_life(system_clock(), days, not_before, not_after, default=LEAF_DAYS)
    check_leaf_life(start, end)
    # "The issuer field MUST contain a non-empty distinguished name" (RFC 5280 §4.1.2.4).
    title = describe_name(names[0])
    who = parse_subject(subject) if subject else named(title if len(title) <= MAX_COMMON_NAME else "self-signed")
    builder = begin(who, who, secret.public_key(), (start, end))
    builder = add_leaf_extensions(builder, who, names, ("server", "client"), must_staple=must_staple)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(secret.public_key()), critical=False)
    return Leaf(builder.sign(secret, signature_hash(secret)), (), secret)
