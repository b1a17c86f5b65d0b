"""The account of an issuer: made once by all processes, and kept in the storage.

`accounts/<issuer>/key.pem` is written before the account is made, so that a crash loses no account.
While the key changes, the new one is in `new-key.pem`: the authority knows which of both is valid.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tlsio.acme.client.account import Account
from tlsio.acme.client.account_key import AccountKey
from tlsio.acme.client.turns import Turns
from tlsio.interop.http_request import parse_url
from tlsio.model.errors import ACMEError, ConfigError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tlsio.acme.client.account_key import ExternalAccount
    from tlsio.acme.client.client import Client
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = ["StoredAccount"]

_log = logging.getLogger("tlsio")
# Seconds for another process that makes the account at the moment, which takes a few requests.
_LOCK_TIMEOUT = 300.0


class StoredAccount:
    """Finds, makes and changes the account of one issuer. Calls may overlap."""

    def __init__(
        self,
        client: Client,
        storage: Storage,
        issuer: str,
        *,
        contact: Sequence[str],
        terms_agreed: bool,
        external_account: ExternalAccount | None,
    ) -> None:
        """Take the place of the account, and what a new one is made of."""
        self._client = client
        self._storage = storage
        self._folder = f"accounts/{issuer}"
        self._lock_name = f"account-{issuer}"
        self._contact = tuple(contact)
        self._terms_agreed = terms_agreed
        self._external_account = external_account
        self._account: Account | None = None
        self._turns = Turns()

    async def get(self) -> Account:
        """Return the account, and make it if there is none.

        Raises:
            ConfigError: the terms are not agreed to, or an external account is missing.
            StoreError: the storage failed.
            ACMEError: the authority refused.
            FetchError: it did not answer.
        """
        return await self._turns.take(self._get) if self._account is None else self._account

    async def _get(self) -> Account:
        if self._account is None:
            found = await self._load()
            if found is None or (self._contact and found.contact != self._contact):
                async with self._locked() as lock:
                    found = await self._settle(await self._load(), lock)
            self._account = found
        return self._account

    async def after_refusal(self, account: Account, error: ACMEError) -> Account | None:
        """Return the account to try again with after the authority refused a request.

        That is another one if another process has changed the key, and a new one if the authority
        has forgotten it; None: the account is not the cause.
        """
        async with self._turns.lock:
            self._account = None
            found = await self._load()
            if found is None:  # its key is being changed, or a process has died meanwhile
                async with self._locked() as lock:
                    found = await self._settle(await self._load(), lock)
            if found.key.thumbprint == account.key.thumbprint:
                if error.problem != "accountDoesNotExist":
                    return None
                async with self._locked() as lock:
                    _log.warning("%s does not know the account %s: registering it again", self._client.directory_url, account.url)
                    found = await self._register(found.key, lock)
            self._account = found
            return found

    async def change_key(self) -> Account:
        """Give the account a new key, for all processes."""
        async with self._turns.lock, self._locked() as lock:
            account = await self._settle(await self._load(), lock)
            self._account = None  # if this fails, the authority may have changed the key all the same
            new = AccountKey.generate()
            await self._storage.store(f"{self._folder}/new-key.pem", new.pem, lock=lock)
            changed = await self._client.change_key(account, new)
            self._account = await self._adopt(changed, lock)
            return self._account

    async def deactivate(self) -> Account:
        """Give up the account for ever, and remove it from the storage."""
        async with self._turns.lock, self._locked() as lock:
            key = await self._load_key("key.pem")
            if key is None:
                raise ACMEError(
                    f"There is no account of {self._client.directory_url} in the storage",
                    code="ERR_ACME_ACCOUNT_DOES_NOT_EXIST",
                    problem="accountDoesNotExist",
                )
            present = await self._load() or await self._find(lock) or await self._client.find_account(key)
            account = await self._client.deactivate_account(present)
            self._account = None
            for name in ("account.json", "key.pem", "new-key.pem"):
                await self._storage.delete(f"{self._folder}/{name}", lock=lock)
            return account

    # --- with the lock ---

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[Lock]:
        waiting = asyncio.timeout(_LOCK_TIMEOUT)
        try:
            async with waiting, self._storage.lock(self._lock_name) as lock:
                waiting.reschedule(None)
                yield lock
        except TimeoutError:
            if not waiting.expired():
                raise
            raise StoreError(
                f"The lock {self._lock_name!r} was not free within {_LOCK_TIMEOUT:.0f} seconds",
                code="ERR_ACME_LOCK_TIMEOUT",
                hint="Another process changes the account, or hangs.",
            ) from None

    async def _settle(self, account: Account | None, lock: Lock) -> Account:
        """Return the account with the present contact: found, or made."""
        if account is None:
            account = await self._recover(lock)
        if self._contact and account.contact != self._contact:
            await self._client.update_account(account, self._contact)
            account = await self._save(account, self._contact, lock)
        return account

    async def _recover(self, lock: Lock) -> Account:
        """Return the account of a stored key; without one, a new account."""
        found = await self._find(lock)
        if found is not None:
            return found
        key = await self._load_key("key.pem")
        if key is None:
            key = AccountKey.generate()
            await self._storage.store(f"{self._folder}/key.pem", key.pem, lock=lock)
        made = await self._register(key, lock)
        await self._storage.delete(f"{self._folder}/new-key.pem", lock=lock)  # of no account
        return made

    async def _find(self, lock: Lock) -> Account | None:
        """Return the account of a stored key; None: the authority knows no such key."""
        for name in ("new-key.pem", "key.pem"):  # the first one if the key was changing when a process died
            key = await self._load_key(name)
            if key is None:
                continue
            try:
                found = await self._client.find_account(key)
            except ACMEError as error:
                if error.problem != "accountDoesNotExist":
                    raise
            else:
                return await self._adopt(found, lock)
        return None

    async def _register(self, key: AccountKey, lock: Lock) -> Account:
        made = await self._client.new_account(
            key, contact=self._contact, terms_agreed=self._terms_agreed, external_account=self._external_account
        )
        _log.info("the account at %s is %s", self._client.directory_url, made.url)
        return await self._save(made, self._contact or made.contact, lock)

    async def _adopt(self, account: Account, lock: Lock) -> Account:
        """Keep an account whose key may be that of `new-key.pem`."""
        await self._storage.store(f"{self._folder}/key.pem", account.key.pem, lock=lock)
        account = await self._save(account, account.contact, lock)
        await self._storage.delete(f"{self._folder}/new-key.pem", lock=lock)
        return account

    async def _save(self, account: Account, contact: Sequence[str], lock: Lock) -> Account:
        if not account.is_usable:
            raise ACMEError(
                f"The account {account.url} is {account.status}",
                code="ERR_ACME_UNAUTHORIZED",
                hint=f"Remove {self._folder} from the storage: then a new account is made.",
                problem="unauthorized",
            )
        # What we asked for: authorities need not return contacts.
        facts = {"url": account.url, "contact": list(contact)}
        await self._storage.store(f"{self._folder}/account.json", json.dumps(facts, indent=2).encode() + b"\n", lock=lock)
        return Account(account.url, account.key, account.status, tuple(contact))

    # --- what is stored ---

    async def _load(self) -> Account | None:
        """Return the stored account; None if there is none, or a part is missing or broken."""
        key = await self._load_key("key.pem")
        data = await self._storage.load(f"{self._folder}/account.json")
        if key is None or data is None or await self._storage.load(f"{self._folder}/new-key.pem") is not None:
            return None
        try:
            facts: Any = json.loads(data)
            contact = facts.get("contact") or []
            return Account(parse_url("url", facts["url"]).text, key, "valid", tuple(str(one) for one in contact))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError, UsageError):
            _log.warning("%s/account.json cannot be read: the account is looked up by its key", self._folder)
            return None

    async def _load_key(self, name: str) -> AccountKey | None:
        data = await self._storage.load(f"{self._folder}/{name}")
        try:
            return None if data is None else AccountKey(data)
        except (ConfigError, UsageError) as error:
            raise ConfigError(
                f"The account's key {self._folder}/{name} in the storage cannot be used: {error.message}",
                code=error.code,
                hint="Restore it, or remove it: then a new account is made.",
            ) from None
