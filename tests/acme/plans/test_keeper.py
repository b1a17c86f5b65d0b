"""Obtaining and renewing by plans, once: what is ordered, stored, written and run, with Pebble as the authority."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from acme_proxy import AuthorityProxy, Reply
from certbot_peer import copied
from pebble import Pebble
from ports import own_port
from tlsio.acme.certbot import import_tree
from tlsio.acme.issuers.issuer import Limits
from tlsio.acme.manager.duplicates import Duplicates
from tlsio.acme.plans import keeper as keeper_module
from tlsio.acme.plans.keeper import Keeper
from tlsio.acme.plans.plan import Plan, load_plan, load_plans
from tlsio.acme.plans.solvers import solving
from tlsio.acme.plans.survey import survey
from tlsio.acme.storage.memory_storage import MemoryStorage
from tlsio.model.errors import ACMEError, ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from acme_proxy import Request
    from certbot_peer import Certbot
    from tlsio.acme.issuers.acme_issuer import ACMEIssuer
    from tlsio.acme.solvers.solver import Solver

NAME = "kept.example.com"


def make_plan(authority: Pebble, folder: Path, **more: Any) -> Plan:
    """Return a plan for this authority, by its own port of http-01."""
    (folder / "authority.pem").write_bytes(authority.ca)
    given = {"names": (NAME,), "address": "127.0.0.1", "http_port": authority.http_port, "profile": "default"} | more
    return Plan(server=authority.directory_url, server_ca=str(folder / "authority.pem"), **given)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now


@pytest.mark.slow
async def test_a_certificate_is_obtained_once(pebble: Pebble, tmp_path: Path) -> None:
    """The second call finds it, and writes its files again."""
    plan = make_plan(pebble, tmp_path, cert=str(tmp_path / "live" / "chain.pem"), key=str(tmp_path / "live" / "key.pem"))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    first = await keeper.obtain(plan)
    (tmp_path / "live" / "key.pem").unlink()
    second = await keeper.obtain(plan)
    assert (first.state, second.state) == ("obtained", "kept")
    assert first.certificate is not None
    assert second.certificate is not None
    assert first.certificate.leaf == second.certificate.leaf
    assert (tmp_path / "live" / "chain.pem").read_bytes() == first.certificate.chain_pem
    assert (tmp_path / "live" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert await load_plans(keeper.storage) == [plan]


@pytest.mark.slow
async def test_it_is_renewed_when_the_authority_suggests_it(pebble: Pebble, tmp_path: Path) -> None:
    """And not before."""
    plan = make_plan(pebble, tmp_path, names=("suggested.example.com",))
    clock = Clock()
    keeper = Keeper(MemoryStorage(), terms_agreed=True, clock=clock)
    first = (await keeper.obtain(plan)).certificate
    assert first is not None
    assert (await keeper.renew(plan)).state == "kept"
    window = {"start": (clock.now - timedelta(hours=2)).isoformat(), "end": (clock.now - timedelta(hours=1)).isoformat()}
    pebble.set_renewal_info(
        first.chain_pem.partition(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n", {"suggestedWindow": window}
    )
    clock.now += timedelta(days=1)
    assert (await keeper.renew(plan)).state == "obtained"


@pytest.mark.slow
async def test_after_a_failure_a_renewal_waits(pebble: Pebble, tmp_path: Path) -> None:
    """A timer that runs each minute does not hammer the authority; a person may try again at once."""
    plan = make_plan(pebble, tmp_path, names=("fails.example.com",), http_port=0)  # the authority looks elsewhere
    clock = Clock()
    keeper = Keeper(MemoryStorage(), terms_agreed=True, clock=clock)
    with pytest.raises(ACMEError) as caught:
        await keeper.obtain(plan)
    assert caught.value.code == "ERR_ACME_CHALLENGE_FAILED"
    waiting = await keeper.renew(plan)
    assert (waiting.state, waiting.trouble.failures) == ("waiting", 1)
    clock.now += timedelta(minutes=3)
    with pytest.raises(ACMEError):
        await keeper.renew(plan)
    with pytest.raises(ACMEError):
        await keeper.obtain(plan)
    [standing] = await survey(keeper.storage, clock.now)
    assert (standing.names, standing.issuer, standing.trouble.failures) == (plan.names, None, 3)
    assert standing.trouble.code == "ERR_ACME_CHALLENGE_FAILED"
    assert await load_plans(keeper.storage) == []  # it was never obtained


@pytest.mark.slow
async def test_each_failed_order_counts(pebble: Pebble, tmp_path: Path) -> None:
    """One for each type of challenge; within an hour, the sixth is not made."""
    plan = make_plan(pebble, tmp_path, names=("twice.example.com",), http_port=0, tls_port=0)
    keeper = Keeper(MemoryStorage(), terms_agreed=True, clock=Clock())
    counts = []
    for _ in range(3):
        with pytest.raises(ACMEError):
            await keeper.obtain(plan)
        counts.append((await keeper.look(plan)).trouble.failures)
    assert counts == [2, 4, 5]


class Counting(Keeper):
    """A keeper of an authority that issues two certificates for the same names in a week."""

    def issuer(self, plan: Plan, solvers: Sequence[Solver] = ()) -> ACMEIssuer:
        """Return it, with that limit."""
        found = super().issuer(plan, solvers)
        found.limits = Limits(duplicates=2)
        return found


@pytest.mark.slow
async def test_certificates_for_the_same_names_count_as_those_of_a_server(pebble: Pebble, tmp_path: Path) -> None:
    """In one place of the storage. A renewal that names the old certificate does not count."""
    plan, clock = make_plan(pebble, tmp_path, names=("counted.example.com",)), Clock()
    keeper = Counting(MemoryStorage(), terms_agreed=True, clock=clock)
    await keeper.obtain(plan)
    await keeper.renew(plan, is_forced=True)
    issuer = keeper.issuer(plan).name
    assert await Duplicates(keeper.storage, clock).find_wait(issuer, plan.names, 2) is None
    await Duplicates(keeper.storage, clock).note(issuer, plan.names)  # as a server with this storage does
    orders = pebble.log.count("order-plz")
    for name in await keeper.storage.list("certificates"):
        await keeper.storage.delete(name)
    with pytest.raises(ConfigError, match="within a week") as caught:
        await keeper.obtain(plan)
    assert caught.value.code == "ERR_ACME_NOT_YET"
    assert pebble.log.count("order-plz") == orders
    assert (await keeper.look(plan)).trouble.failures == 0
    clock.now += timedelta(days=7)
    assert (await keeper.obtain(plan)).state == "obtained"


@pytest.mark.slow
async def test_hooks_run_around_the_order(pebble: Pebble, tmp_path: Path) -> None:
    """The first two also when it fails; the last one when the files are in place."""
    log = tmp_path / "log"
    hooks = {
        "pre_hooks": (f"echo pre >> {log}",),
        "post_hooks": (f"echo post >> {log}",),
        "deploy_hooks": (f"test -f {tmp_path}/cert.pem && echo deploy >> {log}",),
    }
    plan = make_plan(pebble, tmp_path, names=("hooks.example.com",), cert=str(tmp_path / "cert.pem"), **hooks)
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    with pytest.raises(ACMEError):
        await keeper.obtain(replace(plan, http_port=0))
    assert log.read_text().split() == ["pre", "post"]
    await keeper.obtain(plan)
    assert log.read_text().split() == ["pre", "post", "pre", "post", "deploy"]


@pytest.mark.slow
async def test_what_was_not_delivered_is_delivered_by_the_next_call(pebble: Pebble, tmp_path: Path) -> None:
    """A full disk, a process that died, or a server that was faster: else the old file would be used until it expires."""
    chain = tmp_path / "live" / "chain.pem"
    plan = make_plan(pebble, tmp_path, names=("late.example.com",), cert=str(chain), deploy_hooks=(f"echo deployed >> {tmp_path}/log",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    await keeper.obtain(plan)
    old = chain.read_bytes()
    chain.unlink()
    chain.mkdir()
    with pytest.raises(OSError, match="directory"):
        await keeper.renew(plan, is_forced=True)
    chain.rmdir()
    chain.write_bytes(old)
    late, after = await keeper.renew(plan), await keeper.renew(plan)
    assert (late.state, after.state) == ("obtained", "kept")
    assert late.certificate is not None
    assert chain.read_bytes() == late.certificate.pem != old
    assert (tmp_path / "log").read_text().split() == ["deployed", "deployed"]


@pytest.mark.slow
async def test_a_certificate_is_revoked_although_the_new_one_is_not_deployed(pebble: Pebble, tmp_path: Path) -> None:
    """Its key may be known to others, and the storage does not have it any more."""
    plan = make_plan(pebble, tmp_path, names=("compromised.example.com",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    first = (await keeper.obtain(plan)).certificate
    assert first is not None
    with pytest.raises(ConfigError, match="ended with 3"):
        await keeper.revoke(replace(plan, deploy_hooks=("exit 3",)), "keyCompromise", is_renewed=True)
    serial = x509.load_der_x509_certificate(first.leaf).serial_number
    assert pebble.status_of(serial)["Status"] == "Revoked"


@pytest.mark.slow
async def test_a_refused_revocation_is_tried_again_by_the_next_renewal(pebble: Pebble, tmp_path: Path) -> None:
    """The old certificate is not in the storage any more, and its key may be known to others."""
    is_refusing = True

    def refuse(request: Request) -> Reply | None:
        problem = {"content-type": "application/problem+json"}, b'{"type": "urn:ietf:params:acme:error:unauthorized"}'
        return Reply(403, *problem) if request.kind == "revoke" and is_refusing else None

    async with AuthorityProxy(pebble, intercept=refuse) as proxy:
        plan = replace(make_plan(pebble, tmp_path, names=("refused.example.com",)), server=proxy.directory_url)
        (tmp_path / "authority.pem").write_bytes(proxy.ca)
        keeper = Keeper(MemoryStorage(), terms_agreed=True)
        first = (await keeper.obtain(plan)).certificate
        assert first is not None
        serial = x509.load_der_x509_certificate(first.leaf).serial_number
        with pytest.raises(ACMEError) as caught:
            await keeper.revoke(plan, "keyCompromise", is_renewed=True)
        assert "tlsio acme renew" in (caught.value.hint or "")
        [standing] = await survey(keeper.storage, datetime.now(UTC))
        assert standing.unrevoked == 1
        with pytest.raises(ACMEError):
            await keeper.renew(plan)
        is_refusing = False
        assert pebble.status_of(serial)["Status"] == "Valid"
        assert (await keeper.renew(plan)).state == "kept"
        assert (pebble.status_of(serial)["Status"], pebble.status_of(serial)["Reason"]) == ("Revoked", 1)
        [standing] = await survey(keeper.storage, datetime.now(UTC))
        assert standing.unrevoked == 0
        assert await keeper.storage.list("revocations") == []


@pytest.mark.slow
async def test_what_could_not_be_replaced_is_not_revoked(pebble: Pebble, tmp_path: Path) -> None:
    """Neither now nor by a later renewal."""
    plan = make_plan(pebble, tmp_path, names=("unreplaced.example.com",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    found = (await keeper.obtain(plan)).certificate
    assert found is not None
    with pytest.raises(ConfigError, match="ended with 4"):
        await keeper.revoke(replace(plan, pre_hooks=("exit 4",)), is_renewed=True)
    assert await keeper.storage.list("revocations") == []
    assert pebble.status_of(x509.load_der_x509_certificate(found.leaf).serial_number)["Status"] == "Valid"


@pytest.mark.slow
async def test_a_revoked_certificate_that_is_replaced_is_renewed_again(pebble: Pebble, tmp_path: Path) -> None:
    """Also after an earlier revocation without a new one, which has ended the renewals."""
    plan = make_plan(pebble, tmp_path, names=("resumed.example.com",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    await keeper.obtain(plan)
    await keeper.revoke(plan)
    stopped = await load_plan(keeper.storage, plan.name)
    assert stopped == replace(plan, is_renewed=False)
    await keeper.revoke(stopped, is_renewed=True)
    assert await load_plan(keeper.storage, plan.name) == plan
    [standing] = await survey(keeper.storage, datetime.now(UTC))
    assert (standing.reason == "revoked", standing.renews_at is None) == (False, False)


@pytest.mark.slow
async def test_a_failing_deploy_hook_keeps_the_certificate(pebble: Pebble, tmp_path: Path) -> None:
    """All hooks run; the first failure is raised, and the next renewal orders nothing."""
    plan = make_plan(pebble, tmp_path, names=("deploy.example.com",), deploy_hooks=("exit 3", f"touch {tmp_path}/second"))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    with pytest.raises(ConfigError, match="ended with 3") as caught:
        await keeper.obtain(plan)
    assert caught.value.code == "ERR_ACME_HOOK"
    assert caught.value.hint is not None
    assert "in place" in caught.value.hint
    assert (tmp_path / "second").exists()
    assert (await keeper.look(plan)).state == "kept"
    assert await load_plans(keeper.storage) == [plan]  # it is renewed, although nothing was deployed


@pytest.mark.slow
async def test_a_failed_deploy_hook_runs_again(pebble: Pebble, tmp_path: Path) -> None:
    """By the next renewals, after a growing wait, until it succeeds: else the server would keep the old certificate."""
    log, working = tmp_path / "log", tmp_path / "working"
    plan = make_plan(pebble, tmp_path, names=("again.example.com",), deploy_hooks=(f"echo run >> {log}; test -e {working}",))
    clock = Clock()
    keeper = Keeper(MemoryStorage(), terms_agreed=True, clock=clock)
    with pytest.raises(ConfigError, match="ended with 1"):
        await keeper.obtain(plan)
    waiting = await keeper.renew(plan)
    assert (waiting.state, waiting.trouble.failures, waiting.trouble.code) == ("waiting", 1, "ERR_ACME_HOOK")
    [standing] = await survey(keeper.storage, clock.now)
    assert (standing.trouble.failures, standing.deployment) == (0, waiting.trouble)
    clock.now += timedelta(minutes=2)
    with pytest.raises(ConfigError, match="ended with 1"):
        await keeper.renew(plan)
    [standing] = await survey(keeper.storage, clock.now)
    assert standing.deployment.failures == 2
    working.touch()
    clock.now += timedelta(minutes=3)
    assert [(await keeper.renew(plan)).state for _ in range(2)] == ["obtained", "kept"]
    assert log.read_text().split() == ["run"] * 3
    [standing] = await survey(keeper.storage, clock.now)
    assert standing.deployment.failures == 0


@pytest.mark.slow
async def test_a_failed_deploy_hook_that_was_corrected_runs_at_once(pebble: Pebble, tmp_path: Path) -> None:
    """By the command that corrects it; a hook that is not there any more leaves no failure."""
    plan = make_plan(pebble, tmp_path, names=("corrected.example.com",), deploy_hooks=("exit 3",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    with pytest.raises(ConfigError, match="ended with 3"):
        await keeper.obtain(plan)
    corrected = replace(plan, deploy_hooks=(f"touch {tmp_path}/deployed",))
    assert (await keeper.obtain(corrected)).state == "obtained"
    assert (tmp_path / "deployed").exists()
    assert await load_plans(keeper.storage) == [corrected]
    with pytest.raises(ConfigError, match="ended with 3"):
        await keeper.renew(plan, is_forced=True)
    assert [(await keeper.obtain(replace(plan, deploy_hooks=()))).state for _ in range(2)] == ["obtained", "kept"]
    assert await keeper.storage.list("deployments") == []


@pytest.mark.slow
async def test_a_new_deploy_hook_runs_for_a_certificate_that_is_kept(pebble: Pebble, tmp_path: Path) -> None:
    """Once, and no other: else the service would get the certificate at its next renewal, in weeks."""
    log = tmp_path / "log"
    first, second = (f"echo {word} >> {log}" for word in ("first", "second"))
    plan = make_plan(pebble, tmp_path, names=("added.example.com",), deploy_hooks=(first,))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    await keeper.obtain(plan)
    added = replace(plan, deploy_hooks=(first, second))
    outcomes = [await keeper.obtain(added), await keeper.obtain(added), await keeper.renew(added)]
    assert [(one.state, one.late_hooks) for one in outcomes] == [("kept", (second,)), ("kept", ()), ("kept", ())]
    assert log.read_text().split() == ["first", "second"]
    assert await load_plans(keeper.storage) == [added]


@pytest.mark.slow
async def test_a_new_deploy_hook_that_fails_runs_again(pebble: Pebble, tmp_path: Path) -> None:
    """By the next renewals, as any other; its plan is kept."""
    working, plan = tmp_path / "working", make_plan(pebble, tmp_path, names=("faulty-hook.example.com",))
    clock = Clock()
    keeper = Keeper(MemoryStorage(), terms_agreed=True, clock=clock)
    await keeper.obtain(plan)
    added = replace(plan, deploy_hooks=(f"test -e {working}",))
    with pytest.raises(ConfigError, match="ended with 1") as caught:
        await keeper.obtain(added)
    assert caught.value.code == "ERR_ACME_HOOK"
    assert await load_plans(keeper.storage) == [added]
    working.touch()
    clock.now += timedelta(minutes=2)
    assert [(await keeper.renew(added)).state for _ in range(2)] == ["obtained", "kept"]


@pytest.mark.slow
async def test_hooks_that_were_not_run_to_their_end_run_again(pebble: Pebble, tmp_path: Path) -> None:
    """As when the process ends meanwhile; also of a certificate that only the storage has."""
    plan = make_plan(pebble, tmp_path, names=("interrupted.example.com",), deploy_hooks=(f"touch {tmp_path}/begun; sleep 60",))
    clock = Clock()
    keeper = Keeper(MemoryStorage(), terms_agreed=True, clock=clock)
    obtaining = asyncio.create_task(keeper.obtain(plan))
    while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - written by another process
        await asyncio.sleep(0.01)
    obtaining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await obtaining
    [standing] = await survey(keeper.storage, clock.now)
    assert (standing.deployment.failures, standing.deployment.code) == (1, "ERR_ACME_INTERRUPTED")
    clock.now += timedelta(minutes=2)
    assert (await keeper.renew(replace(plan, deploy_hooks=(f"touch {tmp_path}/deployed",)))).state == "obtained"
    assert (tmp_path / "deployed").exists()


@pytest.mark.slow
async def test_a_certificate_that_cannot_be_written_is_renewed_all_the_same(pebble: Pebble, tmp_path: Path) -> None:
    """It was ordered, and the plan is not lost with the error."""
    (tmp_path / "file").touch()
    plan = make_plan(pebble, tmp_path, names=("unwritten.example.com",), cert=str(tmp_path / "file" / "cert.pem"))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    with pytest.raises(OSError, match="file"):
        await keeper.obtain(plan)
    assert (await keeper.look(plan)).state == "kept"
    assert await load_plans(keeper.storage) == [plan]


@pytest.mark.slow
async def test_a_certificate_for_fewer_names_is_obtained(pebble: Pebble, tmp_path: Path) -> None:
    """One for more names would tell clients of names that it was not asked for."""
    plan = make_plan(pebble, tmp_path, names=("fewer.example.com", "more.example.com"))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    await keeper.obtain(plan)
    outcome = await keeper.obtain(replace(plan, names=plan.names[:1]))
    assert outcome.state == "obtained"
    assert outcome.certificate is not None
    assert outcome.certificate.names == {"fewer.example.com"}


@pytest.mark.slow
async def test_a_failing_pre_hook_orders_nothing(pebble: Pebble, tmp_path: Path) -> None:
    """And the error does not say that there is a certificate."""
    plan = make_plan(pebble, tmp_path, names=("early.example.com",), pre_hooks=("exit 4",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    with pytest.raises(ConfigError, match="ended with 4") as caught:
        await keeper.obtain(plan)
    assert (caught.value.code, caught.value.hint) == ("ERR_ACME_HOOK", "Correct the command.")
    assert (await keeper.look(plan)).certificate is None


@pytest.mark.slow
async def test_a_rehearsal_orders_from_staging_alone(pebble: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stored, written or deployed."""
    files = {"cert": str(tmp_path / "cert.pem"), "deploy_hooks": (f"touch {tmp_path}/deployed",)}
    plan = make_plan(pebble, tmp_path, names=("rehearsed.example.com",), **files)
    keeper = Keeper(MemoryStorage())
    with Pebble(http_port=pebble.http_port) as staging:
        monkeypatch.setattr(keeper_module, "STAGING", {pebble.directory_url: staging.directory_url})
        assert (await keeper.rehearse(plan)).state == "rehearsed"
        assert "rehearsed.example.com" in staging.log
    assert await keeper.storage.list("") == []
    assert not (tmp_path / "cert.pem").exists()
    assert not (tmp_path / "deployed").exists()


