"""TLS, HTTPS and certificates for Python: Node's `tls` API with Python's conventions.

This package re-exports what most programs need. `import tlsio` loads neither HTTP nor the command
line.
"""

from typing import TYPE_CHECKING

from tlsio.connection.asyncio_face.open import create_connection, open_connection
from tlsio.connection.asyncio_face.serve import AsyncioServer, create_tls_server, start_server
from tlsio.connection.asyncio_face.transport import TLSTransport
from tlsio.connection.client.connect import connect
from tlsio.connection.context.default_roots import get_ca_certificates, set_default_ca_certificates
from tlsio.connection.context.secure_context import (
    SecureContext,
    create_secure_context,
    get_certificate_compression_algorithms,
    get_ciphers,
)
from tlsio.connection.pair import SecurePair, create_secure_pair
from tlsio.connection.revocation.crl_cache import CrlCache
from tlsio.connection.revocation.stapler import Stapler
from tlsio.connection.server.prometheus import ServerCollector
from tlsio.connection.server.server import Server, create_server, serve
from tlsio.connection.socket.errors import CloseTimeoutError, IdleTimeoutError, IncompleteReadError, LimitOverrunError
from tlsio.connection.socket.tls_socket import TLSSocket
from tlsio.model import constants
from tlsio.model.constants import defaults
from tlsio.model.errors import (
    AlertReceived,
    CertificateAltNameError,
    CertificateError,
    ConfigError,
    ConnectionLostError,
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
from tlsio.model.statistics import ServerStats, StoreStats
from tlsio.native._core import openssl_version
from tlsio.session.client_cache import ClientSessionCache
from tlsio.session.memory_store import MemorySessionStore
from tlsio.session.redis_store import RedisSessionStore
from tlsio.session.redis_ticket_keys import RedisTicketKeys
from tlsio.session.store import SessionStore
from tlsio.session.ticket_keys import TicketKeyRing
from tlsio.trust.identity import check_server_identity

__version__ = "0.1.0"

if TYPE_CHECKING:
    root_certificates: tuple[str, ...]

__all__ = [
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
    "CrlCache",
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


# Tracebacks, pickles and reprs show public classes under the name by which users know them.
for _name in __all__:
    if isinstance(_class := globals().get(_name), type):
        _class.__module__ = __name__

if not TYPE_CHECKING:  # otherwise a type checker would accept every misspelt name

    def __getattr__(name: str) -> tuple[str, ...]:
        """Load the bundled roots on first use: most programs never need them."""
        if name == "root_certificates":
            return get_ca_certificates("bundled")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
