"""SecureContext: reads the options' files, applies the defaults, builds the native context once.

All policy is decided here: which roots apply, which ciphers belong to TLS 1.3, what a name's
context inherits from its server, and which sessions may be resumed under which trust. `native` only
carries it out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from tlsio.connection.context.default_roots import default_roots, describe_roots
from tlsio.connection.context.files import read_file
from tlsio.connection.context.trust_digest import ServerPolicy, digest_chain, digest_context, digest_identity
from tlsio.model.checks import wrong_value
from tlsio.model.constants import defaults
from tlsio.model.errors import ConfigError, UsageTypeError
from tlsio.model.exported import exported
from tlsio.model.material import Material, holds_private_key
from tlsio.model.options.parse import parse_context_options
from tlsio.native._core import Context, Pfx, Roots, cipher_name, cipher_names, compression_algorithms, security_level
from tlsio.native.context_spec import ContextSpec, LabelledMaterial
from tlsio.trust.names import describe_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from tlsio.model.errors import UsageValueError
    from tlsio.model.options.connect import ConnectOptions
    from tlsio.model.options.connection import ConnectionOptions
    from tlsio.model.options.context import ContextOptions, ContextOptionsDict

__all__ = [
    "SESSION_TIMEOUT",
    "SecureContext",
    "check_secure_context",
    "create_secure_context",
    "derive",
    "for_client",
    "for_server",
    "get_certificate_compression_algorithms",
    "get_ciphers",
    "given_context",
    "parse_context",
]

# The numbers on the wire (RFC 8446 §4.2.1, RFC 5246 appendix E.1).
_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_VERSION_NAMES = {number: name for name, number in _VERSIONS.items()}

# OpenSSL's TLS_DEFAULT_CIPHERSUITES: the base of a list that consists of exclusions only.
_DEFAULT_SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")

# Node's documented default. RFC 8446 §4.6.1 allows seven days.
SESSION_TIMEOUT = 300

# NIST SP 800-57 part 1 §5.6.1.1: below 2048 bits finite-field Diffie-Hellman has less than 112 bits
# of strength.
_WEAK_DH = 2048

# Bytes of the CA names in a CertificateRequest, with two bytes of length each. RFC 8446 §4.3.2
# allows 2^16-1 bytes for all of its extensions: 4 KiB are left for the others, such as the
# signature algorithms.
_MAX_CA_NAMES_BYTES = 2**16 - 4096

_FILES = ("ca", "extra_ca", "cert", "key", "pfx", "crl")
_IDENTITY = ("cert", "key", "pfx")


def create_secure_context(**options: Unpack[ContextOptionsDict]) -> SecureContext:
    """Make a context for servers and clients.

    All material is read, checked and loaded before it returns. One context serves any number of
    connections. (Node: `tls.createSecureContext`.)

    Raises:
        UsageError: an option that does not exist, or of the wrong type or value.
        ConfigError: a certificate, key, cipher list ... that cannot be used; `code` is Node's,
            `hint` says what to do.
        OSError: a file that cannot be read.
    """
    return SecureContext(parse_context_options(options))


def get_ciphers() -> list[str]:
    """Return the names of all cipher suites that `ciphers=` accepts, sorted, in lower case.

    (Node: `tls.getCiphers`.) The option itself expects them in upper case.
    """
    return sorted({name.lower() for name in cipher_names()})


def get_certificate_compression_algorithms() -> list[str]:
    """Return the algorithms that `certificate_compression=` accepts.

    They are those of zlib, brotli and zstd that this OpenSSL has. (Node:
    `tls.getCertificateCompressionAlgorithms`.)
    """
    return list(compression_algorithms())


@exported
class SecureContext:
    """The certificates, trust and protocol settings of our side. Immutable, usable from any thread.

    Made by `create_secure_context`. Files were read when it was made: later changes of a file
    affect neither it nor the copies that `replace` makes. It holds private keys, so it cannot be
    pickled or copied.
    """

    __slots__ = ("__weakref__", "_adapted", "_identity", "_options", "_policy", "_roots", "_trust", "_variants", "native")

    # The last result of `for_server` for this context: `sni_callback` may return it for every
    # connection.
    _adapted: tuple[SecureContext, SecureContext, SecureContext] | None

    _identity: bytes
    native: Context  # the engine's object; not public
    _options: ContextOptions
    _policy: ServerPolicy
    _roots: Roots
    _trust: bytes
    _variants: dict[tuple[bool | None, bool], SecureContext]  # the copies of `with_verification`

    def __init__(self, options: ContextOptions, *, initial: SecureContext | None = None, policy: ServerPolicy | None = None) -> None:
        """Make a context of parsed options, with the policy of `initial` (see `for_server`)."""
        self._adapted = None
        self._variants = {}
        options = _read_files(options)
        bundles = tuple(Pfx(piece) for piece in _labelled_materials(options, "pfx"))
        trusted = _choose_roots(options, bundles)
        _check_lists(trusted)
        self._options = options
        self._roots = trusted
        self._policy = policy or (initial._policy if initial is not None else ServerPolicy())  # noqa: SLF001 - its own class
        chain = digest_chain(options, trusted.digest, _find_security_level(_ciphers_of(options).older), self._policy)
        self._trust = digest_context(options, chain)
        self._identity = digest_identity(options)
        self.native = Context(_build_spec(options, bundles, trusted, self._choose_session_id_context(initial), chain, self._policy))
        if 0 < self.native.dh_bits < _WEAK_DH:
            warnings.warn(f"DH parameter of {self.native.dh_bits} bits is less than {_WEAK_DH} bits", stacklevel=3)

    @property
    def options(self) -> ContextOptions:
        """The options it was made of, with the content of their files."""
        return self._options

    @property
    def versions(self) -> tuple[str, str]:
        """The oldest and the newest version that it allows, by Node's names."""
        return _VERSION_NAMES[self.native.min_version], _VERSION_NAMES[self.native.max_version]

    @property
    def roots(self) -> Roots:
        """The trusted roots and CRLs."""
        return self._roots

    @property
    def find_roots(self) -> Callable[[bytes], tuple[bytes, ...]]:
        """A function that finds trusted certificates by subject, for messages; DER in and out."""
        return self._roots.find

    @property
    def given_roots(self) -> tuple[bytes, ...]:
        """The trusted certificates in DER, if `ca=` was given."""
        return self._roots.certificates if self._options.ca is not None else ()

    def describe_roots(self) -> str:
        """Say which roots of the environment are trusted and which are not, for messages."""
        return describe_roots(is_replaced=self._options.ca is not None)

    @property
    def trust_digest(self) -> bytes:
        """32 bytes over everything that decides a verdict; the same in all processes."""
        return self._trust

    @property
    def list_issuers(self) -> tuple[tuple[bytes, bool], ...]:
        """The issuer of each CRL in DER, and whether a trusted certificate signed it."""
        return self._roots.list_issuers

    @property
    def lists_end(self) -> int:
        """When the first CRL of `crl=` expires, in POSIX seconds; 0: never."""
        return self._roots.lists_end

    @property
    def identity_digest(self) -> bytes:
        """32 bytes that differ between contexts that present different certificates."""
        return self._identity

    def replace(self, **options: Unpack[ContextOptionsDict]) -> SecureContext:
        """Make a copy in which these options are changed.

        A `cert=` or `key=` replaces a `pfx=` and the reverse; `ca=` replaces `extra_ca=` too.

        Raises:
            As `create_secure_context`; this context never changes.
        """
        return SecureContext(derive(self._options, parse_context_options(options)))

    def _adapt(self, current: SecureContext, initial: SecureContext) -> SecureContext:
        """Return this context or a copy of it, as `for_server` specifies."""
        if self._adapted is not None and self._adapted[0] is current and self._adapted[1] is initial:
            return self._adapted[2]
        options = derive(current.options, self._options)
        fits = options.session_id_context is None or self._trust == initial.trust_digest
        if options == self._options and self._policy == initial._policy and fits:
            return self
        made = SecureContext(options, initial=initial)
        self._adapted = (current, initial, made)
        return made

    def with_policy(self, policy: ServerPolicy) -> SecureContext:
        """Return this context, or a copy, with that server policy."""
        return self if policy == self._policy else SecureContext(self._options, policy=policy)

    def with_verification(self, *, request: bool | None, reject: bool) -> SecureContext:
        """Return this context, or a copy, with these `request_cert` and `reject_unauthorized`.

        A copy is made once and kept, so that its sessions can be resumed.
        """
        if (request, reject) == (self._options.request_cert, self._options.reject_unauthorized is not False):
            return self
        if (made := self._variants.get((request, reject))) is not None:
            return made
        return self._variants.setdefault((request, reject), self.replace(request_cert=request, reject_unauthorized=reject))

    def _choose_session_id_context(self, initial: SecureContext | None) -> bytes:
        given = self._options.session_id_context
        if given is None:
            return self._trust
        if initial is None or self._trust == initial.trust_digest:
            return given
        return sha256(b"tlsio session id context" + self._trust + given).digest()

    def __repr__(self) -> str:
        return f"<SecureContext of {', '.join(sorted(self._options.given)) or 'defaults'}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise UsageTypeError("A SecureContext cannot be pickled or copied: it holds private keys", hint="Share it, or use replace().")


