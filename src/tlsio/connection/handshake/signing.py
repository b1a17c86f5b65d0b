"""Signatures by private keys that live elsewhere: `key.sign`, and the line before it.

The engine has paused the handshake, on a stack of its own. A thread has a limited number of these
(`KEY_LIMIT`): a handshake beyond it waits in line before its first step, at most until
`handshake_timeout`. Each loop of the thread has its own line, because only a loop that runs can let
its handshakes in. The engine verifies each signature, so a wrong one is never sent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
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

__all__ = ["leave_line", "sign", "wait_in_line"]


class _Line(threading.local):
    def __init__(self) -> None:
        self.waiting: dict[asyncio.AbstractEventLoop, OrderedDict[Handshake, None]] = {}
        self.woken: set[asyncio.AbstractEventLoop] = set()  # those that will call `_let_in_now`


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
    if not connection.signs_here:
        return _other_thread(name)
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
    return ConfigError(what, code="ERR_TLS_WRONG_SIGNATURE", alert=INTERNAL_ERROR, hint=_hint_for(scheme, signature, longest))


def _other_thread(name: str) -> ConfigError:
    what = f"{name} was called in one thread and returned in another, where the handshake cannot continue"
    hint = "Run the event loop in one thread from the beginning of a handshake to its end."
    return ConfigError(what, code="ERR_TLS_OTHER_THREAD", alert=INTERNAL_ERROR, hint=hint)


def _hint_for(scheme: str, signature: bytes, longest: int) -> str:
    """Recognise the usual mistakes."""
    if scheme.startswith("rsa") and 0 < len(signature) < longest:
        return f"A signature of this key always has {longest} bytes: keep its leading zero bytes."
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
    _line.waiting.setdefault(loop, OrderedDict())[handshake] = None


def leave_line(handshake: Handshake, loop: asyncio.AbstractEventLoop | None) -> None:
    """Forget the handshake, which has ended: its turn may never come. Others may continue."""
    waiting = _line.waiting
    if not waiting:
        return
    if loop is not None and (line := waiting.get(loop)) is not None:
        line.pop(handshake, None)
    let_in()


def let_in() -> None:
    """Let the next of each line continue in its loop's next pass: a wait has ended."""
    for loop in list(_line.waiting):
        if loop.is_closed() or not _line.waiting[loop]:
            del _line.waiting[loop]
            _line.woken.discard(loop)
        elif loop not in _line.woken:
            _line.woken.add(loop)
            loop.call_soon(_let_in_now, loop)


def _let_in_now(loop: asyncio.AbstractEventLoop) -> None:
    _line.woken.discard(loop)
    while (line := _line.waiting.get(loop)) and has_room_to_sign():
        handshake, _ = line.popitem(last=False)
        handshake.connection.answer_job()
        handshake.connection.resume()
