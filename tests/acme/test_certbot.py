"""Taking over a folder of certbot: what is in the storage then, and what is said about the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certbot_peer import contents, copied
from tlsio.acme.certbot import import_tree
from tlsio.acme.client.account_key import AccountKey
from tlsio.acme.issuers.acme_issuer import ACMEIssuer, issuer_name
from tlsio.acme.plans.plan import load_plan
from tlsio.acme.storage.file_storage import FileStorage
from tlsio.acme.storage.memory_storage import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

    from certbot_peer import Certbot

pytestmark = pytest.mark.slow  # certbot takes seconds to start


async def test_a_tree_is_taken_over_and_not_changed(certbot: Certbot, tmp_path: Path) -> None:
    """Account, certificates and plans; a second import changes nothing."""
    before = contents(certbot.tree)
    storage = FileStorage(tmp_path / "storage")
    taken, notes = await import_tree(certbot.tree, storage, files=tmp_path / "files")
    assert not notes
    assert [(one.kind, one.name, one.is_taken, one.is_renewed) for one in taken] == [
        ("account", certbot.authority.directory_url, True, False),
        ("certificate", "own.example.test", True, True),
        ("certificate", "web.example.test", True, True),
    ]
    after = contents(tmp_path)
    assert (await import_tree(certbot.tree, storage, files=tmp_path / "files"))[0] == taken
    assert contents(tmp_path) == after
    assert contents(certbot.tree) == before


async def test_the_plan_does_what_certbot_did(certbot: Certbot, tmp_path: Path) -> None:
    """Names, kind of validation, port, key, profile and hooks."""
    storage = MemoryStorage()
    await import_tree(certbot.tree, storage, files=tmp_path)
    own, web = await load_plan(storage, "own.example.test"), await load_plan(storage, "web.example.test")
    assert own is not None
    assert web is not None
    assert own.names == ("own.example.test", "www.own.example.test")
    assert (own.http_port, own.webroots, own.key_type) == (certbot.authority.http_port, {}, "p256")
    assert own.deploy_hooks == ('test -f "$RENEWED_LINEAGE/fullchain.pem" && echo "renewed, $RENEWED_DOMAINS"',)
    assert own.cert == str(tmp_path / "own.example.test" / "fullchain.pem")
    assert (tmp_path / "own.example.test" / "fullchain.pem").read_bytes() == (
        certbot.tree / "live" / "own.example.test" / "fullchain.pem"
    ).read_bytes()
    assert (web.http_port, web.webroots) == (None, {"web.example.test": str(certbot.webroot)})
    assert (web.key_type, web.profile) == ("rsa2048", "shortlived")


async def test_the_account_is_the_same_to_the_authority(certbot: Certbot) -> None:
    """So a renewal is not limited as a new certificate; the key is RSA, certbot's default."""
    storage = MemoryStorage()
    await import_tree(certbot.tree, storage)
    issuer = ACMEIssuer(certbot.authority.directory_url, storage, [], ca=certbot.authority.ca)
    [registration] = certbot.tree.glob("accounts/*/*/*/regr.json")
    assert (await issuer.account()).url == json.loads(registration.read_bytes())["uri"]
    async with issuer.client:
        account = await issuer.account()
        assert (await issuer.client.find_account(account.key)).url == account.url


