"""Findings about versions, suites, groups and extensions, from hellos made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlsio.probe import hello
from tlsio.probe.findings import found
from tlsio.probe.hello import GROUP_NAMES, SSL3, TLS1, TLS11, TLS12, TLS13, VERSIONS, Offer, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.probe.findings import Finding
    from tlsio.probe.hello import Answer
    from tlsio.probe.target import Target

__all__ = ["Protocols", "check_protocols", "survey"]

_MIN_DH = 2048  # RFC 9325 §4.2.1
_CBC_SUITES = {*hello.ECDHE_CBC_SUITES, 0x0033, 0x0039, 0x0067, 0x006B, 0x002F, 0x0035, 0x003C, 0x003D}
_OLD_12 = (*hello.MODERN_SUITES, *hello.ECDHE_CBC_SUITES, *hello.DHE_SUITES[:7], *hello.RSA_SUITES)


@dataclass(slots=True, kw_only=True)
class Protocols:
    """What a server takes. A field is None if it was not asked.

    Attributes:
        first: The answer to the first hello that the server accepted, or to the last one.
        versions: The accepted versions, newest first.
        modern: The answer to ECDHE with AEAD in TLS 1.2.
        ephemeral: The answer to ECDHE and DHE with CBC.
        finite: The answer to DHE alone.
        weak: Kinds of weak suites that were accepted.
        usual_groups: The answer to X25519 and P-256 alone.
    """

    first: Answer
    versions: list[int] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    modern: Answer | None = None
    ephemeral: Answer | None = None
    finite: Answer | None = None
    weak: list[str] = field(default_factory=list)
    usual_groups: Answer | None = None

    @property
    def speaks_tls(self) -> bool:
        """Whether any hello was accepted."""
        return bool(self.versions)

    @property
    def names(self) -> tuple[str, ...]:
        """The accepted versions by name."""
        return tuple(VERSIONS[version] for version in self.versions)


class _Survey:
    def __init__(self, target: Target, server_name: str | None, patience: float) -> None:
        self._target = target
        self._server_name = server_name
        self._patience = patience

    async def ask(self, version: int, suites: tuple[int, ...], groups: tuple[int, ...] = hello.ALL_GROUPS) -> Answer:
        below = await self._target.dial()
        try:
            offer = Offer(version=version, suites=suites, groups=groups, server_name=self._server_name)
            return await ask(below, offer, patience=self._patience)
        finally:
            below.close()


async def survey(target: Target, server_name: str | None, *, patience: float) -> Protocols:
    """Ask what the server takes, one connection after the other.

    A server that says nothing to the first two hellos is not asked again.

    Raises:
        OSError: the server cannot be reached.
        HandshakeError: it does not offer TLS.
        Cancelled: the connection is closed.
    """
    server = _Survey(target, server_name, patience)
    newest = await server.ask(TLS13, hello.TLS13_SUITES)
    result = Protocols(first=newest)
    for version, suites in (
        (TLS13, ()),
        (TLS12, _OLD_12),
        (TLS11, hello.ALL_OLD_SUITES),
        (TLS1, hello.ALL_OLD_SUITES),
        (SSL3, hello.ALL_OLD_SUITES),
    ):
        answer = newest if version == TLS13 else await server.ask(version, suites)
        if answer.kind == "hello" and answer.version is not None and answer.version <= version:
            result.answers.setdefault(answer.version, answer)
        if version == TLS12 and not result.answers and answer.kind in {"silent", "other"}:
            result.first = answer
            return result
    result.versions = sorted(result.answers, reverse=True)
    if not result.versions:
        return result
    result.first = result.answers[result.versions[0]]
    await _ask_for_suites(server, result)
    return result


async def _ask_for_suites(server: _Survey, result: Protocols) -> None:
    if TLS12 in result.versions:
        result.modern = await server.ask(TLS12, hello.MODERN_SUITES)
        result.finite = await server.ask(TLS12, hello.DHE_SUITES[:7])
        if result.modern.kind != "hello":
            result.ephemeral = await server.ask(TLS12, (*hello.ECDHE_CBC_SUITES, *hello.DHE_SUITES[:7]))
    older = next((version for version in result.versions if version < TLS13), None)
    left = dict(hello.WEAK_SUITES)
    while older is not None and left:
        answer = await server.ask(older, tuple(left))
        kind = left.get(answer.suite or 0)
        if answer.kind != "hello" or kind is None:
            break
        result.weak.append(kind)
        left = {suite: name for suite, name in left.items() if name != kind}
    if result.versions[0] == TLS13:
        result.usual_groups = await server.ask(TLS13, hello.TLS13_SUITES, hello.USUAL_GROUPS)
    elif TLS12 in result.versions and result.answers[TLS12].group is not None:
        result.usual_groups = await server.ask(TLS12, (*hello.MODERN_SUITES, *hello.ECDHE_CBC_SUITES), hello.USUAL_GROUPS)


def check_protocols(seen: Protocols) -> Iterator[Finding]:
    """Yield what is wrong with a server that speaks TLS."""
    yield from _check_versions(seen)
    yield from _check_suites(seen)
    is_unusual = seen.first.group not in hello.USUAL_GROUPS
    if is_unusual and seen.usual_groups is not None and seen.usual_groups.kind != "hello":
        group = GROUP_NAMES.get(seen.first.group or 0, "another one")
        yield found("unusual-groups", f"The server takes neither X25519 nor P-256; it chose {group}.")
    old = [answer for version, answer in seen.answers.items() if version < TLS13]
    if any(answer.compression for answer in old):
        yield found("compression", "The server compresses TLS.")
    if any(not answer.secure_renegotiation for answer in old):
        yield found("secure-renegotiation", "The server does not support secure renegotiation (RFC 5746).")
    if TLS12 in seen.answers and not seen.answers[TLS12].extended_master_secret:
        yield found("no-extended-master-secret", "The server does not support the extended master secret (RFC 7627).")


def _check_versions(seen: Protocols) -> Iterator[Finding]:
    old = [VERSIONS[version] for version in seen.versions if version < TLS12]
    if old:
        is_all = seen.versions[0] < TLS12
        yield found("only-old-versions" if is_all else "old-versions", f"The server accepts {', '.join(old)}{' only' if is_all else ''}.")
    elif TLS13 not in seen.versions:
        yield found("no-tls13", "The server does not speak TLS 1.3.")


def _check_suites(seen: Protocols) -> Iterator[Finding]:
    if seen.weak:
        yield found("weak-suites", f"The server accepts weak suites: {', '.join(seen.weak)}.")
    if seen.finite is not None and seen.finite.dh_bits is not None and seen.finite.dh_bits < _MIN_DH:
        yield found("weak-dh", f"The server's Diffie-Hellman group has {seen.finite.dh_bits} bits.")
    if seen.ephemeral is None or TLS13 in seen.versions:
        return
    if seen.ephemeral.kind != "hello":
        yield found("no-forward-secrecy", "The server has no suite with an ephemeral key exchange.")
    elif seen.ephemeral.suite in _CBC_SUITES:
        yield found("only-cbc-suites", "The server has CBC suites only.")
