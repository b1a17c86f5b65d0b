"""The head of a page: what a hostile one may say."""

from __future__ import annotations

import datetime as dt

import pytest

from tlsio.probe.http_checks import Response, check_response, find_portal

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def ids(**headers: str) -> list[str]:
    """Return what is found, for a server by name."""
    response = Response(status=301, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return [one.id for one in check_response(response, now=NOW, is_address=False)]


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "Mon, 99 Foo 2026 99:99:99 GMT",
        "Mon, 01 Jun 99999999999999999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0100",  # after the last instant of datetime
        "\x00",
    ],
)
def test_a_date_that_is_none_is_no_date(date: str) -> None:
    """And no reason to fail."""
    assert Response(status=200, headers={"date": date}).date is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=31536000", []),
        ('Max-Age="31536000" ; includeSubDomains', []),
        ("includeSubDomains; max-age=31536000", []),
        ("max-age=15551999", ["hsts-short"]),
        ("max-age=15552000", []),
        ("max-age=0", ["hsts-short"]),
        ("max-age=-1", ["hsts-malformed"]),
        ("max-age", ["hsts-malformed"]),
        ("xmax-age=31536000", ["hsts-malformed"]),
        ("; " * 30_000, ["hsts-malformed"]),
    ],
)
def test_hsts_is_read_as_browsers_do(value: str, expected: list[str]) -> None:
    """RFC 6797 §6.1."""
    assert ids(strict_transport_security=value) == expected


def test_an_address_needs_no_hsts() -> None:
    """Browsers ignore it there."""
    assert not list(check_response(Response(status=200, headers={}), now=NOW, is_address=True))


def test_a_hostile_location_is_printed_without_control_characters() -> None:
    """A terminal would obey them."""
    [found, _] = check_response(Response(status=302, headers={"location": "http://x/\x1b]0;owned\x07"}), now=NOW, is_address=False)
    assert found.id == "redirect-to-http"
    assert "\x1b" not in found.reason


@pytest.mark.parametrize(
    ("location", "is_portal"), [("http://[", False), ("/login", False), ("https://host.test/", False), ("http://b/", True)]
)
def test_a_portal_sends_elsewhere(location: str, is_portal: bool) -> None:  # noqa: FBT001
    """A redirect within the host is none."""
    assert (find_portal(Response(status=302, headers={"location": location}), "host.test") is not None) == is_portal


def test_a_portal_may_say_so() -> None:
    """By RFC 6585's status."""
    found = find_portal(Response(status=511, headers={}), "host.test")
    assert found is not None
    assert found.id == "captive-portal"
