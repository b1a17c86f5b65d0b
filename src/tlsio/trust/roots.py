"""The sources of default trust: bundled roots, the system's roots, and those the environment adds.

Each is read once per process and returned as PEM. The code that builds a context applies `ca=`,
which replaces them, and `extra_ca=`, which adds to them.
"""

import functools
import os
import re
import warnings
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

from tlsio.model.environment import read_variable
from tlsio.model.errors import ConfigError
from tlsio.native._core import Roots
from tlsio.native.context_spec import LabelledMaterial

from . import der
from .certificate import parse

# RFC 7468 §5, and OpenSSL's two older labels, as in Node. The text between the labels is left to
# the decoder.
_BLOCK = re.compile(rb"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----(.*?)-----END \1-----", re.DOTALL)
# The file names that X509_LOOKUP_hash_dir opens: the hash of a subject and a number. Other files
# are not trusted.
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")

_PEM_LINE = 64  # "Generators MUST wrap the base64-encoded lines so that each line consists of exactly 64 characters" (RFC 7468 §2)


@functools.cache
def bundled() -> tuple[str, ...]:
    """Return Mozilla's roots from `certifi`, in PEM."""
    import certifi  # noqa: PLC0415  (it imports importlib.resources and tempfile, which an explicit ca= does not need)

    return _unique([Path(certifi.where())])


@functools.cache
def system(default_file: str, default_directory: str) -> tuple[str, ...]:
    """Return the system's roots in PEM, from OpenSSL's places for them.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` (several directories, separated as in `PATH`) replace both
    places, also if only one is set: in OpenSSL the other place stays, so a file with one root would
    be trusted together with all roots of the system. Files that cannot be read are skipped; an
    empty result means that nothing is trusted.

    Args:
        default_file: `X509_get_default_cert_file()` of the OpenSSL in use.
        default_directory: `X509_get_default_cert_dir()`; only files with hashed names are read.
    """
    file, directories = read_variable("SSL_CERT_FILE"), read_variable("SSL_CERT_DIR")
    if file is None and directories is None:
        file, directories = default_file, default_directory
    hashed = (path for name in (directories or "").split(os.pathsep) if name for path in _hashed_files(Path(name)))
    return _unique([*([Path(file)] if file else []), *hashed])


@functools.cache
def extra() -> tuple[str, ...]:
    """Return the roots of the file that `TLSIO_EXTRA_CA_CERTS` names, in PEM.

    (Node: `NODE_EXTRA_CA_CERTS`.) A file that cannot be read or contains no certificate is ignored
    with a warning.
    """
    name = read_variable("TLSIO_EXTRA_CA_CERTS")
    if not name:
        return ()
    try:
        found = to_pem(read_pem(Path(name).read_bytes()))
        problem = "" if found else f"{name} contains no certificate in PEM"
    except OSError as error:
        found, problem = (), str(error)
    if problem:
        warnings.warn(f"TLSIO_EXTRA_CA_CERTS is ignored: {problem}", stacklevel=2)
    return found


def read_pem(text: bytes) -> list[bytes]:
    """Return the certificates in a PEM text as DER; like OpenSSL, skip anything else.

    In a TRUSTED CERTIFICATE, OpenSSL's own trust settings follow the certificate: the usages for
    which it is trusted or rejected. They are kept, since without them a rejected CA would be
    trusted.
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
    """Let OpenSSL read a certificate with its settings; skip it if OpenSSL cannot."""
    try:
        return Roots([LabelledMaterial("a trusted certificate", _encode(data).encode())]).certificates
    except ConfigError:
        return ()


def to_pem(certificates: Iterable[bytes]) -> tuple[str, ...]:
    """Return certificates in DER, with or without OpenSSL's settings, as PEM without duplicates."""
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
