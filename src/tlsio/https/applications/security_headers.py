"""Headers by which browsers restrict what a page can do: the set of Helmet 8, with its defaults.

`Strict-Transport-Security` is not among them: the server sends it, if asked for (`hsts=`), since it
knows when it would do harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from tlsio.model.checks import check_bool, wrong_type, wrong_value
from tlsio.model.errors import UsageTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Unpack

    from tlsio.https.asgi import App, Message, Receive, Scope, Send

__all__ = ["SecurityHeaders", "SecurityHeadersOptions", "WSGISecurityHeaders"]

_CSP = {
    "default-src": "'self'",
    "base-uri": "'self'",
    "font-src": "'self' https: data:",
    "form-action": "'self'",
    "frame-ancestors": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "script-src": "'self'",
    "script-src-attr": "'none'",
    "style-src": "'self' https: 'unsafe-inline'",
    "upgrade-insecure-requests": "",
}
_DEFAULTS = {
    "content_security_policy": "",  # of _CSP
    "cross_origin_opener_policy": "same-origin",
    "cross_origin_resource_policy": "same-origin",
    "origin_agent_cluster": "?1",
    "referrer_policy": "no-referrer",
    "x_content_type_options": "nosniff",
    "x_dns_prefetch_control": "off",
    "x_download_options": "noopen",
    "x_frame_options": "SAMEORIGIN",
    "x_permitted_cross_domain_policies": "none",
    "x_xss_protection": "0",
}
_REMOVED = "x-powered-by"


class SecurityHeadersOptions(TypedDict, total=False):
    """The headers, each by its name: another value, or None for none.

    `content_security_policy` can be a mapping of directives too, which replace those of the default
    policy; None leaves a directive out. `remove_x_powered_by=False` keeps that header.
    """

    content_security_policy: str | Mapping[str, str | None] | None
    cross_origin_opener_policy: str | None
    cross_origin_resource_policy: str | None
    origin_agent_cluster: str | None
    referrer_policy: str | None
    x_content_type_options: str | None
    x_dns_prefetch_control: str | None
    x_download_options: str | None
    x_frame_options: str | None
    x_permitted_cross_domain_policies: str | None
    x_xss_protection: str | None
    remove_x_powered_by: bool


class SecurityHeaders:
    """ASGI middleware: adds the headers to each response that does not have them itself."""

    def __init__(self, app: App, **options: Unpack[SecurityHeadersOptions]) -> None:
        """Wrap `app`.

        Raises:
            UsageError: a header is unknown, or its value cannot be one.
        """
        self._app = app
        pairs, self._removes = _headers(options)
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._complete(message.get("headers", ()))}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _complete(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in given if not (self._removes and name.lower() == _REMOVED.encode())]
        names = {name.lower() for name, _ in kept}
        return [*kept, *(one for one in self._headers if one[0] not in names)]


class WSGISecurityHeaders:
    """WSGI middleware: the same."""

    def __init__(self, app: Callable[..., Iterable[bytes]], **options: Unpack[SecurityHeadersOptions]) -> None:
        """Wrap `app`.

        Raises:
            UsageError: a header is unknown, or its value cannot be one.
        """
        self._app = app
        self._headers, self._removes = _headers(options)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""

        def start_with_headers(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            kept = [(name, value) for name, value in headers if not (self._removes and name.lower() == _REMOVED)]
            names = {name.lower() for name, _ in kept}
            return start_response(status, [*kept, *(one for one in self._headers if one[0] not in names)], *exc_info)

        return self._app(environ, start_with_headers)


def _headers(options: SecurityHeadersOptions) -> tuple[list[tuple[str, str]], bool]:
    """Return the headers to add, and whether `x-powered-by` is removed."""
    given: dict[str, Any] = dict(options)
    removes = check_bool("remove_x_powered_by", given.pop("remove_x_powered_by", True))
    unknown = given.keys() - _DEFAULTS.keys()
    if unknown:
        raise UsageTypeError(
            f"Unknown headers: {', '.join(sorted(unknown))}",
            hint="The server sends Strict-Transport-Security: hsts=True." if "strict_transport_security" in unknown else None,
        )
    values = {name: _value(name, value) for name, value in {**_DEFAULTS, "content_security_policy": {}, **given}.items()}
    return [(name.replace("_", "-"), value) for name, value in values.items() if value is not None], removes


def _value(name: str, given: object) -> str | None:
    if given is None:
        return None
    if isinstance(given, Mapping) and name == "content_security_policy":
        directives = {**_CSP, **given}
        given = ";".join(f"{one} {value}".rstrip() for one, value in directives.items() if value is not None)
    if not isinstance(given, str):
        raise wrong_type(name, "a string or None", given)
    if not given.isascii() or not given.isprintable():
        raise wrong_value(name, "has a character that a header cannot have")
    return given
