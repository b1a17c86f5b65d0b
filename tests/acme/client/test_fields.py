"""JSON of an authority: only the types that RFC 8555 wants get through."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import tlsio
from tlsio.acme.client.fields import Fields, check_url

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://ca.example/order/1"


def fields(**members: Any) -> Fields:
    """Return an object as it would be received."""
    return Fields.parse(json.dumps(members).encode(), URL, allow_http=False)


def test_what_is_right_is_returned() -> None:
    """And null is the same as missing."""
    found = fields(
        a="text", b=None, c=["https://ca.example/1", "https://ca.example/1"], d=True, e="2026-11-30T01:02:03.5+01:00", f={"g": "h"}
    )
    assert found.text("a") == "text"
    assert found.optional_text("b") is None
    assert found.optional_url("b") is None
    assert found.optional_object("b") is None
    assert found.optional_instant("b") is None
    assert found.objects("b") == ()
    assert found.urls("c") == ("https://ca.example/1",)
    assert found.flag("d") is True
    assert found.flag("b") is False
    assert found.optional_instant("e") == datetime(2026, 11, 30, 0, 2, 3, 500_000, tzinfo=UTC)
    assert found.object("f").text("g") == "h"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, lambda f: f.text("x")),
        ("", lambda f: f.text("x")),
        (3, lambda f: f.text("x")),
        ([], lambda f: f.optional_text("x")),
        ("x" * 2049, lambda f: f.text("x")),
        ("other", lambda f: f.choice("x", {"valid"})),
        ("http://ca.example/", lambda f: f.url_of("x")),
        ("ftp://ca.example/", lambda f: f.url_of("x")),
        ("https://user:secret@ca.example/", lambda f: f.url_of("x")),
        ("https://ca.example/\ud800", lambda f: f.url_of("x")),
        ("/relative", lambda f: f.url_of("x")),
        ("https://", lambda f: f.url_of("x")),
        ("https://[::1", lambda f: f.url_of("x")),
        ({"0": "https://ca.example/"}, lambda f: f.urls("x")),
        ([None], lambda f: f.urls("x")),
        (["https://ca.example/"] * 1001, lambda f: f.urls("x")),
        ("true", lambda f: f.flag("x")),
        (1, lambda f: f.flag("x")),
        ("yesterday", lambda f: f.optional_instant("x")),
        ("2026-11-30", lambda f: f.optional_instant("x")),
        ("2026-02-31T00:00:00Z", lambda f: f.optional_instant("x")),
        ("0001-01-01T00:00:00+23:00", lambda f: f.optional_instant("x")),
        ("2026-11-30T00:00:00", lambda f: f.optional_instant("x")),
        (1790000000, lambda f: f.optional_instant("x")),
        ("{}", lambda f: f.object("x")),
        (["x"], lambda f: f.objects("x")),
        ({}, lambda f: f.objects("x")),
    ],
)
def test_another_type_is_an_invalid_response(value: Any, read: Callable[[Fields], object]) -> None:
    """With the member's name, and never a KeyError or a TypeError."""
    with pytest.raises(tlsio.ACMEError, match=r'"x"|URL') as caught:
        read(fields(x=value))
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"3", b'"text"', b"\xff\xfe", b'{"a": NaN}', b"[" * 200_000, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1} x',
    ],
    ids=["empty", "cut", "list", "null", "number", "text", "not-utf8", "nan", "deep", "huge-number", "trailing"],
)  # fmt: skip
def test_what_is_not_an_object_is_an_invalid_response(body: bytes) -> None:
    """However it is malformed."""
    with pytest.raises(tlsio.ACMEError) as caught:
        Fields.parse(body, URL, allow_http=False)
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"
    assert caught.value.url == URL


def test_a_member_of_a_member_is_named_in_full() -> None:
    """So that a person finds it."""
    with pytest.raises(tlsio.ACMEError, match=r'"suggestedWindow\.start" must be a text'):
        fields(suggestedWindow={"start": 3}).object("suggestedWindow").optional_instant("start")


def test_urls_of_plain_http_are_accepted_only_with_such_a_directory() -> None:
    """Never from an authority that was reached by https."""
    assert check_url("http://127.0.0.1:14000/x", URL, allow_http=True) == "http://127.0.0.1:14000/x"
    with pytest.raises(tlsio.ACMEError, match="not https"):
        check_url("http://127.0.0.1:14000/x", URL, allow_http=False)
