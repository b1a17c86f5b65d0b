"""Reads what certbot keeps in /etc/letsencrypt, and changes nothing there.

    accounts/<host>/<path>/<id>/   private_key.json (a JWK), regr.json (the account's URL)
    live/<name>/                   links into archive/<name>/: fullchain.pem, privkey.pem
    renewal/<name>.conf            how it is renewed, in the format of configobj
    renewal-hooks/{pre,deploy,post}/   programs that are run for every certificate

Paths within the tree are taken relative to it, so that a copy can be read too.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CertbotAccount", "CertbotTree", "Renewal", "read_tree"]

_MAX_BYTES = 1024 * 1024  # of one file; certbot's have a few kilobytes
_MAX_DEPTH = 4  # of sections in a file of configobj; certbot's have two
_HOOKS = ("pre", "deploy", "post")
# RFC 7518 §6.2.1.1; what ACME authorities accept (RFC 8555 §6.2, Let's Encrypt).
_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}
_SECTION = re.compile(r"(\[+)\s*(.+?)\s*(\]+)\s*(?:#.*)?")
_QUOTED = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,#"']*))\s*(,|#.*|$)""")
_TRIPLE = re.compile(r"""\s*(\"{3}|'{3})(.*)\1\s*(?:#.*)?""")


@dataclass(frozen=True, slots=True)
class CertbotAccount:
    """An account at an authority.

    Attributes:
        id: What renewal files call it.
        place: The directory of the authority without `https://`.
        url: The account's URL.
        contact: As `mailto:ada@example.com`.
        key: Its private key, PKCS#8 in PEM.
    """

    id: str
    place: str
    url: str
    contact: tuple[str, ...]
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """One certificate and its renewal file.

    Attributes:
        name: What certbot calls it.
        chain: The file of the chain.
        key: The file of the private key.
        settings: The values of the section `renewalparams`.
        webroots: Folders by name: the section `webroot_map`.
    """

    name: str
    chain: Path
    key: Path
    settings: dict[str, list[str]]
    webroots: dict[str, str]

    def get(self, name: str) -> str | None:
        """Return a value as one text; None: it is not set."""
        return ",".join(self.settings.get(name, ())) or None


@dataclass(frozen=True, slots=True)
class CertbotTree:
    """What was found.

    Attributes:
        accounts: Those whose key can be used.
        renewals: The certificates.
        hooks: The programs of `renewal-hooks`, by kind: "pre", "deploy", "post".
        notes: What could not be read, in sentences.
    """

    accounts: tuple[CertbotAccount, ...]
    renewals: tuple[Renewal, ...]
    hooks: dict[str, tuple[Path, ...]]
    notes: tuple[str, ...]


def read_tree(folder: Path) -> CertbotTree:
    """Read a tree of certbot.

    What is damaged is left out and noted, so that the rest can be taken over.

    Raises:
        OSError: the folder cannot be read.
        ConfigError: it is not a tree of certbot (`ERR_ACME_CERTBOT`).
    """
    if not {one.name for one in folder.iterdir()} & {"renewal", "accounts"}:
        hint = "It is the folder with accounts, live and renewal: usually /etc/letsencrypt."
        raise ConfigError(f"{folder} is not a folder of certbot", code="ERR_ACME_CERTBOT", hint=hint)
    notes: list[str] = []
    accounts = tuple(_read_accounts(folder / "accounts", notes))
    renewals = tuple(_read_renewals(folder, notes))
    hooks = {kind: tuple(_programs(folder / "renewal-hooks" / kind)) for kind in _HOOKS}
    return CertbotTree(accounts, renewals, hooks, tuple(notes))


def _read_accounts(folder: Path, notes: list[str]) -> Iterator[CertbotAccount]:
    # Not Path.glob: certbot makes the folder of a server that has moved a link.
    failures: list[OSError] = []
    for place, names, files in os.walk(folder, followlinks=True, onerror=failures.append):
        names.sort()
        if len(Path(place).relative_to(folder).parts) > 2 * _MAX_DEPTH:  # a circle of links
            names.clear()
        if "private_key.json" in files:
            try:
                yield _read_account(Path(place), folder)
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                notes.append(f"The account in {place} cannot be used: {_describe(error)}")
    notes += [f"Accounts cannot be read: {_describe(error)}" for error in failures if not isinstance(error, FileNotFoundError)]


def _read_account(place: Path, folder: Path) -> CertbotAccount:
    registration = json.loads(_read(place / "regr.json"))
    contact = registration.get("body", {}).get("contact") or ()
    if not isinstance(registration["uri"], str) or not all(isinstance(one, str) for one in contact):
        raise TypeError("regr.json is not a registration")
    key = _read_jwk(json.loads(_read(place / "private_key.json")))
    return CertbotAccount(place.name, place.relative_to(folder).parent.as_posix(), registration["uri"], tuple(contact), key)


