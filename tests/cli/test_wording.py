"""What the library says, in the words of the command that runs: its options and nothing of the Python API."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import pytest

from tlsio.cli.program import COMMANDS, program, run
from tlsio.cli.wording import log_for_people, translate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Mistakes with files: server.pem, server.key, request.csr, dh.pem, root.pem and root.key of an authority in the folder ca.
MISTAKES = [
    "listen 0 --host 192.0.2.1 --cert server.pem --key server.key",
    "listen 0 --cert server.pem",
    "listen 0 --cert server.key --key server.pem",
    "listen 0 --cert server.pem --key server.key --ca dh.pem",
    "listen 0 --cert missing.pem --key server.key",
    "listen 0 --pfx server.pem",
    "listen 0 --cert server.pem --key server.key --dhparam server.pem",
    "acme obtain a.test --server nobody",
    "acme obtain a.test --server http://localhost/dir --storage .",
    "acme import .",
    "acme status --storage-secret-file server.key",
    "serve . --domain a.test --cert server.pem --check",
    "serve . --domain a.test --acme-server nobody --check",
    "serve . --domain a.test --acme-storage . --check",
    "serve . --domain a.test --acme-server https://localhost/dir --acme-server-ca missing.pem --agree-tos --check",
    "serve . --domain a.test --acme-server https://localhost/dir --acme-server-ca server.key --agree-tos --check",
    "dev init --folder ca",
    "dev init --folder new --days -1",
    "dev cert localhost --folder ca --into .",
    "dev cert localhost --folder missing",
    "inspect missing.pem",
    "pem dh.pem",
    "pem missing.pem",
    "pin dh.pem",
    "pfx dh.pem -o new.pfx --unencrypted",
    "verify server.pem --crl server.pem",
    "verify server.pem --ca server.key",
    "verify server.pem --ca dh.pem",
    "verify server.pem --pin abc",
    "verify server.key",
    "verify missing.pem",
    "verify server.pem --name other.test --policy strict",
    "verify server.pem --name other.test --json",
    "verify root.pem --policy strict --name localhost",
    "sign server.pem --ca root.pem --ca-key root.key",
    "sign request.csr --ca root.pem --ca-key server.key",
    "sign request.csr --ca server.pem --ca-key server.key",
    "sign missing.csr --ca root.pem --ca-key root.key",
    "csr --key server.pem localhost",
    "csr --new-key new.key",
    "csr a_,b --new-key new.key",
    "csr localhost --new-key new.key --kind FOO",
    "self-sign --new-key new.key",
    "self-sign localhost --new-key new.key --days 9999",
    "self-sign localhost --key server.pem",
    "key server.key",
    "key new.key --kind FOO",
    "dhparam FOO",
    "connect localhost:1 --ciphers FOO",
    "connect localhost:1 --groups FOO",
    "connect localhost:1 --pin abc",
    "connect localhost:1 --ca server.key",
    "connect localhost:1 --ca missing.pem --json",
    "connect localhost:1 --cert server.key --key server.pem",
    "connect localhost:1 --cert dh.pem --key server.key",
    "connect localhost:1 --min-version TLSv1.3 --max-version TLSv1.2",
    "connect localhost:1 --identity plain",
    "connect localhost:1 --servername 127.0.0.1",
    "doctor localhost:1 --ciphers FOO",
    "doctor localhost:1 --pin abc --json",
    "bench localhost:1 --ca server.key",
]
# What the library says when it has more than a file to complain about.
TEXTS = [
    "Use the port for TLS (465, 993, 995 or 990), or send STARTTLS first and wrap the stream with tlsio.TLSSocket.",
    "The peer ended it. If the application protocol marks the end of its messages, allow_truncation=True makes this an ordinary end.",
    (
        "Give the client a certificate and key. If clients may come without one, use reject_unauthorized=False and then check "
        "socket.authorized, which is False for them; if none needs one, request_cert=False."
    ),
    "Stop it, or choose another port; several processes can share one with reuse_port=True in each.",
    "Ports need root. Or let systemd open the socket and give it as sock=, or use a higher port.",
    "Give one of its own, or leave host= out for all of them.",
    "It expired: clients refuse it. Renew it, and pass the new one to set_secure_context().",
    'Have the certificate that is named reissued. chain_policy="openssl" accepts what OpenSSL does.',
    "Add it with ca= or extra_ca=.",
    "Choose another path, or say overwrite=True.",
    "Add a protocol that the client offers to alpn_protocols=, or set alpn_mismatch='continue'.",
    "It is none. tlsio.get_ciphers() lists the names.",
]
OF_LIBRARY = re.compile(
    r"(?<![\w/+=])[a-z][a-z_]*=(?![\w=])|\btlsio\.[A-Za-z]|\b[a-z_]{4,}\(\)|=(?:True|False)\b|\boptions\.|\bnames\b (?:must|is)|given as (?:source|chain)"
)


def options_of(words: list[str]) -> set[str]:
    """Return the options of the command that some words run."""
    command = program.get_command(click.Context(program), words[0])
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words[1])
    assert command is not None
    return {"--help", *(name for one in command.params for name in one.opts)}


def check(output: str, words: list[str]) -> None:
    """Assert that an output names options of the command alone, and nothing of the library."""
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", output)) <= options_of(words), output
    assert not OF_LIBRARY.search(output), output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the mistakes."""
    place = tmp_path_factory.mktemp("files")
    made = (
        f"dev init --folder {place}/ca",
        f"dev cert localhost --folder {place}/ca --into {place}",
        f"self-sign localhost --new-key {place}/server.key -o {place}/server.pem",
        f"csr localhost --key {place}/server.key -o {place}/request.csr",
        f"dhparam -o {place}/dh.pem",
    )
    assert [run(line.split()) for line in made] == [0] * len(made)
    for name in ("root.pem", "root.key"):
        (place / name).write_bytes((place / "ca" / name).read_bytes())
    return place


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_name_options_of_the_command(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not those of another command, nor names of the Python API."""
    monkeypatch.chdir(folder)
    assert run(line.split()) in {1, 2}
    output = capsys.readouterr()
    check(output.out + output.err, line.split())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"acme", "dev"}])
@pytest.mark.parametrize("text", TEXTS)
def test_hints_name_options_of_the_command(text: str, name: str) -> None:
    """Each hint, in each command."""
    command = program.get_command(click.Context(program), name)
    assert command is not None
    with click.Context(command):
        check(translate(text, is_hint=True), [name])


@pytest.mark.parametrize(
    ("table", "key", "place"),
    [
        ("[[site]]", "cert", "cert in a [[site]] of serve.toml"),
        ('[acme]\ndomains = "a.test"\nserver = "https://localhost/dir"', "server_ca", "server_ca in serve.toml"),
    ],
    ids=["site", "acme"],
)
def test_file_of_the_settings_is_named_with_its_place(
    table: str, key: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And by a path that does not depend on the current folder, where paths in the file do not start."""
    (tmp_path / "serve.toml").write_text(f'app = "."\n{table}\n{key} = "missing.pem"\n')
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--config", "serve.toml", "--check"]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1] == f"  The file '{tmp_path}/missing.pem' was given as {place}, and does not exist: check the path."


def test_untrusted_authority_names_the_option_for_its_root() -> None:
    """Of servers, ca= means clients otherwise; commands of `tlsio acme` have one option for it."""
    hint = "If it is an authority of your own, give the root of its server as ca=, or `tlsio serve --acme-server-ca`."
    for words, option in ((["serve"], "--acme-server-ca"), (["acme", "obtain"], "--server-ca")):
        command = program.get_command(click.Context(program), words[0])
        assert command is not None
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words[1])
            assert command is not None
        with click.Context(command) as context:
            context.params["domains"] = ("a.test",)
            assert translate(hint, is_hint=True) == f"If it is an authority of your own, give the root of its server as {option}."


