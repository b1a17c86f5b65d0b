"""What a TOML file and the command line say about a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
from served import Served, run_tlsio, write_files
from tlsio.https.layers.hsts import HSTS
from tlsio.https.limits import Limits
from tlsio.https.process.settings import Address, Settings, Site, parse, read
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path("/etc/site")
FULL = """
app = "main:app"
host = "::"
port = 443
workers = 4
graceful_timeout = 5
forwarded_allow_ips = ["10.0.0.0/8"]
reload_dirs = ["src"]
redirect = 80
redirect_status = 301
metrics = "[::1]:9100"
wsgi_threads = 20
handshake_threads = "auto"

[[site]]
cert = "a.pem"
key = "a.key"

[[site]]
cert = "/keys/b.pem"
ca = ["clients.pem"]
client_cert = "optional"

[limits]
header_timeout = 5
max_body_bytes = 1000
min_rate = false

[hsts]
max_age = 300
include_subdomains = true
"""


def nested(depth: int) -> dict[str, Any]:
    """Return tables in tables, deeper than Python can print."""
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def written(folder: Path, text: str) -> Settings:
    """Return the settings of a file."""
    (folder / "serve.toml").write_text(text)
    return parse(read(folder / "serve.toml"), FOLDER, "serve.toml")


def test_a_file(tmp_path: Path) -> None:
    """Each kind of value; paths are relative to the file's folder; false is no limit."""
    found = written(tmp_path, FULL)
    assert found == Settings(
        app="main:app", host="::", port=443, workers=4, graceful_timeout=5, forwarded_allow_ips=("10.0.0.0/8",), reload_dirs=(FOLDER / "src",),
        sites=(
            Site(cert=FOLDER / "a.pem", key=FOLDER / "a.key"),
            Site(cert=Path("/keys/b.pem"), ca=(FOLDER / "clients.pem",), client_cert="optional"),
        ),
        limits=Limits(header_timeout=5, max_body_bytes=1000, min_rate=None),
        redirect=80, redirect_status=301, metrics=Address("::1", 9100), wsgi_threads=20, handshake_threads="auto",
        hsts=HSTS(max_age=300, include_subdomains=True),
    )  # fmt: skip
    assert found.files == (FOLDER / "a.pem", FOLDER / "a.key", Path("/keys/b.pem"), FOLDER / "clients.pem")


