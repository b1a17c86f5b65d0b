"""HTTPS for ASGI and WSGI applications and folders: HTTP/2 and HTTP/1.1 over tlsio's own TLS."""

from tlsio.model.errors import missing_extra

try:
    import h2  # noqa: F401
    import httptools  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    raise missing_extra(error.name or "uvicorn", "https") from None

from tlsio.https.applications.files import Files
from tlsio.https.applications.security_headers import SecurityHeaders, WSGISecurityHeaders
from tlsio.https.layers.hsts import HSTS
from tlsio.https.limits import Limits
from tlsio.https.serve import serve
from tlsio.https.server import Server
from tlsio.https.tls.acme import ACME
from tlsio.https.tls.client_identity import ClientIdentity, client_identity
from tlsio.https.tls.tls_extension import tls_attributes

__all__ = [
    "ACME",
    "HSTS",
    "ClientIdentity",
    "Files",
    "Limits",
    "SecurityHeaders",
    "Server",
    "WSGISecurityHeaders",
    "client_identity",
    "serve",
    "tls_attributes",
]
