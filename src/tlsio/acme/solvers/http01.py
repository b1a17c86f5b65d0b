"""http-01 (RFC 8555 §8.3): the authority fetches the answer by plain HTTP on port 80."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from tlsio.acme.solvers.http_listener import HTTPListener
from tlsio.acme.solvers.shared_answers import SharedAnswers
from tlsio.model.errors import TLSError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self

    from tlsio.acme.client.challenge import Challenge
    from tlsio.acme.storage.storage import Storage

__all__ = ["Http01", "read_token"]

_FOLDER = "challenges/http-01"
# §8.3: a token "MUST NOT contain any characters outside the base64url alphabet". 128 bits of
# entropy take 22 of them; the tokens of Let's Encrypt have 43. The client accepts up to 255.
_PATH = re.compile(r"/\.well-known/acme-challenge/([A-Za-z0-9_-]{1,255})")
_log = logging.getLogger("tlsio.acme")


@exported
class Http01:
    """Answers http-01, for names and addresses but not for wildcards.

    Answers are in memory and in the storage, so that each process and node of a site can give them.
    Give `answer` to what serves port 80, or `listen` on it.

    Args:
        storage: Shares the answers; None: only this object has them.
        is_pending: Called with the host of a request that is not answered from memory; False: no
            certificate is being obtained for it, and the storage is not read. None: each request
            may be an authority's; all of them together cause one listing a second.
    """

    type = "http-01"

    def __init__(self, storage: Storage | None = None, *, is_pending: Callable[[str], bool] | None = None) -> None:
        self.is_pending = is_pending
        self._storage = storage
        self._shared = None if storage is None else SharedAnswers(storage, _FOLDER)
        self._answers: dict[str, bytes] = {}
        self._listener = HTTPListener(self.answer)

    def can_solve(self, _identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:  # noqa: ARG002 - the contract's
        """Return whether it is not for a wildcard (CA/Browser Forum BR §3.2.2.4.19)."""
        return not is_wildcard

    async def present(self, challenge: Challenge) -> None:
        """Answer from now on.

        Raises:
            StoreError: the answer cannot be shared.
        """
        answer = challenge.key_authorization.encode("ascii")
        self._answers[challenge.token] = answer
        if self._storage is not None:
            await self._storage.store(f"{_FOLDER}/{challenge.token}", answer)

    async def clean_up(self, challenge: Challenge) -> None:
        """Stop to answer."""
        self._answers.pop(challenge.token, None)
        if self._storage is not None:
            try:
                await self._storage.delete(f"{_FOLDER}/{challenge.token}")
            except TLSError as error:
                _log.warning("The answer of http-01 for %s was not removed: %s", challenge.identifier, error)

    def answer(self, path: str, host: str) -> bytes | Awaitable[bytes | None] | None:
        """Return the body of the answer to a GET, maybe later; None: there is none.

        Args:
            path: The path of the request, which begins with `/.well-known/acme-challenge/`.
            host: Of the request, with or without a port.
        """
        token = read_token(path)
        if token is None:
            return None
        found = self._answers.get(token)
        if found is not None or self._shared is None:
            return found
        if self.is_pending is not None and not self.is_pending(_name(host)):
            return None
        return self._shared.find(token)

    async def listen(self, host: str | Sequence[str] | None = None, port: int = 80) -> Self:
        """Answer on a port of its own, until `close`.

        Args:
            host: The address to listen on; None: all.
            port: The authority connects to 80; 0 chooses a free one.

        Raises:
            OSError: the address cannot be used.
        """
        await self._listener.open(host, port)
        return self

    @property
    def port(self) -> int | None:
        """The port that is listened on."""
        return self._listener.port

    async def close(self) -> None:
        """Close the port and its connections."""
        await self._listener.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Http01 answers={len(self._answers)}>"


def read_token(path: str) -> str | None:
    """Return the token of a challenge's path; None: it is another path."""
    found = _PATH.fullmatch(path)
    return None if found is None else found[1]


def _name(host: str) -> str:
    """Return a host without its port and the brackets of IPv6, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")
