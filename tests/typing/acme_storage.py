"""Storages and solvers as a type checker sees them; never run."""

from typing import TYPE_CHECKING, assert_type

from tlsio.acme import (
    Dns01,
    FileStorage,
    HookProgram,
    Http01,
    Lexicon,
    Lock,
    MemoryStorage,
    RedisStorage,
    Rfc2136,
    Storage,
    TlsAlpn01,
    Webroot,
)

if TYPE_CHECKING:
    from tlsio.acme import Challenge, DNSProvider, Solver


async def storages() -> None:
    """Each is one."""
    for storage in list[Storage]([FileStorage("folder"), RedisStorage("redis://localhost"), MemoryStorage()]):
        assert_type(await storage.load("key"), bytes | None)
        async with storage.lock("name") as lock:
            assert_type(lock, Lock)
            await storage.store("key", b"value", lock=lock)
        assert_type(await storage.list(""), list[str])


async def solvers(challenge: "Challenge") -> None:
    """Each is one, and each provider too."""
    providers: list[DNSProvider] = [Rfc2136("192.0.2.1"), HookProgram(["/bin/true"]), Lexicon("ddns", {"auth_token": "..."})]
    found: list[Solver] = [Http01(MemoryStorage()), TlsAlpn01(), Webroot("folder"), *map(Dns01, providers)]
    for solver in found:
        if solver.can_solve("example.com", is_wildcard=False, is_ip=False):
            await solver.present(challenge)
    async with await Http01().listen() as listening:
        assert_type(listening, Http01)
