"""Orders and authorizations as an authority returns them (RFC 8555 §7.1.3, §7.1.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from tlsio.acme.client.problem import invalid_answer, read_problem
from tlsio.model.errors import ACMEError
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tlsio.acme.client.fields import Fields

__all__ = ["Authorization", "Identifier", "Offer", "Order", "identify", "read_authorization", "read_offer", "read_order"]

# §7.1.6: the states, and those that a client waits in.
_ORDER = frozenset({"pending", "ready", "processing", "valid", "invalid"})
_AUTHORIZATION = frozenset({"pending", "valid", "invalid", "deactivated", "expired", "revoked"})
_CHALLENGE = frozenset({"pending", "processing", "valid", "invalid"})
# §8.3: base64url alone. A token becomes a path, and a file in a storage or of a web server, whose
# name has 255 bytes.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MAX_AUTHORIZATIONS = 200  # of an order; authorities accept 100 names
_MAX_OFFERS = 50  # of an authorization; there are six types of challenges


@dataclass(frozen=True, slots=True)
class Identifier:
    """What a certificate is for.

    Attributes:
        type: `"dns"`, or `"ip"` (RFC 8738).
        value: An A-label in lower case, with `*.` for a wildcard; or an address.
    """

    type: str
    value: str

    def __str__(self) -> str:
        return printable(self.value)  # an authority may return anything


@dataclass(frozen=True, slots=True)
class Order:
    """An order.

    Attributes:
        url: What names it.
        status: `"pending"`, `"ready"`, `"processing"`, `"valid"` or `"invalid"`.
        identifiers: What it is for.
        authorizations: URLs.
        finalize: The URL that takes the CSR.
        certificate: The URL of the certificate; None until the order is valid.
        expires: When the authority gives it up, UTC; None if it does not say.
        error: Why it is invalid; None if it is not, or the authority does not say.
        retry_after: Seconds that the authority wants the client to wait before it asks again.
    """

    url: str
    status: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None
    expires: datetime | None
    error: ACMEError | None
    retry_after: float | None = None

    def failure(self) -> ACMEError:
        """Return the error for an invalid order."""
        return _failure(
            self.error.message if self.error else f"The order {self.url} is invalid, and the authority does not say why",
            self.error,
            code="ERR_ACME_ORDER_INVALID",
            hint="It has expired, or an authorization is not valid any more: order again.",
            subproblems=self.error.subproblems if self.error else (),
            url=self.url,
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to prove an identifier: a challenge as the authority offers it (§8).

    Attributes:
        type: Such as `"http-01"`.
        url: Takes the notice that the authority may look.
        status: `"pending"`, `"processing"`, `"valid"` or `"invalid"`.
        token: Random, of the authority.
        error: Why it is invalid; None if it is not.
    """

    type: str
    url: str
    status: str
    token: str
    error: ACMEError | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """The right to certificates for an identifier.

    Attributes:
        url: What names it.
        identifier: Without `*.`.
        status: `"pending"`, `"valid"`, `"invalid"`, `"deactivated"`, `"expired"` or `"revoked"`.
        is_wildcard: It is for `*.` and the identifier.
        offers: Ways to prove it. Those that cannot be understood are left out.
        expires: When it ends, UTC; None if the authority does not say.
        retry_after: As of `Order`.
    """

    url: str
    identifier: Identifier
    status: str
    is_wildcard: bool
    offers: tuple[Offer, ...]
    expires: datetime | None
    retry_after: float | None = None

    @property
    def error(self) -> ACMEError | None:
        """Why it is invalid; None if the authority does not say."""
        return next((one.error for one in self.offers if one.error is not None), None)

    def failure(self) -> ACMEError:
        """Return the error for an authorization that is not valid."""
        reason = self.error.message.partition(": ")[2] if self.error else f"it is {self.status}"
        return _failure(
            f"The authority could not verify {self.identifier}: {reason}",
            self.error,
            code="ERR_ACME_CHALLENGE_FAILED",
            subproblems=(self.error,) if self.error else (),
            identifier=self.identifier.value,
            url=self.url,
        )


