"""Whether a private key belongs to a certificate, and if not, what to look for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.certs.contents import Block, read_blocks
from tlsio.certs.pkcs7 import read_pkcs7
from tlsio.certs.pkcs12 import open_pkcs12
from tlsio.certs.private_key import load_private_key, spki_of
from tlsio.certs.public_key import describe_spki
from tlsio.certs.request_fields import RequestFields
from tlsio.model.checks import check_text_or_bytes
from tlsio.model.errors import ConfigError, UsageValueError
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.certs.contents import Source
    from tlsio.model.checks import BytesLike

__all__ = ["KeyMatch", "match_key"]


@dataclass(frozen=True, slots=True)
class KeyMatch:
    """The answer; it is true if the key belongs to the certificate.

    Attributes:
        matches: The key belongs to the first certificate.
        explanation: The answer as a sentence, with both keys.
        hint: What to do if it does not; None if it does.
        position: To which certificate of the file the key belongs, counted from 0; None if to none.
    """

    matches: bool
    explanation: str
    hint: str | None = None
    position: int | None = None

    def __bool__(self) -> bool:
        return self.matches


@dataclass(frozen=True, slots=True)
class _Owner:
    """A certificate or request, by its public key."""

    text: str
    spki: bytes


def match_key(key: Source, certificate: Source, *, passphrase: str | BytesLike | None = None) -> KeyMatch:
    """Tell whether a private key belongs to a certificate or to a certificate request.

    Args:
        key: The private key: a file, PEM, DER, PKCS#12, or an object of `cryptography`.
        certificate: The certificate or request; of a chain, the first counts.
        passphrase: Decrypts the key, or the PKCS#12.

    Raises:
        ConfigError: one of them cannot be read.
        OSError: a file cannot be read.
    """
    secret = None if passphrase is None else check_text_or_bytes("passphrase", passphrase)
    spki = _read_key(key, secret)
    owners = [owner for block in read_blocks(certificate, "certificate") for owner in _read_owners(block, secret)]
    if not owners:
        raise ConfigError("There is no certificate to compare the key with", code="ERR_TLS_NO_CERTIFICATE", hint="Were both files swapped?")
    position = next((index for index, owner in enumerate(owners) if owner.spki == spki), None)
    return _answer(spki, owners, position)


def _answer(spki: bytes, owners: list[_Owner], position: int | None) -> KeyMatch:
    ours, theirs = describe_spki(spki), describe_spki(owners[0].spki)
    if position == 0:
        return KeyMatch(True, f"The key ({ours}, {ours.pin}) belongs to {owners[0].text}", position=0)  # noqa: FBT003
    if position is not None:
        return KeyMatch(
            False,  # noqa: FBT003
            f"The key belongs to {owners[position].text}, which is number {position + 1} of the file, and not to the first, {owners[0].text}",
            "The own certificate has to come first. read() and to_pem() put the file in order.",
            position,
        )
    if str(ours) != str(theirs):
        return KeyMatch(
            False,  # noqa: FBT003
            f"The key is {ours}, but {owners[0].text} is for another kind of key, {theirs}",
            "They were made at different times: look for the key that was used for the request of this certificate.",
        )
    return KeyMatch(
        False,  # noqa: FBT003
        f"The key and {owners[0].text} are both {ours}, but of different pairs: {ours.pin} is the key's, {theirs.pin} the certificate's",
        "Either the certificate was issued for an earlier or later key, or the files of two servers were mixed up: look for the key with "
        f"{theirs.pin}, or have a certificate issued for this one.",
    )


def _read_key(key: Source, passphrase: bytes | None) -> bytes:
    for block in read_blocks(key, "key"):
        if block.kind in {"private key", "encrypted private key"}:
            return spki_of(load_private_key(block, passphrase))
        if block.kind == "PKCS#12" and (found := open_pkcs12(block, passphrase)[0]) is not None:
            return spki_of(load_private_key(Block("private key", found, block.source, block.work), None))
    raise ConfigError("There is no private key to compare", code="ERR_TLS_NO_KEY", hint="Were key and certificate swapped?")


def _read_owners(block: Block, passphrase: bytes | None) -> Iterator[_Owner]:
    if block.kind == "request":
        request = RequestFields.read(block.data, block.source)
        yield _Owner(f'the request for "{request.title}"', request.spki)
    elif block.kind in {"certificate", "PKCS#7", "PKCS#12"}:
        for data in _certificates_of(block, passphrase):
            try:
                certificate = parse(data)
            except UsageValueError:
                raise ConfigError(f"A certificate of {block.source} cannot be read", code="ERR_TLS_CERTIFICATE_UNREADABLE") from None
            yield _Owner(f'the certificate "{certificate.title}"', certificate.spki)


def _certificates_of(block: Block, passphrase: bytes | None) -> tuple[bytes, ...]:
    if block.kind == "PKCS#7":
        return read_pkcs7(block.data, block.source)
    return open_pkcs12(block, passphrase)[1] if block.kind == "PKCS#12" else (block.data,)
