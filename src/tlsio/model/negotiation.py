"""Explains a handshake without common parameters: what each side allows, and by which option.

Pure. A server knows what the client offers. A client does not learn what the server supports, so it
names its own options that leave something out.
"""

from tlsio.model.faults import MAX_OFFERED, LocalSide, Role

__all__ = ["hint_for_alpn", "hint_for_parameters", "hint_for_version"]

_MAX_LISTED = 6

# What a client offers in its hello's version field (RFC 8446 §4.1.2: 0x0303 from TLS 1.2 on).
_OLD_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1"}

# RFC 8446 §4.2.3 and RFC 5246 §7.4.1.4.1.
_SIGNATURES = {
    0x0201: "rsa_pkcs1_sha1", 0x0203: "ecdsa_sha1", 0x0401: "rsa_pkcs1_sha256", 0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384", 0x0503: "ecdsa_secp384r1_sha384", 0x0601: "rsa_pkcs1_sha512", 0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512", 0x0807: "ed25519", 0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256", 0x080A: "rsa_pss_pss_sha384", 0x080B: "rsa_pss_pss_sha512",
}  # fmt: skip

# OpenSSL's, NIST's and the RFCs' names of one group.
_GROUP_NAMES = {"prime256v1": "p-256", "secp256r1": "p-256", "secp384r1": "p-384", "secp521r1": "p-521"}

_PARAMETER_OPTIONS = ("ciphers", "ecdh_curve", "sigalgs", "min_version", "max_version", "secure_options")


def hint_for_version(role: Role, local: LocalSide) -> str:
    """Say which versions each side allows, and which side has to change."""
    if role == "client":
        return _hint_for_client_version(local)
    own = f"This server allows {_range(local)}"
    old = _OLD_VERSIONS.get(local.offer.version)
    if old is not None:
        return f"The client offers at most {old}, which is insecure. {own}: the client has to be updated."
    if local.max_version != "TLSv1.3":
        cause = _ciphers_or(local, "max_version", "contains no suite of TLS 1.3: add one")
        return f"The client offers only TLS 1.3 or newer. {own}{cause or f': leave max_version={local.max_version!r} out.'}"
    if local.min_version == "TLSv1.3" and local.offer.version:
        cause = _ciphers_or(local, "min_version", "contains only suites of TLS 1.3: add others if such clients must be served")
        return f"The client offers at most TLSv1.2. {own}" + (
            cause or ": the client has to be updated, or if such clients must be served, min_version='TLSv1.3' has to be left out."
        )
    return f"{own}{_excluding(local)}: compare that with the versions that the client offers."


def _ciphers_or(local: LocalSide, option: str, problem: str) -> str | None:
    """Return the cause if it is `ciphers=` that limits the version, and not `option`."""
    if option in local.narrowed or "ciphers" not in local.narrowed:
        return None
    return f", because ciphers={local.narrowed['ciphers']} {problem}."


def _hint_for_client_version(local: LocalSide) -> str:
    if (local.min_version, local.max_version) in (("TLSv1.3", "TLSv1.3"), ("TLSv1.2", "TLSv1.2")):
        option = "min_version" if local.min_version == "TLSv1.3" else "max_version"
        kind = "only suites of TLS 1.3" if option == "min_version" else "no suite of TLS 1.3"
        cause = _ciphers_or(local, option, f"contains {kind}: add others, or update the server, which does not allow it")
        if cause is not None:
            return f"This client allows only {local.min_version}{cause}"
    given = [f"{name}={local.narrowed[name]}" for name in ("min_version", "max_version", "secure_options") if name in local.narrowed]
    if given:
        return (
            f"This client allows only {_range(local)}, because of {' and '.join(given)}: leave that out, or update the server, "
            "which allows none of these versions."
        )
    return (
        f"This client allows {_range(local)}, and the server none of them: the server has to be updated. "
        "If it cannot be, reach it through a TLS proxy next to it."
    )


def _range(local: LocalSide) -> str:
    return local.min_version if local.min_version == local.max_version else f"{local.min_version} to {local.max_version}"


def _excluding(local: LocalSide) -> str:
    return f", less what secure_options={local.narrowed['secure_options']} excludes" if "secure_options" in local.narrowed else ""


