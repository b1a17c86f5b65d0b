"""Checks the options of contexts, servers and client connections once, before they are used.

An unknown option raises an error that names the closest one. None means that an option was not
given, except for times and limits, where it means no limit.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tlsio.model.checks import to_snake_case, wrong_value
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
    "private_key_identifier": "OpenSSL's engines are not supported: give key=, which may be an object that signs elsewhere.",
}


_VERIFIED = (
    "Meant: reject_unauthorized=. Peers are verified by default: to trust a private CA, give its root with ca=. An unverified peer is let "
    "through by reject_unauthorized=False, and then check socket.authorized."
)
_CA = 'Meant: ca=, which takes a file as pathlib.Path, or the certificates: ca=Path("ca.pem").'
_CERT = 'Meant: cert=, which takes a file as pathlib.Path, or the certificates: cert=Path("cert.pem").'
_KEY = 'Meant: key=, which takes a file as pathlib.Path, or the key: key=Path("key.pem").'
_CONTEXT = "Meant: secure_context=, which takes what tlsio.create_secure_context() returns, or a context source; or give cert=, key=, ca= and the others here."
_VERSIONS = 'Meant: min_version= and max_version=, such as min_version="TLSv1.3".'

# Names of Python's `ssl`, of asyncio and of common clients and servers, with the option that does
# the same.
_OTHER_NAMES = {
    "alpn": "Meant: alpn_protocols=, a list of names.",
    "assert_hostname": "Meant: servername=, if the server has another name than host=. Names are always checked.",
    "ca_bundle": _CA,
    "ca_cert": _CA,
    "ca_certificates": _CA,
    "ca_certs": _CA,
    "ca_file": _CA,
    "ca_path": _CA,
    "cacert": _CA,
    "cadata": "Meant: ca=, which takes certificates as bytes or str too.",
    "cafile": _CA,
    "capath": "Meant: ca=, which takes a list of files: ca=[*Path(folder).glob('*.pem')]. SSL_CERT_DIR names a folder of system roots.",
    "cert_chain": _CERT,
    "cert_file": _CERT,
    "cert_path": _CERT,
    "cert_reqs": _VERIFIED,
    "certfile": _CERT,
    "certificate": _CERT,
    "certificate_file": _CERT,
    "check_hostname": "Names are always checked. Meant: servername=, if the server has another name than host=. check_server_identity= replaces the "
    "check with your own.",
    "client_cert": "Meant: cert= and key=. A server requests a client's certificate with request_cert=True.",
    "context": _CONTEXT,
    "crl_file": "Meant: crl=, which takes a file as pathlib.Path, or the lists as bytes or str.",
    "groups": 'Meant: ecdh_curve=, such as ecdh_curve="X25519:P-256".',
    "hostname": "Meant: host=, or servername= for the name that is sent and verified.",
    "insecure": _VERIFIED,
    "insecure_skip_verify": _VERIFIED,
    "key_file": _KEY,
    "key_password": "Meant: passphrase=.",
    "key_path": _KEY,
    "keyfile": _KEY,
    "keylog_filename": "Meant: keylog_file=.",
    "crlfile": "Meant: crl=, which takes a file as pathlib.Path, or the lists as bytes or str.",
    "crls": "Meant: crl=, which takes a list of files too.",
    "password": "Meant: passphrase=.",
    "policy": 'Meant: chain_policy=, such as chain_policy="strict", or identity_policy= for names.',
    "private_key": _KEY,
    "private_key_file": _KEY,
    "root_certificates": _CA,
    "roots": _CA,
    "server_hostname": "Meant: servername=, the name that is sent and verified.",
    "server_name": "Meant: servername=, the name that is sent and verified.",
    "skip_verify": _VERIFIED,
    "sni": "Meant: servername=, the name that a client sends. A server chooses by add_context() or sni_callback=.",
    "ssl": f"TLS is always on. {_CONTEXT}",
    "ssl_ca_certs": _CA,
    "ssl_cert": _CERT,
    "ssl_cert_reqs": _VERIFIED,
    "ssl_certfile": _CERT,
    "ssl_ciphers": "Meant: ciphers=.",
    "ssl_context": _CONTEXT,
    "ssl_handshake_timeout": "Meant: handshake_timeout=, in seconds.",
    "ssl_key": _KEY,
    "ssl_keyfile": _KEY,
    "ssl_keyfile_password": "Meant: passphrase=.",
    "ssl_shutdown_timeout": "Meant: close_timeout=, in seconds.",
    "ssl_verify": _VERIFIED,
    "ssl_version": _VERSIONS,
    "tls": f"TLS is always on. {_CONTEXT}",
    "tls_version": _VERSIONS,
    "verify": _VERIFIED,
    "verify_mode": f"A client always verifies; a server requests a certificate with request_cert=True. {_VERIFIED}",
    "verify_peer": _VERIFIED,
    "verify_ssl": _VERIFIED,
    "version": _VERSIONS,
}

_NOTHING: Mapping[str, str] = {}

# What a server takes when it listens.
_LISTEN_ARGUMENTS = ("port", "host", "path", "sock", "backlog", "reuse_port")
_LISTEN_HINT = 'Give it when the server listens: await server.listen(443, "127.0.0.1"), or serve(listener, 443, "127.0.0.1").'


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


def parse_connect_options(given: Mapping[str, object], decided: Mapping[str, str] = _NOTHING) -> ConnectOptions:
    """Check the options of a client connection, including those of its context.

    Args:
        given: The options.
        decided: Options that the caller decides for its user, and how it does, for the message.

    Raises:
        UsageError: as `parse_context_options`, or a context option together with `secure_context`,
            or an option in `decided`.
    """
    for name, value in given.items():
        if value is not None and (hint := decided.get(to_snake_case(str(name)))):
            raise UsageTypeError(f"{name}= cannot be given here", code="ERR_INCOMPATIBLE_OPTION_PAIR", hint=hint)
    checks = {**CLIENT_CONTEXT_CHECKS, **CONNECT_CHECKS}
    own, context = _split(_checked(given, checks, {name: check for name, check in checks.items() if name not in decided}))
    local, family = own.get("local_address"), own.get("family")
    if local is not None and family not in (None, 6 if ":" in local else 4):
        raise wrong_value("options.local_address", f"is not an address of family={family}, got {local}")
    _check_comparison(own)
    return ConnectOptions(context=context, **own)


def _check_comparison(own: Mapping[str, object]) -> None:
    """Refuse options about the comparison of names that another option replaces."""
    given = [name for name in ("check_server_identity", "identity", "identity_policy") if own.get(name) not in (None, "node")]
    if len(given) > 1:
        hint = (
            "The function replaces the comparison of names: call tlsio.check_uri_identity(identity, certificate) in it."
            if given[:2] == ["check_server_identity", "identity"]
            else f"{given[0]}= replaces the comparison with the host, which identity_policy= is about: leave one of them out."
        )
        raise UsageTypeError(
            f"options.{given[1]} cannot be combined with options.{given[0]}", code="ERR_INCOMPATIBLE_OPTION_PAIR", hint=hint
        )


def _checked(given: Mapping[str, object], checks: Mapping[str, Check], named: Mapping[str, Check] | None = None) -> dict[str, Any]:
    """Return the given options in checked form. Unknown names raise before any value is checked.

    Args:
        given: The options.
        checks: Every option that there is.
        named: Those that the hint may name; None: all.
    """
    for name in given:
        if name not in checks:
            raise _unknown(name, checks if named is None else named)
    return {name: checks[name](f"options.{name}", value) for name, value in given.items() if value is not None or name in _NONE_IS_NO_LIMIT}


def _split(checked: dict[str, Any]) -> tuple[dict[str, Any], ContextOptions]:
    context = {name: value for name, value in checked.items() if name in CONTEXT_CHECKS}
    own = {name: value for name, value in checked.items() if name not in CONTEXT_CHECKS}
    if "secure_context" in own and context:
        names = ", ".join(sorted(context))
        raise UsageTypeError(
            f"options.secure_context cannot be combined with {names}",
            code="ERR_INCOMPATIBLE_OPTION_PAIR",
            hint=f"Give {min(context)}= to the context source."
            if hasattr(own["secure_context"], "context_for")
            else f"Set the option in a copy of the context: secure_context.replace({min(context)}=...).",
        )
    return own, make_context(context)


def _unknown(name: object, checks: Mapping[str, Check]) -> UsageTypeError:
    """Return the error for an unknown option, with the one that was probably meant."""
    if not isinstance(name, str):
        return UsageTypeError(f"There is no option {name!r:.80}: option names must be strings", code="ERR_TLS_UNKNOWN_OPTION")
    snake = to_snake_case(name)
    message = f"There is no option {name!r:.80}"
    if snake in _UNSUPPORTED_NODE_OPTIONS:
        message, hint = f"Node's option {name!r} is not supported", _UNSUPPORTED_NODE_OPTIONS[snake]
    elif snake in _LISTEN_ARGUMENTS and "sni_callback" in checks:
        hint = _LISTEN_HINT
    elif snake in checks:
        hint = f"It is spelled {snake}=."
    elif snake in _OTHER_NAMES:
        hint = _OTHER_NAMES[snake]
    elif snake in SERVER_CHECKS or snake in CONTEXT_CHECKS:
        hint = f"{snake}= is an option of servers."
    elif snake in CONNECT_CHECKS:
        hint = f"{snake}= is an option of client connections."
    elif close := get_close_matches(snake, checks, n=1):
        hint = f"The closest name is {close[0]}=."
    else:
        hint = f"No option has a similar name. There are {', '.join(f'{one}=' for one in sorted(checks))}."
    return UsageTypeError(message, code="ERR_TLS_UNKNOWN_OPTION", hint=hint)
