"""`--webroot NAME=FOLDER` of the command: its names are written as those of the certificate may be."""

from __future__ import annotations

import click
import pytest

from tlsio.cli.acme import _webroots


@pytest.mark.parametrize("written", ["müller.example", "xn--mller-kva.example", "MÜLLER.example."])
def test_a_name_may_be_written_in_each_form(written: str) -> None:
    """Case, script and a final dot are as in the names themselves."""
    assert _webroots((f"{written}=/srv/www",), ("xn--mller-kva.example",)) == {"xn--mller-kva.example": "/srv/www"}


def test_a_folder_alone_is_for_the_others() -> None:
    """In any order."""
    assert _webroots(("B.example=/b", "/all"), ("a.example", "b.example")) == {"a.example": "/all", "b.example": "/b"}


def test_other_names_are_refused() -> None:
    """With the text as it was given."""
    with pytest.raises(click.UsageError, match=r"'C\.example' is not one of the names"):
        _webroots(("C.example=/c",), ("a.example",))


def test_each_name_needs_a_folder() -> None:
    """Otherwise the order would fail, after the authority has counted it."""
    with pytest.raises(click.UsageError, match=r"no folder for b\.example"):
        _webroots(("a.example=/a",), ("a.example", "b.example"))
