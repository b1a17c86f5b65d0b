"""The default roots: what a context without `ca=` trusts, and calls to read or replace them."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Literal, TypeAlias

from tlsio.connection.context.files import read_file
from tlsio.model.checks import check_choice, wrong_type
from tlsio.model.environment import read_variable
from tlsio.model.material import parse_authorities
from tlsio.native._core import Roots, default_cert_directory, default_cert_file
from tlsio.native.context_spec import LabelledMaterial
from tlsio.trust import roots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography.x509 import Certificate

    from tlsio.model.material import Content

__all__ = ["are_default_roots_chosen", "default_roots", "describe_roots", "get_ca_certificates", "set_default_ca_certificates"]

_VARIABLES = ("TLSIO_USE_SYSTEM_CA", "TLSIO_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})

_Kind: TypeAlias = Literal["default", "system", "bundled", "extra"]


class _DefaultRoots:
    """The value of `set_default_ca_certificates`, the only state here that calls change.

    None: the roots the process started with.
    """

    __slots__ = ("chosen",)

    def __init__(self) -> None:
        self.chosen: tuple[str, ...] | None = None


_default = _DefaultRoots()


def get_ca_certificates(type: _Kind = "default") -> tuple[str, ...]:  # noqa: A002 - Node's name
    """Return root certificates in PEM, the same object each time.

    (Node: `tls.getCACertificates`.)

    Args:
        type: `"default"`: what a context without `ca=` trusts. `"bundled"`: Mozilla's, from
            `certifi`; also `tlsio.root_certificates`. `"system"`: the machine's, from
            `SSL_CERT_FILE` and `SSL_CERT_DIR` if these are set. `"extra"`: those of the file that
            `TLSIO_EXTRA_CA_CERTS` names.

    Raises:
        UsageError: `type` is none of these.
    """
    return _SOURCES[check_choice("type", type, tuple(_SOURCES))]()


def set_default_ca_certificates(certs: Sequence[Content | Certificate]) -> None:
    """Replace the default roots for contexts made from now on.

    (Node: `tls.setDefaultCACertificates`.) The roots that the environment adds are replaced too.
    Duplicates are dropped. After an error the old roots stay in use.

    Args:
        certs: As the elements of the option `ca=`; with `[]` no peer is trusted.

    Raises:
        UsageError: not a list, or an element that is not a certificate; the message names it,
            `certs[2]`.
        ConfigError: a certificate that cannot be read.
        OSError: a file that cannot be read.
    """
    if not isinstance(certs, list | tuple):
        raise wrong_type("certs", "a list of certificates", certs)
    materials = parse_authorities("certs", certs)
    labels = [f"certs[{index}]" for index in range(len(materials))]
    pieces = [LabelledMaterial(label, read_file(label, material).data) for label, material in zip(labels, materials, strict=True)]
    _default.chosen = roots.to_pem(Roots(pieces).certificates)


def default_roots() -> tuple[str, ...]:
    """Return the roots of a context without `ca=`, in PEM."""
    return _initial_roots() if _default.chosen is None else _default.chosen


def are_default_roots_chosen() -> bool:
    """Return whether `set_default_ca_certificates` has replaced the public ones."""
    return _default.chosen is not None


@functools.cache
def _initial_roots() -> tuple[str, ...]:
    """Return the bundled roots and those that the environment adds (system, extra); read once."""
    system = _system() if _uses_system() else ()
    added = (*system, *roots.extra())
    return tuple(dict.fromkeys((*roots.bundled(), *added))) if added else roots.bundled()


def describe_roots(*, is_replaced: bool) -> str:
    """Say which roots the environment adds, and which of its variables have no effect.

    For the hint of an error about an unknown CA.

    Args:
        is_replaced: `ca=` was given, so that no default root is trusted.
    """
    given = [f"{name}={value}" for name in _VARIABLES if (value := read_variable(name))]
    if is_replaced or _default.chosen is not None:
        what = "ca= replaces" if is_replaced else "set_default_ca_certificates() has replaced"
        return f"{what} the default roots and those of {', '.join(given)}." if given else ""
    used = ["Mozilla's", *(["the system's"] if _uses_system() else []), *(["those of TLSIO_EXTRA_CA_CERTS"] if roots.extra() else [])]
    return f"The default roots in use are {' and '.join(used)}. {_describe_variables(given)}"


def _describe_variables(given: Sequence[str]) -> str:
    is_set = f"; set: {', '.join(given)}" if given else "; none of them is set"
    return (
        "TLSIO_USE_SYSTEM_CA=1 adds the system's roots (only with it, SSL_CERT_FILE and SSL_CERT_DIR count), "
        f"TLSIO_EXTRA_CA_CERTS=FILE those of a file{is_set}."
    )


def _uses_system() -> bool:
    value = (read_variable("TLSIO_USE_SYSTEM_CA") or "").strip().lower()
    if value not in _ON | _OFF:
        warnings.warn(f"TLSIO_USE_SYSTEM_CA is ignored: it must be 1 or 0, got {value!r:.40}", stacklevel=2)
    return value in _ON


def _system() -> tuple[str, ...]:
    return roots.system(default_cert_file(), default_cert_directory())


_SOURCES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "default": default_roots,
    "system": _system,
    "bundled": roots.bundled,
    "extra": roots.extra,
}
