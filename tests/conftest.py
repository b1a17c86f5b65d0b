"""What every test gets: `async def` tests on both loops, watched for leaks; short Unix paths; no network.

An `async def` test runs once on asyncio and once on uvloop. It fails when it leaves behind a task, a file descriptor, or an
error that reached the loop's exception handler. A test about such an error takes the fixture `loop_errors`, a list of the
handler's contexts, and removes from it what it expected. There are no async fixtures: `async with` in the test does the same.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import inspect
import ipaddress
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hypothesis
import pytest

from loops import LOOPS, open_descriptors, warm_up
from tlsio.connection.server import server
from tlsio.connection.server.threads import count_threads
from watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

# On a busy machine an example may take any time, to make and to run; the limits below count. With FIRST= they are the same in each run.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize="FIRST" in os.environ, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

TEST_TIMEOUT = 30.0
SLOW_TEST_TIMEOUT = 300.0
# A closed connection still drains for up to 2 s, so that the peer gets our alert; its descriptor may live that long, and longer on a
# busy machine. Slow tests have thousands of connections, and their grace is ten times longer.
DRAIN_GRACE = 0.3  # of a test's timeout


def pytest_configure(config: pytest.Config) -> None:
    """Register the one marker that belongs to this file, and see to it that no test can hang."""
    config.pluginmanager.register(Watchdog(2 * TEST_TIMEOUT, 3 * SLOW_TEST_TIMEOUT))  # the limits here come first
    config.addinivalue_line("markers", "without_threads(reason): TLSIO_HANDSHAKE_THREADS does not apply to this test")
    config.addinivalue_line("markers", "only_loop(name): run this async test on one loop, 'asyncio' or 'uvloop'")


def pytest_collection_finish() -> None:
    """Keep the tests themselves out of the collector's way: to look at tens of thousands takes over a second, at any moment of any test."""
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each async test its loops."""
    if inspect.iscoroutinefunction(metafunc.function):
        marker = metafunc.definition.get_closest_marker("only_loop")
        metafunc.fixturenames.append("loop_name")
        metafunc.parametrize("loop_name", marker.args if marker else LOOPS)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test to its end and look at what it left behind."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    errors = cast("list[dict[str, Any]]", pyfuncitem.funcargs["loop_errors"])
    timeout = SLOW_TEST_TIMEOUT if pyfuncitem.get_closest_marker("slow") else TEST_TIMEOUT
    loop_name = cast("str", pyfuncitem.callspec.params["loop_name"])
    run_watched(pyfuncitem.obj(**arguments), loop_name, errors, timeout)
    return True


def run_watched(test: Coroutine[Any, Any, None], loop_name: str, errors: list[dict[str, Any]], timeout: float) -> None:
    """Run `test` on a new loop; fail when it leaves tasks, descriptors or unhandled errors behind."""
    warm_up(loop_name)
    before = open_descriptors()
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        tasks = runner.run(_watch(test, timeout))
    descriptors = sorted(f"{number} -> {target}" for number, target in open_descriptors() - before)
    assert not tasks, f"tasks left running: {tasks}"
    assert not descriptors, f"descriptors left open: {descriptors}"
    assert not errors, f"errors that nobody took: {errors}"


async def _watch(test: Coroutine[Any, Any, None], timeout: float) -> list[str]:  # noqa: ASYNC109 - the bound of one test
    """Run `test`, wait for its connections to drain, and return the tasks that still run."""
    before = open_descriptors()  # with the loop's own
    async with asyncio.timeout(timeout):
        await test
    for _ in range(3):  # a finished task needs a turn for its callbacks, and they may end another
        await asyncio.sleep(0)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if any(task.get_name() == "tlsio close" for task in tasks):  # the portable driver drains by tasks
        await asyncio.wait(tasks, timeout=timeout * DRAIN_GRACE)
    deadline = time.monotonic() + timeout * DRAIN_GRACE
    while time.monotonic() < deadline and any(target.startswith("socket:") for _, target in open_descriptors() - before):  # noqa: ASYNC110 - a descriptor's end is no event
        await asyncio.sleep(0.01)
    return [repr(task) for task in tasks if not task.done()]


@pytest.fixture(autouse=True)
def loop_errors() -> list[dict[str, Any]]:
    """Contexts that reached the loop's exception handler; what is still here at the end of the test fails it."""
    return []


@pytest.fixture
def unix_path() -> Iterator[Path]:
    """A path for a Unix socket, short enough for its 108 bytes (unix(7)) however long the test's name is."""
    with tempfile.TemporaryDirectory(prefix="tlsio-") as folder:
        yield Path(folder, "socket")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Answer as a machine without a network does: only the loopback is reachable, only its name is known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", _guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        yield


@pytest.fixture(autouse=True)
def _handshake_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each server as many handshake threads as TLSIO_HANDSHAKE_THREADS says, if it is set."""
    threads = int(os.environ.get("TLSIO_HANDSHAKE_THREADS", "0"))
    if threads and request.node.get_closest_marker("without_threads") is None:
        monkeypatch.setattr(server, "count_threads", lambda given: count_threads(given or threads))


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(sock: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and not is_local(address[0]):
            raise OSError(errno.ENETUNREACH, f"tests do not leave this machine: {address}")
        return connect(sock, address)

    return guarded


def _guarded_lookup(lookup: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host and not is_local(host) and not is_address(host):
            raise socket.gaierror(socket.EAI_NONAME, f"tests do not ask name servers: {host}")
        return lookup(host, *args, **kwargs)

    return guarded


def is_local(host: str | bytes) -> bool:
    """Tell whether `host` is this machine."""
    return host in {"localhost", b"localhost"} or (is_address(host) and ipaddress.ip_address(_text(host)).is_loopback)


def is_address(host: str | bytes) -> bool:
    """Tell whether `host` is an IP address rather than a name."""
    try:
        ipaddress.ip_address(_text(host))
    except ValueError:
        return False
    return True


def _text(host: str | bytes) -> str:
    return host.decode() if isinstance(host, bytes) else host