def check_secure_context(label: str, value: object) -> SecureContext:
    """Return `value` if it is a SecureContext.

    Raises:
        UsageTypeError: it is not (ERR_TLS_INVALID_CONTEXT).
    """
    if not isinstance(value, SecureContext):
        hint = "Make one: tlsio.create_secure_context(cert=..., key=..., ca=...), or give a source that has context_for()."
        if type(value).__name__ == "SSLContext":  # by name: importing `ssl` would load a second OpenSSL
            hint = f"An ssl.SSLContext belongs to Python's own OpenSSL. {hint}"
        raise UsageTypeError(f"{label} must be a SecureContext, got {type(value).__name__}", code="ERR_TLS_INVALID_CONTEXT", hint=hint)
    return value


def for_client(options: ConnectOptions) -> SecureContext:
    """Return the context of a client connection: the given one, or one made of the context options.

    One of a source is found by `context.source`.

    Raises:
        UsageTypeError: as `given_context`.
        ConfigError: a certificate or key cannot be used, or a key has no certificate: it would be
            ignored.
    """
    made = given_context(options) or SecureContext(options.context)
    if made.options.key is not None and made.options.cert is None and made.options.pfx is None:
        raise ConfigError(
            "key= was given without cert=, so the client would present no certificate",
            code="ERR_TLS_KEY_WITHOUT_CERT",
            hint="Give the certificate with cert=, or leave key= out.",
        )
    return made


