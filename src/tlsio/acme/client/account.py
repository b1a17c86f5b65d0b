"""An account at an authority (RFC 8555 §7.1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlsio.trust.names import printable

if TYPE_CHECKING:
    from tlsio.acme.client.account_key import AccountKey
    from tlsio.acme.client.fields import Fields

__all__ = ["Account", "read_account"]

_MAX_CONTACTS = 20  # that are read; authorities accept ten
_STATUSES = frozenset({"valid", "deactivated", "revoked"})


@dataclass(frozen=True, slots=True)
class Account:
    """An account.

    Attributes:
        url: What names it to the authority.
        key: Signs its requests; its repr is not secret.
        status: `"valid"`, `"deactivated"` (by its owner) or `"revoked"` (by the authority).
        contact: Addresses such as `mailto:ada@example.com`. Authorities need not return them.
    """

    url: str
    key: AccountKey
    status: str = "valid"
    contact: tuple[str, ...] = field(default=())

    @property
    def is_usable(self) -> bool:
        """Whether the authority accepts its requests."""
        return self.status == "valid"


def read_account(fields: Fields, url: str, key: AccountKey) -> Account:
    """Read an account, without its contact if that is malformed.

    Raises:
        ACMEError: it has no valid status (`ERR_ACME_INVALID_RESPONSE`).
    """
    contact = fields.raw("contact")
    addresses = tuple(printable(one) for one in contact[:_MAX_CONTACTS] if isinstance(one, str)) if isinstance(contact, list) else ()
    return Account(url, key, fields.choice("status", _STATUSES), addresses)
