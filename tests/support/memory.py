"""A handshake in memory: our engine with the context under test, the standard library as the peer."""

from __future__ import annotations

import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509

from tlsio.connection.context.secure_context import create_secure_context
from tlsio.model.explanations import error_from_fault
from tlsio.native._core import Connection

if TYPE_CHECKING:
    import pki
    from tlsio.connection.context.secure_context import SecureContext

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
# Handshake messages (RFC 5246 §7.4) and the record type that carries them.
CERTIFICATE, CERTIFICATE_REQUEST, HANDSHAKE = 11, 13, 22


def server_of(identity: pki.Identity, **options: Any) -> SecureContext:
    """Make a context with one identity, its chain included."""
    return create_secure_context(cert=identity.chain_pem, key=identity.key_pem, **options)


def shake(context: SecureContext, peer: ssl.SSLContext, *, is_server: bool = True, session: ssl.SSLSession | None = None) -> Outcome:
    """Shake hands in memory: `context` on our engine, `peer` on the standard library, which may resume `session`."""
    ours = Memory(context, is_server=is_server)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    name = "localhost" if is_server else None
    theirs = peer.wrap_bio(incoming, outgoing, server_side=not is_server, server_hostname=name, session=session)
    ours.connection.start()
    sent = b""
    for _ in range(6):  # TLS 1.2 needs four turns, and one more brings the alert
        incoming.write(bytes(ours.sent))
        sent += ours.sent
        ours.sent.clear()
        with suppress(ssl.SSLError):
            theirs.do_handshake()
        if data := outgoing.read():
            ours.connection.feed(data)
    fault = ours.connection.fault()
    return Outcome(ours.opened and not ours.broken, error_from_fault(fault).code if fault else "", theirs, sent)


def std_client(
    *, ca: pki.Identity | None = None, identity: pki.Identity | None = None, ciphers: str = "", version: int = 0
) -> ssl.SSLContext:
    """Make a client of the standard library that trusts `ca`, or anybody."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    else:
        client.load_verify_locations(cadata=ca.cert_pem.decode())
    if ciphers:
        client.set_ciphers(ciphers)
    return _dressed(client, identity, version)


def std_server(identity: pki.Identity, *, client_ca: pki.Identity | None = None, version: int = 0) -> ssl.SSLContext:
    """Make a server of the standard library; with `client_ca` it asks for a certificate and takes any or none."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if client_ca is not None:
        server.verify_mode = ssl.CERT_OPTIONAL
        server.load_verify_locations(cadata=client_ca.cert_pem.decode())
    return _dressed(server, identity, version)


def _dressed(context: ssl.SSLContext, identity: pki.Identity | None, version: int) -> ssl.SSLContext:
    if version:
        context.minimum_version = context.maximum_version = ssl.TLSVersion(version)
    if identity is not None:
        with tempfile.NamedTemporaryFile() as file:  # the standard library loads them from nowhere else
            file.write(identity.chain_pem + identity.key_pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


class Memory:
    """The engine's driver and its socket in one: keeps what is sent, and takes the chain's result for the verdict."""

    def __init__(self, context: SecureContext, *, is_server: bool) -> None:
        self.sent = bytearray()
        self.opened = self.broken = False
        self.connection = Connection(context.native, is_server, self)
        self.connection.bind(self, None, 65536)

    def wake(self) -> None:
        """Keep the bytes."""
        while (data := self.connection.output()) is not None:
            self.sent += data
            self.connection.sent()
        if self.connection.fin_due:
            self.connection.fin_sent()

    def _asked(self, _question: int) -> None:
        errors = self.connection.verify_errors
        self.connection.answer_verify(errors[-1][0] if errors else 0)

    def _opened(self) -> None:
        self.opened = True

    def _broken(self) -> None:
        self.broken = True

    def _ignore(self, *_news: object) -> None: ...

    _input_ended = _drained = schedule = set_deadline = _ignore


@dataclass
class Outcome:
    """What a handshake came to: `code` is our error's, "" when there was none; `sent` are our bytes on the wire."""

    opened: bool
    code: str
    peer: Any
    sent: bytes

    def messages(self, wanted: int) -> list[bytes]:
        """Return the bodies of our handshake messages of one kind; in TLS 1.2 they are plain up to Finished."""
        plain, at = b"", 0
        while at < len(self.sent) and self.sent[at] == HANDSHAKE:
            size = int.from_bytes(self.sent[at + 3 : at + 5])
            plain += self.sent[at + 5 : at + 5 + size]
            at += 5 + size
        found = []
        while plain:
            size = int.from_bytes(plain[1:4])
            if plain[0] == wanted:
                found.append(plain[4 : 4 + size])
            plain = plain[4 + size :]
        return found

    @property
    def chain(self) -> list[str]:
        """The common names of the certificates we sent, in order (TLS 1.2)."""
        [body] = self.messages(CERTIFICATE)
        names, at = [], 3
        while at < len(body):
            size = int.from_bytes(body[at : at + 3])
            names.append(common_name(x509.load_der_x509_certificate(body[at + 3 : at + 3 + size])))
            at += 3 + size
        return names


def common_name(certificate: x509.Certificate) -> str:
    """Return the CN of the subject."""
    [attribute] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(attribute.value)