def test_value_with_signs_of_openssl_is_an_option() -> None:
    """The sentence stays, with options that can be copied."""
    command = program.get_command(click.Context(program), "connect")
    assert command is not None
    with click.Context(command):
        said = translate("If it cannot be, min_version='TLSv1' with ciphers='DEFAULT:@SECLEVEL=0' reaches it.", is_hint=True)
    assert said == "If it cannot be, --min-version TLSv1 with --ciphers DEFAULT:@SECLEVEL=0 reaches it."


@contextmanager
def greeting_server() -> Iterator[int]:
    """Run a server that greets as those of SMTP do, and give its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"220 mail.test ESMTP\r\n")
                    client.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("name", ["connect", "doctor"])
def test_mail_server_without_starttls(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The option that asks for TLS is named."""
    with greeting_server() as port:
        assert run([name, f"127.0.0.1:{port}"]) == 1
    output = capsys.readouterr()
    check(output.out + output.err, [name])
    assert "--starttls" in output.out + output.err


def test_json_has_the_words_of_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hint is that of the text."""
    assert run(["verify", str(folder / "localhost.pem"), "--json"]) == 1
    causes = json.loads(capsys.readouterr().out)["causes"]
    assert all("with --ca or --extra-ca" in cause["hint"] for cause in causes)


def test_warnings_have_the_words_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that the library logs, such as of an expired certificate."""
    command = program.get_command(click.Context(program), "listen")
    assert command is not None
    with click.Context(command), log_for_people():
        logging.getLogger("tlsio.server").warning("It expired: clients refuse it. Renew it, and pass the new one to set_secure_context().")
    assert capsys.readouterr().err == "It expired: clients refuse it. Renew it.\n"
