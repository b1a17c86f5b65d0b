"""A plan: how one certificate is obtained, renewed and delivered, as `tlsio acme` keeps it.

Plans are JSON, `plans/<name>.json` of a storage, which a person can read and edit.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from cryptography import x509

from tlsio.acme.manager.names import NAME_HINT
from tlsio.acme.plans.dns_kinds import DNS_KINDS
from tlsio.acme.storage.keys import key_segment
from tlsio.certs.keys import check_kind
from tlsio.certs.names import describe_name, parse_names
from tlsio.interop.http_request import parse_url
from tlsio.model.checks import check_bool, check_choice, check_filled_text, check_host, check_port, wrong_value
from tlsio.model.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlsio.acme.storage.storage import Storage

__all__ = ["Plan", "load_plan", "load_plans", "normalize", "plan_key", "store_plan"]

_FOLDER = "plans"
# Let's Encrypt's limit for a certificate; in some profiles it is 25.
_MAX_NAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One certificate that is kept.

    Attributes:
        names: Its names as A-labels, and addresses; the first one names the plan.
        server: The directory of the authority.
        server_ca: A file with the root of the authority's own HTTPS server; None: the usual ones.
        contact: Addresses for the authority, such as `mailto:ada@example.com`.
        profile: What the authority is asked for; None: its default.
        key_type: `"p256"` and so on: the key of each new certificate.
        preferred_chain: The common name of the root to choose, if there are several chains.
        webroots: The folders where a web server finds the answers of http-01, by name.
        address: Where to listen for validations; None: everywhere.
        http_port: The port of http-01 (RFC 8555 §8.3: 80 from outside); None: not that one.
        tls_port: The port of tls-alpn-01 (RFC 8737 §3: 443 from outside); None: not that one.
        dns: The kind of provider for dns-01: "rfc2136", "hook", "lexicon"; None: not that one.
        dns_settings: The file with its settings, TOML.
        cert: The file that gets the chain; None: the storage alone.
        key: The file that gets its private key.
        pre_hooks: Command lines for the shell, before an order.
        post_hooks: After an order, whether it went well or not.
        deploy_hooks: After a new certificate is in place.
        is_renewed: Whether `tlsio acme renew` renews it.
    """

    names: tuple[str, ...]
    server: str
    server_ca: str | None = None
    contact: tuple[str, ...] = ()
    profile: str | None = None
    key_type: str = "p256"
    preferred_chain: str | None = None
    webroots: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None
    http_port: int | None = None
    tls_port: int | None = None
    dns: str | None = None
    dns_settings: str | None = None
    cert: str | None = None
    key: str | None = None
    pre_hooks: tuple[str, ...] = ()
    post_hooks: tuple[str, ...] = ()
    deploy_hooks: tuple[str, ...] = ()
    is_renewed: bool = True

    def __post_init__(self) -> None:
        """Check each value.

        Raises:
            UsageError: one has another type, or cannot be used.
        """
        for one in fields(self):
            _check(one.name, str(one.type), getattr(self, one.name))
        object.__setattr__(self, "names", normalize(self.names))
        object.__setattr__(self, "server", parse_url("server", self.server).text)
        check_kind("key_type", self.key_type)
        if self.address is not None:
            check_host("address", self.address)
        if self.dns is not None:
            check_choice("dns", self.dns, DNS_KINDS)
        if self.key is not None and self.cert is None:
            raise wrong_value("key", "must be given together with cert=", hint="They are written together.")

    @property
    def name(self) -> str:
        """What the plan and its certificate are called."""
        return self.names[0]

    def to_json(self) -> bytes:
        """Return it for a storage: what is as usual is left out."""
        usual = {one.name: one.default for one in fields(self)}
        chosen = {name: value for name, value in asdict(self).items() if value not in (usual[name], (), {})}
        return json.dumps(chosen, indent=2, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, label: str) -> Plan:
        """Return the plan of `to_json`.

        Args:
            data: What a storage had.
            label: What messages call it.

        Raises:
            StoreError: it is none (`ERR_ACME_PLAN`).
        """
        hint = "Correct it, or remove it and obtain the certificate again."
        try:
            found: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{label} is not JSON: {error}", code="ERR_ACME_PLAN", hint=hint) from None
        known = {one.name: str(one.type) for one in fields(cls)}
        if not isinstance(found, dict) or not {"names", "server"} <= set(found) <= set(known):
            raise StoreError(f"{label} is not a plan of a certificate", code="ERR_ACME_PLAN", hint=hint)
        lists = {name: tuple(value) for name, value in found.items() if known[name].startswith("tuple") and isinstance(value, list)}
        try:
            return cls(**(found | lists))
        except UsageError as error:
            raise StoreError(f"{label}: {error.message}", code="ERR_ACME_PLAN", hint=error.hint or hint) from None


def plan_key(name: str) -> str:
    """Return where the plan of a certificate is stored."""
    return f"{_FOLDER}/{key_segment(name)}.json"


async def load_plans(storage: Storage, damaged: Callable[[StoreError], object] | None = None) -> list[Plan]:
    """Return all plans, by name.

    Args:
        storage: What has them.
        damaged: Called about each one that cannot be used, which is left out; None: that raises.

    Raises:
        StoreError: the storage cannot be read, or a plan in it is damaged.
    """
    stored = [(key, await storage.load(key)) for key in await storage.list(_FOLDER)]
    found = []
    for key, data in stored:
        try:
            found += [] if data is None else [Plan.from_json(data, key)]
        except StoreError as error:
            if damaged is None:
                raise
            damaged(error)
    return found


async def load_plan(storage: Storage, name: str) -> Plan | None:
    """Return the plan of a certificate by its first name; None: there is none.

    Raises:
        StoreError: the storage cannot be read, or the plan is damaged.
    """
    key = plan_key(name)
    data = await storage.load(key)
    return None if data is None else Plan.from_json(data, key)


async def store_plan(storage: Storage, plan: Plan) -> None:
    """Keep a plan, in place of an older one of that name.

    Raises:
        StoreError: it cannot be written.
    """
    await storage.store(plan_key(plan.name), plan.to_json())


def normalize(names: Sequence[str]) -> tuple[str, ...]:
    """Return names as A-labels in lower case, and addresses, each once.

    Raises:
        UsageError: there is none, or one is not the name of a host.
    """
    parsed = parse_names(names)
    if other := [describe_name(one) for one in parsed if not isinstance(one, x509.DNSName | x509.IPAddress)]:
        raise wrong_value("names", f"must be names of hosts and addresses, got {other[0]!r}", hint=NAME_HINT)
    if not 0 < len(parsed) <= _MAX_NAMES:
        raise wrong_value("names", f"must be 1 to {_MAX_NAMES} names, got {len(parsed)}")
    return tuple(describe_name(one) for one in parsed)


def _check(name: str, kind: str, value: object) -> None:
    """Check a value against its annotation."""
    if value is None and kind.endswith("None"):
        return
    if kind.startswith("bool"):
        check_bool(name, value)
    elif kind.startswith("int"):
        check_port(name, value)
    elif kind.startswith("str"):
        check_filled_text(name, value)
    else:
        container = dict if kind.startswith("Mapping") else tuple
        if not isinstance(value, container):
            raise wrong_value(name, f"must be a {'table' if container is dict else 'list'} of texts, got {value!r:.80}")
        for one in (*value, *(value.values() if isinstance(value, dict) else ())):
            check_filled_text(name, one)
