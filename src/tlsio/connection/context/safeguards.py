"""Whether a server's context does what its options promise.

An option that cannot protect anything is an error where the server takes the context. What may be
intended, but mostly is a mistake, is logged as a warning: each one once for a server.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING
from weakref import WeakSet

from tlsio.connection.context.default_roots import are_default_roots_chosen
from tlsio.model.errors import ConfigError
from tlsio.model.instants import print_instant
from tlsio.trust.certificate import read_all
from tlsio.trust.names import describe_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.model.options.context import ContextOptions
    from tlsio.trust.certificate import PeerCertificate

__all__ = ["Safeguards", "check_guards"]

_log = logging.getLogger("tlsio")

# The context options that judge a client's certificate, and nothing else on a server.
_GUARDS = ("pins", "crl")
# A certificate that ends so soon should have been renewed: days, or a quarter of a short lifetime.
_SOON, _SHARE = timedelta(days=3), 4
# Different warnings of one server; `sni_callback` may return any number of contexts.
_MAX_WARNINGS = 256


class Safeguards:
    """Judges every context that one server takes; remembers what it has logged."""

    def __init__(self, guards: Collection[str], *, has_source: bool = False) -> None:
        """Judge contexts together with the `guards` among the server's own options.

        Args:
            guards: The names of these options.
            has_source: The contexts come from a source: `set_secure_context` raises.
        """
        self._guards = guards
        self._install = "have the source in secure_context= return {}" if has_source else "pass {} to set_secure_context()"
        self._seen: WeakSet[SecureContext] = WeakSet()
        self._logged: set[str] = set()

    def check(self, context: SecureContext) -> None:
        """Judge a context that is complete.

        Raises:
            ConfigError: an option of it, or of the server, can never apply to a client.
        """
        if context in self._seen:
            return
        options = context.options
        check_guards(options, self._guards)
        doubts = _doubts_about_lists(context, self._install), _doubts_about_certificates(context, self._install)
        for text in chain(_doubts_about_trust(options), *doubts):
            self.warn(text)
        self._seen.add(context)

    def warn(self, text: str) -> None:
        """Log a warning, unless it was logged before."""
        if text not in self._logged and len(self._logged) < _MAX_WARNINGS:
            self._logged.add(text)
            _log.warning("%s", text)


def check_guards(options: ContextOptions, guards: Iterable[str] = ()) -> None:
    """Refuse options that judge client certificates where it is open whether one is requested.

    Args:
        options: Those of a context, merged with the server's.
        guards: The names of such options among the server's own.

    Raises:
        ConfigError: `request_cert` was not given.
    """
    if options.request_cert is not None:
        return
    names = [*(name for name in _GUARDS if getattr(options, name)), *guards]
    if names:
        given = " and ".join(f"{name}=" for name in names)
        raise ConfigError(
            f"{given} {'was' if len(names) == 1 else 'were'} given to a server that requests no client certificate, so nothing is checked",
            code="ERR_TLS_CERT_NOT_REQUESTED",
            hint="Give request_cert=True to request the client's certificate. If it is requested later or not at all, say so: request_cert=False.",
        )


def _doubts_about_trust(options: ContextOptions) -> Iterable[str]:
    if options.request_cert is None and options.ca is not None:
        yield (
            "ca= was given to a server that requests no client certificate, so every client is accepted: give request_cert=True to verify "
            "clients. If that is intended, say so: request_cert=False."
        )
    if options.request_cert and options.ca is None and not options.pins and not are_default_roots_chosen():
        yield (
            "This server verifies client certificates with the default roots, so any public CA can vouch for a client: give ca= with the CA "
            "of your clients."
        )


def _doubts_about_lists(context: SecureContext, install: str) -> Iterable[str]:
    for issuer, is_trusted in context.list_issuers:
        if not is_trusted:
            name = describe_name(issuer)
            yield (
                f'The list of "{name}" in crl= was signed by no CA that this server trusts. It applies only if clients send "{name}" as an '
                "intermediate: if they do, add its certificate to ca=."
            )
    end = datetime.fromtimestamp(context.lists_end, UTC)
    if context.lists_end and end <= datetime.now(UTC):
        advice = install.format("the current one").capitalize()
        yield f"A list in crl= expired on {print_instant(end)}: clients of its issuer are refused. {advice}."


def _doubts_about_certificates(context: SecureContext, install: str) -> Iterable[str]:
    now = datetime.now(UTC)
    for data, issuer in context.native.identities:
        for certificate in read_all([data]):
            yield from _doubts_about_validity(certificate, now, install)
            if issuer is None and _lacks_intermediate(certificate):
                yield (
                    f'The issuer "{certificate.issuer_text}" of this server\'s certificate "{certificate.title}" is not sent: if it is an '
                    'intermediate, clients cannot verify the certificate. Put it after the certificate in cert= (a "fullchain" file).'
                )


def _doubts_about_validity(certificate: PeerCertificate, now: datetime, install: str) -> Iterable[str]:
    start, end = certificate.not_before, certificate.not_after
    if start is None or end is None:
        return
    name = f'This server\'s certificate "{certificate.title}"'
    advice = f"Renew it, and {install.format('the new one')}."
    if now < start:
        yield f"{name} is not valid before {print_instant(start)}: until then clients refuse it."
    elif now > end:
        yield f"{name} expired on {print_instant(end)}: clients refuse it. {advice}"
    elif end - now < min(_SOON, (end - start) / _SHARE):
        yield f"{name} expires on {print_instant(end)}. {advice}"


def _lacks_intermediate(certificate: PeerCertificate) -> bool:
    """Whether an issuer that is neither sent nor trusted is probably an intermediate.

    A private root that issues certificates directly needs no intermediate, and mostly names
    neither a place where the issuer can be fetched nor the issuer's issuer. If the certificate
    names itself as that (authorityCertIssuer), its issuer is a root.
    """
    if certificate.issuer == certificate.subject:
        return False
    above = certificate.authority_issuers
    return certificate.issuer not in above and bool(above or certificate.ca_issuers)
