"""Tables of what two sides that want different things come to, for tests of ours and for the same ones put to Node."""

from __future__ import annotations

from typing import Any

import pytest

NO_NAME = "Cert does not contain a DNS name"

# What `checkServerIdentity` says of a host, a common name and alternative names, printed. From test/parallel/test-tls-check-server-identity.js of nodejs/node, by way of Node 26.10 itself.
IDENTITIES: list[tuple[str, str | list[str] | None, str | None, str]] = [
    ("a.com", "a.com", None, "OK"),
    ("a.com", "A.COM", None, "OK"),
    ("a.com", ".a.com", None, "Host: a.com. is not cert's CN: .a.com"),
    ("8.8.8.8", "8.8.8.8", None, "IP: 8.8.8.8 is not in the cert's list: "),
    ("8.8.8.8", "8.8.8.8", "URI:http://8.8.8.8/", "IP: 8.8.8.8 is not in the cert's list: "),
    ("8.8.8.8", "8.8.8.8", "IP Address:8.8.8.8", "OK"),
    ("b.a.com", "*.a.com", None, "OK"),
    ("\n.b.com", "*n.b.com", None, "Host: \n.b.com. is not cert's CN: *n.b.com"),
    ("b.a.com", "*.a.com", "DNS:omg.com", "Host: b.a.com. is not in the cert's altnames: DNS:omg.com"),
    ("bxa.a.com", "b**.a.com", None, "Host: bxa.a.com. is not cert's CN: b**.a.com"),
    ("a.com", None, None, NO_NAME),
    ("a.com", None, "DNS:a.com", "OK"),
    ("a.b.a.com", None, "URI:http://a.b.a.com/", NO_NAME),
    ("a.com", [""], None, "Host: a.com. is not cert's CN: "),
    ("a.com", "b.com", "DNS:*", "Host: a.com. is not in the cert's altnames: DNS:*"),
    ("a.com", "b.com", "DNS:*.com", "Host: a.com. is not in the cert's altnames: DNS:*.com"),
    ("a.co.uk", "b.com", "DNS:*.co.uk", "OK"),
    ("a.com", "a.com", "DNS:*.a.com", "Host: a.com. is not in the cert's altnames: DNS:*.a.com"),
    ("a.com", "b.com", "DNS:*.a.com", "Host: a.com. is not in the cert's altnames: DNS:*.a.com"),
    ("a.com", "b.com", "DNS:a.com", "OK"),
    ("a.com", "b.com", "DNS:A.COM", "OK"),
    ("a.com", None, "DNS:", "Host: a.com. is not in the cert's altnames: DNS:"),
    ("x.example.com", None, "DNS:café.example.com", "Host: x.example.com. is not in the cert's altnames: DNS:café.example.com"),
    ("xbcd.a.com", None, "DNS:ab*cd.a.com", "Host: xbcd.a.com. is not in the cert's altnames: DNS:ab*cd.a.com"),
    ("b.a.com", None, "DNS:*b.a.com", "OK"),
    ("a-cb.a.com", None, "DNS:*b.a.com", "OK"),
    ("a.b.a.com", None, "DNS:*b.a.com", "Host: a.b.a.com. is not in the cert's altnames: DNS:*b.a.com"),
    ("bxa.a.com", None, "DNS:b**.a.com", "Host: bxa.a.com. is not in the cert's altnames: DNS:b**.a.com"),
    ("a.b.a.com", None, "URI:http://*.b.a.com/", NO_NAME),
    ("a.b.a.com", None, "IP Address:127.0.0.1", NO_NAME),
    ("xn--bcher-kva.example.com", "*.example.com", None, "OK"),
    # More that Node 26.10 was asked by hand.
    ("foobar.a.com", None, "DNS:f*r.a.com", "OK"),
    ("fr.a.com", None, "DNS:f*r.a.com", "OK"),
    ("fr.a.com", None, "DNS:fr*r.a.com", "Host: fr.a.com. is not in the cert's altnames: DNS:fr*r.a.com"),
    (".a.com", None, "DNS:*.a.com", "OK"),
    ("a.com", "a.com", "URI:http://a.com/, IP Address:1.2.3.4", "OK"),
    ("fe80::1%eth0", None, "IP Address:FE80:0:0:0:0:0:0:1", "OK"),
    ("127.0.0.1.", None, "IP Address:127.0.0.1", "OK"),
    ("[::1]", None, "IP Address:0:0:0:0:0:0:0:1", NO_NAME),
    ("1.2.3.4", None, "IP Address:0:0:0:0:0:FFFF:102:304", "IP: 1.2.3.4 is not in the cert's list: ::ffff:1.2.3.4"),
    ("::1", None, "IP Address:10.0.0.1, IP Address:FE80:0:0:0:0:0:0:1", "IP: ::1 is not in the cert's list: 10.0.0.1, fe80::1"),
    ("a.com", ["x.com", "a.com"], None, "OK"),
    ("q.com", ["x.com", "a.com"], None, "Host: q.com. is not cert's CN: x.com,a.com"),
    ("a.com", "", None, NO_NAME),
    ("a.com", "a.com", "", "OK"),
    ("", "a.com", None, "Host: . is not cert's CN: a.com"),
    ("a.com.", None, "DNS:b.com", "Host: a.com. is not in the cert's altnames: DNS:b.com"),
    ("a.com", None, "DNS:a.com.", "OK"),
    ("a.com", None, "DNS:a.com..", "Host: a.com. is not in the cert's altnames: DNS:a.com.."),
    ("xn--a.b.com", None, "DNS:xn--*.b.com", "Host: xn--a.b.com. is not in the cert's altnames: DNS:xn--*.b.com"),
    ("bücher.example.com", None, "DNS:xn--bcher-kva.example.com", "OK"),
    ("BÜCHER.example.com", None, "DNS:xn--bcher-kva.example.com", "OK"),
    ("bücher.example.com", None, "DNS:b.com", "Host: bücher.example.com. is not in the cert's altnames: DNS:b.com"),
    ("a.com", None, "DNS:a.com,DNS:b.com", "Host: a.com. is not in the cert's altnames: DNS:a.com,DNS:b.com"),
    ("b.com", None, 'DNS:"a.com", DNS:b.com', "OK"),
    ("b.com", None, 'DNS:"a, DNS:b.com"', 'Host: b.com. is not in the cert\'s altnames: DNS:"a, DNS:b.com"'),
]

