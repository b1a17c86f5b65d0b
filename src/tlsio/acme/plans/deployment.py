"""Puts a certificate in place for other servers: the files of a plan, then its deploy hooks.

What has failed, or was interrupted, is noted in `deployments/<name>.json`, and is done again by the
next `tlsio acme renew`; hooks after a wait that grows to six hours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tlsio.acme.manager.backoff import find_wait
from tlsio.acme.manager.facts import parse_json, print_json
from tlsio.acme.manager.trouble import NO_TROUBLE, Trouble
from tlsio.acme.plans.delivery import deliver, is_delivered
from tlsio.acme.plans.hooks import run_hooks
from tlsio.acme.storage.keys import key_segment
from tlsio.model.errors import ConfigError, StoreError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from datetime import datetime

    from tlsio.acme.manager.certificate import Certificate
    from tlsio.acme.plans.plan import Plan
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["Deployment", "Deployments", "deployment_key", "load_deployment"]

_log = logging.getLogger("tlsio.acme")

_ANY_NUMBER = 1_000_000  # failures in an hour: no authority counts them


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is known of the deployments of one plan.

    Attributes:
        fingerprint: The certificate that is in place; None: nothing was noted.
        trouble: Failures since then.
    """

    fingerprint: str | None = None
    trouble: Trouble = NO_TROUBLE

    async def is_done(self, plan: Plan, certificate: Certificate) -> bool:
        """Tell whether this certificate is in place.

        Raises:
            OSError: a file of the plan cannot be read.
        """
        is_noted = not self.trouble.failures and self.fingerprint in (None, certificate.fingerprint)
        return is_noted and await is_delivered(plan, certificate)


class Deployments:
    """Deploys the certificates of one storage, and notes how that ended."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime], chance: random.Random) -> None:
        self._storage = storage
        self._clock = clock
        self._chance = chance

    async def load(self, name: str) -> Deployment:
        """As `load_deployment`."""
        return await load_deployment(self._storage, name, self._clock())

    async def begin(self, plan: Plan, certificate: Certificate, lock: Lock) -> Deployment:
        """Note a failure before there is one, since this process may not live to note it.

        Raises:
            StoreError: the storage failed.
        """
        noted = await self.load(plan.name)
        if plan.cert is None and not plan.deploy_hooks:
            await self._storage.delete(deployment_key(plan.name), lock=lock)
            return noted
        now = self._clock()
        wait = find_wait(noted.trouble.failures + 1, certificate.not_after - now, self._chance)
        trouble = noted.trouble.add(
            now, wait, _ANY_NUMBER, "ERR_ACME_INTERRUPTED", "A deployment was begun, and its process has ended since"
        )
        noted = replace(noted, trouble=trouble)
        await self._storage.store(deployment_key(plan.name), _write(plan, noted), lock=lock)
        return noted

    async def deploy(self, plan: Plan, certificate: Certificate, begun: Deployment) -> None:
        """Write the files and run the hooks.

        A cancelled call leaves what `begin` has noted.

        Raises:
            ConfigError: a hook failed; the others were run.
            OSError: a file cannot be written; no hook was run.
        """
        try:
            await deliver(plan, certificate)
            await run_hooks(plan.deploy_hooks, plan, is_deployed=True)
        except ConfigError as error:
            await self._note_failure(plan, begun, error.code, error.message, error.hint)
            raise
        except OSError as error:
            await self._note_failure(plan, begun, type(error).__name__, str(error), None)
            raise
        await self._note(plan, Deployment(certificate.fingerprint))

    async def _note_failure(self, plan: Plan, begun: Deployment, code: str, message: str, hint: str | None) -> None:
        await self._note(plan, replace(begun, trouble=replace(begun.trouble, code=code, message=message, hint=hint)))

    async def _note(self, plan: Plan, deployment: Deployment) -> None:
        if plan.cert is None and not plan.deploy_hooks:
            return
        try:
            await self._storage.store(deployment_key(plan.name), _write(plan, deployment))
        except StoreError as error:  # the result itself matters more, and the next call deploys again
            _log.warning("How the deployment of %s ended was not noted: %s", plan.name, error)


async def load_deployment(storage: Storage, name: str, now: datetime) -> Deployment:
    """Return what is noted of a plan; what cannot be read is nothing.

    Raises:
        StoreError: the storage failed.
    """
    data = await storage.load(deployment_key(name))
    found = parse_json(data).get("deployed")
    return Deployment(found if isinstance(found, str) else None, Trouble.read(data, now))


def deployment_key(name: str) -> str:
    """Return where the deployments of a plan are noted."""
    return f"deployments/{key_segment(name)}.json"


def _write(plan: Plan, deployment: Deployment) -> bytes:
    trouble = parse_json(deployment.trouble.write(plan.names)) if deployment.trouble.failures else {"names": list(plan.names)}
    return print_json({**trouble, "deployed": deployment.fingerprint})
