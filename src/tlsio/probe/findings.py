"""What the doctor can find: every finding's stable id, its severity, and what to do about it.

The id and the severity of a finding do not change between versions; the texts may. The reason is
written where the finding is made, because it names what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FINDINGS", "Finding", "found"]

Severity: TypeAlias = Literal["error", "warning", "notice"]


class Kind(NamedTuple):
    """A kind of finding.

    Attributes:
        severity: "error": clients are refused, or ought to refuse. "warning": it works, but is
            weak or will break soon. "notice": it could be better.
        remedy: What to do.
    """

    severity: Severity
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong.

    Attributes:
        id: Stable, for programs: a key of `FINDINGS`.
        severity: "error", "warning" or "notice".
        reason: What was seen.
        remedy: What to do.
    """

    id: str
    severity: Severity
    reason: str
    remedy: str


def found(kind: str, reason: str, remedy: str | None = None) -> Finding:
    """Make a finding; `remedy` replaces the usual one where more is known."""
    return Finding(id=kind, severity=FINDINGS[kind].severity, reason=reason, remedy=remedy or FINDINGS[kind].remedy)


def _error(remedy: str) -> Kind:
    return Kind("error", remedy)


def _warning(remedy: str) -> Kind:
    return Kind("warning", remedy)


def _notice(remedy: str) -> Kind:
    return Kind("notice", remedy)


_REISSUE = "Have the certificate reissued by its authority, and install the new one."
_SEND_CHAIN = "Configure the server's own certificate first, then each intermediate in the order of signing, without the root."

