"""Trust in the stores of every system: the exact commands, and the real programs on stores in a folder of the test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from foreign_peers import find
from tlsio.certs.dev.machine import Machine, Result, run, this_machine
from tlsio.certs.dev.store import Root
from tlsio.certs.dev.trust import add_root, find_removals, find_stores, is_trusted, remove_root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHA1 = "F" * 40


@dataclass
class Recorder:
    """Takes the place of running commands: each ends with a status, which `fails` decides, and the files are kept true."""

    fails: Callable[[Sequence[str]], bool] = lambda _command: False
    ran: list[str] = field(default_factory=list)
    trusted: set[str] = field(default_factory=set)

    def __call__(self, command: Sequence[str]) -> Result:
        """Note a command."""
        line = " ".join(command)
        self.ran.append(line)
        if self.fails(command):
            return Result(1, "first\nwhat is wrong\n")
        words = [word for word in command if word not in {"sudo", "--"}]
        if words[0] == "install":
            shutil.copy(words[-2], words[-1])
        elif words[0] == "rm":
            Path(words[-1]).unlink(missing_ok=True)
        return Result(0, "")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A root, in a folder whose name a shell has to quote."""
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "root.pem").write_bytes(pki.ca1().cert_pem)
    return replace(Root.read(folder / "root.pem"), name="tlsio-dev-0123456789abcdef", sha1=SHA1)


def describe(tmp_path: Path, system: Any = "linux", *, programs: Sequence[str] = (), variables: Any = None, **options: Any) -> Machine:
    """Return a machine in a folder, with these programs."""
    home, top = tmp_path / "home", tmp_path / "top"
    home.mkdir(exist_ok=True)
    top.mkdir(exist_ok=True)
    return Machine(
        system,
        home,
        top,
        read_variable=(variables or {}).get,
        find_program=lambda name: f"/bin/{name}" if name in programs else None,
        **options,
    )


def lines(outcomes: Sequence[Any]) -> list[str]:
    """Return the commands of all outcomes."""
    return [line for outcome in outcomes for line in outcome.commands]


# --- the exact commands ---

