"""BIND, a real name server, on a port of its own, with zones that a TSIG key may change."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dns.message
import dns.query
import dns.rdatatype

from ports import own_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

KEY_NAME = "tlsio-tests"
KEY = base64.b64encode(b"a key for updates, of 32 bytes ..").decode()
# The name server of each zone is this server itself; `elsewhere.test` has one more, which does not answer.
ZONE = """$TTL 300
@ SOA ns.{zone}. root.{zone}. 1 3600 600 86400 1
@ NS ns
ns A 127.0.0.1
* A 127.0.0.1
@ A 127.0.0.1
_acme-challenge.alias CNAME alias.delegated.test.
_acme-challenge.chain CNAME _acme-challenge.alias
_acme-challenge.loop CNAME _acme-challenge.loop
"""
# `nameless.test` has a name server without an address.
ZONES = {"example.test": "", "sub.example.test": "", "delegated.test": "", "elsewhere.test": "@ NS ns2\nns2 A 127.9.9.9\n"}
NAMELESS = "$TTL 300\n@ SOA ns root 1 3600 600 86400 1\n@ NS ns.nowhere.example.\n"


def without_lock(program: str) -> str:
    """Return the option by which several servers may run at once; BIND 9.20 has no lock, nor the option."""
    said = subprocess.run([program, "-v"], check=True, capture_output=True, text=True).stdout
    found = re.match(r"BIND (\d+)\.(\d+)", said)
    assert found, said
    return "lock-file none;" if (int(found[1]), int(found[2])) < (9, 20) else ""


class Bind:
    """A running server; it forgets everything when it ends."""

    def __init__(self) -> None:
        self._left = contextlib.ExitStack()
        self._process: subprocess.Popen[str]
        self.port = 0

    def __enter__(self) -> Self:
        program = shutil.which("named", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "BIND is not installed (bind9): without it these tests prove nothing"
        with contextlib.ExitStack() as entered:
            folder = Path(entered.enter_context(tempfile.TemporaryDirectory(prefix="tlsio-bind-")))
            self.port = entered.enter_context(own_port())
            command = [program, "-g", "-c", str(self._configuration(folder, without_lock(program)))]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            entered.callback(self._stop)
            assert self._process.stdout is not None
            said = ""
            for line in self._process.stdout:
                said += line
                if line.rstrip().endswith(" running"):
                    break
            else:
                raise AssertionError(f"named did not start: {said[-500:]}")
            self._left = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self.port}"

    @asynccontextmanager
    async def relayed(self) -> AsyncIterator[str]:
        """Give an address whose port 53 leads here by TCP, for peers that know no other port; it needs root."""

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.port)

            async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                while data := await source.read(4096):
                    target.write(data)
                target.close()

            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.create_task(relay(reader, writer)))

        tasks: list[asyncio.Task[None]] = []
        host = f"127.{os.getpid() % 200 + 10}.{os.getpid() // 200 % 250}.77"  # of this process
        server = await asyncio.start_server(accept, host, 53)
        try:
            yield host
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.gather(*tasks)

    def _is_stopped(self) -> bool:
        """Whether all of its threads are: a signal reaches them one after the other."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return all((task / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T" for task in tasks)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it answer nothing."""
        self._process.send_signal(signal.SIGSTOP)
        while not self._is_stopped():
            time.sleep(0.001)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def txt(self, name: str) -> set[str]:
        """Return the TXT values of a name."""
        answer = dns.query.tcp(dns.message.make_query(name, "TXT"), "127.0.0.1", 5, self.port)
        return {str(record).strip('"') for rrset in answer.answer if rrset.rdtype == dns.rdatatype.TXT for record in rrset}

    def _configuration(self, folder: Path, lock: str) -> Path:
        text = f"""options {{
  directory "{folder}"; pid-file none; {lock} session-keyfile none; managed-keys-directory "{folder}";
  listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; dnssec-validation no; notify no;
  recursion yes; forward only; forwarders {{ 127.0.0.1 port 1; }};
}};
controls {{ }};
key "{KEY_NAME}" {{ algorithm hmac-sha256; secret "{KEY}"; }};
"""
        for zone, more in ZONES.items():
            (folder / zone).write_text(ZONE.format(zone=zone) + more)
            text += f'zone "{zone}" {{ type primary; file "{zone}"; update-policy {{ grant "{KEY_NAME}" zonesub TXT; }}; }};\n'
        (folder / "nameless.test").write_text(NAMELESS)
        (folder / "secret.test").write_text(NAMELESS)
        text += f'zone "nameless.test" {{ type primary; file "nameless.test"; update-policy {{ grant "{KEY_NAME}" zonesub TXT; }}; }};\n'
        text += 'zone "secret.test" { type primary; file "secret.test"; allow-query { none; }; };\n'
        (folder / "named.conf").write_text(text)
        return folder / "named.conf"
