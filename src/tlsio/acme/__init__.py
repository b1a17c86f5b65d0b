"""Certificates that come and renew by themselves: ACME (RFC 8555), for the extra `tlsio[acme]`.

A name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tlsio.model.exported import lazy_names

if TYPE_CHECKING:
    from tlsio.acme.client.account import Account
    from tlsio.acme.client.account_key import AccountKey, ExternalAccount
    from tlsio.acme.client.chain import Chain
    from tlsio.acme.client.challenge import Challenge
    from tlsio.acme.client.client import Client
    from tlsio.acme.client.directory import Directory
    from tlsio.acme.client.order import Authorization, Identifier, Offer, Order
    from tlsio.acme.client.renewal_info import RenewalInfo
    from tlsio.acme.issuers.acme_issuer import ACMEIssuer
    from tlsio.acme.issuers.authority_issuer import AuthorityIssuer
    from tlsio.acme.issuers.issuer import Issued, Issuer, Limits
    from tlsio.acme.manager.manager import Manager
    from tlsio.acme.manager.prometheus import ManagerCollector
    from tlsio.acme.manager.status import CertificateStatus, ManagerStats
    from tlsio.acme.solvers.dns01 import Dns01
    from tlsio.acme.solvers.dns_provider import DNSProvider
    from tlsio.acme.solvers.hook_program import HookProgram
    from tlsio.acme.solvers.http01 import Http01
    from tlsio.acme.solvers.lexicon import Lexicon
    from tlsio.acme.solvers.rfc2136 import Rfc2136
    from tlsio.acme.solvers.solver import Solver
    from tlsio.acme.solvers.tls_alpn01 import TlsAlpn01
    from tlsio.acme.solvers.webroot import Webroot
    from tlsio.acme.storage.file_storage import FileStorage
    from tlsio.acme.storage.memory_storage import MemoryStorage
    from tlsio.acme.storage.redis_storage import RedisStorage
    from tlsio.acme.storage.storage import Lock, Storage

__all__ = [
    "ACMEIssuer",
    "Account",
    "AccountKey",
    "AuthorityIssuer",
    "Authorization",
    "CertificateStatus",
    "Chain",
    "Challenge",
    "Client",
    "DNSProvider",
    "Directory",
    "Dns01",
    "ExternalAccount",
    "FileStorage",
    "HookProgram",
    "Http01",
    "Identifier",
    "Issued",
    "Issuer",
    "Lexicon",
    "Limits",
    "Lock",
    "Manager",
    "ManagerCollector",
    "ManagerStats",
    "MemoryStorage",
    "Offer",
    "Order",
    "RedisStorage",
    "RenewalInfo",
    "Rfc2136",
    "Solver",
    "Storage",
    "TlsAlpn01",
    "Webroot",
]

# The imports above, which only type checkers see, as `pkgutil.resolve_name` reads them.
_HOMES = {
    "ACMEIssuer": "tlsio.acme.issuers.acme_issuer:ACMEIssuer",
    "Account": "tlsio.acme.client.account:Account",
    "AccountKey": "tlsio.acme.client.account_key:AccountKey",
    "AuthorityIssuer": "tlsio.acme.issuers.authority_issuer:AuthorityIssuer",
    "Authorization": "tlsio.acme.client.order:Authorization",
    "CertificateStatus": "tlsio.acme.manager.status:CertificateStatus",
    "Chain": "tlsio.acme.client.chain:Chain",
    "Challenge": "tlsio.acme.client.challenge:Challenge",
    "Client": "tlsio.acme.client.client:Client",
    "DNSProvider": "tlsio.acme.solvers.dns_provider:DNSProvider",
    "Directory": "tlsio.acme.client.directory:Directory",
    "Dns01": "tlsio.acme.solvers.dns01:Dns01",
    "ExternalAccount": "tlsio.acme.client.account_key:ExternalAccount",
    "FileStorage": "tlsio.acme.storage.file_storage:FileStorage",
    "HookProgram": "tlsio.acme.solvers.hook_program:HookProgram",
    "Http01": "tlsio.acme.solvers.http01:Http01",
    "Identifier": "tlsio.acme.client.order:Identifier",
    "Issued": "tlsio.acme.issuers.issuer:Issued",
    "Issuer": "tlsio.acme.issuers.issuer:Issuer",
    "Lexicon": "tlsio.acme.solvers.lexicon:Lexicon",
    "Limits": "tlsio.acme.issuers.issuer:Limits",
    "Lock": "tlsio.acme.storage.storage:Lock",
    "Manager": "tlsio.acme.manager.manager:Manager",
    "ManagerCollector": "tlsio.acme.manager.prometheus:ManagerCollector",
    "ManagerStats": "tlsio.acme.manager.status:ManagerStats",
    "MemoryStorage": "tlsio.acme.storage.memory_storage:MemoryStorage",
    "Offer": "tlsio.acme.client.order:Offer",
    "Order": "tlsio.acme.client.order:Order",
    "RedisStorage": "tlsio.acme.storage.redis_storage:RedisStorage",
    "RenewalInfo": "tlsio.acme.client.renewal_info:RenewalInfo",
    "Rfc2136": "tlsio.acme.solvers.rfc2136:Rfc2136",
    "Solver": "tlsio.acme.solvers.solver:Solver",
    "Storage": "tlsio.acme.storage.storage:Storage",
    "TlsAlpn01": "tlsio.acme.solvers.tls_alpn01:TlsAlpn01",
    "Webroot": "tlsio.acme.solvers.webroot:Webroot",
}

if not TYPE_CHECKING:  # otherwise a type checker would accept every misspelt name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
