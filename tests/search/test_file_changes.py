"""Random changes of files under a server and a client that use them by FileSource.

Both verify each other. Their files are replaced as Kubernetes, certbot or an editor does it, in pieces; they are cut off, mixed up, removed and
touched; time passes, and connections come at any moment. The oracle: no handshake fails, and what is used is always one whole set of files; a
set that was written completely is in use a second later.

`SEED=17 pytest tests/search/test_file_changes.py -k test_changes` runs one case again; `FIRST=` and `MANY=` as in `test_whole`.
"""

from __future__ import annotations

import asyncio
import os
import random
from functools import cache
from typing import TYPE_CHECKING

import pytest

import pki
import tlsio
from file_clock import FileClock
from net import Net

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MANY = int(os.environ.get("MANY", "2000"))
ONE = os.environ.get("SEED")
FIRST = os.environ.get("FIRST")
SIZE = 2 if ONE is None else 1
PARTS = range(0, 24, SIZE) if ONE is None else [int(ONE)]

SETS = 5
NAMES = ("cert", "key", "ca")


@cache
def whole_sets(role: str) -> list[dict[str, bytes]]:
    """Return sets of files of one side. The root that the peer needs comes last in `ca`: a cut file would lack it."""
    found = []
    for number in range(SETS):
        who = pki.leaf(f"{role} {number}", issuer=pki.ca3(), names=["localhost"])
        found.append({"cert": who.chain_pem, "key": who.key_pem, "ca": pki.authority(f"old root {number}").cert_pem + pki.ca1().cert_pem})
    return found


class Folder:
    """The files of one side, the source of them, and whoever changes them."""

    def __init__(self, folder: Path, role: str, version: str, time: FileClock, chance: random.Random) -> None:
        self.folder = folder
        self.sets = whole_sets(role)
        self.time = time
        self.chance = chance
        self.swaps = chance.random() < 0.4  # the parent's symlink, as Kubernetes
        self.swapped = 0
        self.last = 0  # the set that was written last
        self.is_whole = True
        self.is_writing = False
        folder.mkdir(parents=True)
        if self.swaps:
            self.swap(0)
            for name in NAMES:
                (folder / name).symlink_to(f"..data/{name}")
        else:
            for name in NAMES:
                self.write(name, self.sets[0][name])
        self.source = tlsio.FileSource(
            clock=time.clock, now=time.now, request_cert=True, min_version=version, max_version=version,  # type: ignore[arg-type]
            **{name: folder / name for name in NAMES},  # type: ignore[arg-type]
        )  # fmt: skip

    def write(self, name: str, content: bytes, mode: str = "wb") -> None:
        """Write a file at the test's time."""
        path = self.folder / name
        with path.open(mode) as file:
            file.write(content)
        self.touch(path)

    def touch(self, path: Path) -> None:
        """Give a file the test's time."""
        now = int(self.time.now() * 1e9)
        os.utime(path, ns=(now, now))

    def swap(self, number: int) -> None:
        """Write a folder, and let the link point there."""
        self.swapped += 1
        data = self.folder / f"..{self.swapped}"
        data.mkdir()
        for name, content in self.sets[number].items():
            (data / name).write_bytes(content)
            self.touch(data / name)
        link = self.folder / "..data_tmp"
        link.symlink_to(data.name)
        link.replace(self.folder / "..data")

    def replace(self) -> Iterator[None]:
        """Write another set, in steps; less than a second passes between two."""
        self.last = self.chance.randrange(SETS)
        self.is_writing = True
        if self.swaps:
            self.swap(self.last)
            yield
        else:
            for name in self.chance.sample(NAMES, 3):
                yield from self.chance.choice((self.pour, self.rename))(name, self.sets[self.last][name])
        self.is_whole, self.is_writing = True, False

    def pour(self, name: str, content: bytes) -> Iterator[None]:
        """Write a file in place and in pieces."""
        self.write(name, b"")
        while content:
            size = self.chance.choice((len(content), content.find(b"-----END") + 26, self.chance.randint(1, len(content))))
            yield
            self.write(name, content[:size], "ab")
            content = content[size:]
        yield

    def rename(self, name: str, content: bytes) -> Iterator[None]:
        """Write a file beside, and rename it."""
        self.write("new", content)
        yield
        (self.folder / "new").replace(self.folder / name)
        yield

    def damage(self) -> None:
        """Make the files unusable, in one step."""
        name = self.chance.choice(NAMES)
        path = self.folder / name
        kind = self.chance.choice(("remove", "empty", "cut", "garbage", "other"))
        if kind == "remove":
            path.unlink(missing_ok=True)
            if self.swaps:
                path.symlink_to(f"..data/nothing{self.chance.random()}")
                path.unlink()
                path.symlink_to(f"..data/{name}")
                (self.folder / "..data" / name).unlink(missing_ok=True)
        elif kind == "other" and name != "ca":
            others = [number for number in range(SETS) if number != self.last]
            self.write(name, self.sets[self.chance.choice(others)][name])
        else:
            content = self.sets[self.last][name]
            self.write(name, {"empty": b"", "cut": content[: -self.chance.randint(2, 40)]}.get(kind, os.urandom(50)))
        self.is_whole = False

    async def check(self) -> None:
        """Ask for the context: it must be one whole set."""
        answer = self.source.context_for("localhost")
        context = answer if isinstance(answer, tlsio.SecureContext) else await answer
        used = {
            name: [number for number, one in enumerate(self.sets) if one[name] == getattr(context.options, name)[0].data] for name in NAMES
        }
        assert used["cert"] == used["key"] == used["ca"] != [], used

    async def check_last(self) -> None:
        """Whole files must be in use when they were left alone."""
        if not self.is_whole or self.is_writing:
            return
        for _ in range(2):
            self.time.forward(1.1)
            await self.check()
        answer = self.source.context_for("localhost")
        assert isinstance(answer, tlsio.SecureContext)
        assert answer.options.cert is not None
        assert answer.options.cert[0].data == self.sets[self.last]["cert"]


