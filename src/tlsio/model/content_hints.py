"""Recognises what was given instead of a certificate, key, CRL or PKCS#12, for an error's hint.

Pure: looks only at labels, line ends and the first bytes, after OpenSSL has rejected the content.
No hint contains any of the content, which may be a secret.
"""

import re
from base64 import b64decode
from collections.abc import Callable

__all__ = ["explain"]

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9. ]{1,40})-----")
_END = re.compile(rb"-----END [A-Z0-9. ]{1,40}-----")
_INDENTED = re.compile(rb"^[ \t]+-----BEGIN ", re.MULTILINE)
_NOT_AT_LINE_START = re.compile(rb"[^\r\n]-----BEGIN ")
_ONE_LINE = re.compile(rb"-----BEGIN [A-Z0-9. ]{1,40}-----[ \t]*[^\s]")
_SSH_PUBLIC_KEY = re.compile(rb"\s*(?:ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) AAAA|---- BEGIN SSH2 PUBLIC KEY")
_HTML = re.compile(rb"\s*<(?:!doctype html|html|head|body|\?xml)", re.IGNORECASE)
_URL = re.compile(rb"\s*[a-z][a-z0-9+.-]*://[^\x00-\x1f]{1,4096}\s*", re.IGNORECASE)
_VARIABLE = re.compile(rb"\s*(?:\$\w+|\$\{\w+\}|%\w+%)\s*")
_BASE64_OF_PEM = re.compile(rb"\s*LS0tLS1CRUdJTi[A-Za-z0-9+/=\s]*")  # -----BEGIN, and the space after it
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]{64,}")
_DASHES = tuple(dash.encode() for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\uff0d")
_PATH = re.compile(rb"[^\x00-\x1f]{1,4096}\.(?:pem|crt|cer|key|der|p12|pfx|crl|csr|req)\s*|[./~][^\x00-\x1f]{0,4096}\s*", re.IGNORECASE)

_CERTIFICATE = "a certificate"
_PRIVATE_KEY = "a private key"
_REQUEST = "a certificate request (CSR)"
_PUBLIC_KEY = "a public key"
_OPENSSH_KEY = "a private key in OpenSSH's own format"
_CRL = "a certificate revocation list"
_PKCS7 = "PKCS#7"
_PFX = "PKCS#12"
_EC_PARAMETERS = "the parameters of an elliptic curve"
_DH = "Diffie-Hellman parameters"
_SSH_PUBLIC = "an SSH public key"
_PGP = "OpenPGP data"
_PUTTY = "a key in PuTTY's format"
_JAVA = "a Java keystore"
_HTML_PAGE = "an HTML page"

_KINDS = {
    "CERTIFICATE": _CERTIFICATE,
    "TRUSTED CERTIFICATE": _CERTIFICATE,
    "X509 CERTIFICATE": _CERTIFICATE,
    "CERTIFICATE REQUEST": _REQUEST,
    "NEW CERTIFICATE REQUEST": _REQUEST,
    "PRIVATE KEY": _PRIVATE_KEY,
    "ENCRYPTED PRIVATE KEY": _PRIVATE_KEY,
    "RSA PRIVATE KEY": _PRIVATE_KEY,
    "EC PRIVATE KEY": _PRIVATE_KEY,
    "OPENSSH PRIVATE KEY": _OPENSSH_KEY,
    "PUBLIC KEY": _PUBLIC_KEY,
    "RSA PUBLIC KEY": _PUBLIC_KEY,
    "X509 CRL": _CRL,
    "PKCS7": _PKCS7,
    "EC PARAMETERS": _EC_PARAMETERS,
    "DH PARAMETERS": _DH,
    "X9.42 DH PARAMETERS": _DH,
    "PGP PUBLIC KEY BLOCK": _PGP,
    "PGP PRIVATE KEY BLOCK": _PGP,
    "PGP MESSAGE": _PGP,
}

_ADVICE = {
    _PRIVATE_KEY: "Were cert= and key= swapped?",
    _REQUEST: "Let a CA sign it, and use the certificate that the CA returns.",
    _PUBLIC_KEY: "The certificate already contains the public key; key= needs the private key.",
    _CRL: "Give it with crl=.",
    _PKCS7: "Convert it: openssl pkcs7 -print_certs (for DER with -inform DER).",
    _PFX: "Give it with pfx=; it contains certificate and key.",
    _EC_PARAMETERS: "They name a curve and hold no key: the key is a block of its own after them, or make one by openssl genpkey.",
    _DH: "Give them with dhparam=.",
    _SSH_PUBLIC: "TLS needs an X.509 certificate in cert= and its private key in key=; SSH keys are made for another protocol.",
    _PGP: "TLS cannot use OpenPGP keys: it needs an X.509 certificate in cert= and its private key in key=.",
    _PUTTY: "Export it from PuTTYgen (Conversions, Export OpenSSH key), and load that with load_ssh_private_key() of cryptography.",
    _JAVA: "Convert it with keytool -importkeystore -deststoretype PKCS12, and give the result with pfx=.",
    _HTML_PAGE: "A download has probably returned an error page: download the file again.",
}

_LABELS = {_CERTIFICATE: "CERTIFICATE", _PRIVATE_KEY: "PRIVATE KEY", _CRL: "X509 CRL", _DH: "DH PARAMETERS"}

_ED25519 = b"ssh-ed25519"


def explain(data: bytes, wanted: str, option: str = "") -> str | None:
    """Return a hint if `data` is not of the `wanted` kind or has a common defect, else None.

    Args:
        data: The content that OpenSSL rejected.
        wanted: "a certificate", "a private key", "a certificate revocation list", "PKCS#12" or
            "Diffie-Hellman parameters".
        option: The caller's name of the option, such as "options.ca".
    """
    if not data.strip():
        return "It is empty: check the path, and whether the program that should have written it has failed."
    found = _kinds_of(data)
    if found and wanted not in found:
        return f"It contains {found[0]}, not {wanted}. {_advise_other_kind(data, found[0], wanted, option)}"
    return next((hint for has_defect, hint in _DEFECTS if has_defect(data)), None) or _explain_damage(
        data, wanted, is_right_kind=bool(found)
    )


def _advise_other_kind(data: bytes, what: str, wanted: str, option: str) -> str:
    is_ca = "ca" in re.findall(r"[a-z]+", option) or option.startswith("certs[")
    if what == _CERTIFICATE:
        return "Were cert= and key= swapped?" if wanted == _PRIVATE_KEY else "Give it with cert= or ca=."
    if what == _PRIVATE_KEY and is_ca:
        return "ca= needs certificates: give the certificate of the CA, whose private key stays with the CA."
    if what == _PRIVATE_KEY and wanted != _CERTIFICATE:
        return "Give it with key=."
    if what == _PFX and is_ca:
        return "ca= needs certificates: export those with openssl pkcs12 -cacerts -nokeys."
    if what == _OPENSSH_KEY:
        return _advise_openssh_key(data)
    return _ADVICE[what]


def _advise_openssh_key(data: bytes) -> str:
    """Say how to convert the key; `ssh-keygen` overwrites the file, and keeps ed25519 as it is."""
    try:
        is_ed25519 = _ED25519 in b64decode(b"".join(data.split(b"-----")[2].split()))
    except (ValueError, IndexError):
        is_ed25519 = False
    if is_ed25519:
        return (
            "ssh-keygen cannot convert an ed25519 key: load it with load_ssh_private_key() of cryptography and give the result as key=, "
            "or make a new key (openssl genpkey -algorithm ed25519)."
        )
    return "Convert a copy, since the file is overwritten: cp FILE COPY; ssh-keygen -p -m PKCS8 -f COPY."


# ---- kinds ---------------------------------------------------------------------------------------


def _kinds_of(data: bytes) -> list[str]:
    if labels := [label.decode("ascii") for label in _LABEL.findall(data)]:
        return [_KINDS[label] for label in labels if label in _KINDS]
    kind = _kind_of_text(data) or _kind_of_der(data)
    return [kind] if kind else []


def _kind_of_text(data: bytes) -> str | None:
    if _SSH_PUBLIC_KEY.match(data):
        return _SSH_PUBLIC
    if _HTML.match(data):
        return _HTML_PAGE
    if data.startswith(b"PuTTY-User-Key-File"):
        return _PUTTY
    return _JAVA if data.startswith((b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")) else None


def _kind_of_der(data: bytes) -> str | None:
    """Recognise DER by the first elements inside the outer SEQUENCE."""
    if not data.startswith(b"\x30"):
        return None
    inner = data[_header_size(data) :]
    first = inner[_header_size(inner) :]
    return next((kind for start, kind in _DER_KINDS if start in (inner[: len(start)], b"\x30" + first[: len(start) - 1])), None)


_DER_KINDS = (
    (b"\x02\x01\x03", _PFX),  # RFC 7292 §4: version v3
    (b"\x02\x01\x00", _PRIVATE_KEY),  # RFC 5958 §2, RFC 8017 A.1.2: version
    (b"\x02\x01\x01", _PRIVATE_KEY),  # RFC 5958 §2, RFC 5915 §3: version
    (bytes.fromhex("06092a864886f70d010702"), _PKCS7),  # RFC 5652 §5.1: id-signedData
    (b"\x30\xa0\x03\x02\x01", _CERTIFICATE),  # RFC 5280 §4.1: the version, inside the first element
    (b"\x30\x02\x01\x00\x30", _REQUEST),  # RFC 2986 §4.1: version and subject, inside the first element
)


def _header_size(data: bytes) -> int:
    """Return the size of a DER element's tag and length.

    In the long form the low bits of the first length byte count those that follow (X.690 §8.1.3).
    """
    length = data[1] if data[1:] else 0
    return 2 + (length & 0x7F if length & 0x80 else 0)


# ---- defects of the right kind -------------------------------------------------------------------


def _is_utf16(data: bytes) -> bool:
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"-\0-\0-" in data


def _has_typographic_dashes(data: bytes) -> bool:
    return b"BEGIN " in data and any(dash in data for dash in _DASHES)


def _has_literal_line_ends(data: bytes) -> bool:
    return b"-----" in data and b"\\n" in data


def _is_cut(data: bytes) -> bool:
    if b"-----BEGIN " in data:
        return len(_END.findall(data)) < len(_LABEL.findall(data))
    size = _header_size(data)
    return data.startswith(b"\x30") and len(data) < size + int.from_bytes(data[2:size] or data[1:2])


_DEFECTS: tuple[tuple[Callable[[bytes], object], str], ...] = (
    (_is_utf16, "It is text in UTF-16, as PowerShell and some Windows editors write it: save it as ASCII or UTF-8."),
    (
        _has_typographic_dashes,
        "Its dashes are typographic ones, as word processors make them: copy the file itself, not text from a document.",
    ),
    (
        _has_literal_line_ends,
        'It has a backslash and an n in place of each line break, as from an environment variable: use text.replace("\\\\n", "\\n").',
    ),
    (_INDENTED.search, "The PEM is indented: remove the blanks before each line (textwrap.dedent)."),
    (_NOT_AT_LINE_START.search, "-----BEGIN must stand at the start of a line: remove what is before it, such as a quotation mark."),
    (_ONE_LINE.search, "The PEM is on one line: -----BEGIN ...----- and -----END ...----- must stand on lines of their own."),
    (_is_cut, "It was cut off: its end is missing. Copy the whole file."),
)


# In this order: a URL looks like a path too.
_OTHER_TEXTS = (
    (_BASE64_OF_PEM, "It is PEM in Base64, as in a Secret of Kubernetes: decode it first, by base64.b64decode()."),
    (_URL, "It looks like a URL: download the file, check where it comes from, and give its path as pathlib.Path."),
    (_VARIABLE, "It looks like the name of a variable, which is not replaced here: give the value of that variable."),
    (_PATH, "It looks like a path: give a path as pathlib.Path."),
)


def _explain_damage(data: bytes, wanted: str, *, is_right_kind: bool) -> str | None:
    if is_right_kind:
        return f"It is {wanted}, but damaged, or of an algorithm that this OpenSSL does not support: get it again from its source."
    if other := next((hint for pattern, hint in _OTHER_TEXTS if pattern.fullmatch(data)), None):
        return other
    if _BASE64.fullmatch(data) and wanted in _LABELS:
        label = _LABELS[wanted]
        return f"It is Base64 without its label lines: put -----BEGIN {label}----- before it and -----END {label}----- after it."
    if _LABEL.search(data) or data.startswith(b"\x30"):
        return None
    is_expected = "are expected" if wanted == _DH else "is expected"
    return f"It is neither PEM nor DER: {wanted} {is_expected}, in the form in which a CA or a tool such as openssl writes it."
