"""Where trust may come from: the roots bundled with the library, the system's, and those the environment adds.

All are read once per process and given as PEM. `ca=` replaces them, `extra_ca=` adds to them: that is decided where a
context is built.
"""

import functools
import os
import re
import warnings
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

import certifi

from tlsio.model.environment import read_variable
from tlsio.model.errors import ConfigError
from tlsio.native._core import Roots
from tlsio.native.context_spec import LabelledMaterial

from . import der
from .certificate import parse

# RFC 7468 §5; OpenSSL's two older labels count too, as in Node. The text between is left to the decoder.
_BLOCK = re.compile(rb"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----(.*?)-----END \1-----", re.DOTALL)
# What X509_LOOKUP_hash_dir opens: the hash of a subject and a number. Other files beside them are not trusted.
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")

_PEM_LINE = 64  # "Generators MUST wrap the base64-encoded lines so that each line consists of exactly 64 characters" (RFC 7468 §2)


@functools.cache
def bundled() -> tuple[str, ...]:
    """Return Mozilla's roots as they come with `certifi`, in PEM."""
    return _unique([Path(certifi.where())])


@functools.cache
def system(default_file: str, default_directory: str) -> tuple[str, ...]:
    """Return the system's roots in PEM, as OpenSSL would find them.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` (several directories, separated as in `PATH`) take the place of the defaults. What
    cannot be read is left out: an empty result means that nothing is trusted.

    Args:
        default_file: `X509_get_default_cert_file()` of the OpenSSL in use.
        default_directory: `X509_get_default_cert_dir()`; files in it count under their hashed names only.
    """
    file, directories = read_variable("SSL_CERT_FILE"), read_variable("SSL_CERT_DIR")
    places = (default_directory if directories is None else directories).split(os.pathsep)
    hashed = (path for place in places if place for path in _hashed_files(Path(place)))
    return _unique([Path(default_file if file is None else file), *hashed])


@functools.cache
def extra() -> tuple[str, ...]:
    """Return the roots of the file that `TLSIO_EXTRA_CA_CERTS` names, in PEM.

    (Node: `NODE_EXTRA_CA_CERTS`.) A file that cannot be read or holds no certificate is passed over with a warning.
    """
    name = read_variable("TLSIO_EXTRA_CA_CERTS")
    if not name:
        return ()
    try:
        found = to_pem(read_pem(Path(name).read_bytes()))
        problem = "" if found else f"{name} holds no certificate in PEM"
    except OSError as error:
        found, problem = (), str(error)
    if problem:
        warnings.warn(f"TLSIO_EXTRA_CA_CERTS is ignored: {problem}", stacklevel=2)
    return found


def read_pem(text: bytes) -> list[bytes]:
    """Return the certificates in a PEM text as DER; what is none is left out, as OpenSSL leaves it out of a CA file.

    A TRUSTED CERTIFICATE carries OpenSSL's own settings behind the certificate: for what it is trusted, and for what it is
    not. They stay, since without them an authority that was rejected would be trusted.
    """
    found = list[bytes]()
    for _, body in _BLOCK.findall(text):
        try:
            data = b64decode(body)
            parse(der.read(data, trailing=True).encoded)
            found += _read_settings(data) if _holds_settings(data) else [data]
        except ValueError:
            continue
    return found


def _holds_settings(data: bytes) -> bool:
    return len(der.read(data, trailing=True).encoded) < len(data)


def _read_settings(data: bytes) -> tuple[bytes, ...]:
    """Have OpenSSL read a certificate with its settings; when it cannot, nothing may be trusted by it."""
    try:
        return Roots([LabelledMaterial("a trusted certificate", _encode(data).encode())]).certificates
    except ConfigError:
        return ()


def to_pem(certificates: Iterable[bytes]) -> tuple[str, ...]:
    """Return certificates in DER, with OpenSSL's settings or without, as PEM; repetitions are left out."""
    return tuple(map(_encode, dict.fromkeys(certificates)))


def _unique(paths: Iterable[Path]) -> tuple[str, ...]:
    return to_pem(data for path in paths for data in read_pem(_read(path)))


def _encode(data: bytes) -> str:
    body = b64encode(data).decode("ascii")
    lines = (body[at : at + _PEM_LINE] for at in range(0, len(body), _PEM_LINE))
    label = "TRUSTED CERTIFICATE" if _holds_settings(data) else "CERTIFICATE"
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _hashed_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if _HASHED.fullmatch(path.name))
    except OSError:
        return []
