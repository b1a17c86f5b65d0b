"""Signatures by private keys that live elsewhere: `key.sign`, and the line before it.

The engine has paused the handshake, on a stack of its own. A thread has a limited number of these
(`KEY_LIMIT`): a handshake beyond it waits in line before its first step, at most until
`handshake_timeout`. The engine verifies each signature, so a wrong one is never sent.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from tlsio.connection.handshake.questions import INTERNAL_ERROR, as_tls_error, failure_of, is_hook_failure, wrong_answer
from tlsio.model.checks import BytesLike
from tlsio.model.codes import alert_number
from tlsio.model.errors import ConfigError
from tlsio.native._core import KEY_LIMIT, has_room_to_sign

if TYPE_CHECKING:
    import asyncio

    from tlsio.connection.handshake.handshake import Handshake
    from tlsio.model.errors import TLSError
    from tlsio.native._core import Connection

__all__ = ["let_in", "sign", "wait_in_line"]


class _Line(threading.local):
    def __init__(self) -> None:
        self.waiting: deque[tuple[Handshake, asyncio.AbstractEventLoop]] = deque()


_line = _Line()


def sign(handshake: Handshake, timeout: float | None) -> None:
    """Ask the key for the signature that the connection waits for; a failure ends the handshake."""
    wanted = handshake.connection.signing
    assert wanted is not None  # noqa: S101 - for the type checker
    key, scheme, message, longest = wanted
    name = f"key.sign({scheme!r})"

    def answer(result: object, error: BaseException | None) -> None:
        failure = error or _give(handshake.connection, name, scheme, longest, result)
        if failure is not None:
            _refuse(handshake, name, failure)
        let_in()

    handshake.ask(name, timeout, answer, lambda: key.sign(scheme, message))


def _give(connection: Connection, name: str, scheme: str, longest: int, result: object) -> TLSError | None:
    """Give the signature to the engine; return what is wrong with it."""
    if not isinstance(result, BytesLike):
        return wrong_answer(name, "bytes", result)
    signature = bytes(result)
    return None if connection.answer_sign(signature) else _wrong_signature(name, scheme, signature, longest)


def _refuse(handshake: Handshake, name: str, failure: BaseException) -> None:
    handshake.refused = refused = as_tls_error(name, failure_of(name, failure))
    handshake.hook_failure = refused if is_hook_failure(failure) else None
    refused.alert = INTERNAL_ERROR  # OpenSSL chooses it
    handshake.connection.refuse(alert_number(INTERNAL_ERROR))


def _wrong_signature(name: str, scheme: str, signature: bytes, longest: int) -> ConfigError:
    size = len(signature)
    if size > longest:
        what = f"{name} returned {size} bytes, but a signature by the key of the certificate has at most {longest}"
    else:
        what = f"{name} returned {size} bytes that are not a signature of the message by the key of the certificate"
    return ConfigError(what, code="ERR_TLS_WRONG_SIGNATURE", alert=INTERNAL_ERROR, hint=_hint_for(scheme, signature))


def _hint_for(scheme: str, signature: bytes) -> str:
    """Recognise the usual mistakes."""
    if scheme.startswith("ecdsa") and signature and not _is_sequence(signature):
        return (
            "It looks like r and s one after the other, as PKCS#11 returns them. TLS has them in DER: "
            "cryptography.hazmat.primitives.asymmetric.utils.encode_dss_signature(r, s)."
        )
    padding = ", with PSS and a salt as long as the digest" if scheme.startswith("rsa_pss") else ""
    return f"The message must be hashed once, by the scheme's digest{padding}, and signed with the private key of the certificate in cert=."


def _is_sequence(signature: bytes) -> bool:
    """Whether the bytes can be a SEQUENCE in DER."""
    if signature[0] != 0x30 or len(signature) < 3:  # noqa: PLR2004
        return False
    return len(signature) in (signature[1] + 2, signature[2] + 3)


# ---- the line


def wait_in_line(handshake: Handshake, loop: asyncio.AbstractEventLoop | None) -> None:
    """Continue the handshake when another one of this thread has its signature."""
    if loop is None:
        error = ConfigError(
            f"{KEY_LIMIT} handshakes of this thread wait for key.sign", code="ERR_TLS_TOO_MANY_SIGNATURES", alert=INTERNAL_ERROR,
            hint="Make fewer handshakes at once, or the key faster.",
        )  # fmt: skip
        _refuse(handshake, "key.sign", error)
        return
    _line.waiting.append((handshake, loop))


def let_in() -> None:
    """Let the next in line continue, in the loop's next pass: a wait for a signature has ended."""
    if not _line.waiting:
        return
    for _, loop in _line.waiting:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon(_let_in_now)
            return
    _line.waiting.clear()


def _let_in_now() -> None:
    while _line.waiting and has_room_to_sign():
        handshake, loop = _line.waiting.popleft()
        if not handshake.is_over and not loop.is_closed():
            handshake.connection.answer_job()
            handshake.connection.resume()
