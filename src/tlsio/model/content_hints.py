"""Recognises what was given instead of a certificate, key, CRL or PKCS#12, for an error's hint.

Pure: reads only labels and the first bytes, after OpenSSL has rejected the content.
"""

import re

__all__ = ["explain"]

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9. ]{1,40})-----")
_INDENTED = re.compile(rb"^[ \t]+-----BEGIN ", re.MULTILINE)

_CERTIFICATE = "a certificate"
_PRIVATE_KEY = "a private key"
_REQUEST = "a certificate request (CSR)"
_PUBLIC_KEY = "a public key"
_OPENSSH_KEY = "a private key in OpenSSH's own format"
_CRL = "a certificate revocation list"
_PKCS7 = "PKCS#7"
_PFX = "PKCS#12"
_DH = "Diffie-Hellman parameters"

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
    "DH PARAMETERS": _DH,
    "X9.42 DH PARAMETERS": _DH,
}

_ADVICE = {
    _PRIVATE_KEY: "Were cert= and key= swapped?",
    _REQUEST: "Let a CA sign it, and use the certificate that the CA returns.",
    _PUBLIC_KEY: "The certificate already contains the public key; key= needs the private key.",
    _OPENSSH_KEY: "Convert it: ssh-keygen -p -m PKCS8 -f FILE.",
    _CRL: "Give it with crl=.",
    _PKCS7: "Convert it: openssl pkcs7 -print_certs.",
    _PFX: "Give it with pfx=; it contains certificate and key.",
    _DH: "Give them with dhparam=.",
}


def explain(data: bytes, wanted: str) -> str | None:
    """Return a hint if `data` is not of the `wanted` kind or has a common defect, else None.

    Args:
        data: The content that OpenSSL rejected.
        wanted: "a certificate", "a private key", "a certificate revocation list", "PKCS#12" or
            "Diffie-Hellman parameters".
    """
    if not data.strip():
        return "It is empty."
    if _INDENTED.search(data):
        return "The PEM is indented: remove the blanks before each line (textwrap.dedent)."
    found = _kinds_of(data)
    if not found or wanted in found:
        return None
    what = found[0]
    if what == _CERTIFICATE:
        advice = "Were cert= and key= swapped?" if wanted == _PRIVATE_KEY else "Give it with cert= or ca=."
    elif what == _PRIVATE_KEY and wanted != _CERTIFICATE:
        advice = "Give it with key=."
    else:
        advice = _ADVICE[what]
    return f"It contains {what}, not {wanted}. {advice}"


def _kinds_of(data: bytes) -> list[str]:
    labels = [label.decode("ascii") for label in _LABEL.findall(data)]
    if labels:
        return [_KINDS[label] for label in labels if label in _KINDS]
    kind = _kind_of_der(data)
    return [kind] if kind else []


def _kind_of_der(data: bytes) -> str | None:
    """Recognise DER by the first element inside the outer SEQUENCE."""
    if not data.startswith(b"\x30"):
        return None
    length = data[1] if data[1:] else 0
    start = 2 + (length & 0x7F if length & 0x80 else 0)  # X.690 §8.1.3: in the long form this many bytes hold the length
    inner = data[start : start + 3]
    if inner == b"\x02\x01\x03":  # RFC 7292 §4: version v3
        return _PFX
    if inner in (b"\x02\x01\x00", b"\x02\x01\x01"):  # RFC 5958 §2, RFC 8017 A.1.2, RFC 5915 §3: version
        return _PRIVATE_KEY
    return None
