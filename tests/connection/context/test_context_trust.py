"""Sessions never cross trust: session id contexts, and what a server makes of the context of a name."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pki
from memory import TLS_1_2, server_of, shake, std_client
from tlsio.connection.context.secure_context import create_secure_context, derive, for_server
from tlsio.model.errors import UsageError
from tlsio.model.options.context import ContextOptions
from tlsio.model.options.parse import parse_context_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlsio.connection.context.secure_context import SecureContext

# --- sessions never cross trust ---


def id_context(context: SecureContext) -> bytes:
    """Return what OpenSSL compares before it resumes a session."""
    return context.native.session_id_context


TRUST: dict[str, Callable[[], dict[str, Any]]] = {
    "defaults": dict,
    "ca": lambda: {"ca": pki.ca1().cert_pem},
    "another ca": lambda: {"ca": pki.ca2().cert_pem},
    "no ca": lambda: {"ca": []},
    "extra_ca": lambda: {"extra_ca": pki.ca1().cert_pem},
    "crl": lambda: {"extra_ca": pki.ca1().cert_pem, "crl": pki.ca1_crl()},
    "request_cert": lambda: {"request_cert": True},
    "reject_unauthorized": lambda: {"request_cert": True, "reject_unauthorized": False},
    "pins": lambda: {"pins": [bytes(32)]},
    "more pins": lambda: {"pins": [bytes(32), b"p" * 32]},
    "allow_partial_trust_chain": lambda: {"allow_partial_trust_chain": True},
}


def test_every_trust_has_a_session_id_context_of_its_own() -> None:
    """With one for all a client could resume its way past a check."""
    contexts = [id_context(create_secure_context(**options())) for options in TRUST.values()]
    assert len(set(contexts)) == len(TRUST)
    assert {len(context) for context in contexts} == {32}


@pytest.mark.parametrize("options", list(TRUST.values()), ids=list(TRUST))
def test_a_changed_identity_keeps_the_session_id_context(options: Callable[[], dict[str, Any]]) -> None:
    """A renewed certificate ends no tickets; neither do protocol options."""
    base = id_context(create_secure_context(**options()))
    assert id_context(server_of(pki.localhost(), min_version="TLSv1.3", alpn_protocols=["h2"], **options())) == base
    assert id_context(server_of(pki.localhost_rsa(), ciphers="HIGH", **options())) == base


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: {"ca": [pki.ca1().cert_pem, pki.ca2().cert_pem]}, lambda: {"ca": pki.ca2().cert_pem + pki.ca1().cert_pem}),
        (lambda: {"ca": pki.ca1().cert_pem}, lambda: {"ca": pki.ca1().cert_der}),
        (lambda: {"ca": pki.ca1().cert_pem}, lambda: {"ca": [pki.ca1().certificate, pki.ca1().cert_pem]}),
        (lambda: {"ca": [pki.ca1().cert_pem, pki.ca2().cert_pem]}, lambda: {"ca": pki.ca1().cert_pem, "extra_ca": pki.ca2().cert_pem}),
        (lambda: {"pins": [bytes(32), b"p" * 32]}, lambda: {"pins": [b"p" * 32, bytes(32), bytes(32)]}),
        (lambda: {"request_cert": False}, lambda: {"reject_unauthorized": True}),
    ],
    ids=["order", "encoding", "repetition", "way in", "order of pins", "default said"],
)
def test_equal_trust_has_an_equal_session_id_context(one: Callable[[], dict[str, Any]], other: Callable[[], dict[str, Any]]) -> None:
    """What is trusted counts, not how it was written."""
    assert id_context(create_secure_context(**one())) == id_context(create_secure_context(**other()))


@pytest.mark.slow
def test_session_id_context_is_equal_in_another_process(tmp_path: Path) -> None:
    """A cluster resumes each other's sessions."""
    path = tmp_path / "ca.pem"
    path.write_bytes(pki.ca1().cert_pem)
    source = (
        "import sys, pathlib; from tlsio.connection.context.secure_context import create_secure_context as make;"
        "print(make(ca=pathlib.Path(sys.argv[1]), request_cert=True, pins=[bytes(32)]).native.session_id_context.hex())"
    )
    run = subprocess.run([sys.executable, "-c", source, str(path)], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == id_context(create_secure_context(ca=path, request_cert=True, pins=[bytes(32)])).hex()


@pytest.mark.parametrize("given", [b"x", "cluster", b"x" * 32])
def test_given_session_id_context_holds_as_it_is(given: Any) -> None:
    """For clusters with Node."""
    context = create_secure_context(session_id_context=given)
    assert id_context(context) == (given.encode() if isinstance(given, str) else given)


@pytest.mark.parametrize("given", [b"", b"x" * 33])
def test_session_id_context_has_1_to_32_bytes(given: bytes) -> None:
    """OpenSSL's limit, and an empty one resumes for everybody."""
    with pytest.raises(UsageError) as caught:
        create_secure_context(session_id_context=given)
    assert caught.value.code == "ERR_OUT_OF_RANGE"


# --- what a server makes of a context ---


def served(given: SecureContext | ContextOptions, initial: SecureContext) -> SecureContext:
    """Return what a server created with `initial`, and not changed since, uses for a name."""
    return for_server(given, current=initial, initial=initial)


def test_given_session_id_context_holds_for_the_trust_of_home() -> None:
    """Another certificate under the same trust shares the sessions."""
    initial = server_of(pki.localhost(), session_id_context=b"cluster")
    name = served(parse_context_options({"cert": pki.wildcard().cert_pem, "key": pki.wildcard().key_pem}), initial)
    assert id_context(name) == b"cluster"


@pytest.mark.parametrize("changed", [name for name in TRUST if name != "defaults"])
def test_given_session_id_context_is_mixed_for_another_trust(changed: str) -> None:
    """Else a session without a certificate would resume where one is demanded."""
    initial = server_of(pki.localhost(), session_id_context=b"cluster")
    own = create_secure_context(**TRUST[changed](), session_id_context=b"cluster")
    without = served(parse_context_options(TRUST[changed]()), initial)
    assert id_context(served(own, initial)) == id_context(without)
    assert id_context(without) not in (b"cluster", without.trust_digest)
    assert len(id_context(without)) == 32


def test_reload_with_another_trust_is_mixed_until_the_trust_comes_back() -> None:
    """What counts is the trust the server was created with, not the last one."""
    initial = create_secure_context(ca=pki.ca1().cert_pem, session_id_context=b"cluster")
    reloaded = for_server(parse_context_options({"ca": pki.ca2().cert_pem}), current=initial, initial=initial)
    back = for_server(parse_context_options({"ca": pki.ca1().cert_pem}), current=reloaded, initial=initial)
    assert id_context(reloaded) != b"cluster"
    assert id_context(back) == b"cluster"


def test_two_given_session_id_contexts_stay_apart() -> None:
    """A name may have a cluster of its own."""
    initial = create_secure_context(session_id_context=b"one")
    mixed = {id_context(served(parse_context_options({"ca": [], "session_id_context": name}), initial)) for name in (b"one", b"two")}
    assert len(mixed) == 2


def test_complete_context_of_the_same_trust_is_used_as_it_is() -> None:
    """Nothing to add: nothing is built."""
    initial = create_secure_context()
    name = server_of(pki.wildcard())
    assert served(name, initial) is name
    assert served(initial, initial) is initial


def test_completed_context_is_made_once() -> None:
    """An `sni_callback` may give the same one with every connection; another default context makes another one."""
    initial = create_secure_context(min_version="TLSv1.3")
    name = server_of(pki.wildcard())
    first = served(name, initial)
    assert served(name, initial) is first
    changed = initial.replace(max_version="TLSv1.3")
    assert for_server(name, current=changed, initial=initial) is not first


def test_name_keeps_the_trust_of_its_server() -> None:
    """What an SNI context leaves unset, `ca` included, stays the server's."""
    initial = server_of(pki.localhost(), ca=pki.ca1().cert_pem, request_cert=True)
    name = served(server_of(pki.wildcard()), initial)
    assert name.trust_digest == initial.trust_digest
    assert shake(name, std_client(version=TLS_1_2)).code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({"cert", "key"}, {"cert", "key"}, {"cert", "key"}),
        ({"cert", "key", "ca"}, {"cert"}, {"cert", "key", "ca"}),
        ({"pfx", "ca"}, {"cert", "key"}, {"cert", "key", "ca"}),
        ({"cert", "key"}, {"pfx"}, {"pfx"}),
        ({"extra_ca"}, {"ca"}, {"ca"}),
        ({"ca"}, {"extra_ca"}, {"ca", "extra_ca"}),
        ({"crl", "min_version"}, {"ca"}, {"ca", "crl", "min_version"}),
        (set(), {"request_cert"}, {"request_cert"}),
    ],
)
def test_derive_keeps_what_is_left_unset_and_drops_what_is_replaced(base: set[str], over: set[str], expected: set[str]) -> None:
    """Identities replace each other whole, and a narrower `ca` is not widened by an older `extra_ca`."""
    values: dict[str, Any] = {
        "cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "pfx": b"pfx", "ca": [], "extra_ca": [],
        "crl": pki.ca1_crl(), "min_version": "TLSv1.3", "request_cert": True,
    }  # fmt: skip
    options = [parse_context_options({name: values[name] for name in names}) for names in (base, over)]
    assert derive(*options).given == expected


def test_derive_takes_the_value_of_over() -> None:
    """What is given wins."""
    merged = derive(ContextOptions(min_version="TLSv1"), ContextOptions(min_version="TLSv1.3"))
    assert merged.min_version == "TLSv1.3"