def given_context(options: ConnectionOptions) -> SecureContext | None:
    """Return the context that was given as `secure_context=`; None: none was.

    Raises:
        UsageTypeError: it is not a SecureContext.
    """
    given = options.secure_context
    return None if given is None else check_secure_context("options.secure_context", given)


def parse_context(given: object) -> SecureContext | ContextOptions:
    """Return a SecureContext unchanged, or a mapping as checked options.

    Raises:
        UsageError: `given` is neither (ERR_TLS_INVALID_CONTEXT), or an option is wrong.
    """
    if isinstance(given, SecureContext):
        return given
    if not isinstance(given, Mapping):
        hint = "Give tlsio.create_secure_context(cert=..., key=...), or a dict of its options."
        raise UsageTypeError(
            f"context must be a SecureContext or options, got {type(given).__name__}", code="ERR_TLS_INVALID_CONTEXT", hint=hint
        )
    return parse_context_options(given)


def derive(base: ContextOptions, over: ContextOptions) -> ContextOptions:
    """Return `over` with its unset options taken from `base`.

    So a name's context inherits from its server, and a reload from the previous context. Options
    that belong together are replaced together: a certificate, key or PKCS#12 in `over` drops the
    PKCS#12 of `base`, and a PKCS#12 drops certificate and key as well; `ca` drops `extra_ca`, since
    otherwise a narrower `ca` would silently keep the extra roots.
    """
    over = _read_files(over)
    dropped: dict[str, Any] = {}
    if over.given.intersection(_IDENTITY):
        dropped["pfx"] = None
    if over.pfx is not None:
        dropped |= {"cert": None, "key": None}
    if over.ca is not None:
        dropped["extra_ca"] = None
    return replace(base, **dropped).merged(over)