class Case:
    """One server, one client, and a seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a test's
        version = self.chance.choice(("TLSv1.2", "TLSv1.3"))
        self.net = Net(self.chance.choice(("native", "portable")), version)
        self.time = FileClock(stands=True)  # or a slow machine would leave a half-written file alone
        self.sides = [Folder(folder / role, role, version, self.time, self.chance) for role in ("server", "client")]
        self.writer: Iterator[None] | None = None
        self.cache = tlsio.ClientSessionCache() if self.chance.random() < 0.5 else None

    async def run(self) -> None:
        """Do some acts, in any order."""
        options = {"check_client": self.chance.choice((None, lambda *_: None))}
        async with self.net.serve(echo, secure_context=self.sides[0].source, **options) as server:
            for side in self.sides:
                await side.source.start()
            for _ in range(self.chance.randint(5, 25)):
                [act] = self.chance.choices(
                    (self.connect, self.replace, self.step, self.damage, self.leave, self.reload, self.race), (6, 3, 6, 1, 3, 1, 3)
                )
                await act(server, self.chance.choice(self.sides))
            while self.writer is not None:
                self.write()
            for side in self.sides:
                await side.check_last()
            await self.connect(server)

    async def replace(self, _server: tlsio.Server, side: Folder) -> None:
        """Begin to write another set; one side at a time."""
        if self.writer is None:
            self.writer = side.replace()

    async def step(self, _server: tlsio.Server, _side: Folder) -> None:
        """Write the next piece."""
        self.write()

    def write(self) -> None:
        """Write the next piece; not so much time passes that the files seem complete."""
        if self.writer is not None and next(self.writer, "end") == "end":
            self.writer = None
        self.time.forward(self.chance.choice((0.0, 0.1, 0.4)))

    async def damage(self, _server: tlsio.Server, side: Folder) -> None:
        """Make the files of a side unusable."""
        if not side.is_writing:
            side.damage()

    async def leave(self, _server: tlsio.Server, side: Folder) -> None:
        """Leave the files alone, for a moment or for long."""
        if self.writer is None:
            self.time.forward(self.chance.choice((0.1, 0.9, 1.1, 100.0)))
            if self.chance.random() < 0.4:
                await side.check_last()

    async def reload(self, _server: tlsio.Server, side: Folder) -> None:
        """Read at once what is whole."""
        if side.is_whole and not side.is_writing:
            await side.source.reload()
            await side.check()

    async def race(self, _server: tlsio.Server, side: Folder) -> None:
        """Change files while they are being read."""
        reading = asyncio.ensure_future(side.check())
        await asyncio.sleep(0)
        for _ in range(self.chance.randint(1, 4)):
            self.write()
        await reading

    async def connect(self, server: tlsio.Server, _side: Folder | None = None) -> None:
        """Make a connection with the files as they are."""
        sock = await self.net.connect(server, secure_context=self.sides[1].source, session_cache=self.cache)
        await sock.send(b"x")
        assert await sock.readexactly(1) == b"x"
        assert sock.authorized
        sock.destroy()
        await sock.wait_closed()
        for side in self.sides:
            await side.check()


async def echo(sock: tlsio.TLSSocket) -> None:
    """Send back one byte."""
    await sock.send(await sock.readexactly(1))


def run_all(seeds: Iterable[int], folder: Path) -> None:
    """Run each case; name the seed of one that fails."""
    for seed in seeds:
        try:
            asyncio.run(Case(seed, folder / str(seed)).run())
        except BaseException as error:
            error.add_note(f"SEED={seed}")
            raise


@pytest.mark.parametrize("first", PARTS)
def test_changes(first: int, tmp_path: Path) -> None:
    """Cases that are the same in every run, but for the time that reading takes."""
    run_all(range(first, first + SIZE), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_many_changes(part: int, tmp_path: Path) -> None:
    """New cases in every run, unless `FIRST` names them."""
    size = MANY // 20
    first = random.SystemRandom().randrange(1 << 40) if FIRST is None else int(FIRST) + part * size
    run_all(range(first, first + size), tmp_path)
