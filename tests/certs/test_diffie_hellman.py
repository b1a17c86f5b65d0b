from __future__ import annotations

import subprocess
import threading

import pytest

import pki
import tlsio
from tlsio.certs import DH_GROUPS, dhparams, self_signed
from tlsio.native._core import DhParameters


def openssl_text(pem: bytes) -> str:
    """What `openssl dhparam` says, which checks them."""
    command = ["openssl", "dhparam", "-check", "-text", "-noout"]
    done = subprocess.run(command, input=pem, check=True, capture_output=True)
    assert b"ok" in done.stdout + done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("group", DH_GROUPS)
def test_openssl_accepts_each_group(group: str) -> None:
    """And finds its size."""
    assert f"({group.removeprefix('ffdhe')} bit)" in openssl_text(dhparams(group))


@pytest.mark.parametrize("bits", [2048, 3072])
def test_a_group_is_that_of_the_rfc(bits: int) -> None:
    """The prime of RFC 7919 appendix A, by its formula."""
    ours, formula = (openssl_text(one).split("P:")[1].split("G:")[0] for one in (dhparams(f"ffdhe{bits}"), pki.dh_parameters(bits)))
    assert ours == formula


def test_a_server_takes_them() -> None:
    """As `dhparam=`."""
    leaf = self_signed("localhost")
    assert tlsio.create_secure_context(cert=leaf.chain_pem, key=leaf.key, dhparam=dhparams())


def test_certtool_reads_them() -> None:
    """GnuTLS, in any version."""
    done = subprocess.run(["certtool", "--dh-info"], input=dhparams("ffdhe3072"), check=True, capture_output=True)
    assert b"generator" in done.stdout.lower()


def test_new_ones_are_searched_for_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this thread, with a number that grows; 8192 bits are not found before the third report."""
    monkeypatch.setattr("tlsio.certs.diffie_hellman._PROGRESS_SECONDS", 0.02)
    steps: list[tuple[int, threading.Thread]] = []

    def note(count: int) -> None:
        steps.append((count, threading.current_thread()))
        if count and len(steps) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dhparams(8192, progress=note)
    counts = [count for count, _ in steps]
    assert counts == sorted(counts)
    assert {thread for _, thread in steps} == {threading.main_thread()}


def test_small_ones_are_searched_for_below() -> None:
    """The search itself has no policy: 512 bits take a moment."""
    search = DhParameters()
    assert "(512 bit)" in openssl_text(search.generate(512))
    assert search.candidates > 0


def test_an_exception_ends_the_search() -> None:
    """8192 bits would take hours."""

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dhparams(8192, progress=stop)


@pytest.mark.parametrize(
    ("bits", "code"),
    [(1024, "ERR_OUT_OF_RANGE"), (8193, "ERR_OUT_OF_RANGE"), ("modp2048", "ERR_INVALID_ARG_VALUE"), (2048.0, "ERR_INVALID_ARG_TYPE")],
)
def test_what_is_not_made_is_refused(bits: int | str, code: str) -> None:
    """1024 bits are broken (Logjam, 2015)."""
    with pytest.raises(tlsio.UsageError) as caught:
        dhparams(bits)
    assert caught.value.code == code


def test_an_unknown_group_is_our_error() -> None:
    """With OpenSSL's reasons."""
    with pytest.raises(tlsio.ConfigError):
        DhParameters.named(b"nothing")