def for_server(given: SecureContext | ContextOptions, *, current: SecureContext, initial: SecureContext) -> SecureContext:
    """Return the context a server uses for a name, or as its new default.

    That is `given`, with unset options taken from the server's current context.

    A session is never resumed under different trust: OpenSSL resumes one only under an equal
    session id context. That is a digest of the trust unless `session_id_context=` was given,
    which is used unchanged for the trust of `initial` alone; for any other trust it is mixed
    with the digest. With one id for all, a client that presented no certificate to one name
    could resume that session at another name that requires one (the class of CVE-2025-23419).

    Args:
        given: From `add_context`, `sni_callback` or `set_secure_context`.
        current: The server's present default context.
        initial: The context the server was created with.
    """
    if isinstance(given, SecureContext):
        return given._adapt(current, initial)  # noqa: SLF001 - its own module
    return SecureContext(derive(current.options, given), initial=initial)


# --- files ---


def _read_files(options: ContextOptions) -> ContextOptions:
    """Return the options with the content of their files; the paths are kept for messages.

    A private key in `cert` is also `key`, if that was not given: so it stays when `cert` is
    replaced, and replaces an earlier `key`.
    """
    given = [name for name in _FILES if name in options.given]  # in this order: a message names the same one each time
    changes: dict[str, Any] = {name: tuple(read_file(f"options.{name}", item) for item in getattr(options, name)) for name in given}
    if isinstance(options.dhparam, Material):
        changes["dhparam"] = read_file("options.dhparam", options.dhparam)
    if options.key is None and (keys := tuple(one for one in changes.get("cert", ()) if holds_private_key(one.data))):
        changes["key"] = keys
    return replace(options, **changes)


def _labelled_materials(options: ContextOptions, name: str) -> tuple[LabelledMaterial, ...]:
    """Return an option's materials for `native`, each labelled by option and file."""
    materials: tuple[Material, ...] = getattr(options, name) or ()
    several = len(materials) > 1
    return tuple(
        _with_label(options, f"options.{name}[{index}]" if several else f"options.{name}", item) for index, item in enumerate(materials)
    )


def _with_label(options: ContextOptions, label: str, material: Material) -> LabelledMaterial:
    passphrase = options.passphrase if material.passphrase is None else material.passphrase
    return LabelledMaterial(f"{label} ({material.path})" if material.path else label, material.data, passphrase, material.signer)


# --- trust ---


def _choose_roots(options: ContextOptions, bundles: tuple[Pfx, ...]) -> Roots:
    """Return the trusted roots; the default roots are parsed once and shared."""
    base = _parse_once(default_roots()) if options.ca is None else None
    added = (*_labelled_materials(options, "ca"), *_labelled_materials(options, "extra_ca"), *_authorities(bundles))
    crls = _labelled_materials(options, "crl")
    if base is not None and not added and not crls:
        return base
    return Roots(added, crls=crls, base=base)


def _check_lists(trusted: Roots) -> None:
    """Refuse CRLs of which none can apply.

    The whole chain is checked, and a trusted certificate ends it: so one list at least must be
    from a trusted issuer. The others may be those of intermediates that peers send.
    """
    issuers = trusted.list_issuers
    if issuers and not any(is_trusted for _, is_trusted in issuers):
        names = ", ".join(dict.fromkeys(f'"{describe_name(issuer)}"' for issuer, _ in issuers))
        raise ConfigError(
            f"crl= has no list that a trusted CA has signed (only of {names}), so every peer would be refused",
            code="ERR_TLS_CRL_ISSUER_UNKNOWN",
            hint=_OTHER_KEY if any(trusted.find(issuer) for issuer, _ in issuers) else _OTHER_ISSUER,
        )