def test_a_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    """A module is not a path."""
    assert written(tmp_path, 'app = "public"').app == "/etc/site/public"
    assert written(tmp_path, 'app = "main:app"').app == "main:app"


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"aap": "x"}, "app is missing", "folder"),
        ({"app": ""}, "app is missing", "folder"),
        ({"app": "a:b", "prot": 1}, "there is no setting 'prot'", "Did you mean 'port'?"),
        ({"app": "a:b", "sites": []}, "there is no setting 'sites'", "Did you mean 'site'?"),
        ({"app": "a:b", "zzz": 1}, "there is no setting 'zzz'", "There are: "),
        ({"app": "a:b", "port": "443"}, "port must be a whole number, got '443'", None),
        ({"app": "a:b", "port": True}, "port must be a whole number, got True", None),
        ({"app": "a:b", "port": 65536}, "port must be from 0 to 65535", None),
        ({"app": "a:b", "workers": 4, "max_connections": 3}, "max_connections must be 4 or more: one for each of 4 workers, got 3", None),
        ({"app": "a:b", "workers": 2, "max_handshakes": 1}, "max_handshakes must be 2 or more: one for each of 2 workers, got 1", None),
        ({"app": "a:b", "workers": 0}, "workers must be from 1 to 1024", None),
        ({"app": "a:b", "graceful_timeout": -1}, "graceful_timeout must be", "Use false for no limit."),
        ({"app": "a:b", "max_connections": 0}, "max_connections must be", "Use false for no limit."),
        ({"app": "a:b", "limits": {"header_timeout": 0}}, "header_timeout must be", "Use false for no limit."),
        ({"app": "a:b", "host": ""}, "host is empty", '"::" is every address.'),
        ({"app": "a:b", "host": "a\0b"}, "host must not contain a null character", None),
        ({"app": "a:b", "host": "a..b"}, "host must be a host name or an address", None),
        ({"app": "a:b", "fds": [3, 4, 3]}, "fds names a descriptor twice: 3, 4, 3", None),
        ({"app": "a:b", "reload": 1}, "reload must be true or false", None),
        ({"app": "a:b", "lifespan": 3}, "lifespan must be a text", None),
        ({"app": "a:b", "loop": "trio"}, "loop must be one of auto, asyncio, uvloop, got 'trio'", None),
        ({"app": "a:b", "log_level": "loud"}, "log_level must be one of debug, info, warning, error", None),
        ({"app": "a:b", "fds": ["x"]}, "fds must be a whole number", None),
        ({"app": "a:b", "site": {"cert": "x"}}, r"site must be written \[\[site\]\], in double brackets", None),
        ({"app": "a:b", "site": ["x"]}, r"\[\[site\]\] must be a table", None),
        ({"app": "a:b", "site": [{"key": "x"}]}, r"\[\[site\]\]: cert is missing", None),
        ({"app": "a:b", "site": [{"cert": 1}]}, r"\[\[site\]\]: cert must be a path", None),
        ({"app": "a:b", "site": [{"cert": "x", "kay": "x"}]}, r"\[\[site\]\]: there is no setting 'kay'", "Did you mean 'key'?"),
        ({"app": "a:b", "hsts": 300}, r"hsts must be true, false or a table \[hsts\], got 300", None),
        ({"app": "a:b", "limits": [{}]}, r"\[limits\] must be a table, in single brackets", None),
        ({"app": "a:b", "hsts": {"max_age": -1}}, "max_age must be", None),
        ({"app": "a:b", "hsts": {"maxage": 1}}, "there is no setting 'maxage'", "Did you mean 'max_age'?"),
        ({"app": "a:b", "hsts": {"preload": True}}, "preload needs include_subdomains", "hstspreload"),
        ({"app": "a:b", "redirect": 65536}, "redirect must be from 0 to 65535", None),
        ({"app": "a:b", "redirect_status": 302}, "redirect_status is 302", "It is 308 or 301"),
        ({"app": "a:b", "wsgi_threads": 0}, "wsgi_threads must be from 1 to 1000", None),
        ({"app": "a:b", "handshake_threads": "many"}, "handshake_threads must be a whole number or auto, got 'many'", None),
        ({"app": "a:b", "handshake_threads": True}, "handshake_threads must be a whole number or auto, got True", None),
        ({"app": "a:b", "handshake_threads": 257}, "handshake_threads must be from 0 to 256", None),
        *(
            ({"app": "a:b", "metrics": value}, "metrics must be an address and a port, such as 127.0.0.1:9100", None)
            for value in (9100, "9100", "127.0.0.1", "::1:9100", "localhost:65536", ":9100", "http://localhost:9100")
        ),
        ({"app": "a:b", "fds": [10**20]}, "fds must be from 0 to 2147483647", None),
        ({"app": "a:b", "reload_dirs": ["a\0b"]}, r"reload_dirs must be a path, got 'a\\x00b'", None),
        ({"app": "a:b", "site": [{"cert": "x", "passphrase_file": "a\0b"}]}, "passphrase_file must be a path", None),
        *(
            ({"app": "a:b", name: value}, f"{name} must be .*, got", None)
            for name in ("host", "loop", "metrics", "reload_dirs")
            for value in (10**5000, nested(5000))
        ),
        ({"app": "a:b", "port": 10**5000}, "port must be from 0 to 65535", None),
        ({"app": "a:b", "limits": {"max_headers": 0}}, "max_headers must be", None),
        ({"app": "a:b", "limits": {"max_header": 1}}, "there is no setting 'max_header'", "Did you mean 'max_headers'?"),
    ],
)
def test_mistakes(given: Mapping[str, Any], message: str, hint: str | None) -> None:
    """The message names the file and the key, the hint what was meant."""
    with pytest.raises(ConfigError, match=f"^serve.toml.*{message}") as caught:
        parse(given, FOLDER, "serve.toml")
    assert caught.value.code == "ERR_HTTPS_SETTINGS"
    if hint is not None:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "content", [b"app = ", b"\xff\xfe", b"[[site]\n", b"a = 1\n" * 200_000, b"a = " + b"9" * 5000, b"a = " + b"[" * 5000 + b"]" * 5000]
)
def test_what_is_not_toml(tmp_path: Path, content: bytes) -> None:
    """Or is larger than any file of settings."""
    path = tmp_path / "serve.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"serve\.toml") as caught:
        read(path)
    assert caught.value.code == "ERR_HTTPS_SETTINGS"


@pytest.mark.parametrize(("given", "expected"), [(True, HSTS()), (False, None), ({}, HSTS())])
def test_hsts_in_short(given: Any, expected: HSTS | None) -> None:
    """True is a year, without subdomains, as --hsts; so is an empty table."""
    assert parse({"app": "a:b", "hsts": given}, FOLDER, "serve.toml").hsts == expected


def test_certificates_that_are_obtained(tmp_path: Path) -> None:
    """Paths are relative to the file; ports and address are those of a public server."""
    acme = {"domains": ["a.example.com", "b.example.com,c.example.com"], "storage": "certificates", "email": "ada@example.com"}
    found = parse({"app": "main:app", "acme": acme}, tmp_path, "x")
    assert found.acme is not None
    assert found.acme.groups == [["a.example.com"], ["b.example.com", "c.example.com"]]
    assert (found.acme.storage, found.acme.email) == (str(tmp_path / "certificates"), ("ada@example.com",))
    assert (found.host, found.port, found.redirect) == (None, 443, 80)
    assert found.server_options()["acme"].challenges == ("tls-alpn-01", "http-01")


