"""The doctor for files: a certificate and its key, before a server has them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tlsio.certs.instant import check_instant
from tlsio.connection.client.connect import secure
from tlsio.connection.context.secure_context import create_secure_context, for_client
from tlsio.connection.socket.tls_socket import TLSSocket
from tlsio.model.errors import ConfigError, TLSError, UsageTypeError
from tlsio.model.options.parse import parse_connect_options
from tlsio.probe.examine import judge_certificate, sort_findings
from tlsio.probe.findings import found
from tlsio.probe.target import ObservedHandshake

if TYPE_CHECKING:
    from datetime import datetime

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.probe.findings import Finding

__all__ = ["examine_files"]

_MISMATCH = "ERR_OSSL_X509_KEY_VALUES_MISMATCH"
# The certificate may be too weak for OpenSSL's defaults: that is to be found, not to fail.
_LENIENT = "ALL:@SECLEVEL=0"
_IDENTITY = {"cert", "key", "pfx", "passphrase"}
_PATIENCE = 10.0  # for a handshake in memory


async def examine_files(
    host: str, *, at: datetime | None = None, ca: Any = None, extra_ca: Any = None, **identity: Any
) -> tuple[Finding, ...]:
    """Tell what clients would find wrong with a certificate, by a handshake in memory.

    Args:
        host: The name or address by which clients will connect.
        at: The instant at which it is judged, aware; None: now.
        ca: The roots of the clients, as in `tlsio.connect`.
        extra_ca: Roots besides the default ones.
        identity: What a server would be given: `cert` and `key`, or `pfx`, and `passphrase`.

    Returns:
        The findings, the worst first; () if nothing is wrong.

    Raises:
        UsageError: a wrong option.
        OSError: a file cannot be read.
        Cancelled: nothing is left behind.
    """
    if unused := sorted(set(identity) - _IDENTITY):
        raise UsageTypeError(
            f"examine_files has no option {unused[0]!r}",
            code="ERR_TLS_UNKNOWN_OPTION",
            hint="It takes at=, ca=, extra_ca=, and of the server's options cert=, key=, pfx= and passphrase=.",
        )
    now = check_instant("at", at)
    try:
        context = create_secure_context(**identity, ciphers=_LENIENT, request_cert=False)
    except ConfigError as error:
        return (found("key-mismatch" if error.code == _MISMATCH else "file-unusable", f"{error.message}.", error.hint),)
    given = {"host": host, "ca": ca, "extra_ca": extra_ca, "ciphers": _LENIENT, "handshake_timeout": _PATIENCE}
    parsed = parse_connect_options({name: value for name, value in given.items() if value is not None})
    side = ObservedHandshake(parsed, for_client(parsed).replace(reject_unauthorized=False), host)
    await _shake_hands(context, side)
    _, findings = judge_certificate(side, host, now=now)
    return sort_findings(findings)


async def _shake_hands(context: SecureContext, side: ObservedHandshake) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    server = TLSSocket(far, is_server=True, secure_context=context)

    async def serve() -> None:
        with suppress(TLSError):
            await server.handshake()

    serving = asyncio.ensure_future(serve())
    try:
        (await secure(near, side)).destroy()
    finally:
        await asyncio.wait([serving])
        server.destroy()
        await server.wait_closed()