_OTHER_ISSUER = "Give the list of the CA in ca=, or the certificate of the list's issuer with ca=. Every issuer in a chain needs a list."
_OTHER_KEY = (
    "A list has the name of a trusted CA, but is not signed with its key: get the current list of that CA, and check that it is unchanged. "
    "If the CA was renewed with another key, its new certificate belongs in ca=."
)


@lru_cache(maxsize=1)
def _parse_once(pems: tuple[str, ...]) -> Roots:
    return Roots([LabelledMaterial("the default roots", "".join(pems).encode())]) if pems else Roots()


def _authorities(bundles: tuple[Pfx, ...]) -> tuple[LabelledMaterial, ...]:
    """Return the CA certificates in each PKCS#12, which are trusted, as in Node."""
    return tuple(piece for bundle in bundles for piece in bundle.authorities)


def _client_ca_names(options: ContextOptions, bundles: tuple[Pfx, ...], trusted: Roots) -> tuple[bytes, ...]:
    """Return the CA names of a server's CertificateRequest.

    Those of the default roots are left out: they are too many to be useful. If the names do not fit
    in one message, none are sent, which the RFC allows: clients then choose a certificate without
    them.
    """
    names = trusted.subject_names if options.ca is not None else Roots(_authorities(bundles)).subject_names
    return names if sum(len(name) + 2 for name in names) <= _MAX_CA_NAMES_BYTES else ()


@lru_cache(maxsize=64)
def _find_security_level(cipher_list: str) -> int:
    return security_level(cipher_list)


# --- protocol ---


def _build_spec(
    options: ContextOptions, bundles: tuple[Pfx, ...], trusted: Roots, session_id_context: bytes, chain: bytes, policy: ServerPolicy
) -> ContextSpec:
    """Build the complete specification for `native`, with the defaults filled in."""
    ciphers = _ciphers_of(options)
    min_version, max_version = _versions_of(options)
    curves = options.ecdh_curve or defaults.ecdh_curve
    return ContextSpec(
        roots=trusted,
        min_version=_VERSIONS[min_version],
        max_version=_VERSIONS[max_version],
        secure_options=options.secure_options or 0,
        # Set for clients too, where it has no effect: a context may be used by both sides.
        server_preference=options.honor_cipher_order is not False,
        cipher_list=ciphers.older,
        cipher_suites=ciphers.suites,
        certs=_labelled_materials(options, "cert"),
        keys=_labelled_materials(options, "cert" if options.key and options.key == options.cert else "key"),
        bundles=bundles,
        partial_chain=bool(options.allow_partial_trust_chain),
        client_ca_names=_client_ca_names(options, bundles, trusted),
        request_client=bool(options.request_cert),
        require_client=options.reject_unauthorized is not False,
        sigalgs=options.sigalgs,
        groups=None if curves == "auto" else curves,
        dh=_with_label(options, "options.dhparam", options.dhparam) if isinstance(options.dhparam, Material) else options.dhparam == "auto",
        session_id_context=session_id_context,
        session_timeout=options.session_timeout or SESSION_TIMEOUT,
        alpn=_length_prefixed(options.alpn_protocols),
        npn=_length_prefixed(options.npn_protocols),
        ticket_keys=options.ticket_keys if isinstance(options.ticket_keys, tuple) else None,  # the server sets a source's keys
        pins=options.pins or (),
        compression=options.certificate_compression or (),
        trust=chain,
        lists=policy.lists,
        resume_unmarked=policy.resume_unmarked,
    )