# Of Node's `test-tls-min-max-version.js`: min_version, max_version and secure_protocol of the client, the same of the server,
# and what comes of it: the version, or each side's error ("-": it made none). TLS1_2_method is misspelt there too: the
# conflict is told before the name is looked at.
_VERSIONS = """
    - | - | - | - | - | - | TLSv1.3
    - | - | - | - | - | SSLv2_method | client - / server ERR_TLS_INVALID_PROTOCOL_METHOD
    - | - | - | - | - | SSLv3_method | client - / server ERR_TLS_INVALID_PROTOCOL_METHOD
    - | - | SSLv2_method | - | - | - | client ERR_TLS_INVALID_PROTOCOL_METHOD / server -
    - | - | SSLv3_method | - | - | - | client ERR_TLS_INVALID_PROTOCOL_METHOD / server -
    - | - | hokey-pokey | - | - | - | client ERR_TLS_INVALID_PROTOCOL_METHOD / server -
    - | - | - | - | - | hokey-pokey | client - / server ERR_TLS_INVALID_PROTOCOL_METHOD
    - | - | - | - | - | %s_method | client - / server ERR_TLS_INVALID_PROTOCOL_METHOD
    - | - | - | - | TLSv1.2 | TLS1_2_method | client - / server ERR_TLS_PROTOCOL_VERSION_CONFLICT
    - | - | - | TLSv1.2 | - | TLS1_2_method | client - / server ERR_TLS_PROTOCOL_VERSION_CONFLICT
    - | TLSv1.2 | TLS1_2_method | - | - | - | client ERR_TLS_PROTOCOL_VERSION_CONFLICT / server -
    - | - | TLSv1_2_method | - | - | TLS_method | TLSv1.2
    - | - | TLSv1_1_method | - | - | TLS_method | TLSv1.1
    - | - | TLSv1_method | - | - | TLS_method | TLSv1
    - | - | TLS_method | - | - | TLSv1_2_method | TLSv1.2
    - | - | TLS_method | - | - | TLSv1_1_method | TLSv1.1
    - | - | TLS_method | - | - | TLSv1_method | TLSv1
    - | - | TLSv1_2_method | - | - | SSLv23_method | TLSv1.2
    - | - | TLSv1_1_method | - | - | SSLv23_method | client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL
    - | - | TLSv1_method | - | - | SSLv23_method | client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL
    - | - | SSLv23_method | - | - | TLSv1_1_method | client ERR_SSL_UNSUPPORTED_PROTOCOL / server ERR_SSL_WRONG_VERSION_NUMBER
    - | - | SSLv23_method | - | - | TLSv1_method | client ERR_SSL_UNSUPPORTED_PROTOCOL / server ERR_SSL_WRONG_VERSION_NUMBER
    - | - | TLSv1_2_method | - | - | TLSv1_2_method | TLSv1.2
    - | - | TLSv1_1_method | - | - | TLSv1_1_method | TLSv1.1
    - | - | TLSv1_method | - | - | TLSv1_method | TLSv1
    - | - | TLSv1_1_method | - | - | - | client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL
    - | - | TLSv1_method | - | - | - | client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL
    - | - | - | - | - | TLSv1_1_method | client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL
    - | - | - | - | - | TLSv1_method | client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL
    TLSv1 | TLSv1.2 | - | - | - | TLSv1_method | TLSv1
    TLSv1 | TLSv1.2 | - | - | - | TLSv1_2_method | TLSv1.2
    TLSv1 | TLSv1.2 | - | - | - | TLS_method | TLSv1.2
    - | - | TLSv1_method | TLSv1 | TLSv1.2 | - | TLSv1
    - | - | TLSv1_1_method | TLSv1 | TLSv1.2 | - | TLSv1.1
    - | - | TLSv1_2_method | TLSv1 | TLSv1.2 | - | TLSv1.2
    TLSv1 | TLSv1.1 | - | TLSv1 | TLSv1.2 | - | TLSv1.1
    TLSv1 | TLSv1.3 | - | TLSv1 | TLSv1.1 | - | TLSv1.1
    TLSv1 | TLSv1 | - | TLSv1 | TLSv1.1 | - | TLSv1
    TLSv1.1 | TLSv1.1 | - | TLSv1 | TLSv1.2 | - | TLSv1.1
    TLSv1 | TLSv1.2 | - | TLSv1.1 | TLSv1.1 | - | TLSv1.1
    TLSv1 | TLSv1.2 | - | TLSv1 | TLSv1.3 | - | TLSv1.2
    TLSv1 | TLSv1.3 | - | TLSv1.3 | TLSv1.3 | - | TLSv1.3
    TLSv1 | TLSv1.3 | - | TLSv1.2 | TLSv1.2 | - | TLSv1.2
    TLSv1.3 | TLSv1.3 | - | TLSv1 | TLSv1.3 | - | TLSv1.3
    TLSv1.1 | TLSv1.1 | - | TLSv1 | TLSv1.3 | - | TLSv1.1
    TLSv1 | TLSv1 | - | TLSv1 | TLSv1.3 | - | TLSv1
"""


def versions() -> list[Any]:
    """Return the rows as parameters: the client's options, the server's, and the outcome."""
    rows = [[cell.strip() for cell in line.split("|")] for line in _VERSIONS.strip().splitlines()]
    names = ("min_version", "max_version", "secure_protocol")
    found = []
    for *cells, outcome in rows:
        client, server = ({name: cell for name, cell in zip(names, side, strict=True) if cell != "-"} for side in (cells[:3], cells[3:]))
        found.append(pytest.param(client, server, outcome, id=" ".join(cells).replace("%", "")))
    return found
