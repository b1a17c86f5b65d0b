"""The certificate profile of RFC 5280 and the web, as `cryptography.x509.verification` judges it.

A second opinion for `chain_policy="strict"`. It judges the chain that OpenSSL has built, so both
accept the same certificates, each with the same issuer. `cryptography` is imported when it is
first needed: that takes 30 ms.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tlsio.model.errors import UsageValueError
from tlsio.model.faults import Role

from .certificate import PeerCertificate
from .identity import parse_host, to_server_name
from .names import printable

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.verification import PolicyBuilder

__all__ = ["find_profile_fault"]

_MAX_TEXT = 600  # characters; a hostile name may have 64 KiB
_CERTIFICATE = re.compile(r"<Certificate\(subject=<Name\((.*?)\)>, \.\.\.\)>", re.DOTALL)  # the `repr` in its messages


def find_profile_fault(chain: Sequence[bytes], *, peer_is: Role, name: str | None, now: datetime) -> str | None:
    """Return why `cryptography` rejects a chain, None if it accepts it.

    Args:
        chain: The chain that OpenSSL built: leaf first, the trusted certificate last.
        peer_is: The side that has the leaf.
        name: The host that the leaf was found to be for; None if that was not checked. Only
            servers.
        now: The instant of the verification, aware.
    """
    from cryptography import x509  # noqa: PLC0415  (see above)
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError  # noqa: PLC0415

    try:
        leaf, *issuers = map(x509.load_der_x509_certificate, chain)
        anchor = issuers[-1] if issuers else leaf
        builder = PolicyBuilder().store(Store([anchor])).time(now)
        if peer_is == "client":
            builder.build_client_verifier().verify(leaf, issuers[:-1])
            return None
        subject = _subject(PeerCertificate(chain[0]), name)
        if subject is None:
            _ignore_usages(builder).build_client_verifier().verify(leaf, issuers[:-1])
        else:
            builder.build_server_verifier(subject).verify(leaf, issuers[:-1])
    except (VerificationError, ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        return _clean(str(error))
    return None


def _clean(text: str) -> str:
    """Shorten a message, which may contain names of the peer."""
    return printable(_CERTIFICATE.sub(r'"\1"', text[:_MAX_TEXT].removeprefix("validation failed: ")))


def _subject(leaf: PeerCertificate, name: str | None) -> "x509.DNSName | x509.IPAddress | None":
    """Return the name for which the verifier is to judge: the checked one, or one that fits.

    The verifier requires a name, and reports another one as its only fault. Without a checked name
    it gets one of the leaf's own, so that it judges everything else. None: the leaf has URIs only.
    """
    from cryptography import x509  # noqa: PLC0415  (imported already)

    names = leaf.names
    if name is not None:
        address = parse_host(name)
        return x509.IPAddress(address) if address else x509.DNSName(to_server_name(name))
    for one in names.dns:
        try:
            return x509.DNSName(to_server_name(one.replace("*", "any", 1)))
        except UsageValueError:
            continue
    if names.ip:
        return x509.IPAddress(names.ip[0])
    return None if leaf.uris else x509.DNSName("name.invalid")  # it reports that there are no names


def _ignore_usages(builder: "PolicyBuilder") -> "PolicyBuilder":
    """Let the verifier for clients, which needs no name, judge a server whose names are all URIs.

    It would require clientAuth of the chain. That serverAuth is allowed, OpenSSL has checked.

    Raises:
        ValueError: this version of `cryptography` cannot do that.
    """
    from cryptography import x509  # noqa: PLC0415  (imported already)
    from cryptography.x509 import verification  # noqa: PLC0415

    if not hasattr(verification, "ExtensionPolicy"):
        raise ValueError("a certificate without a host name can be judged from cryptography 45 on")
    policies = (verification.ExtensionPolicy.webpki_defaults_ee(), verification.ExtensionPolicy.webpki_defaults_ca())
    leaf, authority = (one.may_be_present(x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, None) for one in policies)
    return builder.extension_policies(ee_policy=leaf, ca_policy=authority)
