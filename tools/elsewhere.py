"""Run the README's two commands on other systems, and write the results to docs/reference/systems.md.

python tools/elsewhere.py [--fresh] [SYSTEM ...]      make run and make test in each, in fresh copies of the tree
python tools/elsewhere.py SYSTEM -- COMMAND ...       a command in the copy that the last run left there

SYSTEM is the name of a Debian suite; without one it is all of bookworm, trixie and testing. Each gets a root of its own, made by
debootstrap in TLSIO_ELSEWHERE (by default tlsio/elsewhere in the user's cache), kept, and brought up to date by the next run;
`--fresh` creates it again. DEBIAN_MIRROR names another mirror. The settings that the host's pip needs to reach its index are passed
in: its configuration, its variables, proxies, CA certificates, folders of packages.

It mounts and changes root, in namespaces of its own, and so needs to be root: what it mounts and starts there ends with it.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from configparser import RawConfigParser
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TREE = Path(__file__).resolve().parent.parent
PAGE = TREE / "docs" / "reference" / "systems.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
ROOTS = Path(os.environ.get("TLSIO_ELSEWHERE") or CACHE / "tlsio" / "elsewhere")
MIRROR = os.environ.get("DEBIAN_MIRROR") or "http://deb.debian.org/debian"
SYSTEMS = ("bookworm", "trixie", "testing")
# Debian's suites of today are all made by one script. A debootstrap that is older than a suite has it, but not under its name.
SCRIPT = "/usr/share/debootstrap/scripts/sid"

INSIDE = "/srv/tlsio"  # the copy of the tree
HOST = "/host"  # what the host hands in stands below it, under the host's own paths
HANDED_IN = re.compile(r"PIP_\w+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|(https?|no|all)_proxy", re.IGNORECASE)
A_PATH = re.compile(r"(?:(?<=file://)|(?<![\w/:.]))/[^\s,'\"]+")

SERVES = "Ctrl-C ends it."
TIME = 3600.0  # s that a command may take; the tests take a quarter of it
INTERRUPTED = {-signal.SIGINT, 128 + signal.SIGINT}  # how make ends when Ctrl-C came: by the signal, whatever its child returned
SUMMARY = re.compile(r"=+ (?=.*\d \w+ in [\d.]+s)(.*) in .* =+")

HEAD = """# Tested systems

The results of the README's two commands, `make run` and `make test`, in fresh installations of these systems, with the Python and the OpenSSL that
each ships. `make elsewhere` runs them and writes this page, before each release.

| system | Python | OpenSSL | `make run` | passed | failed | skipped | on |
|---|---|---|---|--:|--:|--:|---|
"""


@dataclass(frozen=True)
class Result:
    """What came of the two commands in one system."""

    system: str
    python: str
    openssl: str
    demo: str
    counts: dict[str, int]
    day: str

    @property
    def is_good(self) -> bool:
        """Whether the demo served and no test failed."""
        return self.demo == SERVED and not self.failed and bool(self.counts.get("passed"))

    @property
    def failed(self) -> int:
        """How many tests failed, or could not be run."""
        return self.counts.get("failed", 0) + self.counts.get("errors", 0) + self.counts.get("error", 0)

    def row(self) -> str:
        """Return its line of the table."""
        counts = (self.counts.get("passed", 0), self.failed, self.counts.get("skipped", 0))
        return f"| {' | '.join(map(str, (self.system, self.python, self.openssl, self.demo, *counts, self.day)))} |"


SERVED = "serves, ends by Ctrl-C"


def counts_of(output: str) -> dict[str, int]:
    """Return the numbers of pytest's last line, by its words for them; none when it did not get that far."""
    lines = SUMMARY.findall(output)
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", lines[-1])} if lines else {}


def page(old: str, results: Iterable[Result]) -> str:
    """Return the page with these results, and the rows of other systems as they stand in the old one."""
    rows = {_name(line): line for line in old.splitlines() if line.startswith("| Debian")}
    rows |= {_name(result.row()): result.row() for result in results}
    return HEAD + "\n".join(sorted(rows.values(), key=_age)) + "\n"


def _name(row: str) -> str:
    return row.partition("(")[2].partition(")")[0]  # the number comes with the release


def _age(row: str) -> tuple[bool, list[int]]:
    numbers = [int(number) for number in re.findall(r"\d+", row.partition("(")[0])]
    return not numbers, numbers  # testing, which has no number yet, is the newest


def handed_in(environment: dict[str, str], pip_config: str) -> tuple[dict[str, str], str, list[Path]]:
    """Return the variables and pip's configuration for a root, and the host's files and folders that they name.

    Paths come out as they are within the root.
    """
    named: list[Path] = []

    def translate(value: str) -> str:
        def below_host(match: re.Match[str]) -> str:
            path = Path(match[0])
            if not path.exists():
                return match[0]
            named.append(path.parent if path.name == "simple" else path)  # the pages of an index name files that stand beside them
            return f"{HOST}{path}"

        return A_PATH.sub(below_host, value)

    variables = {name: translate(value) for name, value in environment.items() if HANDED_IN.fullmatch(name)}
    parser = RawConfigParser()
    for line in pip_config.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if not section.startswith(":"):  # ":env:" are the variables
            parser.read_dict({section: {key: translate(ast.literal_eval(value))}})
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in parser[section].items()) for section in parser.sections()
    )
    return variables, text, [path for path in dict.fromkeys(named) if not set(path.parents) & set(named)]


