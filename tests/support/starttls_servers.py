"""Real servers of the protocols with STARTTLS, as private processes: each in a folder of its own, on ports of its own.

Each is a context manager that gives the port when the server answers. Started as root, as Debian's services are, those that refuse to run
so are given the user of their package; for another user they all run as that one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pki
from faulty_servers import good_rsa
from foreign_peers import find
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 20.0
IS_ROOT = os.geteuid() == 0
# Where Debian has servers; PostgreSQL's newest version first.
SBIN = ":".join(["/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)])


@contextlib.contextmanager
def _folder(user: str | None = None) -> Iterator[Path]:
    """Give a folder with certificate and key, which the server's user may read."""
    with tempfile.TemporaryDirectory(prefix="tlsio-") as name:
        folder, who = Path(name), good_rsa()
        (folder / "cert.pem").write_bytes(who.chain_pem)
        (folder / "ca.pem").write_bytes(pki.ca1().cert_pem)
        (folder / "key.pem").write_bytes(who.key_pem)
        (folder / "key.pem").chmod(0o600)
        if user is not None and IS_ROOT:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user)
        yield folder


@contextlib.contextmanager
def _run(command: Sequence[str], folder: Path, *ports: int, user: str | None = None) -> Iterator[None]:
    """Run a server until the end of the block; it has started when its ports take connections."""
    log = folder / "output"
    entry = pwd.getpwnam(user) if user is not None and IS_ROOT else None
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **_identity(entry),
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
        )
    try:
        for port in ports:
            _await_port(port, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _identity(entry: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the options of a process that runs as this user."""
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if entry is not None else {}


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll: no server says in the same way that it listens."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, f"it did not start: {log.read_text(errors='replace')[-2000:]}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"it does not listen: {log.read_text(errors='replace')[-2000:]}")


EXIM = """
primary_hostname = mail.test
exim_user = Debian-exim
exim_group = Debian-exim
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
tls_advertise_hosts = *
tls_certificate = {folder}/cert.pem
tls_privatekey = {folder}/key.pem
"""


@contextlib.contextmanager
def exim() -> Iterator[int]:
    """SMTP, with GnuTLS."""
    with _folder("Debian-exim") as folder, own_port() as port:
        (folder / "conf").write_text(EXIM.format(folder=folder, port=port))
        with _run([find("exim4", "exim4-daemon-light", SBIN), "-bdf", "-C", str(folder / "conf")], folder, port):
            yield port


DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


@contextlib.contextmanager
def dovecot(protocol: str) -> Iterator[int]:
    """IMAP and POP3."""
    with _folder() as folder, own_port() as imap, own_port() as pop3:
        folder.chmod(0o755)
        (folder / "conf").write_text(DOVECOT.format(folder=folder, imap=imap, pop3=pop3))
        with _run([find("dovecot", "dovecot-imapd dovecot-pop3d", SBIN), "-F", "-c", str(folder / "conf")], folder, imap, pop3):
            yield {"imap": imap, "pop3": pop3}[protocol]


SLAPD = """
pidfile {folder}/pid
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
TLSCACertificateFile {folder}/ca.pem
"""


@contextlib.contextmanager
def slapd() -> Iterator[int]:
    """LDAP, with GnuTLS."""
    with _folder() as folder, own_port() as port:
        (folder / "conf").write_text(SLAPD.format(folder=folder))
        command = [find("slapd", "slapd", SBIN), "-d", "0", "-h", f"ldap://127.0.0.1:{port}", "-f", str(folder / "conf")]
        with _run(command, folder, port):
            yield port


@contextlib.contextmanager
def postgres() -> Iterator[int]:
    """PostgreSQL."""
    with _folder("postgres") as folder, own_port() as port:
        data = folder / "data"
        entry = pwd.getpwnam("postgres") if IS_ROOT else None
        initdb = [find("initdb", "postgresql", SBIN), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **_identity(entry))
        settings = {
            "ssl": "on", "ssl_cert_file": folder / "cert.pem", "ssl_key_file": folder / "key.pem", "listen_addresses": "127.0.0.1",
            "port": port, "unix_socket_directories": folder, "fsync": "off",
        }  # fmt: skip
        command = [find("postgres", "postgresql", SBIN), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with _run(command, folder, port, user="postgres"):
            yield port


@contextlib.contextmanager
def mariadb() -> Iterator[int]:
    """MySQL's protocol."""
    with _folder("mysql") as folder, own_port() as port:
        command = [
            find("mariadbd", "mariadb-server", SBIN), "--no-defaults", "--skip-grant-tables", f"--datadir={folder}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--ssl-cert={folder}/cert.pem",
            f"--ssl-key={folder}/key.pem", f"--ssl-ca={folder}/ca.pem", "--innodb-buffer-pool-size=8M",
        ]  # fmt: skip
        with _run(command, folder, port, user="mysql"):
            yield port


VSFTPD = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
secure_chroot_dir={folder}
anon_root={folder}
ssl_enable=YES
rsa_cert_file={folder}/cert.pem
rsa_private_key_file={folder}/key.pem
ssl_ciphers=HIGH
seccomp_sandbox=NO
run_as_launching_user={unprivileged}
"""


@contextlib.contextmanager
def vsftpd() -> Iterator[int]:
    """FTP."""
    with _folder() as folder, own_port() as port:
        (folder / "conf").write_text(VSFTPD.format(folder=folder, port=port, unprivileged="NO" if IS_ROOT else "YES"))
        with _run([find("vsftpd", "vsftpd", SBIN), str(folder / "conf")], folder, port):
            yield port


PROSODY = """
daemonize = false
pidfile = "{folder}/pid"
data_path = "{folder}"
log = {{ warn = "*console" }}
modules_enabled = {{ "saslauth", "tls" }}
modules_disabled = {{ "s2s" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
ssl = {{ certificate = "{folder}/cert.pem", key = "{folder}/key.pem" }}
VirtualHost "localhost"
"""


@contextlib.contextmanager
def prosody() -> Iterator[int]:
    """XMPP."""
    with _folder("prosody") as folder, own_port() as port:
        (folder / "conf.lua").write_text(PROSODY.format(folder=folder, port=port))
        with _run([find("prosody", "prosody"), "--config", str(folder / "conf.lua"), "-F"], folder, port, user="prosody"):
            yield port


SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[int]]] = {
    "smtp": exim,
    "imap": lambda: dovecot("imap"),
    "pop3": lambda: dovecot("pop3"),
    "ldap": slapd,
    "postgres": postgres,
    "mysql": mariadb,
    "ftp": vsftpd,
    "xmpp": prosody,
}