LAYOUTS = {
    "debian": ("usr/local/share/ca-certificates", ".crt", "update-ca-certificates", "update-ca-certificates --fresh"),
    "fedora": ("etc/pki/ca-trust/source/anchors", ".pem", "update-ca-trust extract", "update-ca-trust extract"),
    "arch": ("etc/ca-certificates/trust-source/anchors", ".crt", "trust extract-compat", "trust extract-compat"),
    "suse": ("etc/pki/trust/anchors", ".pem", "update-ca-certificates", "update-ca-certificates"),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("is_root", [True, False])
def test_linux(layout: tuple[str, str, str, str], root: Root, tmp_path: Path, *, is_root: bool) -> None:
    """A file in the folder of the family, and its program; by sudo for others than root."""
    folder, suffix, update, renew = layout
    recorder = Recorder()
    machine = describe(tmp_path, programs=[update.split()[0], "sudo"], is_root=is_root, run=recorder)
    place = machine.top / folder / f"tlsio-dev-0123456789abcdef{suffix}"
    place.parent.mkdir(parents=True)
    sudo = "" if is_root else "sudo -- "
    [outcome] = add_root(root, machine=machine)
    assert (outcome.state, outcome.problem) == ("added", None)
    assert outcome.commands == (f"{sudo}install -m 644 '{root.path}' {place}", f"{sudo}/bin/{update}")
    assert recorder.ran == [line.replace("'", "") for line in outcome.commands]
    [outcome] = remove_root(root, machine=machine)
    assert (outcome.state, outcome.commands) == ("removed", (f"{sudo}rm -f {place}", f"{sudo}/bin/{renew}"))
    assert not place.exists()


def test_unknown_linux_has_no_store(root: Root, tmp_path: Path) -> None:
    """The others are used all the same."""
    assert find_stores(root, machine=describe(tmp_path, programs=["update-ca-certificates"])) == []


def test_macos(root: Root, tmp_path: Path) -> None:
    """The login keychain, without sudo."""
    machine = describe(tmp_path, "macos")
    [store] = find_stores(root, machine=machine)
    keychain, path = f"{machine.home}/Library/Keychains/login.keychain-db", str(root.path)
    assert [" ".join(one.words) for one in store.add] == [
        f"/usr/bin/security add-trusted-cert -r trustRoot -p ssl -p basic -k {keychain} {path}"
    ]
    assert [" ".join(one.words) for one in store.remove] == [
        f"/usr/bin/security remove-trusted-cert {path}",
        f"/usr/bin/security delete-certificate -Z {SHA1} {keychain}",
    ]
    assert store.check == ("/usr/bin/security", "verify-cert", "-l", "-L", "-p", "basic", "-c", path)
    assert not any(one.needs_root for one in (*store.add, *store.remove))


def test_windows(root: Root, tmp_path: Path) -> None:
    """The user's store, by the system's certutil, not NSS's."""
    machine = describe(tmp_path, "windows", programs=["certutil"], variables={"SystemRoot": r"D:\Windows"}, is_root=True)
    [store] = find_stores(root, machine=machine)
    tool = r"D:\Windows\System32\certutil.exe"
    assert [one.words for one in store.add] == [(tool, "-user", "-addstore", "Root", str(root.path))]
    assert [one.words for one in store.remove] == [(tool, "-user", "-delstore", "Root", SHA1)]
    assert store.check == (tool, "-user", "-store", "Root", SHA1)


def test_nss(root: Root, tmp_path: Path) -> None:
    """Every database of a browser that there is, and nothing else in these folders."""
    machine = describe(tmp_path, programs=["certutil", "chromium"], variables={"XDG_CONFIG_HOME": str(tmp_path / "home/conf")})
    databases = [
        ".local/share/pki/nssdb",
        "snap/chromium/current/.pki/nssdb",
        ".mozilla/firefox/a.default",
        ".mozilla/firefox/b.work",
        "conf/mozilla/firefox/c",
    ]
    for name in databases:
        (machine.home / name).mkdir(parents=True)
        (machine.home / name / "cert9.db").touch()
    (machine.home / ".mozilla/firefox/Crash Reports").mkdir()
    (machine.home / ".pki/nssdb").mkdir(parents=True)
    stores = find_stores(root, machine=machine)
    assert [store.place for store in stores] == [f"NSS: {machine.home / name}" for name in databases]
    base = ("/bin/certutil", "-d", f"sql:{machine.home / databases[0]}")
    assert [one.words for one in stores[0].add] == [(*base, "-A", "-t", "C,,", "-n", root.name, "-i", str(root.path))]
    assert [one.words for one in stores[0].remove] == [(*base, "-D", "-n", root.name)]
    assert stores[0].check == (*base, "-L", "-n", root.name)


def test_nss_of_a_chromium_that_never_ran(root: Root, tmp_path: Path) -> None:
    """A database is made where it will read it; without a Chromium there is none to make."""
    machine = describe(tmp_path, programs=["certutil", "google-chrome"])
    [store] = find_stores(root, machine=machine)
    folder = machine.home / ".pki" / "nssdb"
    assert [" ".join(one.words) for one in store.add[:2]] == [
        f"mkdir -p -m 700 {folder}",
        f"/bin/certutil -d sql:{folder} -N --empty-password",
    ]
    assert find_stores(root, machine=describe(tmp_path, programs=["certutil"])) == []


@pytest.mark.parametrize("place", ["lib/security/cacerts", "jre/lib/security/cacerts"])
def test_java(place: str, root: Root, tmp_path: Path) -> None:
    """JAVA_HOME, or the Java of the keytool on the PATH; an old one or a new one."""
    java = tmp_path / "java"
    for name in ("bin/keytool", place):
        (java / name).parent.mkdir(parents=True, exist_ok=True)
        (java / name).touch()
    link = tmp_path / "keytool"
    link.symlink_to(java / "bin/keytool")
    by_variable = describe(tmp_path, variables={"JAVA_HOME": str(java)})
    by_path = replace(describe(tmp_path), find_program={"keytool": str(link)}.get)
    rest = f"-keystore {java / place} -storepass changeit -alias {root.name}"
    for machine in (by_variable, by_path):
        [store] = find_stores(root, machine=machine)
        assert [" ".join(one.words) for one in store.add] == [f"{java}/bin/keytool -importcert -noprompt {rest} -file {root.path}"]
        assert [" ".join(one.words) for one in store.remove] == [f"{java}/bin/keytool -delete {rest}"]
        assert " ".join(store.check) == f"{java}/bin/keytool -list {rest}"  # type: ignore[arg-type]
    (java / "bin/keytool").unlink()
    [store] = find_stores(root, machine=by_variable)
    assert "JAVA_HOME" in (store.problem or "")


# --- what can go wrong ---


def debian(tmp_path: Path, recorder: Recorder, *, programs: Sequence[str] = ("update-ca-certificates",), is_root: bool = True) -> Machine:
    """Return a Debian."""
    machine = describe(tmp_path, programs=programs, is_root=is_root, run=recorder)
    (machine.top / "usr/local/share/ca-certificates").mkdir(parents=True)
    return machine


def test_dry_run_changes_nothing(root: Root, tmp_path: Path) -> None:
    """It returns the commands that would be run."""
    recorder = Recorder()
    machine = debian(tmp_path, recorder)
    [planned] = add_root(root, dry_run=True, machine=machine)
    assert (planned.state, recorder.ran) == ("to be added", [])
    [done] = add_root(root, machine=machine)
    assert done.commands == planned.commands
    count = len(recorder.ran)
    [planned] = remove_root(root, dry_run=True, machine=machine)
    assert (planned.state, len(recorder.ran)) == ("to be removed", count)
    assert is_trusted(planned.store, root, machine)


def test_nothing_to_do(root: Root, tmp_path: Path) -> None:
    """Twice is the same as once."""
    machine = debian(tmp_path, Recorder())
    assert remove_root(root, machine=machine)[0].state == "absent"
    add_root(root, machine=machine)
    assert add_root(root, machine=machine)[0].state == "present"


def test_another_file_of_that_name_is_replaced(root: Root, tmp_path: Path) -> None:
    """It is not our root, so that it is not trusted."""
    machine = debian(tmp_path, Recorder())
    [store] = find_stores(root, machine=machine)
    assert isinstance(store.check, Path)
    store.check.write_text("something else")
    assert add_root(root, machine=machine)[0].state == "added"


def test_failure_is_undone(root: Root, tmp_path: Path) -> None:
    """A file that the system's program could not read in is removed again; the message has its words."""
    recorder = Recorder(fails=lambda command: command[-1] == "/bin/update-ca-certificates")
    machine = debian(tmp_path, recorder)
    [outcome] = add_root(root, machine=machine)
    assert outcome.state == "failed"
    assert outcome.problem == "`/bin/update-ca-certificates` failed with the status 1: first what is wrong"
    assert [line.split()[0] for line in recorder.ran] == ["install", "/bin/update-ca-certificates", "rm", "/bin/update-ca-certificates"]
    assert not is_trusted(outcome.store, root, machine)


def test_interruption_is_undone(root: Root, tmp_path: Path) -> None:
    """Ctrl-C while the system's program runs: the file that it was to read is removed."""
    recorder = Recorder()

    def interrupted(command: Sequence[str]) -> bool:
        if command[-1] == "/bin/update-ca-certificates" and len(recorder.ran) == 2:
            raise KeyboardInterrupt
        return False

    recorder.fails = interrupted
    machine = debian(tmp_path, recorder)
    with pytest.raises(KeyboardInterrupt):
        add_root(root, machine=machine)
    assert recorder.ran[2:] == [f"rm -f {find_stores(root, machine)[0].check}", "/bin/update-ca-certificates --fresh"]
    assert add_root(root, machine=machine)[0].state == "added"


def test_failure_does_not_stop_the_others(root: Root, tmp_path: Path) -> None:
    """Each store has its own outcome."""
    recorder = Recorder(fails=lambda command: command[0] in {"install", "rm"} or "-L" in command)
    machine = debian(tmp_path, recorder, programs=["update-ca-certificates", "certutil"])
    (machine.home / ".pki/nssdb").mkdir(parents=True)
    (machine.home / ".pki/nssdb/cert9.db").touch()
    system, nss = add_root(root, machine=machine)
    assert (system.state, nss.state) == ("failed", "failed")
    assert nss.problem == "The commands succeeded, but the store does not have the root."


def test_removal_that_fails(root: Root, tmp_path: Path) -> None:
    """The root is still there."""
    recorder = Recorder()
    machine = debian(tmp_path, recorder)
    add_root(root, machine=machine)
    recorder.fails = lambda command: command[0] == "rm"
    assert remove_root(root, machine=machine)[0].state == "failed"
    stuck = replace(machine, run=lambda _command: Result(0, ""))
    assert remove_root(root, machine=stuck)[0].problem == "The commands succeeded, but the store still has the root."


@pytest.mark.parametrize(
    ("programs", "problem"), [(["sudo"], "update-ca-certificates is not installed"), (["update-ca-certificates"], "sudo is not installed")]
)
def test_what_is_missing_is_named(programs: list[str], problem: str, root: Root, tmp_path: Path) -> None:
    """Before anything is run."""
    recorder = Recorder()
    [outcome] = add_root(root, machine=debian(tmp_path, recorder, programs=programs, is_root=False))
    assert (outcome.state, outcome.commands, recorder.ran) == ("failed", (), [])
    assert problem in (outcome.problem or "")


def test_only_some_kinds(root: Root, tmp_path: Path) -> None:
    """Others are not even looked at."""
    machine = debian(tmp_path, Recorder())
    assert add_root(root, only=["nss", "java"], machine=machine) == ()
    with pytest.raises(tlsio.UsageValueError):
        add_root(root, only=["browser"], machine=machine)


def test_commands_that_cannot_be_started() -> None:
    """They end as in a shell."""
    assert run(["/no/such/program"]) == Result(127, "/no/such/program: No such file or directory")
    assert run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == Result(3, "out\nerr\n")


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's folder is that of the environment; relative folders of XDG are ignored."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    machine = this_machine()
    assert (machine.home, machine.top, machine.is_root) == (tmp_path, Path("/"), os.geteuid() == 0)
    assert machine.folder("XDG_DATA_HOME", ".local/share") == tmp_path / ".local/share"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert machine.folder("XDG_DATA_HOME", ".local/share") == Path("/data")
    monkeypatch.delenv("HOME")
    assert this_machine().home == Path(pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    monkeypatch.setattr("os.geteuid", os.getuid)
    with pytest.raises(tlsio.ConfigError, match="no home folder"):
        this_machine()


def test_programs_of_the_administrator_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's users do not have /usr/sbin on their PATH."""
    monkeypatch.setenv("PATH", "/bin")
    assert this_machine().find_program("update-ca-certificates") == find("update-ca-certificates", "ca-certificates", "/usr/sbin")
    assert this_machine().find_program("no-such-program") is None


# --- the real programs ---


@pytest.mark.slow
def test_real_nss(root: Root, tmp_path: Path) -> None:
    """A database is made, gets the root as one for servers alone, and loses it."""
    tool = find("certutil", "libnss3-tools")
    machine = replace(describe(tmp_path), find_program={"certutil": tool, "chromium": "/bin/true"}.get)
    folder = machine.home / ".pki/nssdb"
    [planned] = add_root(root, dry_run=True, machine=machine)
    assert planned.state == "to be added"
    assert not folder.exists()
    assert [one.state for one in add_root(root, machine=machine)] == ["added"]
    listed = subprocess.run([tool, "-d", f"sql:{folder}", "-L"], capture_output=True, text=True, check=True).stdout
    assert [line.split() for line in listed.splitlines() if root.name in line] == [[root.name, "C,,"]]
    assert subprocess.run([tool, "-d", f"sql:{folder}", "-V", "-u", "L", "-n", root.name], check=False, capture_output=True).returncode == 0
    assert [one.state for one in add_root(root, machine=machine)] == ["present"]
    assert [one.state for one in remove_root(root, machine=machine)] == ["removed"]
    assert [one.state for one in remove_root(root, machine=machine)] == ["absent"]
    assert root.name not in subprocess.run([tool, "-d", f"sql:{folder}", "-L"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_real_nss_with_a_password(root: Root, tmp_path: Path) -> None:
    """A database that only its user can change: certutil's words are in the message, and nothing waits for input."""
    tool = find("certutil", "libnss3-tools")
    folder = tmp_path / "home/.pki/nssdb"
    folder.mkdir(parents=True)
    (tmp_path / "password").write_text("secret\n")
    subprocess.run([tool, "-d", f"sql:{folder}", "-N", "-f", str(tmp_path / "password")], check=True, capture_output=True)
    machine = replace(describe(tmp_path), find_program={"certutil": tool}.get)
    [outcome] = add_root(root, machine=machine)
    assert outcome.state == "failed"
    assert "password" in (outcome.problem or "").lower()


@pytest.mark.slow
def test_real_java(root: Root, tmp_path: Path) -> None:
    """keytool, on a store of the test's own."""
    real = Path(find("keytool", "default-jre-headless"))
    java = tmp_path / "java"
    (java / "bin").mkdir(parents=True)
    (java / "lib/security").mkdir(parents=True)
    (java / "bin/keytool").symlink_to(real)
    store = java / "lib/security/cacerts"
    (tmp_path / "other.pem").write_bytes(pki.ca2().cert_pem)
    words = [
        "-importcert",
        "-noprompt",
        "-keystore",
        str(store),
        "-storepass",
        "changeit",
        "-alias",
        "other",
        "-file",
        str(tmp_path / "other.pem"),
    ]
    subprocess.run([real, *words], check=True, capture_output=True)
    machine = describe(tmp_path, variables={"JAVA_HOME": str(java)})
    assert [one.state for one in add_root(root, machine=machine)] == ["added"]
    assert [one.state for one in add_root(root, machine=machine)] == ["present"]
    listed = subprocess.run([real, "-list", "-keystore", str(store), "-storepass", "changeit"], capture_output=True, text=True, check=True)
    assert f"{root.name}, " in listed.stdout
    assert "trustedCertEntry" in listed.stdout
    assert [one.state for one in remove_root(root, machine=machine)] == ["removed"]
    listed = subprocess.run([real, "-list", "-keystore", str(store), "-storepass", "changeit"], capture_output=True, text=True, check=True)
    assert "other, " in listed.stdout
    assert root.name not in listed.stdout


@pytest.mark.slow
def test_real_debian(root: Root, tmp_path: Path) -> None:
    """update-ca-certificates, told to work in the test's folders: the bundle and the hashed links have the root, then not."""
    real = find("update-ca-certificates", "ca-certificates", "/usr/sbin")
    machine = describe(tmp_path, programs=["update-ca-certificates"], is_root=True)
    local, etc = machine.top / "usr/local/share/ca-certificates", machine.top / "etc/ssl/certs"
    for folder in (local, etc, machine.top / "empty"):
        folder.mkdir(parents=True)
    (machine.top / "conf").write_text("\n")
    (local / "other.crt").write_bytes(pki.ca2().cert_pem)
    empty = str(machine.top / "empty")
    folders = ["--localcertsdir", str(local), "--etccertsdir", str(etc), "--certsdir", empty, "--hooksdir", empty]
    folders += ["--certsconf", str(machine.top / "conf")]

    def confined(command: Sequence[str]) -> Result:
        return run([real, *command[1:], *folders] if command[0] == "/bin/update-ca-certificates" else command)

    machine = replace(machine, run=confined)
    bundle = etc / "ca-certificates.crt"
    assert [one.state for one in add_root(root, machine=machine)] == ["added"]
    assert root.pem in bundle.read_bytes()
    verify = ["openssl", "verify", "-CApath", str(etc), "-no-CAfile", str(root.path)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    assert [one.state for one in remove_root(root, machine=machine)] == ["removed"]
    assert bundle.read_bytes() == pki.ca2().cert_pem
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0
    assert not [path for path in etc.iterdir() if path.is_symlink() and not path.exists()]


def test_one_kind_of_store_is_given_as_a_list(tmp_path: Path, root: Root) -> None:
    """A str would be read letter by letter."""
    with pytest.raises(tlsio.UsageTypeError) as caught:
        find_stores(root, describe(tmp_path), only="nss")
    assert caught.value.hint == "Write only=['nss']."


def test_roots_of_deleted_authorities_are_found_by_their_names(tmp_path: Path) -> None:
    """In the folder of the system, where a file has the name, and nothing else is removed."""
    anchors = tmp_path / "top/etc/pki/ca-trust/source/anchors"
    anchors.mkdir(parents=True)
    (anchors / "tlsio-dev-0123456789abcdef.pem").touch()
    (anchors / "plant.pem").touch()
    machine = describe(tmp_path, programs=["update-ca-trust"], run=Recorder(), is_root=True)
    assert find_removals(machine) == [f"rm -f {anchors}/tlsio-dev-0123456789abcdef.pem", "/bin/update-ca-trust extract"]


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_roots_of_deleted_authorities_have_no_names_elsewhere(tmp_path: Path, system: str) -> None:
    """Their stores are not searched."""
    machine = describe(tmp_path, system, programs=["security", "certutil"], run=Recorder())
    assert find_removals(machine) == []