def _read_jwk(jwk: dict[str, Any]) -> bytes:
    """Return the private key of a JWK (RFC 7518 §6) as PKCS#8.

    Raises:
        ValueError: its numbers make no key, or a key of another kind.
        KeyError, TypeError: it is not a JWK.
    """
    if jwk["kty"] == "RSA":
        n, e, d, p, q, dp, dq, qi = (_number(jwk[name]) for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))
        key: Any = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()
    elif jwk["kty"] == "EC" and jwk["crv"] in _CURVES:
        public = ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), _CURVES[jwk["crv"]]())
        key = ec.EllipticCurvePrivateNumbers(_number(jwk["d"]), public).private_key()
    else:
        raise ValueError("its key is neither RSA nor EC P-256 or P-384")
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def _read_renewals(folder: Path, notes: list[str]) -> Iterator[Renewal]:
    for path in sorted((folder / "renewal").glob("*.conf")):
        try:
            yield _read_renewal(path, folder)
        except (OSError, ValueError, KeyError) as error:
            notes.append(f"{path} cannot be used: {_describe(error)}")


def _read_renewal(path: Path, folder: Path) -> Renewal:
    top = _read_configobj(_read(path).decode())
    settings = top.get("renewalparams")
    if not isinstance(settings, dict) or not settings.get("server"):
        raise ValueError("it does not say which authority has issued the certificate")
    chain, key = (_file_of(folder, path.stem, name, top) for name in ("fullchain", "privkey"))
    webroots = settings.pop("webroot_map", {})
    plain = {name: value for name, value in settings.items() if isinstance(value, list)}
    folders = (
        {name: value[0] for name, value in webroots.items() if isinstance(value, list) and value} if isinstance(webroots, dict) else {}
    )
    return Renewal(path.stem, chain, key, plain, folders)


def _file_of(folder: Path, name: str, kind: str, top: dict[str, Any]) -> Path:
    """Return the place of a file: in `live` of this tree, or where the renewal file says.

    Raises:
        ValueError: there is none.
    """
    here = folder / "live" / name / f"{kind}.pem"
    said = top.get(kind)
    found = here if here.exists() or not isinstance(said, list) else Path(*said[:1])
    if not found.is_file():
        raise ValueError(f"there is no {here}")
    return found


def _programs(folder: Path) -> Iterator[Path]:
    """Yield the programs that certbot runs: not what editors left (`~`)."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.is_file() and os.access(path, os.X_OK) and not path.name.endswith("~"):
                yield path.absolute()


def _read_configobj(text: str) -> dict[str, Any]:
    """Return sections as dicts, and each value as a list of texts.

    Raises:
        ValueError: a line is neither a section nor a value.
    """
    top: dict[str, Any] = {}
    sections = [top]
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if found := _SECTION.fullmatch(stripped):
            depth = len(found[1])
            if depth != len(found[3]) or depth > min(len(sections), _MAX_DEPTH):
                raise ValueError(f"line {number} is not a section")
            del sections[depth:]
            inner = sections[-1].setdefault(found[2].strip("\"'"), {})
            if not isinstance(inner, dict):
                raise ValueError(f"line {number} is not a section, but a setting above")
            sections.append(inner)
            continue
        name, sign, value = stripped.partition("=")
        if not sign or not isinstance(sections[-1], dict):
            raise ValueError(f"line {number} is not a setting")
        sections[-1][name.strip().strip("\"'")] = _read_values(value)
    return top


def _read_values(text: str) -> list[str]:
    """Return the parts between commas, without quotes and comments; `None` is no value."""
    if triple := _TRIPLE.fullmatch(text):  # a text with quotes of both kinds
        return [triple[2]]
    found: list[str] = []
    place = 0
    while place < len(text):
        part = _QUOTED.match(text, place)
        if part is None:  # a quote within a text: as it stands
            found.append(text[place:].strip())
            break
        value = next((one for one in part.groups()[:2] if one is not None), (part[3] or "").strip())
        if value or part[1] is not None or part[2] is not None:
            found.append(value)
        if part[4] != ",":
            break
        place = part.end()
    return [] if found == ["None"] else found


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{path.name} has more than {_MAX_BYTES} bytes")
    return data


def _number(text: str) -> int:
    """Return the number of a field of a JWK (RFC 7518 §2, Base64urlUInt)."""
    return int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _describe(error: Exception) -> str:
    """Return what is wrong, without a value that may be a key."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError | AttributeError):
        return "a file is damaged"
    return str(error)
