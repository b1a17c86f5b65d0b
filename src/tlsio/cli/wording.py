"""The library's messages in the words of the command that runs.

The library writes options as `cert=` and calls as `tlsio.get_ciphers()`. Here, an option is called
as the command has it. A sentence of a hint that needs something which the command does not have
is dropped.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tlsio.cli.parameters import STANDARD_INPUT, metavar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OBTAINS", "for_people", "log_for_people", "translate", "translate_json"]

OBTAINS = "tlsio.obtains"  # in the meta of a context: a settings file has a table [acme]

# What a command says otherwise. An option that it does not have drops the sentence, as elsewhere.
_OWN_WORDS = (
    ("reject_unauthorized=False and then check socket.authorized, which is False for them", "--insecure"),
    ("reject_unauthorized=False", "--insecure"),
    ("overwrite=True", "--force"),
    ("tlsio.certs.dev.init()", "tlsio dev init"),
    ("tlsio.certs.dhparams()", "tlsio dhparam"),
    ("external_account=ExternalAccount(kid, hmac_key)", "--eab-kid and --eab-hmac-file"),
    ("external_account.hmac_key", "--eab-hmac-file"),
    ("(untrust)", "(tlsio dev untrust)"),
    ("tlsio.certs.read(...).to_pfx(...)", "tlsio pfx"),
    ("to_pfx()", "tlsio pfx"),
    (": read(key, certificate).", "."),
    (": read(certificate, root).", "."),
    ("inspect() says which, and why.", "`tlsio inspect` says which, and why."),
    ("tlsio.get_ciphers() lists", "`openssl ciphers` lists"),
    ("; both can share one with reuse_port=True", ""),
    ("; several processes can share one with reuse_port=True in each", ""),
    ("Or let systemd open the socket and give it as sock=, or use a higher port.", "Or use a higher port."),
    ("leave host= out for all of them", "give --host :: for all of them"),
    ("leave host= out for all addresses", "give --host :: for all addresses"),
    ("send STARTTLS first and wrap the stream with tlsio.TLSSocket", "give --starttls smtp (or imap, pop3, ftp: what the server is)"),
    ("send StartTLS first and wrap the stream with tlsio.TLSSocket", "give --starttls ldap"),
    ("ca=, or `tlsio serve --acme-server-ca`", "ca="),
    (", and pass the new one to set_secure_context()", ""),
    ("Pass the current one to set_secure_context().", ""),
    ("inside its own protocol (sslmode=).", "inside its own protocol. Here, give --starttls postgres."),
    (
        "openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64",
        "tlsio pin FILE",
    ),
)
_EITHER = "ca= or extra_ca="  # most commands have one option for roots
_ALIASES = {
    "terms_agreed": "agree_tos",
    "names": "domains",
    "contact": "email",
    "directory_url": "server",
    "alpn_protocols": "alpn",
    "chain_policy": "policy",
    "ecdh_curve": "groups",
    "host": "target",
    "source": "target",
    "path": "out",
}
# The names of arguments that the library gives to what the command line calls a file.
_SOURCES = {"source", "chain", "sources", "certs", "files", "request"}
# What the library calls content that it was given, which is that of standard input.
_CONTENT = re.compile(r"\b(?:sources|chain)\[\d+\]|(?<=\bfrom )source\b|(?<=\b[oi][fn] )source\b")
_SENTENCE_END = re.compile(r"(?<=[.?!]) +(?=[A-Z`])")
_NAMED = re.compile(
    r"""(?<![\w/+=-])(?:
        options\.(?P<option>[a-z][a-z0-9_]*)(?:\[\d+\])*
        |given\ as\ (?P<given>[a-z][a-z0-9_]*)(?:\[\d+\])*(?![\w=])
        |(?P<word>[a-z][a-z0-9_]*)=(?:(?P<flag>True)\b|(?P<quote>["'])(?P<value>[\w.:@=]+)(?P=quote)|(?![\w"'/*]|\.[.\w]))
    )""",
    re.VERBOSE,
)
_SUBJECT = re.compile(r"""^(?P<subject>[a-z][a-z0-9_]*)(?:\[\d+\])?(?= must | has | is | cannot | contains | ")""")
_OF_LIBRARY = re.compile(r"\btlsio\.[A-Za-z]|\b[a-z_]+\(\)|(?<![\w/+=-])[a-z][a-z0-9_]*=(?![\w/*=])|(?<![\w/+=-])[a-z_]+=(?:True|False)\b")
_COMMAND_LINE = re.compile(r"`[^`]+`")  # it has options of its own
_LONG_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_OF_SITE = {"ca", "cert", "crl", "key"}  # settings of files that are in a table [[site]]
_HINTS = {"hint", "remedy"}
_MESSAGES = {"message", "text", "reason", "problem", "error"}


def for_people(text: str, *, is_hint: bool = False) -> str:
    """Return a text of the library for a terminal, in the words of the command.

    Control characters, which a peer's names may have, are replaced.
    """
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in translate(text, is_hint=is_hint))


def translate(text: str, *, is_hint: bool = False) -> str:
    """Return a text with options as the command has them.

    Args:
        text: A message or a hint of the library.
        is_hint: Drop sentences that name what the command does not have; perhaps all are.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return text
    for words, own in _OWN_WORDS:
        text = text.replace(words, own)
    if STANDARD_INPUT in context.meta:
        text = _CONTENT.sub("standard input", text)
    names = _Names(context, is_hint=is_hint)
    if names.find("extra_ca") is None:
        text = text.replace(_EITHER, "ca=")
    indent = text[: len(text) - len(text.lstrip())]
    sentences = [names.translate(sentence) for sentence in _SENTENCE_END.split(text[len(indent) :])]
    return indent + " ".join(one for one in sentences if one and not (is_hint and names.lack(one)))


def translate_json(value: Any, key: str = "") -> Any:
    """Return a value for JSON with its messages and hints in the words of the command."""
    if isinstance(value, dict):
        return {name: translate_json(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [translate_json(one, key) for one in value]
    if isinstance(value, str) and value and key in _HINTS | _MESSAGES:
        return translate(value, is_hint=key in _HINTS)
    return value


@contextmanager
def log_for_people() -> Iterator[None]:
    """Print the library's warnings in the words of the command."""
    logger, handler = logging.getLogger("tlsio"), _Printer(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Printer(logging.Handler):
    """Prints records to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        click.echo(for_people(record.getMessage(), is_hint=True), err=True)


class _Names:
    """What a command calls the options of the library."""

    def __init__(self, context: click.Context, *, is_hint: bool) -> None:
        command, self._is_hint = context.command, is_hint
        self._given = context.params
        # First those that were given: cert= then means --server-cert, not the client's --cert. With
        # certificates that are obtained, ca= is about the authority: no clients are asked for any.
        obtains = bool(context.params.get("domains")) or OBTAINS in context.meta
        self._parameters = sorted(
            command.params, key=lambda one: (not self._is_given(one), obtains and not (one.name or "").startswith("acme_"))
        )
        self._options = {"--help", *(name for one in command.params for name in one.opts)}

    def translate(self, sentence: str) -> str:
        """Return a sentence with the names of the command."""
        return _NAMED.sub(self._name, _SUBJECT.sub(lambda found: self.find(found["subject"]) or found[0], sentence))

    def lack(self, sentence: str) -> bool:
        """Tell whether a translated sentence names what the command does not have."""
        return bool(_OF_LIBRARY.search(sentence)) or not self._options.issuperset(_LONG_OPTION.findall(_COMMAND_LINE.sub("", sentence)))

    def _name(self, found: re.Match[str]) -> str:
        name = found["option"] or found["given"] or found["word"]
        own = self.find(name)
        if found["given"]:
            return f"given as {own or ('FILE' if name in _SOURCES else name)}"
        if own is None:
            # In a hint, it stays what it is, and so drops its sentence.
            return found[0] if self._is_hint else name.replace("_", " ")
        if not own.startswith("-") and self._given.get("config"):
            if found["value"]:
                return f'{own} = "{found["value"]}"'
            return f"{own} in {self._place_of(own)}" if found.string[: found.start()].endswith("given as ") else own
        return f"{own} {found['value']}" if found["value"] else own

    def find(self, name: str) -> str | None:
        """Return what the user types for an option of the library."""
        wanted = {name, _ALIASES.get(name, name), f"server_{name}", f"acme_{name}", f"acme_server_{name}"}
        for one in self._parameters:
            if one.name in wanted or any(f"--{word.replace('_', '-')}" in one.opts for word in wanted):
                if isinstance(one, click.Argument):
                    return metavar_of(one)
                word = next((word for word in one.opts if word.startswith("--")), one.opts[0])
                if self._given.get("config") is not None and not self._is_given(one):
                    return word.strip("-").removeprefix("acme-").replace("-", "_")  # a key of that file
                return word
        return None

    def _is_given(self, one: click.Parameter) -> bool:
        return self._given.get(one.name or "") not in (None, ())

    def _place_of(self, key: str) -> str:
        """Return where a key of the settings file is."""
        return f"{'a [[site]] of ' if key in _OF_SITE else ''}{self._given['config']}"
