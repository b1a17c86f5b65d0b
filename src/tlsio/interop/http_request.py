"""Requests of the HTTP client, checked before anything is sent, and errors that name their URL."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable
from errno import errorcode
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

import h11

from tlsio.model.checks import check_bytes, check_choice, check_filled_text, wrong_type, wrong_value
from tlsio.model.errors import FetchError, TLSError, UsageTypeError, UsageValueError
from tlsio.trust.identity import to_lookup_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.model.checks import BytesLike

__all__ = ["Headers", "Method", "Origin", "Proxy", "Request", "Url", "failure", "make_request", "parse_proxy", "parse_url", "refusal"]

Method: TypeAlias = Literal["GET", "HEAD", "POST"]
Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"

_PORTS = {"http": 80, "https": 443}
_OWN_HEADERS = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)


class Origin(NamedTuple):
    """What may share a connection, and credentials."""

    scheme: str
    host: str
    port: int


class Url(NamedTuple):
    """A checked URL.

    Attributes:
        text: The whole, ASCII.
        host: A name or an address, without brackets.
        target: Path and query.
    """

    text: str
    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> Origin:
        """Scheme, host and port."""
        return Origin(self.scheme, self.host, self.port)

    @property
    def authority(self) -> str:
        """Host and port, as in CONNECT."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of Host, without the scheme's own port."""
        return _bracketed(self.host) if self.port == _PORTS[self.scheme] else self.authority


class Request(NamedTuple):
    """A checked request, without the headers that are decided here."""

    url: Url
    method: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | None


class Proxy(NamedTuple):
    """A proxy, and the headers that only it may see."""

    url: Url
    headers: tuple[tuple[bytes, bytes], ...]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_url(label: str, text: str) -> Url:
    """Check a URL. What cannot be sent in one line of a request is refused, not repaired.

    Raises:
        UsageValueError: not a URL of http or https with a host.
    """
    check_filled_text(label, text)
    # Passwords get into URLs, and messages get into logs.
    shown = "" if "@" in text or "%40" in text else f": {text!r:.200}"
    parts, port = _split(label, text, shown)
    if "@" in parts.netloc:
        raise wrong_value(label, "must not contain a user or password", hint="Send them in a header, such as Authorization.")
    host = to_lookup_name(parts.hostname or "", label)
    if ":" in host:
        try:
            host = str(ipaddress.IPv6Address(host))
        except ValueError:
            raise wrong_value(label, f"has an IPv6 address that cannot be read{shown}") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise wrong_value(
            label, f"has a path with other characters than ASCII, or spaces{shown}", hint="Percent-encode them: urllib.parse.quote."
        )
    number = _PORTS[parts.scheme] if port is None else port
    made = Url("", parts.scheme, host, number, target)
    return made._replace(text=f"{parts.scheme}://{made.host_header}{target}")


def _split(label: str, text: str, shown: str) -> tuple[Any, int | None]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its text has parts of the URL
        raise wrong_value(label, f"has a host or port that cannot be read{shown}") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or not text.isprintable() or set(parts.netloc) & set(" \\%"):
        raise wrong_value(label, f"must be a URL of http or https with a host{shown}")
    return parts, port


def parse_proxy(text: str) -> Proxy:
    """Read a proxy's URL, whose user and password become a header.

    Raises:
        UsageValueError: not a URL of http or https, or more than scheme, user, host and port. The
            message does not contain any of it.
    """
    scheme, _, rest = check_filled_text("proxy", text).partition("://")
    user, at, place = rest.removesuffix("/").rpartition("@")
    if not place or set(user + place) & set("/?#\\") or not text.isprintable():
        raise _wrong_proxy()
    try:
        url = parse_url("proxy", f"{scheme}://{place}")
    except UsageValueError:
        raise _wrong_proxy() from None
    if not at:
        return Proxy(url, ())
    name, _, password = user.partition(":")
    secret = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode())
    return Proxy(url, ((b"Proxy-Authorization", b"Basic " + secret),))


def _wrong_proxy() -> UsageValueError:
    return wrong_value(
        "proxy",
        "must be a URL of http or https with a host and without a path, such as http://user:password@host:3128",
        hint="Percent-encode special characters of the user and the password: urllib.parse.quote(password, safe='').",
    )


def make_request(url: str, method: str | None, headers: Headers, body: BytesLike | None) -> Request:
    """Check the arguments of a request."""
    content = None if body is None else check_bytes("body", body)
    how = check_choice("method", method or ("GET" if content is None else "POST"), ("GET", "HEAD", "POST"))
    if content is not None and how != "POST":
        raise UsageTypeError(f"body= is for POST, not for {how}", code="ERR_INCOMPATIBLE_OPTION_PAIR")
    content = b"" if content is None and how == "POST" else content
    return Request(parse_url("url", url), how, tuple(_check_headers(headers)), content)


def _check_headers(given: Any) -> Iterable[tuple[bytes, bytes]]:
    pairs = given.items() if hasattr(given, "items") else given
    if not isinstance(pairs, Iterable):
        raise wrong_type("headers", "a mapping of str to str, or pairs", given)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):  # noqa: PLR2004
            raise wrong_type("headers", "a mapping of str to str, or pairs", pair)
        name, value = pair
        if name.lower() in _OWN_HEADERS:
            raise UsageValueError(f"headers has {name!r:.80}, which is decided by the fetcher")
        try:
            # h11 checks what may stand in a header, line ends above all.
            h11.Request(method="GET", target="/", headers=[("Host", "h"), (name, value)])
        except (h11.LocalProtocolError, UnicodeEncodeError):
            raise UsageValueError(f"headers has {name!r:.80}, which cannot be sent: names are tokens, values visible ASCII") from None
        yield name.encode("ascii"), value.encode("ascii")


def failure(url: Url, error: Exception) -> FetchError:
    """Return the error for a failed connection, with the code and the hint of its cause."""
    code, hint = None, getattr(error, "hint", None)
    if isinstance(error, TLSError):
        code, text = error.code, error.message
    elif isinstance(error, OSError):
        code, text = errorcode.get(error.errno or 0), error.strerror or str(error)
    else:
        text = f"the response is not HTTP ({error!s:.200})"
        code = "ERR_FETCH_PROTOCOL"
    return FetchError(f"{url.text:.300} could not be fetched: {text}", url=url.text, host=url.host, code=code, hint=hint)


def refusal(url: Url, why: str, code: str, *, hint: str | None = None) -> FetchError:
    """Return the error for a response that is complete enough to be refused."""
    return FetchError(f"The response of {url.text:.300} was refused: {why}", url=url.text, host=url.host, code=code, hint=hint)