async def test_what_the_storage_has_is_kept(certbot: Certbot, tmp_path: Path) -> None:
    """Another account, and another plan; both are said."""
    storage = MemoryStorage()
    place = f"accounts/{issuer_name(certbot.authority.directory_url)}/key.pem"
    await storage.store(place, AccountKey.generate().pem)
    await import_tree(certbot.tree, storage)
    before = await storage.load(place), await load_plan(storage, "own.example.test")
    taken, _ = await import_tree(certbot.tree, storage, files=tmp_path / "files")
    assert taken[0].notes == ("The storage has another account at this authority, which is kept.",)
    assert taken[1].notes == (
        f"The storage has another plan for these names, which is kept. Remove plans/{taken[1].name}.json to take this one.",
    )
    assert (await storage.load(place), await load_plan(storage, "own.example.test")) == before
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("authenticator = standalone", "authenticator = nginx", "plugin nginx changed the configuration"),
        ("authenticator = standalone", "authenticator = manual", "with --dns hook or --webroot"),
        ("authenticator = standalone", "authenticator = dns-route53", "plugin dns-route53 are not taken over"),
        ("authenticator = standalone", "authenticator = magic", "nothing like certbot's plugin magic"),
        ("authenticator = standalone", "authenticator = standalone\nautorenew = False", "told not to renew it"),
    ],
    ids=["nginx", "manual", "dns", "unknown", "switched off"],
)
async def test_what_tlsio_does_not_do_is_not_renewed(certbot: Certbot, tmp_path: Path, old: str, new: str, note: str) -> None:
    """The certificate itself is taken over."""
    copy = copied(certbot, tmp_path / "copy")
    conf = copy.tree / "renewal" / "own.example.test.conf"
    conf.write_text(conf.read_text().replace(old, new))
    storage = MemoryStorage()
    taken, _ = await import_tree(copy.tree, storage)
    assert (taken[1].is_taken, taken[1].is_renewed) == (True, False)
    assert note in " ".join(taken[1].notes)
    plan = await load_plan(storage, "own.example.test")
    assert plan is not None
    assert not plan.is_renewed


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("reuse_key = True", "Each new certificate gets a new key"),
        ("must_staple = True", "must-staple"),
        ("elliptic_curve = secp521r1", "The next key is on P-256, not on secp521r1"),
        ("installer = nginx", "--deploy-hook"),
    ],
)
async def test_what_will_be_different_is_said(certbot: Certbot, tmp_path: Path, line: str, note: str) -> None:
    """It is renewed all the same."""
    copy = copied(certbot, tmp_path / "copy")
    conf = copy.tree / "renewal" / "own.example.test.conf"
    conf.write_text(f"{conf.read_text()}{line}\n")
    taken, _ = await import_tree(copy.tree, MemoryStorage())
    assert taken[1].is_renewed
    assert note in " ".join(taken[1].notes)


async def test_a_key_of_another_certificate_is_left_out(certbot: Certbot, tmp_path: Path) -> None:
    """And nothing of it reaches the storage."""
    copy = copied(certbot, tmp_path / "copy")
    (copy.tree / "archive" / "own.example.test" / "privkey1.pem").write_bytes(
        (copy.tree / "live/web.example.test/privkey.pem").read_bytes()
    )
    storage = MemoryStorage()
    taken, _ = await import_tree(copy.tree, storage)
    assert (taken[1].is_taken, taken[1].name) == (False, "own.example.test")
    assert await storage.list("plans") == ["plans/web.example.test.json"]


async def test_programs_of_all_hooks_are_taken_over(certbot: Certbot, tmp_path: Path) -> None:
    """After the hook of the certificate itself; files that are not programs are left out."""
    copy = copied(certbot, tmp_path / "with space")
    for kind, name, mode in (("deploy", "reload", 0o755), ("deploy", "old~", 0o755), ("deploy", "README", 0o644), ("pre", "stop", 0o755)):
        path = copy.tree / "renewal-hooks" / kind / name
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    storage = MemoryStorage()
    await import_tree(copy.tree, storage)
    plan = await load_plan(storage, "web.example.test")
    assert plan is not None
    assert plan.deploy_hooks == (f"'{copy.tree}/renewal-hooks/deploy/reload'",)
    assert plan.pre_hooks == (f"'{copy.tree}/renewal-hooks/pre/stop'",)


async def test_private_keys_are_readable_by_their_owner_alone(certbot: Certbot, tmp_path: Path) -> None:
    """In the storage and in the files."""
    await import_tree(certbot.tree, FileStorage(tmp_path / "storage"), files=tmp_path / "files")
    issuer = issuer_name(certbot.authority.directory_url)
    for path in (tmp_path / "storage" / "accounts" / issuer / "key.pem", tmp_path / "files" / "own.example.test" / "privkey.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert load_pem_private_key(path.read_bytes(), None)