def test_a_place_of_ones_own_for_certificates_that_are_obtained(tmp_path: Path) -> None:
    """What is given goes before it; without port 80 there is one challenge less, unless they are given."""
    given = {"app": "main:app", "host": "192.0.2.1", "port": 8443, "redirect": False}
    found = parse({**given, "acme": {"domains": "a.example.com", "storage": "redis://cache/0"}}, tmp_path, "x")
    assert (found.host, found.port, found.redirect) == ("192.0.2.1", 8443, None)
    assert found.server_options()["acme"].challenges == ("tls-alpn-01",)
    assert found.server_options()["acme"].storage == "redis://cache/0"
    found = parse({**given, "acme": {"domains": "a.example.com", "challenges": ["http-01"]}}, tmp_path, "x")
    assert found.server_options()["acme"].challenges == ("http-01",)


@pytest.mark.parametrize(
    ("acme", "message", "hint"),
    [
        (1, "x: [acme] must be a table, in single brackets", None),
        ({}, "x: [acme]: domains is missing", 'Such as domains = ["example.com"].'),
        ({"domains": []}, "x: domains is empty", "Give the names of the server."),
        ({"domain": ["a.example.com"]}, "x: [acme]: there is no setting 'domain'", "Did you mean 'domains'?"),
        (
            {"domains": [["a.example.com", "b.example.com"]]},
            "x: [acme]: domains must be a list of texts, got ['a.example.com', 'b.example.com'] in it",
            'Names that share a certificate are one text: domains = ["example.com, www.example.com"].',
        ),
        ({"domains": "a.example.com", "agree_tos": "yes"}, "x: [acme]: agree_tos must be true or false, got 'yes'", None),
        ({"domains": "a.example.com", "dns": "bind"}, "x: [acme]: dns must be one of rfc2136, hook, lexicon, got 'bind'", None),
        ({"domains": "a.example.com", "storage": 1}, "x: [acme]: storage must be a text, got 1", None),
        (
            {"domains": "a.example.com", "eab_kid": "1"},
            "x: eab_kid must be given together with eab_hmac_file=",
            "The authority gives you both.",
        ),
        (
            {"domains": ["a.example.com", "localhost"]},
            "x: domains has 'localhost', which no public authority certifies",
            "Give a public name, or server='internal': the development authority certifies any name.",
        ),
    ],
    ids=["no table", "nothing", "no names", "misspelt", "list in a list", "flag", "provider", "storage", "half an account", "private name"],
)
def test_mistakes_about_certificates_that_are_obtained(acme: Any, message: str, hint: str | None) -> None:
    """They are named as those of other tables."""
    with pytest.raises(ConfigError) as caught:
        parse({"app": "main:app", "acme": acme}, Path(), "x")
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_certificates_are_either_obtained_or_given() -> None:
    """Which names would be whose?"""
    with pytest.raises(ConfigError, match="x: domains cannot be combined with certificates of your own"):
        parse({"app": "main:app", "acme": {"domains": "a.example.com"}, "site": [{"cert": "a.pem"}]}, Path(), "x")


def test_private_names_are_for_other_authorities() -> None:
    """A company's own may certify them, and so does the development authority."""
    for server in ("internal", "https://ca.internal/acme/directory"):
        found = parse({"app": "x", "acme": {"domains": ["localhost", "10.0.0.1"], "server": server}}, Path(), "x").acme
        assert found is not None


def test_one_of_several_sites_is_named_by_its_place() -> None:
    """As they have no names."""
    with pytest.raises(ConfigError, match=r"^x: \[\[site\]\] 2 of 2: cert must be a path, got 3 ") as caught:
        parse({"app": "x", "site": [{"cert": "a.pem"}, {"cert": 3}]}, Path(), "x")
    assert caught.value.code == "ERR_HTTPS_SETTINGS"


def test_mistakes_of_a_command_line_have_no_file() -> None:
    """The message begins with the option."""
    with pytest.raises(ConfigError, match=r"^port must be a whole number"):
        parse({"app": "x", "port": "1"}, Path(), "")


