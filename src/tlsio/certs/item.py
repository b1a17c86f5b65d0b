"""What `inspect` returns: plain data, the same for people and for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Finding", "Item", "Level", "Value"]

Value: TypeAlias = "str | int | bool | datetime | Sequence[Value] | Mapping[str, Value] | None"
Level: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or will be.

    Attributes:
        code: Stable, for programs: `expired`, `weak_key`, ...
        level: `error`: clients refuse it. `warning`: some do, or will. `note`: worth knowing.
        text: What was found, a sentence without its full stop.
        remedy: What to do, a sentence.
        when: The instant from which on it breaks; None if it does now, or at no known time.
    """

    code: str
    level: Level
    text: str
    remedy: str
    when: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"code": self.code, "level": self.level, "text": self.text, "remedy": self.remedy, "when": _to_json(self.when)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object of a file: a certificate, a key, a CRL, ...

    Attributes:
        kind: What it is: `certificate`, `request`, `crl`, `private key`, `public key`, `PKCS#12`,
            `PKCS#7`, `OCSP response`, `session` or `Diffie-Hellman parameters`.
        title: Its name in one line.
        facts: What it says, by names in snake_case. Instants are aware and in UTC. No secrets.
        findings: What is wrong, or will be.
        items: What it contains.
    """

    kind: str
    title: str
    facts: Mapping[str, Value]
    findings: tuple[Finding, ...] = ()
    items: tuple[Item, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as values for `json.dumps`; instants as text of ISO 8601."""
        return {
            "kind": self.kind,
            "title": self.title,
            **{name: _to_json(value) for name, value in self.facts.items()},
            "findings": [finding.as_json() for finding in self.findings],
            **({"items": [item.as_json() for item in self.items]} if self.items else {}),
        }

    def lines(self) -> list[str]:
        """Return everything as lines of text for people, without control characters."""
        found = [f"{self.kind}: {printable(self.title)}"]
        found += [f"  {line}" for name, value in self.facts.items() for line in _print(name.replace("_", " "), value)]
        for finding in self.findings:
            found += [f"  {finding.level}: {printable(finding.text)}.", f"    {printable(finding.remedy)}"]
        found += [f"  {line}" for item in self.items for line in item.lines()]
        return found


def _to_json(value: Value) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {name: _to_json(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_json(one) for one in value]
    return value


def _print(name: str, value: Value) -> Iterator[str]:
    if value is None or value in ((), [], {}):
        return
    if isinstance(value, Mapping):
        yield f"{name}:"
        yield from (f"  {line}" for key, one in value.items() for line in _print(key.replace("_", " "), one))
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value):
        for one in value:
            yield from _print(name, one)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield f"{name}: {', '.join(_print_one(one) for one in value)}"
    else:
        yield f"{name}: {_print_one(value)}"


def _print_one(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return printable(str(value))
