"""Verifies a chain as a connection would, without one, and at any instant.

OpenSSL builds and checks the chain, and `tlsio.trust.verdict` decides, both with the code that
connections use. The result lists every cause, where a connection raises the deciding one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography.hazmat.primitives.serialization import Encoding

from tlsio.certs.bundle import Bundle
from tlsio.certs.contents import read_blocks
from tlsio.certs.instant import check_instant
from tlsio.certs.pkcs7 import read_pkcs7
from tlsio.certs.pkcs12 import open_pkcs12
from tlsio.connection.context.secure_context import create_secure_context
from tlsio.model.checks import check_choice, check_host, check_text_or_bytes
from tlsio.model.codes import x509_name
from tlsio.model.constants import defaults
from tlsio.model.errors import ConfigError, UsageTypeError
from tlsio.model.uri_identity import check_identity
from tlsio.native._core import security_level, verify_chain
from tlsio.trust.advice import advise_each
from tlsio.trust.certificate import read_all
from tlsio.trust.identity import warn_of_common_name
from tlsio.trust.peer_facts import PeerFacts
from tlsio.trust.verdict import VerifyPolicy, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from typing import Never

    from cryptography.x509 import Certificate, CertificateRevocationList

    from tlsio.certs.contents import Source
    from tlsio.certs.inspect import Usage
    from tlsio.model.checks import BytesLike
    from tlsio.model.material import Content
    from tlsio.model.options.connect import ChainPolicy, IdentityPolicy

__all__ = ["Cause", "ChainVerdict", "explain_verdict", "verify"]

# What connections and other libraries call the arguments of `verify`.
_OTHER_NAMES = {
    "ca_certs": "ca",
    "cafile": "ca",
    "chain_policy": "policy",
    "crls": "crl",
    "host": "name",
    "hostname": "name",
    "now": "at",
    "purpose": "usage",
    "roots": "ca",
    "server_hostname": "name",
    "servername": "name",
    "time": "at",
}

_Given: TypeAlias = "Content | Certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason to refuse a chain.

    Attributes:
        code: Node's code, or OpenSSL's name of the verify error, or one of ours.
        text: What is wrong, with the names of the certificates.
        hint: What to do, "" if unknown.
        depth: Of which certificate of the verified chain, counted from the leaf; None if of the
            whole.
    """

    code: str
    text: str
    hint: str = ""
    depth: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"code": self.code, "text": self.text, "hint": self.hint, "depth": self.depth}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainVerdict:
    """The verdict on a chain; it is true if the chain is accepted.

    Attributes:
        accepted: There is no cause to refuse it.
        causes: Every cause, those of the chain first, from the first that OpenSSL found on.
        chain: The chain that OpenSSL built, in DER, leaf first, up to the trusted certificate;
            partial if none was found.
        error: What a connection would raise, a `CertificateError`; None if it is accepted.
        at: The instant of the verification.
        warning: Why other clients may refuse a chain that is accepted: the name is only in the
            subject. None if there is nothing to warn of.
    """

    accepted: bool
    causes: tuple[Cause, ...]
    chain: tuple[bytes, ...] = field(repr=False)
    error: Exception | None = field(repr=False)
    at: datetime
    warning: str | None = None

    def __bool__(self) -> bool:
        return self.accepted

    def as_json(self) -> dict[str, Any]:
        """Return everything as values for `json.dumps`; the chain as names."""
        return {
            "accepted": self.accepted,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "causes": [cause.as_json() for cause in self.causes],
            "warning": self.warning,
            "chain": [certificate.heading for certificate in read_all(self.chain)],
        }

    def lines(self) -> list[str]:
        """Return lines of text for people: the chain as a tree, root on top, with its causes."""
        found = ["accepted" if self.accepted else "refused"]
        chain = list(read_all(self.chain))
        for depth, certificate in reversed(list(enumerate(chain))):
            indent = "  " * (len(chain) - depth)
            found.append(f"{indent}{certificate.heading}")
            found += [f"{indent}  {line}" for line in self._print_causes(depth)]
        found += [f"  {line}" for line in self._print_causes(None)]
        return [*found, f"warning: {self.warning}."] if self.warning else found

    def _print_causes(self, depth: int | None) -> Iterator[str]:
        """Yield the causes of one certificate, each hint once."""
        causes = [cause for cause in self.causes if cause.depth == depth]
        for cause, following in zip_longest(causes, causes[1:]):
            yield f"{cause.code}: {cause.text}"
            if cause.hint and (following is None or following.hint != cause.hint):
                yield f"  {cause.hint}"


