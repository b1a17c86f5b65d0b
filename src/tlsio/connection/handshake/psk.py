"""Pre-shared keys: calls `psk_callback` and checks its answer.

OpenSSL calls from inside a step of the handshake and cannot wait: the answer must be ready when the
function returns. Calls of connections within the function take effect after the step
(`_core.Connection`).
"""

import inspect
from collections.abc import Callable
from typing import Any

from tlsio.connection.handshake.questions import wrong_answer
from tlsio.model.checks import BytesLike
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.native._core import MAX_PSK_IDENTITY, MAX_PSK_KEY

__all__ = ["ask_for_identity", "ask_for_key"]


def ask_for_key(hook: Callable[..., Any], socket: object, identity: str) -> bytes | None:
    """Ask a server's function for the key of an identity; None: it is unknown.

    Raises:
        UsageError: the answer is not a key.
        Exception: any exception of the function.
    """
    answer = _ask(hook, socket, identity)
    return None if answer is None else _check_key("bytes or None", answer)


def ask_for_identity(hook: Callable[..., Any], hint: str | None) -> tuple[bytes, bytes] | None:
    """Ask a client's function for its identity (encoded) and key; None: use no pre-shared key.

    Raises:
        UsageError: the answer is not an identity with a key.
        Exception: any exception of the function.
    """
    expected = "(identity, key) or None"
    answer = _ask(hook, hint)
    if answer is None:
        return None
    if not isinstance(answer, tuple) or len(answer) != 2:  # noqa: PLR2004
        raise wrong_answer("psk_callback", expected, answer)
    identity, key = answer
    if not isinstance(identity, str):
        raise UsageTypeError(f"The identity that psk_callback returns must be a str, got {type(identity).__name__}")
    name = identity.encode()
    if not 1 <= len(name) <= MAX_PSK_IDENTITY or b"\0" in name:
        problem = "must not contain a NUL character" if b"\0" in name else f"must be 1 to {MAX_PSK_IDENTITY} bytes long, not {len(name)}"
        raise UsageValueError(f"The identity that psk_callback returned {problem}")
    return name, _check_key(expected, key)


def _ask(hook: Callable[..., Any], *args: object) -> object:
    answer = hook(*args)
    if not inspect.isawaitable(answer):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
    raise UsageTypeError(
        "psk_callback must not be async: OpenSSL cannot wait for its answer",
        hint="Load the keys in advance, and use a plain function.",
    )


def _check_key(expected: str, key: object) -> bytes:
    """Check a key and return it as bytes; no message contains the key itself."""
    if not isinstance(key, BytesLike):
        raise wrong_answer("psk_callback", expected, key)
    size = memoryview(key).nbytes
    if not 1 <= size <= MAX_PSK_KEY:
        raise UsageValueError(f"The key that psk_callback returned must be 1 to {MAX_PSK_KEY} bytes long, not {size}")
    return bytes(key)
