"""TLS, HTTPS and certificates for Python: Node's `tls`, in Python's manner.

This package re-exports what most programs need; `import tlsio` loads neither HTTP nor the command line.
"""

from tlsio.connection.client import connect
from tlsio.connection.context import SecureContext, create_secure_context
from tlsio.connection.server import Server, create_server, serve
from tlsio.connection.stream_errors import IncompleteReadError, LimitOverrunError
from tlsio.connection.tls_socket import TLSSocket
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
    TLSError,
    TruncatedError,
    UsageError,
)
from tlsio.model.options import ConnectOptionsDict as ConnectOptions
from tlsio.model.options import ContextOptionsDict as ContextOptions
from tlsio.model.options import ServerOptionsDict as ServerOptions
from tlsio.model.values import ServerStats
from tlsio.trust.identity import check_server_identity

__all__ = [
    "AlertReceived",
    "CertificateAltNameError",
    "CertificateError",
    "ConfigError",
    "ConnectOptions",
    "ConnectionLostError",
    "ContextOptions",
    "HandshakeError",
    "HandshakeTimeoutError",
    "IncompleteReadError",
    "LimitOverrunError",
    "PeerError",
    "SecureContext",
    "Server",
    "ServerOptions",
    "ServerStats",
    "TLSError",
    "TLSSocket",
    "TruncatedError",
    "UsageError",
    "check_server_identity",
    "connect",
    "constants",
    "create_secure_context",
    "create_server",
    "defaults",
    "serve",
]
