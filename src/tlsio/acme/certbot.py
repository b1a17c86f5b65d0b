"""Takes over what certbot keeps: accounts, certificates, and how they are renewed.

The tree is read and never changed: certbot can go on with it until it is removed.
"""

from __future__ import annotations

import json
import random
import shlex
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tlsio.acme.certbot_tree import read_tree
from tlsio.acme.issuers.acme_issuer import issuer_name
from tlsio.acme.manager.certificate import Certificate
from tlsio.acme.manager.facts import Facts
from tlsio.acme.manager.records import Found, Records
from tlsio.acme.manager.renewal import Life, choose_time
from tlsio.acme.plans.delivery import deliver
from tlsio.acme.plans.plan import Plan, load_plan, normalize, plan_key, store_plan
from tlsio.certs.bundle import read
from tlsio.model.checks import wrong_value
from tlsio.model.errors import TLSError, UsageError
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tlsio.acme.certbot_tree import CertbotAccount, CertbotTree, Renewal
    from tlsio.acme.storage.storage import Storage

__all__ = ["Taken", "import_tree"]

_HTTP = 80
_CURVES = {"secp256r1": "p256", "secp384r1": "p384"}
_OWN = {"standalone", "webroot"}


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a certificate or an account.

    Attributes:
        kind: "account" or "certificate".
        name: The directory of the authority, or the certificate's first name.
        is_taken: Whether it is in the storage now.
        is_renewed: Whether `tlsio acme renew` will renew it; False for an account.
        notes: What is not as it was, and what to do, in sentences.
    """

    kind: str
    name: str
    is_taken: bool
    is_renewed: bool
    notes: tuple[str, ...]


async def import_tree(
    folder: Path, storage: Storage, *, files: Path | None = None, server_ca: Path | None = None
) -> tuple[list[Taken], tuple[str, ...]]:
    """Take over accounts, certificates and plans that the storage does not have.

    What cannot be taken over is noted. A certificate of the storage that is valid longer stays, and
    so do its plans and its accounts: a second import changes nothing.

    Args:
        folder: Of certbot, such as /etc/letsencrypt.
        storage: What takes them.
        files: A folder where `<name>/fullchain.pem` and `<name>/privkey.pem` are written, now and
            after each renewal.
        server_ca: Roots of the authorities' own servers, for plans.

    Returns:
        What became of each; and what could not be read.

    Raises:
        OSError: a folder cannot be read, or files cannot be written.
        ConfigError: `folder` is not one of certbot.
        StoreError: the storage cannot be written.
    """
    tree = read_tree(folder)
    await storage.check()
    taken = []
    for server, accounts in _accounts_by_server(tree).items():
        try:
            taken.append(await _take_account(server, accounts, storage))
        except UsageError as error:  # the name of a folder, or a renewal file
            reasons = (f"It cannot be used: {error.message}",)
            taken.append(Taken("account", server, is_taken=False, is_renewed=False, notes=reasons))
    for renewal in tree.renewals:
        try:
            found, plan, notes = _read_certificate(renewal, tree, files, server_ca)
        except (TLSError, OSError) as error:
            notes = (f"It cannot be used: {error.message if isinstance(error, TLSError) else f'{error.filename}: {error.strerror}'}",)
            taken.append(Taken("certificate", renewal.name, is_taken=False, is_renewed=False, notes=notes))
        else:
            taken.append(await _take_certificate(found, plan, notes, storage))
    return taken, tree.notes


def _accounts_by_server(tree: CertbotTree) -> dict[str, list[CertbotAccount]]:
    """Return the accounts of each authority, the one that most renewals use first."""
    uses = Counter(renewal.get("account") for renewal in tree.renewals)
    servers = {place_of(server): server for renewal in tree.renewals if (server := renewal.get("server"))}
    found: dict[str, list[CertbotAccount]] = {}
    for account in sorted(tree.accounts, key=lambda one: -uses[one.id]):
        found.setdefault(servers.get(account.place, f"https://{account.place}"), []).append(account)
    return found


def place_of(server: str) -> str:
    """Return the folder below `accounts` for a directory, as certbot makes it."""
    return server.partition("://")[2].rstrip("/")


async def _take_account(server: str, accounts: list[CertbotAccount], storage: Storage) -> Taken:
    account, *others = accounts
    notes = [f"{len(others)} other accounts at this authority are not taken over: the storage keeps one."] if others else []
    folder = f"accounts/{issuer_name(server)}"
    is_taken = True
    async with storage.lock(f"account-{issuer_name(server)}") as lock:
        there = await storage.load(f"{folder}/key.pem")
        if there is None:
            facts = {"url": account.url, "contact": account.contact}
            await storage.store(f"{folder}/key.pem", account.key, lock=lock)
            await storage.store(f"{folder}/account.json", json.dumps(facts, indent=2).encode() + b"\n", lock=lock)
        elif there != account.key:
            is_taken = False
            notes.append("The storage has another account at this authority, which is kept.")
    return Taken("account", server, is_taken, is_renewed=False, notes=tuple(notes))


def _read_certificate(
    renewal: Renewal, tree: CertbotTree, files: Path | None, server_ca: Path | None
) -> tuple[Certificate, Plan, tuple[str, ...]]:
    found = Certificate.read(read(renewal.chain, renewal.key).to_pem(key=True), issuer_name(renewal.get("server") or ""))
    plan, notes = _plan_of(renewal, tree, _names_of(found), files)
    return found, plan if server_ca is None else replace(plan, server_ca=str(server_ca)), notes


async def _take_certificate(found: Certificate, plan: Plan, notes: tuple[str, ...], storage: Storage) -> Taken:
    records = Records(storage, [found.issuer])
    async with records.lock(plan.names) as lock:
        there = await records.load_best(plan.names, datetime.now(UTC))
        if there is None or there.certificate.not_after < found.not_after:
            chosen = choose_time(Life(found.not_before, found.not_after), random.SystemRandom())
            facts = Facts(found.fingerprint, obtained_at=found.not_before, chosen=chosen, profile=plan.profile)
            await records.save(plan.names, Found(found, facts), lock)
        elif there.certificate.leaf != found.leaf:
            found, notes = there.certificate, (*notes, "The storage has one that is valid as long, which is kept.")
        kept = await load_plan(storage, plan.name)
        if kept is None:
            await store_plan(storage, plan)
            await deliver(plan, found)
        elif kept != plan:
            plan, notes = (
                kept,
                (f"The storage has another plan for these names, which is kept. Remove {plan_key(plan.name)} to take this one.",),
            )
    return Taken("certificate", plan.name, is_taken=True, is_renewed=plan.is_renewed, notes=notes)


def _names_of(certificate: Certificate) -> tuple[str, ...]:
    """Return its names in their order: the first one names the plan."""
    found = parse(certificate.leaf).general_names
    return normalize([name.text for name in found if name.kind in {"DNS", "IP Address"}])


def _plan_of(renewal: Renewal, tree: CertbotTree, names: tuple[str, ...], files: Path | None) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan that does what a renewal file says, and notes about what it does not do.

    Raises:
        UsageError: a value of the file cannot be used.
    """
    account = next((one for one in tree.accounts if one.id == renewal.get("account")), None)
    notes = [*_challenge_notes(renewal), *_setting_notes(renewal)]
    is_own = renewal.get("authenticator") in _OWN
    is_webroot = renewal.get("authenticator") == "webroot"
    folder = None if files is None else files / renewal.name
    plan = Plan(
        names=names,
        server=renewal.get("server") or "",
        contact=account.contact if account else (),
        profile=renewal.get("required_profile") or renewal.get("preferred_profile"),
        key_type=_key_type(renewal),
        preferred_chain=renewal.get("preferred_chain"),
        webroots=_webroots(renewal, names) if is_webroot else {},
        address=renewal.get("http01_address") if is_own else None,
        http_port=_port(renewal) if is_own and not is_webroot else None,
        cert=None if folder is None else str(folder / "fullchain.pem"),
        key=None if folder is None else str(folder / "privkey.pem"),
        pre_hooks=_hooks(renewal, tree, "pre_hook", "pre"),
        post_hooks=_hooks(renewal, tree, "post_hook", "post"),
        deploy_hooks=_hooks(renewal, tree, "renew_hook", "deploy"),
        is_renewed=is_own and renewal.get("autorenew") != "False",
    )
    if folder is None and plan.deploy_hooks:
        notes.append("Its deploy hooks run without files: give --files, and RENEWED_LINEAGE is the folder there.")
    return plan, tuple(notes)