def hint_for_parameters(role: Role, local: LocalSide) -> str:
    """Say what each side allows of ciphers, groups and signature algorithms."""
    return _hint_for_client(local) if role == "client" else _hint_for_server(local)


def _hint_for_client(local: LocalSide) -> str:
    given = [f"{name}={local.narrowed[name]}" for name in _PARAMETER_OPTIONS if name in local.narrowed]
    unnamed = "" if local.server_name else " No server name was sent: if the server has several, give the right one as servername=."
    if given:
        return f"This client narrowed what it offers by {', '.join(given)}: leave these out, or compare them with the server's.{unnamed}"
    return (
        "This client offers the defaults, and the server allows none of them: it is too old, its options exclude them, or it has no "
        f"certificate for the requested name (compare servername=). See its log.{unnamed}"
    )


def _hint_for_server(local: LocalSide) -> str:
    causes = [cause for find in (_find_groups, _find_signatures, _find_suites) if (cause := find(local))]
    return causes[0] if causes else f"{_offered('cipher suites', local.offer.suites)}{_own(local, 'ciphers')}"


def _find_groups(local: LocalSide) -> str | None:
    own = local.narrowed.get("ecdh_curve", "").strip("'")
    if not own or own == "auto" or not local.offer.groups:
        return None
    if {_group(name) for name in own.split(":")} & {_group(name) for name in local.offer.groups}:
        return None
    return f"{_offered('groups', local.offer.groups)}{_own(local, 'ecdh_curve')}"


def _group(name: str) -> str:
    return _GROUP_NAMES.get(name.lower().strip("?*"), name.lower().strip("?*"))


def _find_signatures(local: LocalSide) -> str | None:
    key = local.certificate.key if local.certificate is not None else ""
    if not key or not local.offer.signatures or any(_is_made_by(number, key) for number in local.offer.signatures):
        return None
    names = [_SIGNATURES.get(number, f"0x{number:04x}") for number in local.offer.signatures]
    return (
        f"{_offered('signature algorithms', names)}, and the {key} key of cert= can make none of them: give a certificate with another key "
        "as well, or let the client allow more in its sigalgs=."
    )


def _is_made_by(number: int, key: str) -> bool:
    if key == "RSA":
        return number & 0xFF == 1 or number in range(0x0804, 0x0807)
    if key == "EC":
        return number & 0xFF == 3 and number < 0x0800  # noqa: PLR2004 - 0x08 has RSA-PSS and Edwards curves
    return number in (0x0807, 0x0808)


def _find_suites(local: LocalSide) -> str | None:
    """Compare the key of our certificate with suites up to TLS 1.2, which name its type."""
    key = local.certificate.key if local.certificate is not None else ""
    older = [name for name in local.offer.suites if not name.startswith("TLS_") and not name.endswith("SCSV")]
    if len(local.offer.suites) >= MAX_OFFERED:  # the rest is unknown
        return None
    if not key or not older or len(older) < len(local.offer.suites) or local.narrowed.keys() & {"ciphers", "sigalgs"}:
        return None
    if any(("ECDSA" in name) is (key != "RSA") for name in older):
        return None
    return f"{_offered('cipher suites', older)}, which need another key than the {key} key of cert=: give a certificate with one as well."


def _offered(what: str, names: "tuple[str, ...] | list[str]") -> str:
    count = "" if len(names) >= MAX_OFFERED else f"{len(names) - _MAX_LISTED} "
    more = f" and {count}more" if len(names) > _MAX_LISTED else ""
    return (
        f"The client offers the {what} {', '.join(names[:_MAX_LISTED])}{more}"
        if names
        else f"The client offers none of this server's {what}"
    )


def _own(local: LocalSide, option: str) -> str:
    given = [f"{name}={local.narrowed[name]}" for name in dict.fromkeys((option, *_PARAMETER_OPTIONS)) if name in local.narrowed]
    if given:
        return f", and this server narrowed its own by {', '.join(given)}: leave these out, or let the client allow more."
    return ", and this server uses the defaults: the client has to allow more, or is too old."


def hint_for_alpn(role: Role, local: LocalSide) -> str:
    """Name our protocols; the peer's are not kept."""
    own = f"This side has alpn_protocols={local.narrowed.get('alpn_protocols', '[]')}: "
    if role == "client":
        return f"{own}offer one that the server supports, or leave the option out."
    return f"{own}add one that the client offers, or set alpn_mismatch='continue'."
