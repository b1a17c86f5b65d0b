"""Wrong options, given to Node and to us: what Node refuses we refuse, with its code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import tlsio
from foreign_peers import find_node_24

SCRIPT = Path(__file__).parent / "option_errors.js"

VALUES: dict[str, Any] = {
    "an int": 1,
    "zero": 0,
    "a negative": -1,
    "a big int": 2**40,
    "a float": 1.5,
    "empty text": "",
    "text": "x",
    "true": True,
    "false": False,
    "a dict": {},
    "a list": [],
    "a list of int": [1],
    "bytes": {"bytes": "00ff"},
    "a function": {"function": 1},
}

# By Node's names.
OPTIONS = {
    "context": "ca cert key crl ciphers minVersion maxVersion secureProtocol sigalgs ecdhCurve sessionIdContext secureOptions ticketKeys "
    "dhparam sessionTimeout certificateCompression",
    "server": "ALPNProtocols SNICallback handshakeTimeout ticketKeys sessionTimeout sessionIdContext keepAliveInitialDelay highWaterMark",
    "connect": "servername checkServerIdentity minDHSize secureContext timeout localAddress localPort",
}

# Where Python has another word for the same mistake: a float is no int, a wrong type is no wrong address, and text that is no
# PEM is mostly a path. Of Node's numbers 1.5 is an int out of range.
OURS = {
    ("cert", "text"): "ERR_INVALID_ARG_VALUE",
    ("key", "text"): "ERR_INVALID_ARG_VALUE",
    ("crl", "empty text"): "ERR_INVALID_ARG_VALUE",
    ("crl", "text"): "ERR_INVALID_ARG_VALUE",
    ("secure_options", "a float"): "ERR_INVALID_ARG_TYPE",
    ("session_timeout", "a float"): "ERR_INVALID_ARG_TYPE",
    ("ticket_keys", "a list"): "ERR_INVALID_ARG_VALUE",
    ("certificate_compression", "a list of int"): "ERR_INVALID_ARG_TYPE",
    ("session_id_context", "bytes"): None,
    **{("local_address", value): "ERR_INVALID_ARG_TYPE" for value in VALUES if value != "text"},
}


def snake_case(name: str) -> str:
    """Return our spelling."""
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def revive(value: Any) -> Any:
    """Do what the script does."""
    if isinstance(value, dict) and "function" in value:
        return print
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) and "bytes" in value else value


def code_of(what: str, name: str, value: Any) -> str | None:
    """Return the code of what we raise, which names the option; None when we take the value."""
    try:
        if what == "context":
            tlsio.create_secure_context(**{name: value})
        elif what == "server":
            tlsio.create_server(**{name: value})
        else:
            tlsio.connect(1, "127.0.0.1", **{name: value}).close()
    except tlsio.TLSError as error:
        return error.code if name in str(error) else f"a message without a name: {error}"
    return None


@pytest.mark.slow
@pytest.mark.node("tls-basic-validations")
def test_what_node_refuses_is_refused_with_its_code() -> None:
    """What Node takes may be refused: it ignores much that cannot have been meant."""
    cases = [(what, name, snake_case(name), value) for what, names in OPTIONS.items() for name in names.split() for value in VALUES]
    lines = "\n".join(json.dumps([what, {theirs: VALUES[value]}]) for what, theirs, _, value in cases)
    node = subprocess.run([find_node_24(), str(SCRIPT)], input=lines, capture_output=True, text=True, check=True)
    differ = []
    for (what, theirs, ours, value), code in zip(cases, json.loads(node.stdout), strict=True):
        found = code_of(what, ours, revive(VALUES[value]))
        wanted = OURS.get((ours, value), code)
        if code not in (None, "no code") and found != wanted:
            differ.append(f"{what} {theirs}, {value}: Node {code}, we {found}")
    assert differ == []
