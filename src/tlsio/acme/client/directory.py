"""Where an authority answers what, and what it says of itself (RFC 8555 §7.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.trust.names import printable

if TYPE_CHECKING:
    from tlsio.acme.client.fields import Fields

__all__ = ["Directory", "read_directory"]

_MAX_DESCRIPTION = 300  # characters
_MAX_ITEMS = 50  # of a list; Let's Encrypt has four profiles


@dataclass(frozen=True, slots=True)
class Directory:
    """An authority's URLs, and its metadata.

    Attributes:
        new_nonce: Gives nonces.
        new_account: Makes and finds accounts.
        new_order: Takes orders.
        revoke_cert: Revokes certificates.
        key_change: Gives an account another key.
        renewal_info: Says when to renew (RFC 9773); None: this authority does not.
        terms_of_service: The page with its terms; None: there are none.
        website: About the authority, for people.
        caa_identities: The domains that CAA records name it by.
        external_account_required: An account needs `external_account=`.
        profiles: Kinds of certificates by name, with the authority's descriptions.
    """

    new_nonce: str
    new_account: str
    new_order: str
    revoke_cert: str
    key_change: str
    renewal_info: str | None
    terms_of_service: str | None
    website: str | None
    caa_identities: tuple[str, ...]
    external_account_required: bool
    profiles: dict[str, str]


def read_directory(fields: Fields) -> Directory:
    """Read a directory; members of `meta` are for people, and wrong ones are ignored.

    Raises:
        ACMEError: a URL is missing, or is not one (`ERR_ACME_INVALID_RESPONSE`).
    """
    meta = fields.optional_object("meta")
    terms = meta.raw("termsOfService") if meta else None
    website = meta.raw("website") if meta else None
    identities = meta.raw("caaIdentities") if meta else None
    profiles = meta.raw("profiles") if meta else None
    return Directory(
        new_nonce=fields.url_of("newNonce"),
        new_account=fields.url_of("newAccount"),
        new_order=fields.url_of("newOrder"),
        revoke_cert=fields.url_of("revokeCert"),
        key_change=fields.url_of("keyChange"),
        renewal_info=fields.optional_url("renewalInfo"),
        terms_of_service=_describe(terms) or None,
        website=_describe(website) or None,
        caa_identities=tuple(filter(None, map(_describe, identities[:_MAX_ITEMS]))) if isinstance(identities, list) else (),
        external_account_required=meta is not None and meta.flag("externalAccountRequired"),
        profiles={_describe(name): _describe(text) for name, text in list(profiles.items())[:_MAX_ITEMS]}
        if isinstance(profiles, dict)
        else {},
    )


def _describe(text: object) -> str:
    return printable(text, _MAX_DESCRIPTION) if isinstance(text, str) else ""
