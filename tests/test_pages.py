"""The code of README and of every page of docs/ runs, in the order in which it stands.

Shell blocks run where their commands are local, and are parsed elsewhere. Signatures are compared with the package.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import prometheus_client
import pytest
import trio
import trio.testing
import uvicorn
from aiohttp import web
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

import external_keys
import pages
import tlsio
import tlsio.certs
import tlsio.certs.dev
import tlsio.interop.aiohttp
import tlsio.interop.fetch
import tlsio.interop.httpx
import tlsio.probe
from pebble import Pebble
from ports import own_port
from redis_server import RedisServer
from tlsio.certs.dev.machine import Machine, Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

ROOT = Path(__file__).parent.parent
# Their Python lists signatures: test_docs.py compares it with the package.
SIGNATURES = {"asyncio.md", "development.md", "fetch.md", "interop.md", "module.md", "pair.md", "probe.md", "server.md", "socket.md"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "bench" / "README.md"]
# Commands that need nothing but the folder.
LOCAL = {"openssl", "printf", "cat", "cp", "base64", "echo", "chmod", "mkdir", "touch"}
NETWORK = re.compile(r"openssl s_(client|server)")
# test_revocation_page.py runs it, with a client that is revoked.
OF_THEIR_OWN = {"revocation.md"}
WITH_PYTHON = [
    page for page in PAGES if page.name not in SIGNATURES | OF_THEIR_OWN and pages.blocks(page.read_text(encoding="utf-8"), "python")
]


@asynccontextmanager
async def _nothing(_page: pages.Page) -> AsyncIterator[None]:
    """Most pages need nothing else."""
    yield


@asynccontextmanager
async def _a_server(page: pages.Page) -> AsyncIterator[None]:
    """A server that runs already, and a registry of metrics that is the page's own."""
    options = {"cert": Path("server.pem"), "key": Path("server.key")}
    with own_port() as port:  # of the metrics
        page.replaced["9100"] = str(port)
    async with tlsio.serve(pages.echo, 0, "127.0.0.1", **options) as server:
        page.names["server"] = server
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prometheus_client, "REGISTRY", prometheus_client.CollectorRegistry())
            yield


@asynccontextmanager
async def _a_protocol(page: pages.Page) -> AsyncIterator[None]:
    """One of asyncio's protocols, and a client that offers what the tour pins."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    page.names["protocol_factory"] = Echo
    yield


@asynccontextmanager
async def _uvicorn(page: pages.Page) -> AsyncIterator[None]:
    """The program's configuration, in the fragments below it."""

    async def app(_scope: Any, _receive: Any, _send: Any) -> None: ...

    config = uvicorn.Config(app)
    config.load()
    page.names |= {"config": config, "web": web}
    page.replaced = {**page.replaced, "sha256/...": page.names["device_pin"]}
    async with tlsio.serve(_answer_one, 0, "127.0.0.1", cert=Path("fullchain.pem"), key=Path("server.key")) as api:
        page.ports[443] = api.port or 0
        yield


async def _answer_one(sock: tlsio.TLSSocket) -> None:
    await sock.readuntil(b"\r\n\r\n")
    await sock.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")


@asynccontextmanager
async def _pre_shared(page: pages.Page) -> AsyncIterator[None]:
    """One key for all."""
    key = b"k" * 32
    page.names |= {"key": key, "find": lambda _socket, identity: page.names["keys"][identity]}
    page.answering["psk_callback"] = lambda _socket, _identity: key
    page.visitor["psk_callback"] = lambda _hint: ("sensor-7", page.names["keys"]["sensor-7"])
    yield


