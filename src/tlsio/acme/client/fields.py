"""What an authority says in JSON, taken only as the type that it should be."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tlsio.acme.client.problem import invalid_answer
from tlsio.interop.http_request import parse_url
from tlsio.model.errors import UsageError
from tlsio.trust.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tlsio.model.errors import ACMEError

__all__ = ["Fields", "check_url"]

_MAX_TEXT = 2048  # characters; longer ones than any URL of an authority
_MAX_ITEMS = 1000  # of a list; authorities allow 100 names
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")  # RFC 3339 §5.6


_T = TypeVar("_T")


class Fields:
    """The members of a JSON object. A member that is null is one that is missing.

    Every method raises an `ACMEError` (`ERR_ACME_INVALID_RESPONSE`) for a value of another type.
    """

    def __init__(self, members: dict[str, Any], url: str, *, allow_http: bool, place: str = "") -> None:
        """Take the members of an object that came from `url`; `place` is for messages."""
        self.members = members
        self.url = url
        self._allow_http = allow_http
        self._place = place

    @classmethod
    def parse(cls, body: bytes, url: str, *, allow_http: bool) -> Fields:
        """Read a JSON object."""
        try:
            value = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):  # RecursionError: nested too deeply
            raise invalid_answer(url, "it is not JSON, or it is cut off") from None
        if not isinstance(value, dict):
            raise invalid_answer(url, f"it is JSON, but not an object: {type(value).__name__}")
        return cls(value, url, allow_http=allow_http)

    def raw(self, name: str) -> Any:
        """Return a member whatever its type is, None if it is missing."""
        return self.members.get(name)

    def text(self, name: str) -> str:
        """Return a text that has to be there."""
        return self._must(name, self.optional_text)

    def optional_text(self, name: str) -> str | None:
        """Return a text, None if it is missing."""
        return self._check_text(name, self.members.get(name))

    def choice(self, name: str, choices: Collection[str]) -> str:
        """Return one of a few words."""
        word = self.text(name)
        if word not in choices:
            raise self._wrong(name, f"must be {' or '.join(sorted(choices))}, and is {printable(word, 60)!r}")
        return word

    def url_of(self, name: str) -> str:
        """Return a URL that has to be there."""
        return self._must(name, self.optional_url)

    def optional_url(self, name: str) -> str | None:
        """Return a URL that requests may be sent to, None if it is missing."""
        text = self.optional_text(name)
        return None if text is None else check_url(text, self.url, allow_http=self._allow_http)

    def urls(self, name: str) -> tuple[str, ...]:
        """Return a list of URLs, each once."""
        found = (self._check_text(name, one) for one in self._items(name))
        return tuple(dict.fromkeys(check_url(one or "", self.url, allow_http=self._allow_http) for one in found))

    def flag(self, name: str) -> bool:
        """Return a truth value, False if it is missing."""
        value = self.members.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "must be true or false")
        return bool(value)

    def optional_instant(self, name: str) -> datetime | None:
        """Return an instant in UTC, None if it is missing."""
        text = self.optional_text(name)
        if text is None:
            return None
        with suppress(ValueError, OverflowError):  # the 31st of February; year 1 at another offset
            if _INSTANT.fullmatch(text):
                return datetime.fromisoformat(text.upper()).astimezone(UTC)
        raise self._wrong(name, f"must be a time of RFC 3339, and is {printable(text, 60)!r}")

    def object(self, name: str) -> Fields:
        """Return an object that has to be there."""
        return self._must(name, self.optional_object)

    def optional_object(self, name: str) -> Fields | None:
        """Return an object, None if it is missing."""
        value = self.members.get(name)
        return None if value is None else self._check_object(name, value)

    def objects(self, name: str) -> tuple[Fields, ...]:
        """Return a list of objects, empty if it is missing."""
        return tuple(self._check_object(name, one) for one in self._items(name))

    def _check_object(self, name: str, value: Any) -> Fields:
        if not isinstance(value, dict):
            raise self._wrong(name, "must be an object")
        return Fields(value, self.url, allow_http=self._allow_http, place=f"{self._place}{name}.")

    def _check_text(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "must be a text")
        if len(value) > _MAX_TEXT:
            raise self._wrong(name, f"has more than {_MAX_TEXT} characters")
        return value

    def _items(self, name: str) -> list[Any]:
        value = self.members.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, "must be a list")
        if len(value) > _MAX_ITEMS:
            raise self._wrong(name, f"has more than {_MAX_ITEMS} items")
        return value

    def _must(self, name: str, read: Callable[[str], _T | None]) -> _T:
        value = read(name)
        if value is None:
            raise self._wrong(name, "is missing")
        return value

    def _wrong(self, name: str, why: str) -> ACMEError:
        return invalid_answer(self.url, f'"{self._place}{name}" {why}')


def check_url(text: str, source: str, *, allow_http: bool) -> str:
    """Return a URL of an authority's answer, or of its redirect, as it will be requested.

    Raises:
        ACMEError: it is not https (`ERR_ACME_INVALID_RESPONSE`). Plain http is accepted only if
            the directory was fetched by it.
    """
    shown = "something with an @" if "@" in text else repr(printable(text, 120))  # a password, perhaps
    try:
        url = parse_url("it", text)
    except (UsageError, ValueError):
        raise invalid_answer(source, f"it has {shown} in the place of a URL of https") from None
    if url.scheme != "https" and not allow_http:
        raise invalid_answer(source, f"it has the URL {shown}, which is not https")
    return url.text


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