FINDINGS: Mapping[str, Kind] = {
    # ---- reaching the server
    "name-not-found": _error("Check the spelling, the DNS entry, and that this machine reaches its DNS servers."),
    "port-closed": _error("Start the server, and check the port and the address that it listens on."),
    "unreachable": _error("Check the address, the route, and firewalls on the way."),
    "silent": _error("Check whether a firewall or a proxy drops TLS, whether the port waits for STARTTLS, and whether the server hangs."),
    "reset-at-hello": _error("Look for a firewall or filter that cuts TLS (often by server name), and see the server's log."),
    "closed-at-hello": _error("See the server's log: it may reject this address, want STARTTLS first, or have no certificate."),
    "plain-http": _error("Use the port for HTTPS, or enable TLS on this one (nginx: `listen … ssl`)."),
    "captive-portal": _error("Log in to the network in a browser, or use another network."),
    "other-protocol": _error("Check the port; if the protocol has STARTTLS, give it as starttls=."),
    "not-tls": _error("Check the port, and what answers there."),
    "starttls-missing": _error(
        "Enable TLS in the server and configure its certificate. If it is enabled, someone between removes the offer."
    ),
    "starttls-refused": _error("See the server's log: often its certificate or key could not be loaded."),
    "starttls-protocol": _error("Check the port and the protocol; a port with TLS from the start needs no starttls=."),
    "starttls-injection": _error("Update the server. If it is current, someone between injects data: do not use this connection."),
    "starttls-command-injection": _error("Update the server: it obeys commands that it got before TLS began (CVE-2011-0411)."),
    # ---- the handshake
    "handshake-failed": _error("See the server's log for its side of the reason."),
    "sni-unknown": _error("Add the name to the server's configuration, with a certificate for it, or check the DNS entry."),
    "only-old-versions": _error("Enable TLS 1.2 and 1.3 on the server; update it if it has neither."),
    "old-versions": _warning("Disable everything before TLS 1.2 on the server (RFC 8996)."),
    "no-tls13": _notice("Enable TLS 1.3: it saves a round trip and has only secure suites."),
    "version-intolerant": _error("Update the server, or the device between: it must ignore versions that it does not know."),
    "no-common-suite": _error("Enable ECDHE with AES-GCM on the server, for the type of its key; check that it has a certificate at all."),
    "only-cbc-suites": _warning("Enable AES-GCM or ChaCha20-Poly1305 on the server."),
    "weak-suites": _warning("Remove these suites from the server's list."),
    "no-forward-secrecy": _warning("Enable ECDHE suites: without them, the server's key decrypts everything recorded before."),
    "weak-dh": _error("Use the groups of RFC 7919 (ffdhe2048 or more), or ECDHE only."),
    "unusual-groups": _error("Enable X25519 and P-256 on the server."),
    "compression": _error("Disable TLS compression on the server (CRIME)."),
    "secure-renegotiation": _error("Update the server: it lacks RFC 5746, and current clients refuse it."),
    "client-renegotiation": _notice("Disable renegotiation by clients on the server: it costs the server more than the client."),
    "no-extended-master-secret": _notice("Update the server's TLS library: RFC 7627 binds the keys to the handshake."),
    "alpn-refused": _error("Enable one of these protocols on the server, or offer one that it has."),
    "alpn-ignored": _warning("Enable ALPN on the server, with the protocol that its clients want."),
    "alpn-second": _notice("Enable the first protocol on the server, or move the other to the front."),
    # ---- the client's certificate
    "client-certificate-required": _error("Give cert= and key= with a certificate from an authority that the server accepts."),
    "client-certificate-refused": _error("Ask the server's owner which authorities and names it accepts."),
    "client-certificate-authority": _error("Use a certificate from one of the authorities that the server names."),
    "client-certificate-usage": _error(
        "Get a certificate from a private authority: public ones no longer issue any for clients. Or have the server accept others."
    ),
    "client-certificate-expired": _error("Renew the client's certificate."),
    "client-certificate-chain": _error(
        "If this issuer is an intermediate, append it to the certificate in cert=. If not, use a certificate from an authority that the server names."
    ),
    # ---- the certificate's name
    "wrong-host": _error("If this is the host that was meant, have its name added to the certificate; otherwise another server answered."),
    "wrong-host-www": _error("Have the certificate reissued for both names, with www. and without."),
    "wrong-host-wildcard": _error("Have the full name added: `*` covers exactly one label."),
    "name-only-in-cn": _error("Have the certificate reissued with the name as subjectAltName; the common name counts no more."),
    "address-as-dns-name": _error("Have the certificate reissued with the address as an IP entry of subjectAltName."),
    "address-not-in-certificate": _error("Connect by a name in the certificate, or have the address added as an IP entry."),
    "name-in-unicode": _error("Have the certificate reissued with the name as A-label, `xn--…`."),
    "wrong-identity": _error(
        "If this is the server that was meant, give the identity in its certificate; otherwise another server answered."
    ),
    "other-server": _error(
        "Check the address and DNS: another server, a captive portal or an intercepting proxy answered. Do not trust it."
    ),
    # ---- trust
    "self-signed": _error("Get a certificate from an authority; for development, trust this one explicitly with ca=."),
    "unknown-root": _error(
        "If this authority is a private one, trust its root with ca=. If it is public, send the intermediates too. Otherwise get a certificate from one that clients trust."
    ),
    "intercepting-proxy": _error("If your organisation inspects TLS, add its root with extra_ca=. Otherwise do not use this network."),
    "missing-intermediate": _error(
        f"If its issuer is the root of a private authority, trust it with ca=. Otherwise an intermediate is missing. {_SEND_CHAIN}"
    ),
    "wrong-intermediate": _error("Replace the intermediate by the one that signed this certificate; the authority publishes it."),
    "chain-order": _warning(_SEND_CHAIN),
    "root-sent": _notice("Remove the root: clients have it, or do not trust it. It costs each handshake about a kilobyte."),
    "chain-foreign": _warning("Remove what does not belong to the server's certificate."),
    "chain-duplicate": _notice("Send each certificate once."),
    "not-a-server-certificate": _error("Get a certificate whose extendedKeyUsage has serverAuth."),
    "authority-as-server": _error("Use a certificate that cannot issue others, and keep the authority's key offline."),
    "not-an-authority": _error("Have the certificate issued by a real authority: this issuer may not issue any."),
    "path-too-long": _error("Have it issued by an authority whose pathLenConstraint allows this chain."),
    "name-constraints": _error("Have it issued by an authority that may issue for this name."),
    "bad-signature": _error("Install the certificate again: its signature does not fit its issuer's key."),
    "unreadable-certificate": _error(_REISSUE),
    "not-trusted": _error("See the reason; the certificate or an issuer must be replaced."),
    # ---- time
    "expired": _error("Renew the certificate, have that automated, and restart or reload the server."),
    "expires-soon": _warning("Renew the certificate, and check why that did not happen by itself."),
    "not-yet-valid": _error("Check this machine's clock; if it is right, wait, or have the certificate reissued."),
    "expired-intermediate": _error("Install the intermediate's successor, which its authority publishes."),
    "expired-root": _error("Replace the root among the trusted ones (ca=, or the system's), or send a chain to another root."),
    "clock": _error("Set this machine's clock."),
    "server-clock": _notice("Set the server's clock: it makes tickets, staples and cookies expire at the wrong time."),
    "lifetime": _warning("Have it issued for at most 398 days; browsers refuse public certificates with more."),
    # ---- strength
    "sha1": _error("Have it reissued with SHA-256; the key may stay."),
    "weak-rsa": _error("Make a new key: RSA 2048 or more, or EC P-256."),
    "weak-ec": _error("Make a new key on P-256 or P-384."),
    "strict": _warning(_REISSUE),
    # ---- revocation
    "revoked": _error("Find out why it was revoked, and install a new certificate with a new key."),
    "must-staple": _error("Turn on OCSP stapling: the certificate requires it (RFC 7633)."),
    "staple-expired": _error("Have the server fetch a new response: it serves an old one. Check that it reaches the responder."),
    "staple-expiring": _warning("Check that the server reaches the responder: it should have fetched a newer response."),
    "staple-unknown": _error("The responder does not know this certificate: ask the authority."),
    "staple-bad": _error("Have the server fetch another response: clients that check it refuse this one."),
    "staple-missing": _notice("Turn on OCSP stapling, so that clients need not ask the responder."),
    "crl-unavailable": _warning("Ask the authority to publish its list at this address."),
    "crl-bad": _warning("Ask the authority for a valid list."),
    "no-revocation": _notice("Have it issued with the address of a list or of an OCSP responder, or with a life of some days."),
    # ---- sessions
    "resumption-broken": _warning("Give all processes and machines that serve this name the same ticket keys or session cache."),
    "tickets-never": _notice("Enable session tickets: without them every connection pays for a full handshake."),
    "no-resumption-tls12": _notice("Enable session tickets, or a session cache, for TLS 1.2 as well."),
    # ---- HTTP
    "hsts-missing": _notice("Send `Strict-Transport-Security: max-age=31536000` once every page works by HTTPS."),
    "hsts-short": _notice("Raise max-age to half a year or more."),
    "hsts-malformed": _warning("Write it as `max-age=31536000; includeSubDomains`."),
    "redirect-to-http": _warning("Redirect to https: addresses only."),
    # ---- files
    "file-unusable": _error("Give another file."),
    "key-mismatch": _error("Use the key for which the certificate was issued."),
}
"""Every kind of finding by its id, with its severity and its usual remedy."""
