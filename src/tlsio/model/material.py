"""Certificates, keys, CRLs and PKCS#12 from users, converted to one form.

Files are not read here but by the code that builds a context. Objects of `cryptography` are
converted to DER, since that library has its own copy of OpenSSL.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    ParameterFormat,
    PrivateFormat,
)
from cryptography.x509 import Certificate, CertificateRevocationList

from tlsio.model.checks import BytesLike, check_text_or_bytes, wrong_type, wrong_value

Content: TypeAlias = str | BytesLike | os.PathLike[str] | os.PathLike[bytes]

_PEM_LABEL = re.compile(rb"-----BEGIN ([^\r\n]{1,64}?)-----")
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"})


@runtime_checkable
class PrivateKey(Protocol):
    """Any private key of `cryptography`, including those of future algorithms."""

    def private_bytes(
        self, encoding: Encoding, private_format: PrivateFormat, encryption_algorithm: KeySerializationEncryption, /
    ) -> bytes:
        """Serialise the key."""


@runtime_checkable
class DhParameters(Protocol):
    """`DHParameters` of `cryptography`, whose module emits a deprecation warning on import."""

    def parameter_bytes(self, encoding: Encoding, parameter_format: ParameterFormat, /) -> bytes:
        """Serialise the parameters."""


class KeyWithPassphrase(TypedDict, total=False):
    """An element of `key=[...]` with a passphrase of its own."""

    pem: Content
    passphrase: str | BytesLike | None


class PfxWithPassphrase(TypedDict, total=False):
    """An element of `pfx=[...]` with a passphrase of its own."""

    buf: BytesLike | os.PathLike[str] | os.PathLike[bytes]
    passphrase: str | BytesLike | None


@dataclass(frozen=True, slots=True)
class Material:
    """One certificate file, key, CRL, PKCS#12 or set of DH parameters.

    Attributes:
        kind: `"pem"` or `"der"`: `data` is the content. `"path"`: `path` names the file.
        data: The content, empty for a path. All bytes that are not PEM have the kind `"der"`.
        path: The file, None for content.
        passphrase: Its own passphrase, which overrides the option `passphrase`.
    """

    kind: Literal["pem", "der", "path"]
    data: bytes = field(default=b"", repr=False)
    path: str | None = None
    passphrase: bytes | None = field(default=None, repr=False)


def pem_labels(data: bytes) -> tuple[str, ...]:
    """Return the labels of the PEM blocks in `data`, in order: `("PRIVATE KEY", "CERTIFICATE")`."""
    return tuple(label.decode("latin-1") for label in _PEM_LABEL.findall(data))


def holds_certificate(data: bytes) -> bool:
    """Tell whether PEM content has at least one certificate block."""
    return not _CERTIFICATE_LABELS.isdisjoint(pem_labels(data))


def holds_private_key(data: bytes) -> bool:
    """Tell whether PEM content has at least one private key, encrypted or not."""
    return any(label.endswith("PRIVATE KEY") for label in pem_labels(data))


def parse_certificates(label: str, value: object) -> tuple[Material, ...]:
    """Parse `cert`: content, a path, an `x509.Certificate` or a list of them."""
    return _parse_each(label, value, _parse_certificate)


def parse_authorities(label: str, value: object) -> tuple[Material, ...]:
    """Parse `ca` or `extra_ca`: like `cert`, but content must contain a certificate.

    An empty list trusts nothing.
    """
    return _parse_each(label, value, _parse_authority)


def parse_revocations(label: str, value: object) -> tuple[Material, ...]:
    """Parse `crl`: content, a path, an `x509.CertificateRevocationList` or a list of them."""
    return _parse_each(label, value, _parse_revocation)


def parse_keys(label: str, value: object) -> tuple[Material, ...]:
    """Parse `key`: content, a path, a private key of `cryptography`, or a list of items.

    An item of a list may also be a dict with `pem` and `passphrase`.
    """
    if isinstance(value, Mapping):
        raise wrong_type(label, f"{_FORMS}, or a list", value, hint='Put the dict into a list: key=[{"pem": ...}].')
    return _parse_each(label, value, _parse_key)


def parse_pfx(label: str, value: object) -> tuple[Material, ...]:
    """Parse `pfx`: bytes, a path, or a list of these and of dicts with `buf` and `passphrase`."""
    if isinstance(value, Mapping):
        raise wrong_type(label, "bytes, a path or a list", value, hint='Put the dict into a list: pfx=[{"buf": ...}].')
    return _parse_each(label, value, _parse_one_pfx)


def parse_dh_parameters(label: str, value: object) -> "Material | Literal['auto']":
    """Parse `dhparam`: `"auto"`, content, a path or DH parameters of `cryptography`."""
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, DhParameters):
        return Material("pem", value.parameter_bytes(Encoding.PEM, ParameterFormat.PKCS3))
    return _parse_content(label, value, forms=f"'auto', {_FORMS}")


_FORMS = "PEM as str or bytes, DER as bytes, an os.PathLike or an object of cryptography"


def _parse_each(label: str, value: object, parse: Callable[[str, object], Material]) -> tuple[Material, ...]:
    if isinstance(value, list | tuple):
        return tuple(parse(f"{label}[{index}]", item) for index, item in enumerate(value))
    return (parse(label, value),)


def _parse_certificate(label: str, value: object) -> Material:
    if isinstance(value, Certificate):
        return Material("der", value.public_bytes(Encoding.DER))
    return _parse_content(label, value)


def _parse_authority(label: str, value: object) -> Material:
    material = _parse_certificate(label, value)
    if material.kind == "pem" and not holds_certificate(material.data):
        found = ", ".join(sorted(set(pem_labels(material.data)))) or "no PEM block"
        raise wrong_value(label, f"contains no certificate, but {found}", hint="To trust nothing, give an empty list.")
    return material


def _parse_revocation(label: str, value: object) -> Material:
    if isinstance(value, CertificateRevocationList):
        return Material("der", value.public_bytes(Encoding.DER))
    return _parse_content(label, value)


def _parse_key(label: str, value: object) -> Material:
    if isinstance(value, Mapping):
        return _parse_with_passphrase(label, value, "pem", _parse_key)
    if isinstance(value, PrivateKey):
        return Material("der", value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    return _parse_content(label, value)


def _parse_one_pfx(label: str, value: object) -> Material:
    if isinstance(value, Mapping):
        return _parse_with_passphrase(label, value, "buf", _parse_one_pfx)
    if isinstance(value, str):
        raise wrong_type(label, "bytes or an os.PathLike", value, hint="Give a path as pathlib.Path.")
    content = _parse_content(label, value, forms="bytes or an os.PathLike")
    return Material("der", content.data) if content.kind == "pem" else content


def _parse_with_passphrase(label: str, given: Mapping[object, object], name: str, parse: Callable[[str, object], Material]) -> Material:
    if name not in given or not given.keys() <= {name, "passphrase"} or isinstance(given[name], Mapping):
        raise wrong_value(label, f"must be a dict with {name!r} and, optionally, 'passphrase'")
    content = parse(f"{label}[{name!r}]", given[name])
    passphrase = given.get("passphrase")
    if passphrase is None:
        return content
    secret = check_text_or_bytes(f"{label}['passphrase']", passphrase)
    return Material(content.kind, content.data, content.path, secret)


def _parse_content(label: str, value: object, *, forms: str = _FORMS) -> Material:
    if isinstance(value, os.PathLike):
        path = os.fsdecode(value)
        if "\0" in path:
            raise wrong_value(label, "is a path that contains a null character")
        return Material("path", path=path)
    if not isinstance(value, str | BytesLike):
        raise wrong_type(label, forms, value)
    data = check_text_or_bytes(label, value)
    if not data:
        raise wrong_value(label, "is empty", hint="To leave the option out, give None.")
    if pem_labels(data):
        return Material("pem", data)
    if isinstance(value, str):
        raise wrong_value(label, "is a str that is not PEM", hint="Give a path as pathlib.Path, and DER as bytes.")
    return Material("der", data)