@pytest.mark.parametrize(
    ("given", "option", "message", "hint"),
    [
        (
            {"max_connections": 2, "workers": 4},
            "max_connections",
            "max_connections must be 4 or more: one for each of 4 workers, got 2",
            None,
        ),
        ({"max_connections": 2, "workers": 4}, "workers", "x: max_connections must be 4 or more: one for each of 4 workers, got 2", None),
        ({"metrics": "9100"}, "metrics", "metrics must be an address and a port, such as 127.0.0.1:9100, got '9100'", None),
        ({"graceful_timeout": -1}, "graceful_timeout", "graceful_timeout must be above 0 seconds, got -1", None),
        ({"graceful_timeout": -1}, "port", "x: graceful_timeout must be above 0 seconds, got -1", "Use false for no limit."),
        ({"acme": {"domains": ""}}, "domains", "names has a group of 0 names", "A certificate has from 1 to 100."),
        ({"acme": {"domains": "a.test", "agree_tos": 1}}, "domains", "x: [acme]: agree_tos must be true or false, got 1", None),
    ],
    ids=["limit", "limit of the file", "address", "seconds", "seconds of the file", "name", "table of the file"],
)
def test_mistakes_of_a_command_line_with_a_file(given: dict[str, Any], option: str, message: str, hint: str | None) -> None:
    """The file is named only for values that it has, and its words for no limit too."""
    with pytest.raises(ConfigError) as caught:
        parse({"app": "a:b", **given}, FOLDER, "x", options={option})
    assert (caught.value.message, caught.value.hint, caught.value.code) == (message, hint, "ERR_HTTPS_SETTINGS")


def test_no_storage_of_ones_own(tmp_path: Path) -> None:
    """`false` is the default, as for every setting."""
    acme = {"domains": "a.example.com", "storage": False}
    found = parse({"app": "x", "acme": acme}, tmp_path, "x").acme
    assert found is not None
    assert found.storage is None


def test_false_is_none() -> None:
    """As for limits."""
    settings = parse({"app": "a:b", "redirect": False, "metrics": False}, FOLDER, "serve.toml")
    assert (settings.redirect, settings.metrics) == (None, None)


def test_limits_are_split_between_workers() -> None:
    """Each worker gets its part, and together they do not exceed the limit."""
    settings = Settings(app="a:b", workers=4, max_connections=15, max_handshakes=4, max_connections_per_address=3)
    options = settings.server_options()
    assert (options["max_connections"], options["max_handshakes"], options["max_connections_per_address"]) == (3, 1, 3)


@pytest.mark.parametrize(("workers", "given", "expected"), [(1, "auto", 7), (2, "auto", 3), (8, "auto", 1), (4, 3, 3), (4, 0, 0)])
def test_cores_are_divided_among_the_workers(workers: int, given: Any, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number holds for each of them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    assert Settings(app="a:b", workers=workers, handshake_threads=given).server_options()["handshake_threads"] == expected


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ({}, {}),
        ({"ca": ("x",)}, {"request_cert": True}),
        ({"ca": ("x",), "client_cert": "optional"}, {"request_cert": True, "reject_unauthorized": False}),
        ({"ca": ("x",), "client_cert": "none"}, {}),
    ],
)
def test_client_certificates(site: dict[str, Any], expected: dict[str, Any]) -> None:
    """Authorities alone mean that a certificate is required."""
    options = Site(cert=Path("c"), **site).options()
    assert {name: options[name] for name in ("request_cert", "reject_unauthorized") if name in options} == expected


def test_a_passphrase_is_the_first_line(tmp_path: Path) -> None:
    """As with other programs' files."""
    (tmp_path / "secret").write_text("one two\nthree\n")
    assert Site(cert=Path("c"), passphrase_file=tmp_path / "secret").options()["passphrase"] == "one two"


def test_a_passphrase_that_is_not_text(tmp_path: Path) -> None:
    """Nothing of it is in the message."""
    (tmp_path / "secret").write_bytes(b"one\xff\n")
    with pytest.raises(ConfigError, match="secret: the passphrase is not UTF-8") as caught:
        Site(cert=Path("c"), passphrase_file=tmp_path / "secret").options()
    assert caught.value.code == "ERR_HTTPS_SETTINGS"


@pytest.mark.slow
def test_the_command_line_goes_first(tmp_path: Path) -> None:
    """Over the file, which is found from another folder, as are the files in it."""
    write_files(tmp_path)
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "secret").write_text("sample\n")
    (folder / "encrypted.key").write_bytes(pki.localhost().encrypted_key_pem())
    site = '[[site]]\ncert = "../server.pem"\nkey = "encrypted.key"\npassphrase_file = "secret"\n'
    (folder / "serve.toml").write_text(f'app = "missing:app"\nport = 1\nlog_level = "error"\n{site}')
    with Served(tmp_path, "serve", "main:app", "--config", "conf/serve.toml", "--port", "PORT") as served:
        assert served.get()["version"] == "old"
        assert "INFO" not in served.stderr
    wrong = run_tlsio(tmp_path, "serve", "main:app", "--config", "conf/serve.toml", "--check", "--cert", "main.py")
    assert wrong.returncode == 2
    assert "main.py" in wrong.stderr
