"""Pebble, Let's Encrypt's test server, with its name server; each on ports of its own on 127.0.0.1.

    with Pebble(profiles={"seconds": 20}) as authority:
        ...  # authority.directory_url, trusted through authority.ca; it validates on authority.http_port and authority.tls_port

`tests/acme/conftest.py` has the fixtures `pebble`, one for the whole run, and `make_pebble`, for other options.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import tempfile
import time
import urllib.request
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pki
from ports import own_port

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTALLER = Path(__file__).resolve().parents[2] / "tools" / "pebble.sh"
START_TIMEOUT = 20.0
PROFILES = {"default": 90 * 86400, "shortlived": 160 * 3600, "seconds": 20}


@cache
def programs() -> Path:
    """The folder of the two programs; downloaded when they are not there yet."""
    found = subprocess.run([str(INSTALLER)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"Pebble is not there, without it these tests prove nothing: {found.stderr}"
    return Path(found.stdout.strip())


class Pebble:
    """A running authority, and the name server that it asks; it forgets everything when it ends.

    Args:
        profiles: Names and validity of certificates in seconds. An order that names none gets a random one, so give one profile
            where the validity matters.
        eab: Key identifiers and their HMAC keys, base64url: no account without one of them.
        nonce_reject: Percentage of good nonces that are rejected.
        authz_reuse: Percentage of valid authorizations that a later order uses again. With 0, Pebble still
            reuses one in a hundred: a test that wants an authorization to be pending orders a new name.
        no_sleep: False: a validation waits up to 15 seconds, as real ones may.
        retry_after: Seconds it asks clients to wait for an authorization and an order.
        http_port: Where http-01 is validated, on any address; by default one that is reserved for this object.
        tls_port: The same for tls-alpn-01.
        dns_server: The address of another name server, `127.0.0.1:5353`; it must answer over TCP.
        environment: More variables, such as `PEBBLE_ALTERNATE_ROOTS`, `PEBBLE_CHAIN_LENGTH`, `PEBBLE_VA_ALWAYS_VALID`.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that a test sets
        self,
        *,
        profiles: Mapping[str, int] = PROFILES,
        eab: Mapping[str, str] | None = None,
        nonce_reject: int = 0,
        authz_reuse: int = 0,
        no_sleep: bool = True,
        retry_after: int = 1,
        http_port: int | None = None,
        tls_port: int | None = None,
        dns_server: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(eab),
            "externalAccountMACKeys": dict(eab or {}),
            "retryAfter": {"authz": retry_after, "order": retry_after},
            "keyAlgorithm": "ecdsa",
            "profiles": {name: {"description": name, "validityPeriod": seconds} for name, seconds in profiles.items()},
        }
        self._environment = {
            "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
            "PEBBLE_AUTHZREUSE": str(authz_reuse),
            "PEBBLE_VA_NOSLEEP": "1" if no_sleep else "0",
            **(environment or {}),
        }
        self._dns_server = dns_server
        self._given_ports = (http_port, tls_port)
        self._left = contextlib.ExitStack()
        self._log = Path()
        self.http_port = self.tls_port = self._port = self._management = self._control = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as entered:
            folder = Path(entered.enter_context(tempfile.TemporaryDirectory(prefix="tlsio-pebble-")))
            self._log = folder / "log"
            names = entered.enter_context(own_port())
            self._port, self._management, self._control = (entered.enter_context(own_port()) for _ in range(3))
            self.http_port, self.tls_port = (port or entered.enter_context(own_port()) for port in self._given_ports)
            log = entered.enter_context(self._log.open("ab"))
            entered.enter_context(_running([*self._name_server(names), "-management", f"127.0.0.1:{self._control}"], log))
            resolver = self._dns_server or f"127.0.0.1:{names}"
            command = [str(programs() / "pebble"), "-config", str(self._configuration(folder)), "-dnsserver", resolver]
            entered.enter_context(_running(command, log, self._environment))
            self._wait()
            self._left = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    @property
    def directory_url(self) -> str:
        """Where an ACME client begins."""
        return f"https://localhost:{self._port}/dir"

    @property
    def ca(self) -> bytes:
        """The root of the authority's own HTTPS server, PEM; not one of those that it issues from."""
        return pki.ca1().cert_pem

    @property
    def log(self) -> str:
        """What both programs wrote so far."""
        return self._log.read_text(errors="replace")

    def directory(self) -> dict[str, Any]:
        """Fetch its directory."""
        found: dict[str, Any] = json.loads(_request(self.directory_url))
        return found

    def root(self, number: int = 0) -> bytes:
        """Return the root of the certificates it issues, PEM; others have alternative chains, by `PEBBLE_ALTERNATE_ROOTS`."""
        return self._manage(f"roots/{number}")

    def intermediate(self, number: int = 0) -> bytes:
        """Return the certificate that signs the leaves, PEM."""
        return self._manage(f"intermediates/{number}")

    def status_of(self, serial: int) -> dict[str, Any]:
        """Return `Status` ("Valid", "Revoked") and, of a revoked certificate, `Reason`."""
        status: dict[str, Any] = json.loads(self._manage(f"cert-status-by-serial/{serial:x}"))
        return status

    def set_renewal_info(self, certificate: bytes, response: Any) -> None:
        """Have it answer like this to questions for the renewal information of a certificate.

        Args:
            certificate: PEM.
            response: An object that becomes JSON; a string is sent as it is.
        """
        text = response if isinstance(response, str) else json.dumps(response)
        self._manage("set-renewal-info/", {"certificate": certificate.decode(), "ariResponse": text})

    def set_txt(self, name: str, value: str) -> None:
        """Publish a TXT record."""
        self.control("set-txt", host=_absolute(name), value=value)

    def clear_txt(self, name: str) -> None:
        """Remove all TXT records of a name."""
        self.control("clear-txt", host=_absolute(name))

    def set_cname(self, name: str, target: str) -> None:
        """Make a name an alias."""
        self.control("set-cname", host=_absolute(name), target=_absolute(target))

    def clear_cname(self, name: str) -> None:
        """Remove the alias."""
        self.control("clear-cname", host=_absolute(name))

    @property
    def control_url(self) -> str:
        """The name server's interface for tests: `POST /set-txt` and others, JSON."""
        return f"http://127.0.0.1:{self._control}"

    def control(self, verb: str, **values: Any) -> bytes:
        """Send a command to the name server; other commands are in its README."""
        return _request(f"{self.control_url}/{verb}", values)

    def _manage(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        return _request(f"https://localhost:{self._management}/{path}", body)

    def _name_server(self, port: int) -> list[str]:
        program = str(programs() / "pebble-challtestsrv")
        flags = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stderr
        command = [program, "-dnsserver" if "-dnsserver" in flags else "-dns01", f"127.0.0.1:{port}"]  # renamed in 2.10
        for listener in ("-http01", "-https01", "-tlsalpn01", *(["-doh"] if "-doh " in flags else [])):
            command += [listener, ""]
        return [*command, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]

    def _configuration(self, folder: Path) -> Path:
        who = pki.localhost()
        (folder / "cert.pem").write_bytes(who.chain_pem)
        (folder / "key.pem").write_bytes(who.key_pem)
        options = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(folder / "cert.pem"),
            "privateKey": str(folder / "key.pem"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": options | self._options}))
        return folder / "pebble.json"

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.control("clear-txt", host="started.")
                _request(self.directory_url)
                self.root()
            except OSError:
                assert time.monotonic() < deadline, f"Pebble did not start: {self.log}"
                time.sleep(0.02)
            else:
                return


@contextlib.contextmanager
def _running(command: list[str], log: Any, environment: Mapping[str, str] | None = None) -> Any:
    with subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environment or {})}) as process:
        try:
            yield
        finally:
            process.kill()


def _request(url: str, body: dict[str, Any] | None = None) -> bytes:
    context = ssl.create_default_context(cadata=pki.ca1().cert_pem.decode())
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=START_TIMEOUT, context=context) as response:  # noqa: S310 - the loopback
        answer: bytes = response.read()
        return answer


def _absolute(name: str) -> str:
    return name.rstrip(".") + "."
