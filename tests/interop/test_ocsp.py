"""OCSP with OpenSSL at the other end: its client and its server, and its responder behind the stapler."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from foreign_peers import PATIENCE, OpenSSL, find
from responder import ok, serve_http, with_responder
from responses import GOOD, REVOKED, respond

if TYPE_CHECKING:
    from pathlib import Path

    from foreign_peers import Part
    from net import Net


class OpenSSLResponder:
    """`openssl ocsp` with an index of ca1's certificates; it answers as it would over HTTP."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "ca.pem").write_bytes(pki.ca1().cert_pem)
        (folder / "ca.key").write_bytes(pki.ca1().key_pem)
        (folder / "index").touch()

    def list(self, who: pki.Identity, *, revoked: bool = False) -> None:
        """Put a certificate into the index, in OpenSSL's format: state, end, revocation, serial number, file, name."""
        end, now = (f"{one:%y%m%d%H%M%S}Z" for one in (who.certificate.not_valid_after_utc, dt.datetime.now(dt.UTC)))
        state = ("R", end, f"{now},keyCompromise") if revoked else ("V", end, "")
        serial = f"{who.certificate.serial_number:X}"
        (self._folder / "index").write_text(
            "\t".join([*state, serial.zfill(len(serial) + len(serial) % 2), "unknown", "/CN=localhost"]) + "\n"
        )

    def __call__(self, request: bytes) -> bytes:
        """Answer."""
        command = [find("openssl", "openssl"), "ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key"]
        command += ["-reqin", "/dev/stdin", "-respout", "/dev/stdout", "-ndays", "1"]
        run = subprocess.run(command, input=request, cwd=self._folder, capture_output=True, check=True)
        return ok(run.stdout)


@pytest.mark.parametrize("revoked", [False, True], ids=["good", "revoked"])
async def test_stapler_asks_their_responder(net: Net, tmp_path: Path, revoked: bool) -> None:  # noqa: FBT001
    """Our client and theirs read what it said."""
    theirs = OpenSSLResponder(tmp_path)
    async with serve_http(theirs) as responder:
        who = with_responder(responder.url, must_staple=True)
        theirs.list(who, revoked=revoked)
        async with net.serve(stapling=True, cert=who.cert_pem, key=who.key_pem, ca=pki.ca1().cert_pem) as server:
            if revoked:
                assert (await net.refused(server, ocsp="require"))[1].code == "CERT_REVOKED"
            else:
                (await net.connect(server, ocsp="require")).destroy()
            shown = await look_by_s_client(net.port(server), net.version, tmp_path)
    assert "OCSP Response Status: successful" in shown
    assert f"Cert Status: {'revoked' if revoked else 'good'}" in shown


@pytest.mark.parametrize("options", [{}, {"ocsp_request": lambda *_: None}], ids=["no hook", "a hook that has none"])
async def test_their_client_hears_that_there_is_none(net: Net, tmp_path: Path, options: dict[str, Any]) -> None:
    """It asks all the same."""
    async with net.serve(**options) as server:
        shown = await look_by_s_client(net.port(server), net.version, tmp_path)
    assert re.search(NONE_CAME, shown)
    assert "OCSP Response Status" not in shown


# Of OpenSSL up to 3.5; from 3.6 on of TLS 1.2, and of TLS 1.3, where a server may send one for each certificate of its chain.
NONE_CAME = r"OCSP response: no response sent|OCSP response: no OCSP response received|OCSP responses: no responses sent"


async def look_by_s_client(port: int, version: str, folder: Path) -> str:
    """Connect with `s_client -status` and return what it prints."""
    (folder / "trust.pem").write_bytes(pki.ca1().cert_pem)
    command = ["s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile", "trust.pem", "-status"]
    command.append({"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}[version])

    def run() -> str:
        done = subprocess.run(
            [find("openssl", "openssl"), *command], input=b"Q\n", cwd=folder, capture_output=True, check=False, timeout=PATIENCE
        )
        return done.stdout.decode()

    return re.sub(r"  +", " ", await asyncio.to_thread(run))


@pytest.mark.parametrize("status", [GOOD, REVOKED], ids=["good", "revoked"])
async def test_their_server_staples(net: Net, part: Part, status: object) -> None:
    """What it was given in a file; ours believes it."""
    response = respond(pki.localhost(), status=status)  # type: ignore[arg-type]
    heard: list[bytes | None] = []
    options = net.client_options(servername="localhost", ocsp="require", on={"ocsp_response": heard.append})
    with OpenSSL().start_server(replace(part, identity=pki.localhost()), "-status_file", part.file(response)) as (_, port):
        if status is GOOD:
            (await tlsio.connect(port, "127.0.0.1", **options)).destroy()
        else:
            with pytest.raises(tlsio.CertificateError) as caught:
                await tlsio.connect(port, "127.0.0.1", **options)
            assert (caught.value.code, caught.value.alert) == ("CERT_REVOKED", "certificate_revoked")
    assert heard == [response]