@pytest.mark.slow
async def test_a_rehearsal_of_what_is_not_due_is_asked_for(pebble: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an import, when nothing is due for weeks."""
    plan = make_plan(pebble, tmp_path, names=("early-rehearsal.example.com",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    await keeper.obtain(plan)
    with Pebble(http_port=pebble.http_port) as staging:
        monkeypatch.setattr(keeper_module, "STAGING", {pebble.directory_url: staging.directory_url})
        assert (await keeper.rehearse(plan)).state == "kept"
        outcome = await keeper.rehearse(plan, is_forced=True)
    assert (outcome.state, outcome.renewal.reason) == ("rehearsed", "asked")


@pytest.mark.slow
async def test_a_revoked_certificate_is_not_renewed_by_its_plan(pebble: Pebble, tmp_path: Path) -> None:
    """But replaced by a server with the same storage, to which it is marked."""
    plan = make_plan(pebble, tmp_path, names=("revoked.example.com",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    found = (await keeper.obtain(plan)).certificate
    assert found is not None
    await keeper.revoke(plan, "keyCompromise")
    serial = x509.load_der_x509_certificate(found.leaf).serial_number
    assert pebble.status_of(serial)["Status"] == "Revoked"
    assert await load_plan(keeper.storage, plan.name) == replace(plan, is_renewed=False)
    [standing] = await survey(keeper.storage, datetime.now(UTC))
    assert (standing.reason, standing.renews_at) == ("revoked", None)


@pytest.mark.slow
async def test_a_certificate_of_a_server_is_revoked_without_a_plan(pebble: Pebble, tmp_path: Path) -> None:
    """No plan is left that would keep it from being renewed."""
    plan = make_plan(pebble, tmp_path, names=("of-a-server.example.com",))
    keeper = Keeper(MemoryStorage(), terms_agreed=True)
    await keeper.obtain(plan)
    await keeper.storage.delete(f"plans/{plan.name}.json")
    await keeper.revoke(plan)
    assert await load_plans(keeper.storage) == []
    [standing] = await survey(keeper.storage, datetime.now(UTC))
    assert (standing.reason, standing.renews_at is None) == ("revoked", False)


async def test_what_is_not_there_cannot_be_revoked(pebble: Pebble, tmp_path: Path) -> None:
    """It is said without asking the authority."""
    with pytest.raises(StoreError) as caught:
        await Keeper(MemoryStorage()).revoke(make_plan(pebble, tmp_path))
    assert caught.value.code == "ERR_ACME_CERTIFICATE"


@pytest.mark.slow
async def test_an_imported_plan_of_certbot_renews(certbot: Certbot, tmp_path: Path) -> None:
    """Both: by its own port, with certbot's hook, and by the folder of a web server; with certbot's account."""
    copy = copied(certbot, tmp_path / "copy")
    storage = MemoryStorage()
    (tmp_path / "authority.pem").write_bytes(certbot.authority.ca)
    await import_tree(copy.tree, storage, files=tmp_path / "files", server_ca=tmp_path / "authority.pem")
    keeper = Keeper(storage)
    own, web = await load_plans(storage)
    assert [standing.reason for standing in await survey(storage, datetime.now(UTC))] == ["time", "time"]
    before = (tmp_path / "files" / "own.example.test" / "fullchain.pem").read_bytes()
    assert (await keeper.renew(own, is_forced=True)).state == "obtained"
    assert (tmp_path / "files" / "own.example.test" / "fullchain.pem").read_bytes() != before
    with certbot.serving_webroot():
        assert (await keeper.renew(web, is_forced=True)).state == "obtained"
    assert len(await storage.list("accounts")) == 2


@pytest.mark.slow
async def test_dns_is_answered_by_a_program(pebble: Pebble, tmp_path: Path) -> None:
    """As the settings in TOML say."""
    (tmp_path / "hook.py").write_text(
        "import json, sys, urllib.request\nverb, name, value = sys.argv[2:]\n"
        'body = {"host": name.rstrip(".") + "."} | ({"value": value} if verb == "add" else {})\n'
        'urllib.request.urlopen(sys.argv[1] + ("/set-txt" if verb == "add" else "/clear-txt"), json.dumps(body).encode()).read()\n'
    )
    command = json.dumps([sys.executable, str(tmp_path / "hook.py"), pebble.control_url])
    (tmp_path / "dns.toml").write_text(f"command = {command}\n[dns01]\npropagation = 0\nfollow_alias = false\n")
    plan = make_plan(pebble, tmp_path, names=("*.wild.example.com",), http_port=None, dns="hook", dns_settings=str(tmp_path / "dns.toml"))
    assert (await Keeper(MemoryStorage(), terms_agreed=True).obtain(plan)).state == "obtained"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("rfc2136", "server = 1"),
        ("rfc2136", 'server = "192.0.2.1"\nkee = "secret"'),
        ("hook", ""),
        ("hook", "command = ["),
        ("lexicon", 'provider = "x"'),
        ("hook", 'command = "/bin/true"\ndns01 = 5'),
        ("hook", 'command = "/bin/true"\n[dns01]\npropagatoin = 5'),
    ],
    ids=range(7),
)
async def test_wrong_settings_of_dns_are_named(pebble: Pebble, tmp_path: Path, kind: str, text: str) -> None:
    """With the file, and without what is in it."""
    (tmp_path / "dns.toml").write_text(text)
    plan = make_plan(pebble, tmp_path, http_port=None, dns=kind, dns_settings=str(tmp_path / "dns.toml"))
    with pytest.raises(ConfigError, match=r"dns\.toml") as caught:
        await Keeper(MemoryStorage(), terms_agreed=True).obtain(plan)
    assert caught.value.code == "ERR_ACME_DNS_SETTINGS"
    assert "secret" not in caught.value.message


async def test_ports_that_are_taken_are_an_error_with_a_way_out() -> None:
    """One that is free is enough."""
    with socket.create_server(("127.0.0.1", 0)) as taken, own_port() as free:
        port = taken.getsockname()[1]
        plan = Plan(names=(NAME,), server="https://localhost/dir", address="127.0.0.1", http_port=port, tls_port=port)
        with pytest.raises(ConfigError, match="Address already in use") as caught:
            async with solving(plan, MemoryStorage()):
                pass
        assert caught.value.code == "ERR_ACME_PORT"
        assert "webroot=" in (caught.value.hint or "")
        async with solving(replace(plan, tls_port=free), MemoryStorage()) as solvers:
            assert [one.type for one in solvers] == ["tls-alpn-01"]
