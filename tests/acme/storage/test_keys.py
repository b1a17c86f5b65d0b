"""Names and addresses as segments of keys."""

from __future__ import annotations

import pytest

from tlsio.acme.storage.keys import check_key, key_segment
from tlsio.model.errors import UsageError


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("example.com", "example.com"),
        ("Example.COM.", "example.com"),
        ("*.example.com", "_wildcard.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001_db8__1"),
        ("::1", "__1"),
        ("a_b.example.com", "a@b.example.com"),
        ("acme-v02.api.letsencrypt.org-directory", "acme-v02.api.letsencrypt.org-directory"),
    ],
)
def test_a_name_is_readable_in_its_key(name: str, segment: str) -> None:
    """By people who look into the folder."""
    assert key_segment(name) == segment
    assert check_key(f"certificates/issuer/{segment}/certificate.pem")


def test_the_longest_names_are_keys_and_stay_different() -> None:
    """253 characters, a wildcard, and an ending in the name of the file."""
    long = ".".join(["a" * 62] * 4)
    segments = {key_segment(name) for name in (long, long[:-1] + "b", f"*.{long[:-2]}")}
    assert len(segments) == 3
    assert all(len(segment) == 193 and check_key(f"status/{segment}.json") for segment in segments)


def test_each_name_has_a_place_of_its_own() -> None:
    """Also those that look like the place of another: authorities of one's own certify underscores."""
    names = {"*.a.example", "_wildcard.a.example", "*._wildcard.a.example", "::1", "a_b.example", "a__b.example", ".".join(["a" * 62] * 4)}
    names |= {segment for name in names if "@" not in (segment := key_segment(name))}
    assert len({key_segment(name) for name in names}) == len(names) == 9


@pytest.mark.parametrize("name", ["", "a@b.example", "a/b", "..", ".a", "a b", "*", "a.*.b", "bücher.example", "a\n", 7], ids=repr)
def test_what_is_not_a_name_is_refused(name: str) -> None:
    """Before it becomes a path."""
    with pytest.raises(UsageError):
        key_segment(name)


def test_the_error_says_what_a_key_is() -> None:
    """And shows the key, cut."""
    with pytest.raises(UsageError) as caught:
        check_key("../" + "x" * 500)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    assert len(caught.value.message) < 120
    assert "do not begin with a period" in str(caught.value.hint)
