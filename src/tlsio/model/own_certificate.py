"""Explains an alert about our own certificate by what can be seen in it.

Pure. A peer's alert names a class of reasons only: `bad_certificate`, `unknown_ca`. But dates,
purpose and the intermediates that are sent can be looked at here.
"""

from tlsio.model.codes import alert_number
from tlsio.model.faults import LocalSide, OwnCertificate, Role
from tlsio.model.instants import print_instant

__all__ = ["hint_for_refusal"]

_EXPIRED, _UNKNOWN_CA = alert_number("certificate_expired"), alert_number("unknown_ca")


def hint_for_refusal(alert: int, role: Role, local: LocalSide) -> str | None:
    """Return a hint for an alert about our certificate; None if nothing can be seen in it.

    Args:
        alert: The number of the alert.
        role: The local side.
        local: What is known about it.
    """
    own, now = local.certificate, local.now
    if own is None or now is None:
        return None
    peer = "server" if role == "client" else "client"
    if own.not_after is not None and own.not_after < now:
        return f'cert= ("{own.subject}") expired on {print_instant(own.not_after)}: renew it.'
    if own.not_before is not None and now < own.not_before:
        return f'cert= ("{own.subject}") is valid only from {print_instant(own.not_before)}: wait, or check the clocks of both machines.'
    if alert == _EXPIRED and own.not_after is not None:
        return (
            f"cert= is valid until {print_instant(own.not_after)}, so the {peer}'s clock is wrong, or a CA above it has expired: check that clock, "
            f"the intermediates in cert=, and the root and CRL that the {peer} uses."
        )
    if not own.fits_role:
        usage, purpose = ("clientAuth", "clients") if role == "client" else ("serverAuth", "servers")
        return f"The extendedKeyUsage of cert= does not allow {usage}: have it issued for {purpose}."
    return _explain_unknown_ca(own, peer) if alert == _UNKNOWN_CA else None


def _explain_unknown_ca(own: OwnCertificate, peer: str) -> str:
    if own.is_self_signed:
        return f"cert= is self-signed: the {peer} has to add it to its trusted certificates (in tlsio: ca=)."
    if own.intermediates == 0:
        return (
            f'cert= is sent without an intermediate. If its issuer "{own.issuer}" is one, append it to cert= (a "fullchain" file); '
            f"if it is a root, the {peer} has to trust it (in tlsio: ca=). If it does, see the {peer}'s log."
        )
    sent = "1 more is" if own.intermediates == 1 else f"{own.intermediates} more are"
    return (
        f'cert= was issued by "{own.issuer}", and {sent} sent after it: check that these are its intermediates, and that the {peer} trusts '
        f"their root (in tlsio: ca=)."
    )