def identify(name: str) -> Identifier:
    """Return the identifier of a name (an A-label, a wildcard) or of an IP address."""
    try:
        return Identifier("ip", str(ip_address(name)))  # RFC 8738 §3: RFC 5952's form of IPv6
    except ValueError:
        return Identifier("dns", name.lower())


def read_order(fields: Fields, url: str, *, retry_after: float | None = None) -> Order:
    """Read an order.

    Raises:
        ACMEError: it is not one (`ERR_ACME_INVALID_RESPONSE`).
    """
    authorizations = fields.urls("authorizations")
    if not 0 < len(authorizations) <= _MAX_AUTHORIZATIONS:
        raise invalid_answer(fields.url, f"it has {len(authorizations)} authorizations, and 1 to {_MAX_AUTHORIZATIONS} are expected")
    error = fields.optional_object("error")
    return Order(
        url=url,
        status=fields.choice("status", _ORDER),
        identifiers=tuple(_read_identifier(one) for one in fields.objects("identifiers")),
        authorizations=authorizations,
        finalize=fields.url_of("finalize"),
        certificate=fields.optional_url("certificate"),
        expires=fields.optional_instant("expires"),
        error=None if error is None else read_problem(error.members, "The authority refused the order", url=url),
        retry_after=retry_after,
    )


def read_authorization(fields: Fields, url: str, *, retry_after: float | None = None) -> Authorization:
    """Read an authorization.

    Raises:
        ACMEError: it is not one (`ERR_ACME_INVALID_RESPONSE`).
    """
    identifier = _read_identifier(fields.object("identifier"))
    return Authorization(
        url=url,
        identifier=identifier,
        status=fields.choice("status", _AUTHORIZATION),
        is_wildcard=fields.flag("wildcard"),
        offers=tuple(_understood(fields.objects("challenges")[:_MAX_OFFERS])),
        expires=fields.optional_instant("expires"),
        retry_after=retry_after,
    )


def read_offer(fields: Fields) -> Offer:
    """Read a challenge.

    Raises:
        ACMEError: it is not one (`ERR_ACME_INVALID_RESPONSE`).
    """
    kind, error = fields.text("type"), fields.optional_object("error")
    token = fields.text("token")
    if not _TOKEN.fullmatch(token):
        raise invalid_answer(fields.url, f"it has the token {printable(token, 60)!r}, which is not base64url")
    what = f"The challenge {printable(kind, 40)} failed"
    return Offer(
        type=kind,
        url=fields.url_of("url"),
        status=fields.choice("status", _CHALLENGE),
        token=token,
        error=None if error is None else read_problem(error.members, what, url=fields.url),
    )


def _failure(message: str, cause: ACMEError | None, *, hint: str | None = None, **details: Any) -> ACMEError:
    """Return an error that has what the authority says of its cause."""
    if cause is None:
        return ACMEError(message, hint=hint, **details)
    return ACMEError(message, hint=cause.hint, problem=cause.problem, status=cause.status, detail=cause.detail, **details)


def _understood(challenges: Iterable[Fields]) -> Iterable[Offer]:
    """Yield the types of challenges that have URL, status and token; new types need not."""
    known = ("http-01", "dns-01", "tls-alpn-01")  # a tuple: what is compared may be anything
    for fields in challenges:
        if fields.raw("type") in known:
            yield read_offer(fields)


def _read_identifier(fields: Fields) -> Identifier:
    kind, value = fields.text("type"), fields.text("value")
    if kind not in {"dns", "ip"}:
        raise invalid_answer(fields.url, f"it has an identifier of the type {printable(kind, 40)!r}")
    found = identify(value)
    if found.type != kind:
        raise invalid_answer(fields.url, f"it has the identifier {printable(value, 80)!r}, which is not of the type {kind!r}")
    return found