def _versions_of(options: ContextOptions) -> tuple[str, str]:
    """Return the oldest and the newest version that a context allows, by Node's names.

    Ciphers of TLS 1.3 alone exclude the versions before it, and the reverse.

    Raises:
        UsageValueError: the versions leave none.
        ConfigError: the ciphers leave none of the versions.
    """
    ciphers = _ciphers_of(options)
    oldest, newest = options.min_version or defaults.min_version, options.max_version or defaults.max_version
    if _VERSIONS[oldest] > _VERSIONS[newest]:
        raise _no_version(options, f"min_version={oldest!r}", f"max_version={newest!r}")
    where = "options" if options.ciphers else "tlsio.defaults"
    if ciphers.never_1_3 and oldest == "TLSv1.3":
        raise ConfigError(
            f"{where}.ciphers contains no suite of TLS 1.3, and min_version='TLSv1.3' allows nothing else",
            code="ERR_SSL_NO_CIPHER_MATCH",
            hint="Add one to ciphers=, or lower min_version=.",
        )
    if ciphers.only_1_3 and newest != "TLSv1.3":
        raise ConfigError(
            f"{where}.ciphers contains only suites of TLS 1.3, which max_version={newest!r} excludes",
            code="ERR_SSL_NO_CIPHER_MATCH",
            hint="Add others to ciphers=, or raise max_version=.",
        )
    if ciphers.only_1_3:
        oldest = newest
    if ciphers.never_1_3:
        newest = min(newest, "TLSv1.2", key=_VERSIONS.__getitem__)
    return oldest, newest


def _no_version(options: ContextOptions, oldest: str, newest: str) -> UsageValueError:
    if options.min_version and options.max_version:
        hint = "Swap them."
    elif options.min_version or options.max_version:
        hint = f"Only one was given; {newest if options.min_version else oldest} is from tlsio.defaults. Give both."
    else:
        hint = "Both are from tlsio.defaults: change them there."
    return wrong_value("options.min_version", f"is newer than max_version: {oldest} and {newest} leave no version", hint=hint)


def _length_prefixed(names: tuple[bytes, ...] | None) -> bytes:
    """Encode names with a length byte before each."""
    return b"".join(bytes([len(name)]) + name for name in names or ())


@dataclass(frozen=True, slots=True)
class _Ciphers:
    """A cipher list in OpenSSL's two parts: one for TLS 1.3, one for the versions before it.

    Attributes:
        suites: The TLS 1.3 suites; None keeps OpenSSL's default.
        older: The rest, including `@SECLEVEL=n`.
    """

    suites: str | None
    older: str

    @property
    def only_1_3(self) -> bool:
        return bool(self.suites) and all(word.startswith("@") for word in self.older.split(":") if word)

    @property
    def never_1_3(self) -> bool:
        return self.suites == ""


def _ciphers_of(options: ContextOptions) -> _Ciphers:
    return _split_ciphers(options.ciphers or defaults.ciphers)


def _split_ciphers(ciphers: str) -> _Ciphers:
    """Split a list as Node does, by `TLS_` and `!TLS_`.

    Exclusions of TLS 1.3 suites are applied here, since OpenSSL ignores them.

    Raises:
        ConfigError: a name is IANA's of a suite before TLS 1.3, which would have no effect.
    """
    words = [word.strip() for word in ciphers.split(":")]
    for word in words:
        if "_WITH_" in word:
            raise _iana_name(word.lstrip("!-+"))
    named = [word for word in words if word.startswith("TLS_")]
    excluded = {word[1:] for word in words if word.startswith("!TLS_")}
    older = ":".join(word for word in words if word and not word.startswith(("TLS_", "!TLS_")))
    if not named and not excluded:
        return _Ciphers(None, older)
    return _Ciphers(":".join(suite for suite in named or _DEFAULT_SUITES if suite not in excluded), older)


def _iana_name(name: str) -> ConfigError:
    found = cipher_name(name)
    return ConfigError(
        f"options.ciphers contains {name[:60]!r}, which is not a name of OpenSSL's",
        code="ERR_SSL_NO_CIPHER_MATCH",
        hint=f"It is IANA's name: OpenSSL's is {found}." if found else "tlsio.get_ciphers() lists the names.",
    )
