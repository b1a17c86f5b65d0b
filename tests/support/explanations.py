"""Tables of mistakes: what each side is to be told, and what no message may say."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pki
import tlsio
from net import once

if TYPE_CHECKING:
    from collections.abc import Callable

# No advice weakens anything, unless it says in the same breath how to stay safe.
FORBIDDEN = ("SECLEVEL", "CERT_NONE")


@dataclass(frozen=True)
class Mistake:
    """One mistake, made for real, and words that the error has: the cause, the side at fault, what to do.

    Attributes:
        told: Whose error is looked at.
        says: Words of message and hint together.
        server: Options over those of a server for localhost of ca1.
        client: Options over those of a client that trusts ca1.
        never: Words that would mislead here.
    """

    told: str
    says: tuple[str, ...]
    server: Callable[[], dict[str, Any]] = dict
    client: Callable[[], dict[str, Any]] = dict
    never: tuple[str, ...] = ()

    def check(self, error: BaseException) -> None:
        """Look for the words."""
        check_words(error, self.says, self.never)


def check_words(error: BaseException, says: tuple[str, ...], never: tuple[str, ...] = ()) -> None:
    """Assert that an error has these words, a hint that is a note too, and nothing that harms."""
    hint = getattr(error, "hint", None)
    text = f"{error}\n{hint}"
    assert hint in error.__notes__
    missing = [words for words in says if words not in text]
    assert not missing, f"{missing} not in:\n{text}"
    wrong = [words for words in (*never, *FORBIDDEN) if words in text]
    assert not wrong, f"{wrong} in:\n{text}"
    check_harmless(text)


def check_harmless(text: str) -> None:
    """Assert that turning the verification off is never advised alone."""
    for after in text.split("reject_unauthorized=False")[1:]:
        assert "and then check" in after[:60], text


def identity(who: pki.Identity) -> dict[str, Any]:
    """Return certificate, intermediates and key as options."""
    return {"cert": who.chain_pem, "key": who.key_pem}


async def make(mistake: Mistake, *, host: str = "127.0.0.1") -> BaseException:
    """Serve and connect over loopback; return the error that the side in question was told."""
    server = tlsio.create_server(**identity(pki.localhost()) | mistake.server())
    await server.listen(0, "127.0.0.1")
    told = once(server, "tls_client_error")
    options = {"ca": pki.ca1().cert_pem, "servername": "localhost"} | mistake.client()
    options = {name: value for name, value in options.items() if value is not None}
    theirs = None
    try:
        client = await tlsio.connect(server.port, host, **options)
        try:
            await asyncio.wait_for(client.read(), 5)  # in TLS 1.3 a client is done before the server has judged it
        finally:
            client.destroy()
            await client.wait_closed()
    except (tlsio.TLSError, OSError) as error:
        theirs = error
    try:
        if mistake.told == "server":
            ours, _ = await asyncio.wait_for(told, 5)
            return ours
        assert theirs is not None
        return theirs
    finally:
        server.close(0)
        await server.wait_closed()


def error_of(call: Callable[[], object]) -> BaseException:
    """Return what a call raises."""
    with contextlib.ExitStack() as stack:
        try:
            made = call()
        except (tlsio.TLSError, OSError) as error:
            return error
        if hasattr(made, "close"):
            stack.callback(made.close)
    raise AssertionError("nothing was raised")
