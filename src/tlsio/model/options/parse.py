"""Checks the options of contexts, servers and client connections once, before they are used.

An unknown option raises an error that names the closest one. None means that an option was not
given, except for times and limits, where it means no limit.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tlsio.model.checks import wrong_value
from tlsio.model.errors import UsageTypeError
from tlsio.model.options.connect import ConnectOptions
from tlsio.model.options.context import CLIENT_CONTEXT_CHECKS, CONTEXT_CHECKS, ContextOptions, make_context
from tlsio.model.options.option import Check, checks_of, unlimited
from tlsio.model.options.server import ServerOptions

__all__ = ["parse_connect_options", "parse_context_options", "parse_server_options"]

SERVER_CHECKS = checks_of(ServerOptions)
CONNECT_CHECKS = checks_of(ConnectOptions)
_NONE_IS_NO_LIMIT = unlimited(ServerOptions, ConnectOptions)

_UNSUPPORTED_NODE_OPTIONS = {
    "signal": "Cancel the awaiting task, or use asyncio.timeout().",
    "lookup": "Resolve the name yourself, and give the address as host= and the name as servername=.",
    "hints": "Use family=4 or family=6, or resolve the name yourself and give the address as host=.",
    "onread": "Read with read(), `async for`, or a data listener.",
    "pause_on_connect": "A socket without a data listener is already paused.",
    "client_cert_engine": "OpenSSL's engines are not supported: give cert= and key=.",
    "private_key_engine": "OpenSSL's engines are not supported: give key=.",
    "private_key_identifier": "OpenSSL's engines are not supported: give key=.",
}


# Names of Python's `ssl`, of asyncio and of common clients, with the option that does the same.
_OTHER_NAMES = {
    "alpn": "alpn_protocols= takes the names.",
    "cadata": "ca= takes certificates as bytes.",
    "cafile": "ca= takes a pathlib.Path.",
    "capath": "ca= takes certificates, or paths of files. SSL_CERT_DIR names a folder of default roots.",
    "certfile": "cert= takes a pathlib.Path.",
    "check_hostname": "Names are always checked. check_server_identity= replaces the check, reject_unauthorized=False only reports it.",
    "client_cert": "A client's certificate is cert= and key=; a server requests one with request_cert=True.",
    "keyfile": "key= takes a pathlib.Path.",
    "password": "passphrase= takes it.",
    "server_hostname": "servername= is the name that is sent and verified.",
    "sni": "servername= is the name that a client sends; a server chooses by add_context() or sni_callback=.",
    "ssl": "TLS is always on: give cert= and key=, ca= and the other options themselves, or secure_context=.",
    "ssl_context": "secure_context= takes what tlsio.create_secure_context() returns.",
    "ssl_handshake_timeout": "handshake_timeout= takes seconds.",
    "ssl_shutdown_timeout": "close_timeout= takes seconds.",
    "verify": "reject_unauthorized=False accepts a peer that was not verified; ca= takes its CA.",
    "verify_mode": "A client always verifies. A server requests a certificate with request_cert=True; reject_unauthorized= decides.",
}


def parse_context_options(given: Mapping[str, object]) -> ContextOptions:
    """Check the options of a context.

    Raises:
        UsageError: an unknown option, a wrong type or value, or `alpn_protocols` together with
            `alpn_callback`.
    """
    return make_context(_checked(given, CONTEXT_CHECKS))


def parse_server_options(given: Mapping[str, object]) -> ServerOptions:
    """Check the options of a server, including those of its context.

    Raises:
        UsageError: as `parse_context_options`, or a context option together with `secure_context`.
    """
    own, context = _split(_checked(given, CONTEXT_CHECKS | SERVER_CHECKS))
    hooks = [f"options.{name}" for name in ("new_session", "resume_session") if name in own]
    if "session_store" in own and hooks:
        raise UsageTypeError(
            f"options.session_store cannot be combined with {' and '.join(hooks)}",
            code="ERR_INCOMPATIBLE_OPTION_PAIR",
            hint="The server uses a store instead of the hooks: leave one of them out.",
        )
    return ServerOptions(context=context, **own)


def parse_connect_options(given: Mapping[str, object]) -> ConnectOptions:
    """Check the options of a client connection, including those of its context.

    Raises:
        UsageError: as `parse_context_options`, or a context option together with `secure_context`.
    """
    own, context = _split(_checked(given, CLIENT_CONTEXT_CHECKS | CONNECT_CHECKS))
    local, family = own.get("local_address"), own.get("family")
    if local is not None and family not in (None, 6 if ":" in local else 4):
        raise wrong_value("options.local_address", f"is not an address of family={family}, got {local}")
    return ConnectOptions(context=context, **own)


def _checked(given: Mapping[str, object], checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the given options in checked form. Unknown names raise before any value is checked."""
    for name in given:
        if name not in checks:
            raise _unknown(name, checks)
    return {name: checks[name](f"options.{name}", value) for name, value in given.items() if value is not None or name in _NONE_IS_NO_LIMIT}


def _split(checked: dict[str, Any]) -> tuple[dict[str, Any], ContextOptions]:
    context = {name: value for name, value in checked.items() if name in CONTEXT_CHECKS}
    own = {name: value for name, value in checked.items() if name not in CONTEXT_CHECKS}
    if "secure_context" in own and context:
        names = ", ".join(sorted(context))
        raise UsageTypeError(
            f"options.secure_context cannot be combined with {names}",
            code="ERR_INCOMPATIBLE_OPTION_PAIR",
            hint=f"Set the option in a copy of the context: secure_context.replace({min(context)}=...).",
        )
    return own, make_context(context)


def _unknown(name: object, checks: Mapping[str, Check]) -> UsageTypeError:
    """Return the error for an unknown option, with the one that was probably meant."""
    if not isinstance(name, str):
        return UsageTypeError(f"There is no option {name!r:.80}: option names must be strings", code="ERR_TLS_UNKNOWN_OPTION")
    snake = _to_snake_case(name)
    if snake in _UNSUPPORTED_NODE_OPTIONS:
        hint = _UNSUPPORTED_NODE_OPTIONS[snake]
        return UsageTypeError(f"Node's option {name!r} is not supported", code="ERR_TLS_UNKNOWN_OPTION", hint=hint)
    if snake in _OTHER_NAMES:
        return UsageTypeError(f"There is no option {name!r:.80}", code="ERR_TLS_UNKNOWN_OPTION", hint=_OTHER_NAMES[snake])
    if snake in checks:
        meant = f"it is spelled {snake}="
    elif snake in SERVER_CHECKS or snake in CONTEXT_CHECKS:
        meant = f"{snake}= is an option of servers"
    elif snake in CONNECT_CHECKS:
        meant = f"{snake}= is an option of client connections"
    else:
        meant = f"the closest is {get_close_matches(snake, checks, n=1, cutoff=0.0)[0]}="
    return UsageTypeError(f"There is no option {name!r}: {meant}", code="ERR_TLS_UNKNOWN_OPTION")


def _to_snake_case(name: str) -> str:
    """Convert Node's spelling.

    `requestCert`, `ALPNProtocols` and `minDHSize` have three kinds of word boundaries.
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