def verify(  # noqa: PLR0913  (each is one thing that a verifier may require, all keyword-only)
    chain: Bundle | Source | Sequence[Source],
    name: str | None = None,
    *,
    ca: _Given | Sequence[_Given] | None = None,
    extra_ca: _Given | Sequence[_Given] | None = None,
    crl: Content | CertificateRevocationList | Sequence[Content | CertificateRevocationList] | None = None,
    at: datetime | None = None,
    policy: ChainPolicy = "openssl",
    usage: Usage = "server",
    identity: str | None = None,
    identity_policy: IdentityPolicy = "node",
    pins: Sequence[str | BytesLike] | None = None,
    allow_partial_trust_chain: bool = False,
    passphrase: str | BytesLike | None = None,
    **others: Never,
) -> ChainVerdict:
    """Verify a chain, and return the verdict with every cause.

    Args:
        chain: What a peer would send, the leaf first: a `Bundle`, a file, PEM, or a list of these.
            Private keys among it are skipped.
        name: The host that the certificate must be for, that of a client too: a name or an IP
            address. None: the name is not checked.
        ca: The trusted roots, as the option `ca=`; None: the default ones.
        extra_ca: Roots that are trusted in addition.
        crl: CRLs. If there are any, every CA of the chain must have one.
        at: The instant for which the chain is verified, aware; None: now.
        policy: "openssl": as connections do by default. "strict": as `chain_policy="strict"`.
        usage: What the leaf is used for.
        identity: A URI that the leaf must have, such as `spiffe://example.org/billing`.
        identity_policy: How `name` is compared; "rfc9525" needs one.
        pins: As the option `pins=`.
        allow_partial_trust_chain: A trusted certificate need not be a root.
        passphrase: Opens a PKCS#12.
        others: None; a name of a connection's option is answered with the one that is meant.

    Raises:
        ConfigError: a file cannot be read, or there is no certificate.
        OSError: a file cannot be read.
        UsageError: a wrong argument.
    """
    for unknown in others:
        raise _unknown_argument(unknown)
    check_choice("policy", policy, ("openssl", "strict"))
    check_choice("usage", usage, ("server", "client"))
    check_choice("identity_policy", identity_policy, ("node", "rfc9525"))
    instant = check_instant("at", at)
    host = None if name is None else check_host("name", name)
    uri = None if identity is None else check_identity("identity", identity)
    if host is None and identity_policy != "node":
        raise UsageTypeError(
            f"identity_policy={identity_policy!r} decides how name= is compared, but there is no name",
            code="ERR_INCOMPATIBLE_OPTION_PAIR",
            hint="Give the host as name=, or leave identity_policy= out: identity= is always compared exactly.",
        )
    context = create_secure_context(ca=ca, extra_ca=extra_ca, crl=crl, pins=pins, allow_partial_trust_chain=allow_partial_trust_chain)
    given = _read_chain(chain, None if passphrase is None else check_text_or_bytes("passphrase", passphrase))
    try:
        built, errors = verify_chain(
            context.roots,
            given,
            at=int(instant.timestamp()),
            of_server=usage == "server",
            level=security_level(defaults.ciphers),
            strict=policy == "strict",
            partial_chain=allow_partial_trust_chain,
        )
    except ValueError:
        raise ConfigError(
            "OpenSSL cannot read a certificate of the chain", code="ERR_TLS_CERTIFICATE_UNREADABLE", hint="inspect() says which, and why."
        ) from None
    facts = PeerFacts(
        role="client" if usage == "server" else "server",
        now=instant,
        is_now=at is None,
        chain=given,
        verified_chain=built,
        verify_errors=errors,
        server_name=host,
        ca_is_empty=context.options.ca == (),
        describe_roots=context.describe_roots,
        find_roots=context.find_roots,
    )
    asked = VerifyPolicy(pins=context.options.pins or (), identity_policy=identity_policy, identity=uri, chain_policy=policy)
    return explain_verdict(facts, asked)


def explain_verdict(facts: PeerFacts, policy: VerifyPolicy) -> ChainVerdict:
    """Judge what was found about a peer, and list every cause to refuse it.

    A client without any name to compare accepts every name.
    """
    is_unnamed = facts.server_name is None and policy.identity is None
    verdict = judge(facts, replace(policy, answer=None) if is_unnamed else policy)
    errors = dict(zip(facts.verify_errors, advise_each(facts), strict=True))
    causes = [Cause(code=x509_name(number), text=advice.cause, hint=advice.hint, depth=depth) for (number, depth), advice in errors.items()]
    # The first cause of the verdict is all of these together.
    causes += [
        Cause(
            code=str(getattr(error, "code", "ERR_TLS_CERTIFICATE")),
            text=getattr(error, "message", str(error)),
            hint=getattr(error, "hint", "") or "",
        )
        for error in verdict.causes[1 if errors else 0 :]
    ]
    warning = None
    if verdict.error is None and facts.role == "client" and facts.server_name is not None and policy.identity is None:
        warning = warn_of_common_name(facts.server_name, next(iter(read_all(facts.chain[:1]))))
    return ChainVerdict(
        accepted=verdict.error is None,
        causes=tuple(causes),
        chain=facts.verified_chain,
        error=verdict.error,
        at=facts.now,
        warning=warning,
    )


def _unknown_argument(name: str) -> UsageTypeError:
    arguments = ("name", *(verify.__kwdefaults__ or ()))
    meant = _OTHER_NAMES.get(name) or next(iter(get_close_matches(name, arguments, n=1)), None)
    hint = f"Meant: {meant}=." if meant else f"There are {', '.join(f'{one}=' for one in arguments)}."
    return UsageTypeError(f"verify has no argument {name!r:.80}", code="ERR_TLS_UNKNOWN_OPTION", hint=hint)


def _read_chain(chain: Bundle | Source | Sequence[Source], passphrase: bytes | None) -> tuple[bytes, ...]:
    if isinstance(chain, Bundle):
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain.chain)
    sources = chain if isinstance(chain, list | tuple) else [chain]
    found: list[bytes] = []
    for index, source in enumerate(sources):
        for block in read_blocks(source, f"chain[{index}]"):
            if block.kind == "certificate":
                found.append(block.data)
            elif block.kind == "PKCS#7":
                found += read_pkcs7(block.data, block.source)
            elif block.kind == "PKCS#12":
                found += open_pkcs12(block, passphrase)[1]
    if not found:
        raise ConfigError("There is no certificate to verify", code="ERR_TLS_NO_CERTIFICATE", hint="Give the certificate, and its chain.")
    return tuple(found)
