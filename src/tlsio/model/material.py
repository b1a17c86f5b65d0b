"""Certificates, keys, CRLs and PKCS#12 from users, converted to one form.

Files are not read here but by the code that builds a context. Objects of `cryptography` are
converted to DER, since that library has its own copy of OpenSSL. It is not imported here, because
that takes as long as importing asyncio, and only a program that has imported it has such objects.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypedDict, runtime_checkable

from tlsio.model.checks import BytesLike, check_text_or_bytes, wrong_type, wrong_value
from tlsio.model.content_hints import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.serialization import Encoding, KeySerializationEncryption, ParameterFormat, PrivateFormat

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
        signer: The object in `key=` that signs elsewhere. Then `data` is its public key in DER, or
            empty.
        passphrase: Its own passphrase, which overrides the option `passphrase`.
    """

    kind: Literal["pem", "der", "path", "elsewhere"]
    data: bytes = field(default=b"", repr=False)
    path: str | None = None
    passphrase: bytes | None = field(default=None, repr=False)
    signer: object = field(default=None, repr=False)


def pem_labels(data: bytes) -> tuple[str, ...]:
    """Return the labels of the PEM blocks in `data`, in order: `("PRIVATE KEY", "CERTIFICATE")`."""
    return tuple(label.decode("latin-1") for label in _PEM_LABEL.findall(data))


def holds_certificate(data: bytes) -> bool:
    """Tell whether PEM content has at least one certificate block."""
    return not _CERTIFICATE_LABELS.isdisjoint(pem_labels(data))


def holds_private_key(data: bytes) -> bool:
    """Tell whether PEM content has at least one private key, encrypted or not."""
    return any(label.endswith("PRIVATE KEY") for label in pem_labels(data))


def certificate_der(value: object) -> bytes | None:
    """Return the DER of an `x509.Certificate` of `cryptography`; None for anything else."""
    return _object_der(value, "Certificate")


def _object_der(value: object, class_name: Literal["Certificate", "CertificateRevocationList"]) -> bytes | None:
    if "cryptography.x509" not in sys.modules:  # then no object of it can exist
        return None
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    wanted: type[x509.Certificate | x509.CertificateRevocationList] = getattr(x509, class_name)
    return value.public_bytes(Encoding.DER) if isinstance(value, wanted) else None


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


def parse_request(label: str, value: object) -> Material:
    """Parse a certificate request (CSR): content or a path."""
    return _parse_content(label, value, "a certificate request (CSR)")


def parse_keys(label: str, value: object, *, forms: str | None = None) -> tuple[Material, ...]:
    """Parse `key`: content, a path, a private key of `cryptography`, or a list of items.

    An item of a list may also be a dict with `pem` and `passphrase`. `forms` says in an error what
    else the caller accepts.
    """
    forms = forms or _FORMS
    if isinstance(value, Mapping):
        raise wrong_type(label, f"{forms}, or a list", value, hint='Put the dict into a list: key=[{"pem": ...}].')
    return _parse_each(label, value, partial(_parse_key, forms=forms))


def parse_pfx(label: str, value: object) -> tuple[Material, ...]:
    """Parse `pfx`: bytes, a path, or a list of these and of dicts with `buf` and `passphrase`."""
    if isinstance(value, Mapping):
        raise wrong_type(label, "bytes, a path or a list", value, hint='Put the dict into a list: pfx=[{"buf": ...}].')
    return _parse_each(label, value, _parse_one_pfx)


def parse_dh_parameters(label: str, value: object) -> Material | Literal["auto"]:
    """Parse `dhparam`: `"auto"`, content, a path or DH parameters of `cryptography`."""
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, DhParameters):
        from cryptography.hazmat.primitives.serialization import Encoding, ParameterFormat  # noqa: PLC0415  (loaded with `value`)

        return Material("pem", value.parameter_bytes(Encoding.PEM, ParameterFormat.PKCS3))
    return _parse_content(label, value, "Diffie-Hellman parameters", forms=f"'auto', {_FORMS}")


_FORMS = "PEM as str or bytes, DER as bytes, an os.PathLike or an object of cryptography"


def _parse_each(label: str, value: object, parse: Callable[[str, object], Material]) -> tuple[Material, ...]:
    if isinstance(value, list | tuple):
        return tuple(parse(f"{label}[{index}]", item) for index, item in enumerate(value))
    return (parse(label, value),)


def _parse_certificate(label: str, value: object) -> Material:
    encoded = certificate_der(value)
    return _parse_content(label, value, "a certificate") if encoded is None else Material("der", encoded)


def _parse_authority(label: str, value: object) -> Material:
    material = _parse_certificate(label, value)
    if material.kind == "pem" and not holds_certificate(material.data):
        found = ", ".join(sorted(set(pem_labels(material.data)))) or "no PEM block"
        hint = explain(material.data, "a certificate", label)
        raise wrong_value(label, f"contains no certificate, but {found}", hint=hint)
    return material


def _parse_revocation(label: str, value: object) -> Material:
    encoded = _object_der(value, "CertificateRevocationList")
    return _parse_content(label, value, "a certificate revocation list") if encoded is None else Material("der", encoded)


def _parse_key(label: str, value: object, forms: str) -> Material:
    if isinstance(value, Mapping):
        return _parse_with_passphrase(label, value, "pem", partial(_parse_key, forms=forms))
    if isinstance(value, PrivateKey):
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415  (loaded with `value`)

        return Material("der", value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    return _parse_content(label, value, "a private key", forms=forms)


def _parse_one_pfx(label: str, value: object) -> Material:
    if isinstance(value, Mapping):
        return _parse_with_passphrase(label, value, "buf", _parse_one_pfx)
    if isinstance(value, str):
        raise wrong_type(label, "bytes or an os.PathLike", value, hint="Give a path as pathlib.Path.")
    content = _parse_content(label, value, "PKCS#12", forms="bytes or an os.PathLike")
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


def _parse_content(label: str, value: object, wanted: str = "", *, forms: str = _FORMS) -> Material:
    if isinstance(value, os.PathLike):
        path = os.fsdecode(value)
        if "\0" in path:
            raise wrong_value(label, "is a path that contains a null character")
        return Material("path", path=path)
    if not isinstance(value, str | BytesLike):
        raise wrong_type(label, forms, value, hint=_hint_for_object(value, wanted))
    data = check_text_or_bytes(label, value)
    if not data:
        raise wrong_value(label, "is empty", hint="To leave the option out, give None.")
    if pem_labels(data):
        return Material("pem", data)
    if isinstance(value, str):
        hint = explain(data, wanted, label) or "Give a path as pathlib.Path, and DER as bytes."
        raise wrong_value(label, "is a str that is not PEM", hint=hint)
    return Material("der", data)


def _hint_for_object(value: object, wanted: str) -> str | None:
    """Return which attribute of a `Leaf` or an `Authority` of `tlsio.certs` is meant."""
    names = ("key_pem",) if wanted == "a private key" else ("chain_pem", "cert_pem")
    found = [f".{name}" for name in names if hasattr(type(value), name)]
    return f"Give its {' or '.join(found)}." if found else None
