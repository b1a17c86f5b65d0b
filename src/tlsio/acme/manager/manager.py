"""The manager: a context source whose certificates are obtained and renewed by themselves.

One task looks at a heap of times; when one comes, a few workers do what is due for that
certificate. What servers read, the table of published names, never waits for a worker, a storage or
an authority.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tlsio.acme.issuers.issuer import check_issuers
from tlsio.acme.manager.clock_watch import ClockWatch
from tlsio.acme.manager.failure_log import FailureLog
from tlsio.acme.manager.housekeeping import remove_expired
from tlsio.acme.manager.looks import Looks
from tlsio.acme.manager.managed import Managed
from tlsio.acme.manager.names import address_of, parse_group, parse_groups
from tlsio.acme.manager.on_demand import OnDemand
from tlsio.acme.manager.orders import Orders
from tlsio.acme.manager.pinned_files import pin_files
from tlsio.acme.manager.records import Records
from tlsio.acme.manager.schedule import Schedule
from tlsio.acme.manager.serving import Serving, Table
from tlsio.acme.manager.status import ManagerStats, describe
from tlsio.acme.manager.trouble import NO_TROUBLE
from tlsio.acme.manager.upkeep import Upkeep
from tlsio.acme.manager.workers import Outage, Workers
from tlsio.connection.emitter import TaskEmitter
from tlsio.connection.revocation.crl_cache import CrlCache
from tlsio.connection.revocation.http_fetch import fetch
from tlsio.connection.tasks import find_awaitable
from tlsio.model.checks import check_duration, check_function, wrong_value
from tlsio.model.errors import ConfigError, StoreError, UsageStateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from tlsio.acme.issuers.issuer import Issuer
    from tlsio.acme.manager.records import Found
    from tlsio.acme.manager.status import CertificateStatus
    from tlsio.acme.storage.storage import Storage
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["Manager"]

_log = logging.getLogger("tlsio.acme")

_LOADERS = 32  # certificates that are read at a time, at the start
_START_TIMEOUT = 10.0  # seconds; servers begin without what was not read by then
_MAX_LIST = 10_000_000  # bytes; as of CrlCache
_REST = timedelta(seconds=1)  # between two looks at one certificate, whatever the rules say
_LOOK_FOR_DEFAULT = timedelta(minutes=1)  # while it has no valid certificate
_HOUSEKEEPING = timedelta(days=1)
_ON_DEMAND_WAIT = 20.0  # seconds; below hook_timeout, 30 seconds, which would refuse the client
_MAX_ON_DEMAND = 10_000  # names; a further one takes the place of the oldest that nobody uses


class Manager(TaskEmitter):
    """Certificates of names, for `secure_context=` of servers.

    What is in the storage is served at once; what is missing is obtained, and until then a
    temporary self-signed certificate is served. A certificate that could not be renewed is served
    beyond its end, with warnings. Failures of authorities and storage reach no client.

    All servers of one event loop may share it, and any number of processes may run a manager over
    one storage: each certificate is ordered once.

    Events: `changed(context)`: the default context, that of the first name, is another one.
    `obtained(status)`: this process has obtained a certificate, which is stored if possible.
    `failed(status, error)`: an order has failed. `expiring(status)`, `expired(status)`: a
    certificate was not renewed in time. `revoked(status)`. `removed(place)`: an old certificate was
    removed from the storage. `error(error)`: the storage has failed; once until it works again.
    """

    __slots__ = ("__dict__",)

    published_for = 1.0  # seconds; so much later than its certificate is replaced, a name has the new one

    _EVENTS: ClassVar[frozenset[str]] = frozenset({"changed", "error", "expired", "expiring", "failed", "obtained", "removed", "revoked"})

    def __init__(  # noqa: PLR0913 - options, by keyword
        self,
        names: Iterable[str | Iterable[str]],
        storage: Storage,
        issuers: Sequence[Issuer],
        *,
        staging: Issuer | None = None,
        profile: str | None = None,
        context: Mapping[str, Any] | None = None,
        on_demand: Callable[[str], Any] | None = None,
        on_demand_wait: float = _ON_DEMAND_WAIT,
        challenges: Any = None,
        fetch_crl: Callable[[str], Awaitable[bytes]] | None = None,
        clock: Callable[[], datetime] | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """Manage the certificates of these names, from `start` on.

        Args:
            names: Each a host name, a wildcard or an IP address, which gets a certificate of its
                own; or a list of names, which share one. The first is served to clients that send
                no name.
            storage: Where certificates are kept.
            issuers: The authorities, in order: the next one is asked when one fails.
            staging: An issuer that does not count: after a failure it is asked before the first
                issuer, which is asked only if it has issued.
            profile: The profile of the certificates (`"shortlived"`, ...).
            context: Other options of the contexts, as of `create_secure_context`.
            on_demand: `on_demand(name)`, sync or async, says whether a name that a client has sent,
                and that is not among `names`, gets a certificate. Only True does.
            on_demand_wait: Seconds that such a handshake waits for its certificate.
            challenges: What answers authorities on the server's port: an object with
                `context_for_challenge(server_name)`, such as a `TlsAlpn01` of the issuers.
            fetch_crl: Replaces plain HTTP for revocation lists, see `CrlCache`.
            clock: Returns the time, an aware datetime. Default: the system's clock.
            chance: The source of random times. Default: one of its own.

        Raises:
            UsageError: an argument is of the wrong type, or something is not a name.
            OSError: a file of `context`, which is read now and not again.
            ConfigError: an option of `context`; or the package `publicsuffixlist` is missing, which
                `on_demand` needs.
        """
        super().__init__()
        groups = parse_groups(names)
        if not groups and on_demand is None:
            raise wrong_value("names", "is empty", hint="Give the names to serve, or on_demand=.")
        self.issuers = check_issuers(issuers, staging)
        options = dict(context or {})
        if taken := {"cert", "key", "pfx"}.intersection(options):
            raise wrong_value("context", f"has {min(taken)!r}", hint="Certificates come from the issuers.")
        options = pin_files(options)
        self._clock = clock or partial(datetime.now, UTC)
        self._chance = chance or random.Random()  # noqa: S311 - spreads load; nothing is secret
        self._storage = storage
        self._challenges = challenges
        self._managed = {managed.name: managed for managed in map(Managed, groups)}
        self._default = next(iter(self._managed.values()), Managed(("localhost",)))
        self._serving = Serving(options, self._clock, self._broke)
        self._schedule = Schedule(self._clock)
        records = Records(storage, [issuer.name for issuer in self.issuers])
        self._orders = Orders(
            records,
            self.issuers,
            staging=staging,
            profile=profile,
            clock=self._clock,
            chance=self._chance,
            options=options,
            adopt=self._adopt,
            obtained=partial(self._report, "obtained"),
            failed=self._failed,
        )
        self._upkeep = Upkeep(
            records,
            self._orders,
            {issuer.name: issuer for issuer in self.issuers},
            CrlCache("check", fetch=self._fetch_list, now=self._clock),
            clock=self._clock,
            chance=self._chance,
            report=self._report,
        )
        self._fetch_crl = fetch_crl or partial(fetch, max_bytes=_MAX_LIST)
        self._on_demand = None
        if on_demand is not None:
            permission = check_function("on_demand", on_demand)
            self._on_demand = OnDemand(permission, self._admit, wait=check_duration("on_demand_wait", on_demand_wait))
        self._outage = Outage(self._clock, self._chance, partial(self._emit, "error"))
        self._looks = Looks(self._orders.follow, self._outage)
        self._workers = Workers(self._tend, self._tended, self._outage, self._clock)
        self._failure_log = FailureLog()
        self._by_name: dict[str, Managed] = {}
        self.published: Mapping[str, SecureContext] = {}
        self._publish()
        self._runner: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()

    # ---- life

    async def start(self) -> None:
        """Read the certificates, and begin to obtain and renew; nothing if that was done.

        Returns when the storage was read, after ten seconds at the latest. A storage that fails is
        logged, and tried again.
        """
        if self._runner is None or self._runner.done():  # done: in a loop that has ended
            self._loaded = asyncio.Event()
            self._runner = asyncio.ensure_future(self._run())
            self._runner.add_done_callback(self._run_ended)
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                await self._loaded.wait()
        except TimeoutError:
            _log.warning("The storage has not returned all certificates within %g s: servers begin without the others", _START_TIMEOUT)

    async def stop(self) -> None:
        """End all work. What is published stays, and `start` begins again.

        An order that is under way is given up; a certificate that was already issued is stored.
        """
        runner, self._runner = self._runner, None
        tasks = {*self._tasks, *self._looks.tasks, *([runner] if runner else [])}
        for task in tasks:
            task.cancel()
        if self._on_demand is not None:
            await self._on_demand.stop()
        await self._workers.stop()
        if tasks:
            await asyncio.wait(tasks)
        for managed in self._managed.values():
            self._schedule.remove(managed)

    async def reload(self) -> None:
        """Look into the storage now, for certificates that other programs have put there.

        Servers call it on SIGHUP. What only a change of settings mends is tried again, too.

        Raises:
            StoreError: the storage failed; what is served stays.
        """
        self._orders.try_mistakes_again()
        self._failure_log.clear()
        failure = await self._follow_all()
        for managed in self._managed.values():
            if managed.trouble.needs_action or managed.order_after is not None:
                managed.trouble, managed.order_after = NO_TROUBLE, None  # that of the storage is read again
            if self._runner is not None and managed.task is None:
                self._schedule.put(managed, self._upkeep.plan(managed))
        if failure is not None:
            raise failure

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        await self.stop()

    # ---- what servers ask

    def context_for(self, server_name: str | None, /) -> SecureContext | Awaitable[SecureContext | None] | None:
        """Return the context of a name; see `ContextSource`."""
        managed = self._default if server_name is None else self._find_host(server_name)
        if managed is None:
            return None if self._on_demand is None or self._runner is None else self._demand(server_name or "")
        found = self._serving.find(managed)
        if found is not None or server_name is None or self._runner is None:
            return found or self._stand_in(managed)
        return self._look(managed)

    def context_now(self, server_name: str | None, /) -> SecureContext | None:
        """Return the context of a name without waiting for anything."""
        managed = self._default if server_name is None else self._find_host(server_name)
        return None if managed is None else self._serving.find(managed) or self._stand_in(managed)

    def challenge_for(self, server_name: str, /) -> Any:
        """Return the context that answers an authority; see `ContextSource`.

        A name that is not managed is not looked up in the storage, so strangers cause no reads. A
        name that another process may obtain on demand is looked up if the hook permits it.
        """
        name, on_demand = address_of(server_name) or server_name, self._on_demand
        if self._challenges is None:
            return None
        if name in self._by_name or (on_demand is not None and on_demand.is_pending(name)):
            return self._challenges.context_for_challenge(server_name)
        return None if on_demand is None or self._runner is None else self._find_challenge(name, on_demand)

    async def _find_challenge(self, name: str, on_demand: OnDemand) -> SecureContext | None:
        if not await on_demand.may_be_pending(name):
            return None
        found: Any = self._challenges.context_for_challenge(name)
        awaitable = find_awaitable(found)
        context: SecureContext | None = found if awaitable is None else await awaitable
        return context

    def is_temporary(self, name: str) -> bool:
        """Tell whether a temporary self-signed certificate is served for a name."""
        managed = self._find_host(name)
        return managed is not None and managed.certificate is None

    def _find_host(self, name: str) -> Managed | None:
        """Return what is responsible for a host, by itself or by its wildcard."""
        return self._by_name.get(name) or self._by_name.get(f"*.{name.partition('.')[2]}")

    def _stand_in(self, managed: Managed) -> SecureContext:
        """Return what is served without a valid certificate: one out of date or a temporary one."""
        return self._serving.find_any(managed) or self._serving.find_temporary(managed)

    async def _look(self, managed: Managed) -> SecureContext | None:
        await self._looks.look(managed)
        return self._serving.find(managed) or self._stand_in(managed)

    async def _demand(self, name: str) -> SecureContext | None:
        assert self._on_demand is not None  # noqa: S101 - for the type checker
        managed = await self._on_demand.find(name)
        return None if managed is None else self._serving.find(managed)

    # ---- names

    def add(self, names: str | Sequence[str]) -> None:
        """Manage another certificate. One of a name that was obtained on demand is kept.

        Raises:
            UsageError: something is not a name, or is managed already.
        """
        group = parse_group(names)
        present = {one.name: one for name in group if (one := self._by_name.get(name)) is not None}
        if taken := [name for name, one in present.items() if not one.is_on_demand]:
            raise wrong_value("names", f"has {taken[0]!r}, which is managed already")
        if group in {one.names for one in present.values()}:
            present[group[0]].is_on_demand = False
            return
        managed = Managed(group)
        for one in present.values():  # of the group, whose certificate takes its place
            managed.certificate, managed.facts = one.certificate, one.facts
            self._forget(one)
        self._managed[group[0]] = managed
        self._publish()
        if self._runner is not None:
            self._schedule.put(managed, self._clock())

    def remove(self, name: str) -> None:
        """Manage a certificate no longer: it is not served, and stays in the storage.

        Raises:
            UsageStateError: it is the default, that of the first name.
        """
        managed = self._find(name)
        if managed is self._default:
            raise UsageStateError(f"{name} is the first name, which is served to clients that send none: it cannot be removed")
        self._forget(managed)

    async def obtain(self, name: str) -> CertificateStatus:
        """Obtain or renew the certificate of a name now, if that is due.

        Raises:
            UsageError: the name is not managed.
            UsageStateError: it was removed, or the manager was stopped, in the meantime.
            TLSError: it has no certificate that is valid; the error of the order.
            StoreError: the storage failed.
        """
        managed = self._find(name)
        await self.start()
        managed.order_after, managed.error, managed.trouble = None, None, NO_TROUBLE
        while managed.task is not None:  # it began before this call, and may end without an order
            await asyncio.wait((managed.task,))
        self._check_life(managed)
        self._schedule.remove(managed)
        work = self._workers.work_on(managed)
        await asyncio.wait((work,))  # a cancelled caller leaves it running
        self._check_life(managed)
        if work.cancelled():  # by an issuer that cancels itself
            raise _not_yet(f"The order for {name} was interrupted", managed)
        work.result()
        if managed.error is not None:
            raise managed.error
        if not managed.is_valid(self._clock()):
            raise _not_yet(f"There is no certificate for {name} yet", managed)
        return describe(managed, self._clock())

    async def renew(self, name: str) -> CertificateStatus:
        """Replace the certificate of a name now, whatever failed before.

        Raises:
            ConfigError: it was not replaced, because the authority is left alone for now, or its
                limits are reached (`ERR_ACME_NOT_YET`).
            TLSError: as `obtain`.
        """
        managed = self._find(name)
        replaced = managed.renew_over = managed.facts.fingerprint
        try:
            status = await self.obtain(name)
        finally:
            managed.renew_over = None
        if status.fingerprint == replaced:
            raise _not_yet(f"The certificate for {name} was not replaced", managed)
        return status

    def _check_life(self, managed: Managed) -> None:
        """Refuse to work on what was removed, or after `stop`."""
        if self._runner is None or self._managed.get(managed.name) is not managed:
            reason = "is not managed any more" if self._runner is not None else "was not obtained, because the manager was stopped"
            raise UsageStateError(f"The certificate for {managed.name} {reason}")

    def _find(self, name: str) -> Managed:
        managed = self._by_name.get(parse_group(name)[0])
        if managed is None:
            raise wrong_value("name", f"is {name!r}, which is not managed")
        return managed

    def _forget(self, managed: Managed) -> None:
        del self._managed[managed.name]
        self._schedule.remove(managed)
        if managed.task is not None and managed.task is not asyncio.current_task():
            managed.task.cancel()
        self._publish()

    def _publish(self) -> None:
        self._by_name = {name: managed for managed in self._managed.values() for name in managed.names}
        self.published = Table(self._by_name, self._serving)

    # ---- facts

    def status(self) -> list[CertificateStatus]:
        """Return the state of each certificate."""
        now = self._clock()
        return [describe(managed, now) for managed in self._managed.values()]

    def stats(self) -> ManagerStats:
        """Return the counters."""
        now, every = self._clock(), self.status()
        return ManagerStats(
            orders=dict(self._orders.counts),
            paused={name: until for name, health in self._orders.health.items() if (until := health.find_pause(now)) is not None},
            states=dict(Counter(one.state for one in every)),
            next_expiry=min((one.not_after for one in every if one.not_after is not None), default=None),
            storage_errors=self._outage.errors,
            on_demand_refused=0 if self._on_demand is None else self._on_demand.refused,
        )

    # ---- work

    async def _run(self) -> None:
        """Load, then work on what is due, until cancelled."""
        await self._load()
        self._loaded.set()
        for managed in self._managed.values():
            if managed.due is None and managed.task is None:
                self._schedule.put(managed, self._upkeep.plan(managed))
        next_housekeeping = self._clock() + _HOUSEKEEPING * self._chance.random()
        watch = ClockWatch(self._clock)
        while True:
            if watch.was_set():
                next_housekeeping = min(next_housekeeping, self._clock() + _HOUSEKEEPING)
                self._clock_was_set()
            self._workers.add(self._schedule.take_due())
            if self._clock() >= next_housekeeping:
                next_housekeeping = self._clock() + _HOUSEKEEPING
                self._spawn(self._keep_house())
            await self._schedule.wait()

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("The manager has stopped, and what it has stays served", exc_info=error)

    def _clock_was_set(self) -> None:
        """Plan anew: the noted times mean nothing. A machine that slept comes here too."""
        _log.info("The clock was set, or the machine has slept: all certificates are looked at")
        self._orders.forget_waits()
        self._outage.forget_wait()
        for managed in self._managed.values():
            managed.order_after, managed.blocks, managed.next_look, managed.trouble = None, None, None, NO_TROUBLE
            if managed.task is None:
                self._schedule.put(managed, self._clock())

    async def _load(self) -> None:
        """Read all certificates from the storage, unless it fails."""
        await self._follow_all()
        for managed in self._managed.values():
            if managed.certificate is not None:
                managed.next_look = self._clock() + timedelta(hours=6 * self._chance.random())

    async def _follow_all(self) -> Exception | None:
        """Take what the storage has for each name; return its failure, after which none is read."""
        waiting = list(self._managed.values())
        for at in range(0, len(waiting), _LOADERS):
            results = await asyncio.gather(*map(self._orders.follow, waiting[at : at + _LOADERS]), return_exceptions=True)
            failures = [one for one in results if isinstance(one, Exception)]
            for failure in failures:
                self._outage.fail(failure)
            if failures:
                return failures[0]
        return None

    async def _tend(self, managed: Managed) -> None:
        if self._managed.get(managed.name) is not managed:
            return  # removed while it waited for a worker
        now, on_demand = self._clock(), self._on_demand
        is_due = managed.is_on_demand and managed.find_order(now) <= now
        if is_due and on_demand is not None and not (managed.was_used and await on_demand.permits(managed.name)):
            self._forget(managed)
        else:
            await self._upkeep.tend(managed)

    def _tended(self, managed: Managed, due: datetime | None) -> None:
        """Plan the next work on a certificate, unless it was removed meanwhile."""
        if self._runner is None or self._managed.get(managed.name) is not managed:
            return
        self._upkeep.warn(managed)
        if managed is self._default and managed.next_look is not None and not managed.is_valid(self._clock()):
            # Servers have it at hand as their default, so no handshake looks for a better one.
            managed.next_look = min(managed.next_look, self._clock() + _LOOK_FOR_DEFAULT)
        self._schedule.put(managed, due or max(self._upkeep.plan(managed), self._clock() + _REST))

    async def _admit(self, managed: Managed) -> None:
        """Obtain the certificate of a name that a client has asked for, and manage it then."""
        try:
            await self._upkeep.tend(managed)
        except StoreError as error:
            self._outage.fail(error)
            raise
        if managed.certificate is None or managed.name in self._by_name:
            return
        unused = [one for one in self._managed.values() if one.is_on_demand]
        if len(unused) >= _MAX_ON_DEMAND:
            self._forget(next((one for one in unused if not one.was_used), unused[0]))
        self._managed[managed.name] = managed
        self._publish()
        self._schedule.put(managed, self._upkeep.plan(managed))

    async def _fetch_list(self, url: str) -> bytes:
        """Fetch a revocation list, so that `stop` ends it: it runs in a task of the cache."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._tasks.add(task)
        try:
            return await self._fetch_crl(url)
        finally:
            self._tasks.discard(task)

    async def _keep_house(self) -> None:
        if not any(one.is_valid(self._clock()) for one in self._managed.values()):
            return  # this clock may be wrong, and what seems to have expired may serve other machines
        in_use = {one.facts.fingerprint for one in self._managed.values()}
        try:
            await remove_expired(self._storage, in_use, self._clock, self._emit)
        except StoreError as error:
            self._outage.fail(error)

    # ---- results

    def _adopt(self, managed: Managed, found: Found, context: SecureContext | None) -> None:
        """Serve another certificate; `context` is that of one that this process has obtained."""
        is_used = managed.context is not None or managed.temporary is not None
        managed.certificate, managed.facts = found
        managed.context, managed.temporary = context if is_used else None, None
        managed.is_saved, managed.was_used = True, False
        managed.trouble, managed.error, managed.order_after, managed.renew_over = NO_TROUBLE, None, None, None
        self._upkeep.begin(managed)
        if context is not None:
            _log.info("%s has issued a certificate for %s", found.certificate.issuer, ", ".join(managed.names))
        if managed is self._default and (default := self._serving.find_any(managed)) is not None:
            self._emit("changed", default)

    def _failed(self, managed: Managed) -> None:
        self._failure_log.write(managed)
        self._emit("failed", describe(managed, self._clock()), managed.error)

    def _broke(self, managed: Managed) -> None:
        if self._runner is not None and managed.task is None:
            self._schedule.put(managed, self._clock())

    def _report(self, event: str, managed: Managed) -> None:
        self._emit(event, describe(managed, self._clock()))

    # ---- listeners

    def _listener_failed(self, error: BaseException) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "tlsio: a listener of a Manager failed", "exception": error})

    def __repr__(self) -> str:
        return f"<Manager of {', '.join(list(self._managed)[:5])}{', ...' if len(self._managed) > 5 else ''}>"  # noqa: PLR2004


def _not_yet(what: str, managed: Managed) -> ConfigError:
    return ConfigError(
        f"{what}: {managed.trouble.message or 'the authority is left alone for now'}",
        code="ERR_ACME_NOT_YET",
        hint="The status has the time of the next try.",
    )
