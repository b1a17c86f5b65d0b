"""Tables of what two sides that want different things come to, for tests of ours and for the same ones put to Node."""

from __future__ import annotations

from typing import Any

import pytest

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
