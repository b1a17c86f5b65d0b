"""Proves to the authority that the names of an order are ours, with the solvers at hand."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tlsio.acme.client.problem import invalid_answer
from tlsio.model.errors import ACMEError, TLSError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlsio.acme.client.account import Account
    from tlsio.acme.client.challenge import Challenge
    from tlsio.acme.client.client import Client
    from tlsio.acme.client.order import Authorization, Identifier, Offer, Order
    from tlsio.acme.solvers.solver import Solver

__all__ = ["Validation"]

_log = logging.getLogger("tlsio")
_AT_ONCE = 10  # authorizations; a certificate has 100 names at most


class Validation:
    """Validates the authorizations of an issuer's orders for one certificate.

    It remembers which solvers have failed for which names, so a later order uses others.
    """

    def __init__(self, client: Client, solvers: Sequence[Solver]) -> None:
        """Take the solvers in the order in which they are tried."""
        self._client = client
        self._solvers = solvers
        self._failed: set[tuple[Identifier, bool, int]] = set()
        self._has_alternatives = True

    @property
    def may_order_again(self) -> bool:
        """Whether each name that was refused has a solver that was not tried."""
        return self._has_alternatives

    async def validate(self, account: Account, order: Order) -> None:
        """Validate all authorizations of an order, several at a time.

        Raises:
            ACMEError: some names could not be verified (`ERR_ACME_CHALLENGE_FAILED`), or cannot be
                with these solvers (`ERR_ACME_NO_CHALLENGE`); `subproblems` has one of each.
            TLSError: the authority or the storage could not be reached.
        """
        slots = asyncio.Semaphore(_AT_ONCE)
        self._has_alternatives = True

        async def prove(url: str) -> TLSError | None:
            async with slots:
                try:
                    await self._prove(account, order, url)
                except TLSError as error:
                    return error
                return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(prove(url)) for url in order.authorizations]
        errors = [error for task in tasks if (error := task.result()) is not None]
        if errors:
            raise _combine(errors)

    async def _prove(self, account: Account, order: Order, url: str) -> None:
        authorization = await self._client.authorization(account, url)
        self._check_name(authorization, order)
        if authorization.status == "valid":
            return
        if authorization.status != "pending":
            raise ACMEError(
                f"The authorization for {authorization.identifier} is {authorization.status}",
                code="ERR_ACME_AUTHORIZATION",
                hint="It has ended: order again.",
                identifier=authorization.identifier.value,
                url=url,
            )
        try:
            await self._solve(account, authorization)
        except TLSError as error:
            if error.code != "ERR_ACME_CHALLENGE_FAILED":  # then it is not pending any more
                await self._give_up(account, url)
            raise

    async def _solve(self, account: Account, authorization: Authorization) -> None:
        """Try solvers until one could show its answer, and the authority has looked."""
        unseen: TLSError | None = None
        for number, solver, offer in list(self._candidates(authorization)):
            challenge = self._client.challenge(account, authorization, offer)
            self._failed.add((authorization.identifier, authorization.is_wildcard, number))
            try:
                unseen = await _present(solver, challenge)
                if unseen is not None:  # the authority has not looked: another solver may show its answer
                    continue
                await self._notify(account, authorization, offer)
                await self._client.wait_for_authorization(account, authorization.url)
            except ACMEError as error:
                is_last = not any(self._candidates(authorization))
                # The last failure is the caller's to report.
                _log.log(
                    logging.DEBUG if is_last else logging.WARNING, "%s for %s failed: %s", solver.type, authorization.identifier, error
                )
                self._has_alternatives &= not is_last
                raise
            finally:
                await _clean_up(solver, challenge)
            self._failed.discard((authorization.identifier, authorization.is_wildcard, number))
            return
        self._has_alternatives = False
        raise unseen or self._no_challenge(authorization)

    async def _notify(self, account: Account, authorization: Authorization, offer: Offer) -> None:
        """Notify the authority that it may look."""
        try:
            await self._client.respond(account, offer)
        except ACMEError:
            # It may have arrived although its answer was lost: it is sent again, and refused then.
            if (await self._client.authorization(account, authorization.url)).status == "pending":
                raise

    def _candidates(self, authorization: Authorization) -> Iterable[tuple[int, Solver, Offer]]:
        """Yield solvers that were not tried, with what the authority offers for them."""
        offers = {offer.type: offer for offer in reversed(authorization.offers)}
        identifier = authorization.identifier
        for number, solver in enumerate(self._solvers):
            can = solver.can_solve(identifier.value, is_wildcard=authorization.is_wildcard, is_ip=identifier.type == "ip")
            if can and solver.type in offers and (identifier, authorization.is_wildcard, number) not in self._failed:
                yield number, solver, offers[solver.type]

    def _check_name(self, authorization: Authorization, order: Order) -> None:
        """Refuse an authorization for a name that was not ordered: solvers would publish it."""
        star = "*." if authorization.is_wildcard else ""
        if f"{star}{authorization.identifier.value}" not in {one.value for one in order.identifiers}:
            raise invalid_answer(authorization.url, f"it is for {star}{authorization.identifier}, which the order is not for")

    async def _give_up(self, account: Account, url: str) -> None:
        """Deactivate an authorization that will not be used: pending ones count."""
        try:
            if (await self._client.authorization(account, url)).status == "pending":
                await self._client.deactivate_authorization(account, url)
        except TLSError as error:
            _log.debug("the authorization %s could not be deactivated: %s", url, error)

    def _no_challenge(self, authorization: Authorization) -> ACMEError:
        kind = "an IP address" if authorization.identifier.type == "ip" else "a wildcard" if authorization.is_wildcard else "a name"
        offered = ", ".join(sorted(offer.type for offer in authorization.offers)) or "nothing that is known here"
        has = ", ".join(sorted({solver.type for solver in self._solvers})) or "none"
        return ACMEError(
            f"{authorization.identifier} cannot be verified: for {kind} the authority offers {offered}, and the solvers are for {has}",
            code="ERR_ACME_NO_CHALLENGE",
            hint="A wildcard needs dns-01; an IP address needs http-01 or tls-alpn-01.",
            identifier=authorization.identifier.value,
            url=authorization.url,
        )


async def _present(solver: Solver, challenge: Challenge) -> TLSError | None:
    """Present an answer, and return why that failed; a solver may be anything that users write."""
    try:
        await solver.present(challenge)
    except TLSError as error:
        found = error
    except Exception as error:  # noqa: BLE001
        found = ACMEError(
            f"The solver of {challenge.type} failed for {challenge.identifier}: {type(error).__name__}: {error}",
            code="ERR_ACME_SOLVER",
            identifier=challenge.identifier,
        )
        found.__cause__ = error
    else:
        return None
    _log.warning("the answer of %s for %s could not be shown: %s", challenge.type, challenge.identifier, found)
    return found


async def _clean_up(solver: Solver, challenge: Challenge) -> None:
    try:
        await solver.clean_up(challenge)
    except Exception:  # noqa: BLE001 - it never hides what came of the challenge
        _log.exception("the answer of %s for %s could not be removed", challenge.type, challenge.identifier)


def _combine(errors: list[TLSError]) -> TLSError:
    """Return one error for those of several names."""
    problems = [error for error in errors if isinstance(error, ACMEError)]
    if len(errors) == 1 or len(problems) < len(errors):
        return next((error for error in errors if not isinstance(error, ACMEError)), errors[0])
    first = problems[0]
    waits = [error.retry_after for error in problems if error.retry_after is not None]
    return ACMEError(
        f"{len(problems)} names could not be verified: {'; '.join(error.message for error in problems[:5])}",
        code=first.code,
        hint=first.hint,
        problem=first.problem if all(error.problem == first.problem for error in problems) else "compound",
        status=first.status,
        retry_after=max(waits, default=None),
        subproblems=tuple(problems),
        url=first.url,
    )