@asynccontextmanager
async def _mail(page: pages.Page) -> AsyncIterator[None]:
    """A mail server that starts TLS, by another library."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("server.pem", "server.key")
    handler = cast("Any", SMTP)(Sink(), hostname="mail.example.com", tls_context=context, require_starttls=True)
    server = await asyncio.get_running_loop().create_server(lambda: handler, "127.0.0.1", 0)
    page.ports[587] = server.sockets[0].getsockname()[1]

    async def visit(port: int) -> None:
        page.ports[587] = port
        async with await page.names["start_tls"]("mail.example.com") as sock:
            await sock.send(b"hello\n")
            assert await sock.readline() == b"hello\n"

    page.visit_stream = visit
    yield
    server.close()


@asynccontextmanager
async def _members(page: pages.Page) -> AsyncIterator[None]:
    """A client's certificate that names its holder twice over, as the page's commands make it."""
    command = next(block for block in pages.blocks((ROOT / "docs/how-to/roles.md").read_text(encoding="utf-8"), "sh"))
    await asyncio.to_thread(subprocess.run, ["bash", "-ec", command], check=True, capture_output=True)
    page.visitor |= {"cert": Path("ada.pem"), "key": Path("ada.key")}
    yield


@asynccontextmanager
async def _web_server(page: pages.Page) -> AsyncIterator[None]:
    """It answers each request with its first line."""

    async def answer(sock: tlsio.TLSSocket) -> None:
        request = await sock.readuntil(b"\r\n\r\n")
        body = request.split(b"\r\n")[0]
        await sock.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    page.answer = answer
    yield


@asynccontextmanager
async def _gateway(page: pages.Page) -> AsyncIterator[None]:
    """A client that trusts the certificate which the page makes."""
    page.visitor["ca"] = Path("gateway.pem")
    yield


@asynccontextmanager
async def _plant(page: pages.Page) -> AsyncIterator[None]:
    """A client with the certificate that the page's authority issues."""
    page.visitor |= {"ca": Path("plant-ca.pem"), "cert": Path("ada.pem"), "key": Path("ada.key")}
    yield


@asynccontextmanager
async def _a_backend(page: pages.Page) -> AsyncIterator[None]:
    """A plain server that sends the request back, and then waits for the end of the client's side."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        assert await reader.read() == b""
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        page.replaced["8080"] = str(server.sockets[0].getsockname()[1])
        yield


@asynccontextmanager
async def _a_private_machine(page: pages.Page) -> AsyncIterator[None]:
    """No store of the real machine is even looked at: this one has a folder of a Debian, and no program."""
    (Path("top") / "usr/local/share/ca-certificates").mkdir(parents=True)
    machine = Machine(
        "linux", Path.cwd(), Path("top"), read_variable={}.get, find_program=lambda _name: None, run=lambda _command: Result(1, "")
    )
    page.visitor = {"ca": Path(".local/share/tlsio/dev/root.pem")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlsio.certs.dev.authority.this_machine", lambda: machine)
        yield


@asynccontextmanager
async def _a_public_folder(_page: pages.Page) -> AsyncIterator[None]:
    """A folder of files to serve."""
    Path("public").mkdir()  # noqa: ASYNC240  (nothing else runs)
    yield


class _Anything:
    """A solver for an authority that believes every challenge."""

    def __init__(self, kind: str) -> None:
        self.type = kind

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:
        return not is_wildcard or self.type == "dns-01"

    async def present(self, challenge: object) -> None:
        """Show nothing."""

    async def clean_up(self, challenge: object) -> None:
        """Nothing was shown."""


@asynccontextmanager
async def _an_authority(page: pages.Page) -> AsyncIterator[None]:
    """Pebble in the place of Let's Encrypt."""
    with Pebble(retry_after=0, profiles={"default": 90 * 86400}, environment={"PEBBLE_VA_ALWAYS_VALID": "1"}) as authority:
        for host in ("acme-v02", "acme-staging-v02"):
            page.replaced[f"https://{host}.api.letsencrypt.org/directory"] = authority.directory_url
        page.replaced["/var/lib/tlsio"] = "storage"
        request = tlsio.certs.create_request("example.com", key=tlsio.certs.generate_key())
        page.visitor = {"reject_unauthorized": False, "servername": "example.com"}  # of a temporary certificate
        page.names |= {
            "serve_one": pages.echo,
            "solvers": [_Anything("http-01"), _Anything("dns-01")],
            "publish": print,
            "csr": request.public_bytes(Encoding.DER),
        }
        tlsio.set_default_ca_certificates([authority.ca])
        yield


@asynccontextmanager
async def _a_signer(page: pages.Page) -> AsyncIterator[None]:
    """Whatever signs with the server's key, in the place of the dots."""
    key = load_pem_private_key(Path("key.pem").read_bytes(), None)  # noqa: ASYNC240  (nothing else runs)
    page.names |= {"sign": partial(external_keys.sign, key), "key": key, "ec": ec, "hashes": hashes}
    page.replaced |= {"-> bytes: ...": "-> bytes: return sign(scheme, message)", "/run/agent": "agent"}
    yield
    async with page.names["agent"]:
        signature = await page.names["Agent"]().sign("ecdsa_secp256r1_sha256", b"message")
        with pytest.raises(InvalidSignature):  # it has refused a scheme that is not its key's
            key.public_key().verify(await page.names["Agent"]().sign("ed25519", b"message"), b"message", ec.ECDSA(hashes.SHA256()))
    key.public_key().verify(signature, b"message", ec.ECDSA(hashes.SHA256()))