def _challenge_notes(renewal: Renewal) -> Iterable[str]:
    kind = renewal.get("authenticator") or "none"
    again = "It is not renewed until you obtain it again by `tlsio acme obtain`"
    if kind in {"nginx", "apache"}:
        yield f"certbot's plugin {kind} changed the configuration of the web server for each validation. {again} with --webroot."
    elif kind == "manual":
        yield f"Programs for certbot's plugin manual get other variables than those of tlsio. {again} with --dns hook or --webroot."
    elif kind.startswith("dns-"):
        yield f"The settings of certbot's plugin {kind} are not taken over. {again} with --dns."
    elif kind not in _OWN:
        yield f"There is nothing like certbot's plugin {kind} here. {again}."
    if renewal.get("autorenew") == "False":
        yield "certbot was told not to renew it, and tlsio does not either."


def _setting_notes(renewal: Renewal) -> Iterable[str]:
    if renewal.get("reuse_key") == "True":
        yield "Each new certificate gets a new key, which certbot was told not to do: change pins and TLSA records of the key."
    if renewal.get("must_staple") == "True":
        yield "The next certificate will not ask for stapled OCSP responses (must-staple), which the public authorities have given up."
    if renewal.get("key_type") != "rsa" and renewal.get("elliptic_curve") not in {None, *_CURVES}:
        yield f"The next key is on P-256, not on {renewal.get('elliptic_curve')}."
    installer = renewal.get("installer")
    if installer is not None:
        yield f"certbot's plugin {installer} reloaded the web server after a renewal: give a --deploy-hook for that."


def _port(renewal: Renewal) -> int:
    text = renewal.get("http01_port") or str(_HTTP)
    if not text.isdecimal():
        raise wrong_value("http01_port", f"must be a port, got {text!r:.40}")
    return int(text)


def _key_type(renewal: Renewal) -> str:
    if renewal.get("key_type") == "rsa":
        return f"rsa{renewal.get('rsa_key_size') or 2048}"
    return _CURVES.get(renewal.get("elliptic_curve") or "", "p256")


def _webroots(renewal: Renewal, names: tuple[str, ...]) -> dict[str, str]:
    """Return the folder of each name; `webroot_path` is what names without one of their own get."""
    mapped = {normalize([name])[0]: folder for name, folder in renewal.webroots.items()}
    paths = renewal.settings.get("webroot_path", [])
    usual = paths[-1] if paths else next(iter(mapped.values()), None)
    return {name: folder for name in names if (folder := mapped.get(name, usual)) is not None}


def _hooks(renewal: Renewal, tree: CertbotTree, setting: str, kind: str) -> tuple[str, ...]:
    own = renewal.get(setting)
    return (*([own] if own else ()), *(shlex.quote(str(one)) for one in tree.hooks[kind]))
