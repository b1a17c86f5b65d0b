"""Problem documents as errors."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tlsio.acme.client.problem import read_problem

URN = "urn:ietf:params:acme:error:"


def test_a_problem_has_code_detail_hint_and_parts() -> None:
    """RFC 8555 §6.7.1's example."""
    document = {
        "type": f"{URN}compound",
        "detail": "Some of the identifiers requested were rejected",
        "subproblems": [
            {"type": f"{URN}malformed", "detail": "Invalid underscore in DNS name", "identifier": {"type": "dns", "value": "_example.org"}},
            {"type": f"{URN}rejectedIdentifier", "detail": "This CA will not issue", "identifier": {"type": "dns", "value": "example.net"}},
        ],
    }
    error = read_problem(document, "https://ca.example/new-order refused", status=403, retry_after=5.0, url="https://ca.example/new-order")
    assert (error.code, error.problem, error.status, error.retry_after) == ("ERR_ACME_COMPOUND", "compound", 403, 5.0)
    assert [(one.code, one.identifier) for one in error.subproblems] == [
        ("ERR_ACME_MALFORMED", "_example.org"),
        ("ERR_ACME_REJECTED_IDENTIFIER", "example.net"),
    ]
    assert "_example.org: Invalid underscore in DNS name; example.net: This CA will not issue" in error.message
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert [one.detail for one in twin.subproblems] == [one.detail for one in error.subproblems]


def test_an_unknown_type_keeps_its_name() -> None:
    """With the code of the class."""
    error = read_problem({"type": "about:blank", "detail": "x"}, "refused", status=400)
    assert (error.code, error.problem, error.hint) == ("ERR_ACME", "about:blank", None)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"type": 3, "detail": {}}, {"subproblems": "x"}, {"subproblems": [3, None]}])
def test_a_malformed_problem_is_a_problem(document: Any) -> None:
    """And says at least the status."""
    error = read_problem(document, "refused", status=400)
    assert error.code == "ERR_ACME"
    assert error.message.startswith("refused: status 400")


def test_the_authoritys_text_is_bounded_and_printable() -> None:
    """It ends up in terminals and logs."""
    error = read_problem(
        {"type": "x" * 1000, "detail": "\x1b[31m" + "y" * 10_000, "subproblems": [{"detail": "z" * 600}] * 1000}, "refused"
    )
    assert "\x1b" not in str(error)
    assert len(str(error)) < 4000
    assert len(error.subproblems) == 100


def test_a_page_to_visit_is_in_the_message() -> None:
    """RFC 8555 §7.3.3: new terms of service."""
    error = read_problem({"type": f"{URN}userActionRequired", "detail": "Terms changed", "instance": "https://ca.example/terms"}, "refused")
    assert "https://ca.example/terms" in error.message
    assert error.code == "ERR_ACME_USER_ACTION_REQUIRED"