class Root:
    """A system of its own in a folder. Only for use within the namespaces that `main` makes."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.folder = ROOTS / suite
        self.log = ROOTS / f"{suite}.log"
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        self.environment |= {name: os.environ[name] for name in ("TERM",) if name in os.environ}

    def make(self, *, fresh: bool) -> None:
        """Make it, or bring what is there up to date."""
        if fresh and self.folder.exists():
            shutil.rmtree(self.folder)
        if not self.folder.exists():
            unfinished = self.folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _run(["debootstrap", "--variant=minbase", self.suite, str(unfinished), MIRROR, SCRIPT])
            unfinished.rename(self.folder)
        self._mount()
        for name in ("hosts", "resolv.conf"):
            shutil.copyfile(f"/etc/{name}", self.folder / "etc" / name)
        if shutil.which("apt-config"):
            apt = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True)
            (self.folder / "etc" / "apt" / "apt.conf.d" / "99host").write_text(apt.stdout)
        self._hand_in()
        self.run("apt-get", "update", "-qq")
        self.run("apt-get", "full-upgrade", "-y", "-qq")
        self.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "make")  # the one thing that the README asks for

    def _mount(self) -> None:
        for name in ("dev", "proc", "sys"):
            _run(["mount", "--rbind", f"/{name}", str(self.folder / name)])

    def _hand_in(self) -> None:
        pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
        variables, config, named = handed_in(dict(os.environ), pip.stdout)
        self.environment |= variables | {"DEBIAN_FRONTEND": "noninteractive"}
        (self.folder / "etc" / "pip.conf").write_text(config)
        for path in named:
            target = self.folder / f"{HOST}{path}".lstrip("/")
            (target if path.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                target.touch()
            _run(["mount", "--bind", "-o", "ro", str(path.resolve()), str(target)])

    def lay(self) -> None:
        """Lay a copy of the tree in it, without what is ignored or was made here."""
        inside = self.folder / INSIDE.lstrip("/")
        shutil.rmtree(inside, ignore_errors=True)
        listed = subprocess.run(
            ["git", "-C", TREE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (TREE / name).exists():  # a file that was removed stays in the index until the commit
                (inside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TREE / name, inside / name)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the copy of the tree, as the leader of a group of its own."""
        return subprocess.Popen(
            ["chroot", self.folder, "sh", "-c", f'cd {INSIDE} 2>/dev/null; exec "$@"', "sh", *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def follow(self, process: subprocess.Popen[str], notice: Callable[[str], None] | None = None) -> str:
        """Show and log what a command says until it ends, at the latest after TIME, and return it. Nothing of it is left behind."""
        said = []
        assert process.stdout is not None  # noqa: S101 - start() asked for it
        threading.Thread(target=_end_group, args=(process,), daemon=True).start()
        with self.log.open("a", encoding="utf-8") as log:
            for line in process.stdout:
                print(line, end="", flush=True)
                log.write(line)
                said.append(line)
                if notice is not None:
                    notice(line)
        process.wait()
        return "".join(said)

    def run(self, *command: str) -> str:
        """Run a command that has to succeed, and return what it said."""
        process = self.start(*command)
        said = self.follow(process)
        if process.returncode:
            sys.exit(f"{self.suite}: {' '.join(command)} ended with {process.returncode}; see {self.log}")
        return said

    def serve(self) -> str:
        """Run `make run`, interrupt it when it serves, and say how that went."""
        process = self.start("make", "run")
        served = threading.Event()

        def notice(line: str) -> None:
            if SERVES in line:
                served.set()
                os.killpg(process.pid, signal.SIGINT)

        said = self.follow(process, notice)
        if not served.is_set():
            return f"does not serve: ended with {process.returncode}"
        if process.returncode not in INTERRUPTED or "Traceback" in said:
            return f"does not end well: {process.returncode}"
        return SERVED

    def try_out(self) -> Result:
        """Run the two commands."""
        self.log.unlink(missing_ok=True)
        self.lay()
        demo = self.serve()
        tests = self.start("make", "test")
        counts = counts_of(self.follow(tests))
        if not counts or (tests.returncode == 0) != (not counts.get("failed") and not counts.get("errors")):
            counts = {"errors": 1}  # it ended before pytest could count
        release = self.run("sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME"').strip()
        python, openssl = self.run(".venv/bin/python", "-c", VERSIONS).split()
        system = re.sub(r"^Debian GNU/Linux (\S+) \((\w+)\)$", r"Debian \1 (\2)", release)
        system = re.sub(r"^Debian GNU/Linux (\w+)/sid$", rf"Debian {self.suite} (\1)", system)
        return Result(system, python, openssl, demo, counts, f"{datetime.now(UTC):%Y-%m-%d}")


VERSIONS = "import platform, ssl; print(platform.python_version(), ssl.OPENSSL_VERSION.split()[1])"


def _end_group(process: subprocess.Popen[str]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(TIME)
    with suppress(ProcessLookupError):  # what it left behind would keep its output open
        os.killpg(process.pid, signal.SIGKILL)


def _run(command: list[str]) -> None:
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    """Try the systems of the command line, each after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--fresh", action="store_true", help="create the roots again")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments, command = parser.parse_args(words[:end]), words[end + 1 :]
    if os.geteuid() != 0:
        sys.exit("It mounts and changes root: be root.")
    if not arguments.within:
        os.execvp("unshare", ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, __file__, "--within", *words])  # fmt: skip
    results = []
    for suite in arguments.systems:
        root = Root(suite)
        ROOTS.mkdir(parents=True, exist_ok=True)
        root.make(fresh=arguments.fresh)
        if command:
            root.run(*command)
            continue
        results.append(root.try_out())
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8") if PAGE.exists() else "", results), encoding="utf-8")
    print("".join(f"{result.row()}\n" for result in results), end="")
    sys.exit(not all(result.is_good for result in results))


if __name__ == "__main__":
    main()
