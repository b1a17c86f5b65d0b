"""TLS, HTTPS and certificates for Python: Node's `tls` API with Python's conventions.

This package re-exports what most programs need. A name is imported when it is first used, so
`import tlsio` is quick, and a client does not load the server. The interpreter and the environment
are checked at once.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from tlsio import native as native  # refuses an interpreter without its lock
from tlsio.model import constants
from tlsio.model.constants import defaults
from tlsio.model.exported import lazy_names

if TYPE_CHECKING:
    from tlsio.connection.asyncio_face.open import create_connection, open_connection
    from tlsio.connection.asyncio_face.serve import AsyncioServer, create_tls_server, start_server
    from tlsio.connection.asyncio_face.transport import TLSTransport
    from tlsio.connection.client.connect import connect
    from tlsio.connection.context.default_roots import get_ca_certificates, set_default_ca_certificates
    from tlsio.connection.context.file_source import FileSource
    from tlsio.connection.context.secure_context import (
        SecureContext,
        create_secure_context,
        get_certificate_compression_algorithms,
        get_ciphers,
    )
    from tlsio.connection.context.source import ContextSource
    from tlsio.connection.pair import SecurePair, create_secure_pair
    from tlsio.connection.revocation.crl_cache import CrlCache
    from tlsio.connection.revocation.stapler import Stapler
    from tlsio.connection.server.prometheus import ServerCollector
    from tlsio.connection.server.server import Server, create_server, serve
    from tlsio.connection.socket.errors import CloseTimeoutError, IdleTimeoutError, IncompleteReadError, LimitOverrunError
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.errors import (
        ACMEError,
        AlertReceived,
        CertificateAltNameError,
        CertificateError,
        ConfigError,
        ConnectionLostError,
        FetchError,
        FetchTimeoutError,
        HandshakeError,
        HandshakeTimeoutError,
        PeerError,
        StoreError,
        TLSError,
        TruncatedError,
        UsageError,
        UsageStateError,
        UsageTypeError,
        UsageValueError,
    )
    from tlsio.model.options.connect import ConnectOptionsDict as ConnectOptions
    from tlsio.model.options.context import ContextOptionsDict as ContextOptions
    from tlsio.model.options.server import ServerOptionsDict as ServerOptions
    from tlsio.model.statistics import FileSourceStats, ServerStats, StoreStats
    from tlsio.native._core import openssl_version
    from tlsio.session.client_cache import ClientSessionCache
    from tlsio.session.memory_store import MemorySessionStore
    from tlsio.session.redis_store import RedisSessionStore
    from tlsio.session.redis_ticket_keys import RedisTicketKeys
    from tlsio.session.store import SessionStore
    from tlsio.session.ticket_keys import TicketKeyRing
    from tlsio.trust.identity import check_server_identity
    from tlsio.trust.uri_identity import check_uri_identity

    root_certificates: tuple[str, ...]

__version__ = "0.1.0"

__all__ = [
    "ACMEError",
    "AlertReceived",
    "AsyncioServer",
    "CertificateAltNameError",
    "CertificateError",
    "ClientSessionCache",
    "CloseTimeoutError",
    "ConfigError",
    "ConnectOptions",
    "ConnectionLostError",
    "ContextOptions",
    "ContextSource",
    "CrlCache",
    "FetchError",
    "FetchTimeoutError",
    "FileSource",
    "FileSourceStats",
    "HandshakeError",
    "HandshakeTimeoutError",
    "IdleTimeoutError",
    "IncompleteReadError",
    "LimitOverrunError",
    "MemorySessionStore",
    "PeerError",
    "RedisSessionStore",
    "RedisTicketKeys",
    "SecureContext",
    "SecurePair",
    "Server",
    "ServerCollector",
    "ServerOptions",
    "ServerStats",
    "SessionStore",
    "Stapler",
    "StoreError",
    "StoreStats",
    "TLSError",
    "TLSSocket",
    "TLSTransport",
    "TicketKeyRing",
    "TruncatedError",
    "UsageError",
    "UsageStateError",
    "UsageTypeError",
    "UsageValueError",
    "__version__",
    "check_server_identity",
    "check_uri_identity",
    "connect",
    "constants",
    "create_connection",
    "create_secure_context",
    "create_secure_pair",
    "create_server",
    "create_tls_server",
    "defaults",
    "get_ca_certificates",
    "get_certificate_compression_algorithms",
    "get_ciphers",
    "open_connection",
    "openssl_version",
    "root_certificates",
    "serve",
    "set_default_ca_certificates",
    "start_server",
]

# The imports above, which only type checkers see, as `pkgutil.resolve_name` reads them.
_HOMES = {
    "ACMEError": "tlsio.model.errors:ACMEError",
    "AlertReceived": "tlsio.model.errors:AlertReceived",
    "AsyncioServer": "tlsio.connection.asyncio_face.serve:AsyncioServer",
    "CertificateAltNameError": "tlsio.model.errors:CertificateAltNameError",
    "CertificateError": "tlsio.model.errors:CertificateError",
    "ClientSessionCache": "tlsio.session.client_cache:ClientSessionCache",
    "CloseTimeoutError": "tlsio.connection.socket.errors:CloseTimeoutError",
    "ConfigError": "tlsio.model.errors:ConfigError",
    "ConnectOptions": "tlsio.model.options.connect:ConnectOptionsDict",
    "ConnectionLostError": "tlsio.model.errors:ConnectionLostError",
    "ContextOptions": "tlsio.model.options.context:ContextOptionsDict",
    "ContextSource": "tlsio.connection.context.source:ContextSource",
    "CrlCache": "tlsio.connection.revocation.crl_cache:CrlCache",
    "FetchError": "tlsio.model.errors:FetchError",
    "FetchTimeoutError": "tlsio.model.errors:FetchTimeoutError",
    "FileSource": "tlsio.connection.context.file_source:FileSource",
    "FileSourceStats": "tlsio.model.statistics:FileSourceStats",
    "HandshakeError": "tlsio.model.errors:HandshakeError",
    "HandshakeTimeoutError": "tlsio.model.errors:HandshakeTimeoutError",
    "IdleTimeoutError": "tlsio.connection.socket.errors:IdleTimeoutError",
    "IncompleteReadError": "tlsio.connection.socket.errors:IncompleteReadError",
    "LimitOverrunError": "tlsio.connection.socket.errors:LimitOverrunError",
    "MemorySessionStore": "tlsio.session.memory_store:MemorySessionStore",
    "PeerError": "tlsio.model.errors:PeerError",
    "RedisSessionStore": "tlsio.session.redis_store:RedisSessionStore",
    "RedisTicketKeys": "tlsio.session.redis_ticket_keys:RedisTicketKeys",
    "SecureContext": "tlsio.connection.context.secure_context:SecureContext",
    "SecurePair": "tlsio.connection.pair:SecurePair",
    "Server": "tlsio.connection.server.server:Server",
    "ServerCollector": "tlsio.connection.server.prometheus:ServerCollector",
    "ServerOptions": "tlsio.model.options.server:ServerOptionsDict",
    "ServerStats": "tlsio.model.statistics:ServerStats",
    "SessionStore": "tlsio.session.store:SessionStore",
    "Stapler": "tlsio.connection.revocation.stapler:Stapler",
    "StoreError": "tlsio.model.errors:StoreError",
    "StoreStats": "tlsio.model.statistics:StoreStats",
    "TLSError": "tlsio.model.errors:TLSError",
    "TLSSocket": "tlsio.connection.socket.tls_socket:TLSSocket",
    "TLSTransport": "tlsio.connection.asyncio_face.transport:TLSTransport",
    "TicketKeyRing": "tlsio.session.ticket_keys:TicketKeyRing",
    "TruncatedError": "tlsio.model.errors:TruncatedError",
    "UsageError": "tlsio.model.errors:UsageError",
    "UsageStateError": "tlsio.model.errors:UsageStateError",
    "UsageTypeError": "tlsio.model.errors:UsageTypeError",
    "UsageValueError": "tlsio.model.errors:UsageValueError",
    "check_server_identity": "tlsio.trust.identity:check_server_identity",
    "check_uri_identity": "tlsio.trust.uri_identity:check_uri_identity",
    "connect": "tlsio.connection.client.connect:connect",
    "create_connection": "tlsio.connection.asyncio_face.open:create_connection",
    "create_secure_context": "tlsio.connection.context.secure_context:create_secure_context",
    "create_secure_pair": "tlsio.connection.pair:create_secure_pair",
    "create_server": "tlsio.connection.server.server:create_server",
    "create_tls_server": "tlsio.connection.asyncio_face.serve:create_tls_server",
    "get_ca_certificates": "tlsio.connection.context.default_roots:get_ca_certificates",
    "get_certificate_compression_algorithms": "tlsio.connection.context.secure_context:get_certificate_compression_algorithms",
    "get_ciphers": "tlsio.connection.context.secure_context:get_ciphers",
    "open_connection": "tlsio.connection.asyncio_face.open:open_connection",
    "openssl_version": "tlsio.native._core:openssl_version",
    "serve": "tlsio.connection.server.server:serve",
    "set_default_ca_certificates": "tlsio.connection.context.default_roots:set_default_ca_certificates",
    "start_server": "tlsio.connection.asyncio_face.serve:start_server",
}

if not TYPE_CHECKING:  # otherwise a type checker would accept every misspelt name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, root_certificates=lambda: resolve_name(_HOMES["get_ca_certificates"])("bundled"))