SETTINGS: dict[str, Callable[[pages.Page], AbstractAsyncContextManager[None]]] = {
    "README.md": _a_protocol,
    "acme.md": _an_authority,
    "development-certificates.md": _a_private_machine,
    "find-out-why.md": _a_server,
    "key-rotation.md": _a_server,
    "keys-in-an-hsm.md": _a_signer,
    "monitoring.md": _a_server,
    "roles.md": _members,
    "frameworks.md": _uvicorn,
    "make-certificates.md": _gateway,
    "https-files.md": _a_public_folder,
    "metrics.md": _a_server,
    "new-certificate.md": _a_server,
    "node.md": _web_server,
    "own-authority.md": _plant,
    "pre-shared-keys.md": _pre_shared,
    "proxy.md": _a_backend,
    "starttls.md": _mail,
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder with the files that the pages name; its authority is the only one that is trusted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLS_SESSION_SECRET", "a secret of the tests, 32 bytes or more")
    pages.make_files()
    before = tlsio.get_ca_certificates()
    tlsio.set_default_ca_certificates([Path("ca.pem")])
    yield
    tlsio.set_default_ca_certificates(before)


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """One Redis for all."""
    with RedisServer() as server:
        yield server.url


@pytest.mark.parametrize("path", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_runs(path: Path, redis: str) -> None:
    """Each block, with what those above it have defined."""
    text = path.read_text(encoding="utf-8")
    with own_port() as port:
        urls = ('"rediss://redis.internal:6379/0"', '"redis://localhost:6379/0"', '"redis://localhost"')
        page = pages.Page(port, pages.stand_ins(), replaced=dict.fromkeys(urls, f'"{redis}"'))

        async def run() -> None:
            async with SETTINGS.get(path.name, _nothing)(page):
                for number, source in enumerate(pages.blocks(text, "python"), 1):
                    try:
                        await page.run(source)
                    except BaseException as error:
                        error.add_note(f"in block {number}:\n{source}")
                        raise

        asyncio.run(run())


def test_reload_on_sighup() -> None:
    """The page's program serves the new certificate after the signal, and the old one while the new files do not fit."""
    [program] = [
        block
        for block in pages.blocks((ROOT / "docs/how-to/new-certificate.md").read_text(encoding="utf-8"), "python")
        if "SIGHUP" in block
    ]

    def served(port: int) -> bytes:
        async def look() -> bytes:
            async with tlsio.connect(port, "localhost", ca=Path("ca.pem")) as sock:
                certificate = sock.get_peer_certificate()
                assert certificate is not None
                return certificate.raw

        for _ in range(200):
            with suppress(OSError):
                return asyncio.run(look())
            time.sleep(0.05)
        raise AssertionError("the program does not serve")

    with (
        own_port() as port,
        subprocess.Popen([sys.executable, "-c", program.replace("8443", str(port))], stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        try:
            before = served(port)
            shutil.copy("me.key", "privkey.pem")
            process.send_signal(signal.SIGHUP)
            assert "the old certificate stays in use" in process.stderr.readline()
            shutil.copy("me.pem", "fullchain.pem")
            process.send_signal(signal.SIGHUP)
            while "was reloaded" not in process.stderr.readline():
                assert process.poll() is None
            with pytest.raises(tlsio.CertificateError):  # a client's certificate
                served(port)
            shutil.copy("server.pem", "fullchain.pem")
            shutil.copy("server.key", "privkey.pem")
            process.send_signal(signal.SIGHUP)
            while "was reloaded" not in process.stderr.readline():
                assert process.poll() is None
            assert served(port) == before
        finally:
            process.kill()


SLOW_APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            print(event, flush=True)
            await send({"type": event + (".failed" if FAILS else ".complete")})
            if event == "lifespan.shutdown":
                return
    print("request", flush=True)
    await asyncio.sleep(0.5)
    headers = [(b"content-length", b"5"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"done!"})


"""


@contextmanager
def uvicorn_program(port: int, *, fails: bool) -> Iterator[Any]:
    """Run the program of the page on frameworks with another app."""
    text = (ROOT / "docs/how-to/frameworks.md").read_text(encoding="utf-8")
    program = pages.blocks(text, "python")[0].replace("8443", str(port))
    source = re.sub(r"async def app.*?(?=FILES = )", lambda _: f"FAILS = {fails}\n{SLOW_APP}", program, flags=re.DOTALL)
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_app_that_cannot_start_is_not_served() -> None:
    """The program ends with uvicorn's exit status for it."""
    with own_port() as port, uvicorn_program(port, fails=True) as process:
        assert process.wait(20) == 3


def test_sigterm_lets_a_request_finish() -> None:
    """Its answer arrives, then the lifespan ends, and the program with status 0."""

    async def request(port: int, process: Any) -> bytes:
        for _ in range(200):
            with suppress(ConnectionRefusedError):
                async with tlsio.connect(port, "localhost", ca=Path("ca.pem")) as sock:
                    await sock.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    while await asyncio.to_thread(process.stdout.readline) != "request\n":
                        assert process.poll() is None
                    process.send_signal(signal.SIGTERM)
                    return await sock.read_all()
            await asyncio.sleep(0.05)
        raise AssertionError("the program does not serve")

    with own_port() as port, uvicorn_program(port, fails=False) as process:
        assert asyncio.run(request(port, process)).endswith(b"done!")
        assert process.wait(20) == 0
        assert process.stdout.read().endswith("lifespan.shutdown\n")


def trio_stream() -> Any:
    """Return the class of the page on trio."""
    text = (ROOT / "docs/how-to/trio-and-sync.md").read_text(encoding="utf-8")
    [source] = [block for block in pages.blocks(text, "python") if "class TLSStream" in block]
    names: dict[str, Any] = {}
    exec(source.partition("async def main")[0], names)  # noqa: S102 - our own page
    return names["TLSStream"]


async def test_trio_stream_that_only_sends() -> None:
    """All arrives, also if the peer reads late; a server that is not trusted gets nothing."""
    got: list[bytes] = []

    async def take(sock: tlsio.TLSSocket) -> None:
        await asyncio.sleep(0.05)
        got.append(await sock.read_all())

    async def send(port: int, ca: Any) -> None:
        stream = trio_stream()(await trio.open_tcp_stream("127.0.0.1", port), ca=ca, servername="localhost")
        try:
            await stream.send_all(bytes(1_000_000))
        finally:
            await stream.aclose()

    async with tlsio.serve(take, 0, "127.0.0.1", cert=Path("server.pem"), key=Path("server.key")) as server:
        alert = asyncio.get_running_loop().create_future()
        server.on("tls_client_error", lambda error, _sock: alert.set_result(error.alert))
        await asyncio.to_thread(trio.run, send, server.port, Path("ca.pem"))
        with pytest.raises(tlsio.CertificateError):
            await asyncio.to_thread(trio.run, send, server.port, [])
        assert await asyncio.wait_for(alert, 10) == "unknown_ca"
    assert got == [bytes(1_000_000)]


async def test_trio_stream_sends_while_it_receives() -> None:
    """A task that waits for data holds up none that sends, and neither waits for the other when buffers are full."""
    size = 4_000_000  # more than all buffers on the way hold

    async def talk(port: int) -> None:
        stream = trio_stream()(await trio.open_tcp_stream("127.0.0.1", port), ca=Path("ca.pem"), servername="localhost")
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    left = size
                    while left:
                        left -= len(await stream.receive_some())

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                await stream.send_all(bytes(size))
            await stream.aclose()

    async with tlsio.serve(pages.echo, 0, "127.0.0.1", cert=Path("server.pem"), key=Path("server.key")) as server:
        await asyncio.to_thread(trio.run, talk, server.port)


def shell_blocks(path: Path) -> list[str]:
    """Return the commands of a page: fenced, or indented by four spaces outside of lists."""
    text = path.read_text(encoding="utf-8")
    indented = re.findall(r"(?:^\n)((?:^    (?! ).*\n)+)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    commands = [block for block in indented if re.match(r"    (make|pip|python|TLSIO_\w+=)", block)]
    return [*pages.blocks(text, "sh"), *(re.sub("^    ", "", block, flags=re.MULTILINE) for block in commands)]


def is_local(block: str) -> bool:
    """Whether a block needs nothing but its folder."""
    commands = re.sub(r"<<END$.*?^END$", "", block.replace("\\\n", " ").replace("|\n", "|"), flags=re.MULTILINE | re.DOTALL)
    return {command.split()[0] for command in re.split(r"[\n|]", commands) if command.strip()} <= LOCAL and not NETWORK.search(block)


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if shell_blocks(path)], ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_of_a_page_runs(path: Path) -> None:
    """Where that is possible, block after block; all of it is shell, and what it makes with `make` has a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for block in shell_blocks(path):
        ended = subprocess.run(
            ["bash", "-e", *([] if is_local(block) else ["-n"]), "-c", block], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{block}\n{ended.stderr}"
        assert set(re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)) <= targets


@pytest.mark.parametrize("path", PAGES, ids=lambda page: page.name)
def test_javascript_of_a_page_is_javascript(path: Path, tmp_path: Path) -> None:
    """Node parses it."""
    for block in pages.blocks(path.read_text(encoding="utf-8"), "javascript"):
        (tmp_path / "block.js").write_text(block, encoding="utf-8")
        subprocess.run(["node", "--check", str(tmp_path / "block.js")], check=True)


def signatures() -> list[Any]:
    """Return the calls that pages list, with what they are called on: a name and its parameters."""
    things = {
        "server": tlsio.Server,
        "socket": tlsio.TLSSocket,
        "pair": tlsio.SecurePair,
        "tlsio": tlsio,
        "fetch": tlsio.interop.fetch,
        "fetcher": tlsio.interop.fetch.Fetcher,
        "dev": tlsio.certs.dev,
        "httpx": tlsio.interop.httpx,
        "aiohttp": tlsio.interop.aiohttp,
        "probe": tlsio.probe,
    }
    call = re.compile(rf"\b({'|'.join(things)})\.(\w+)\(([^()]*(?:\([^()]*\))?[^()]*)\)")
    found = []
    for path in PAGES:
        if path.name in SIGNATURES:
            for block in pages.blocks(path.read_text(encoding="utf-8"), "python"):
                for owner, name, parameters in call.findall(block):
                    is_listed = hasattr(things[owner], name) and not re.match(r"[\d\"']", parameters)  # not an example of a call
                    if is_listed:
                        found.append(pytest.param(getattr(things[owner], name), parameters, id=f"{path.name}-{owner}.{name}"))
    return found


@pytest.mark.parametrize(
    ("page", "authority", "leaf"),
    [
        ("tutorial/first-server.md", "ca.pem", "server.pem"),
        ("how-to/certificates.md", "plant-ca.pem", "gateway.pem"),
        ("how-to/mutual-tls.md", "clients-ca.pem", "me.pem"),
        ("how-to/roles.md", "clients-ca.pem", "ada.pem"),
    ],
)
def test_certificates_are_accepted_by_strict_verification(page: str, authority: str, leaf: str) -> None:
    """What the commands make is accepted by the flag that Python 3.13's default context sets."""
    for block in shell_blocks(ROOT / "docs" / page):
        if is_local(block):
            subprocess.run(["bash", "-ec", block], capture_output=True, check=True)
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", authority, leaf]
    assert subprocess.run(verify, capture_output=True, text=True, check=False).stdout == f"{leaf}: OK\n"


@pytest.mark.parametrize(("call", "listed"), signatures())
def test_signature_is_that_of_the_package(call: Any, listed: str) -> None:
    """The same parameters in the same order, with the same defaults."""
    real = inspect.signature(call)
    own = [parameter for parameter in real.parameters.values() if parameter.name != "self"]
    shown = ast.parse(f"def call({listed}): ...").body[0].args  # type: ignore[attr-defined]
    names = [argument.arg for argument in (*shown.posonlyargs, *shown.args, *shown.kwonlyargs)]
    # The name of a positional-only parameter is no part of the call.
    own = [p.replace(name=names[at]) if p.kind is p.POSITIONAL_ONLY and at < len(names) else p for at, p in enumerate(own)]
    known = {parameter.name: parameter.default for parameter in own}
    assert names == [parameter.name for parameter in own if parameter.name in names]
    required = {parameter.name for parameter in own if parameter.default is parameter.empty and parameter.kind not in {2, 4}}
    assert required <= set(names)
    defaults = dict(zip([a.arg for a in (*shown.posonlyargs, *shown.args)][::-1], shown.defaults[::-1], strict=False))
    defaults |= {argument.arg: value for argument, value in zip(shown.kwonlyargs, shown.kw_defaults, strict=True) if value is not None}
    given = {name: ast.literal_eval(value) for name, value in defaults.items()}
    assert {name: value for name, value in given.items() if value is not ...} == {
        name: known[name] for name in given if given[name] is not ...
    }
