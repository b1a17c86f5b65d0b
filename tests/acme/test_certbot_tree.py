"""What is read from a folder of certbot, made by certbot, and what is left out of a damaged one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certbot_peer import copied
from tlsio.acme.certbot_tree import read_tree
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from certbot_peer import Certbot

pytestmark = pytest.mark.slow  # certbot takes seconds to start


def test_the_account_and_both_renewals_are_found(certbot: Certbot) -> None:
    """The values are those that certbot was given."""
    found = read_tree(certbot.tree)
    assert not found.notes
    [account] = found.accounts
    assert f"https://{account.place}" == certbot.authority.directory_url
    assert isinstance(load_pem_private_key(account.key, None), rsa.RSAPrivateKey)
    own, web = found.renewals
    assert own.name == "own.example.test"
    assert own.get("account") == account.id
    assert own.get("authenticator") == "standalone"
    assert own.get("renew_hook") == 'test -f "$RENEWED_LINEAGE/fullchain.pem" && echo "renewed, $RENEWED_DOMAINS"'
    assert web.get("preferred_profile") == "shortlived"
    assert web.webroots == {"web.example.test": str(certbot.webroot)}
    assert web.key.read_bytes().startswith(b"-----BEGIN")


def test_an_account_key_of_ec_is_read(certbot: Certbot, tmp_path: Path) -> None:
    """A JWK as RFC 7517, appendix A.2, has it."""
    tree = copied(certbot, tmp_path / "copy").tree
    [path] = tree.glob("accounts/*/*/*/private_key.json")
    numbers = {"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
    path.write_text(json.dumps({"kty": "EC", "crv": "P-256", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE", **numbers}))
    [account] = read_tree(tree).accounts
    assert isinstance(load_pem_private_key(account.key, None), ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kty": "oct", "k": "AAAA"}',
        '{"kty": "RSA", "n": 1}',
        '{"kty": "RSA", "n": "é"}',
        '{"kty": "EC", "crv": []}',
    ],
    ids=range(8),
)
def test_a_damaged_account_is_noted_without_its_key(certbot: Certbot, tmp_path: Path, content: str) -> None:
    """The certificates are found all the same."""
    tree = copied(certbot, tmp_path / "copy").tree
    [path] = tree.glob("accounts/*/*/*/private_key.json")
    path.write_text(content)
    found = read_tree(tree)
    assert not found.accounts
    assert len(found.renewals) == 2
    [note] = found.notes
    assert note.startswith(f"The account in {path.parent} cannot be used: ")
    assert len(content) < 3 or content not in note


@pytest.mark.parametrize("content", ["", "[renewalparams", "words", "[renewalparams]\nserver =\n", "[[[a]]]\n", "\x00"], ids=range(6))
def test_a_damaged_renewal_file_is_noted(certbot: Certbot, tmp_path: Path, content: str) -> None:
    """The other one is found."""
    tree = copied(certbot, tmp_path / "copy").tree
    (tree / "renewal" / "own.example.test.conf").write_text(content)
    found = read_tree(tree)
    assert [one.name for one in found.renewals] == ["web.example.test"]
    assert len(found.notes) == 1


def test_a_file_that_is_missing_is_noted(certbot: Certbot, tmp_path: Path) -> None:
    """As after a restored backup without `archive`."""
    copy = copied(certbot, tmp_path / "copy")
    conf = copy.tree / "renewal" / "own.example.test.conf"
    conf.write_text(conf.read_text().replace(str(certbot.folder), str(copy.folder)))
    (copy.tree / "archive" / "own.example.test" / "privkey1.pem").unlink()
    found = read_tree(copy.tree)
    assert [one.name for one in found.renewals] == ["web.example.test"]
    assert "privkey.pem" in found.notes[0]


def test_accounts_that_cannot_be_read_are_noted(certbot: Certbot, tmp_path: Path) -> None:
    """As for a user who is not root."""
    tree = copied(certbot, tmp_path / "copy").tree
    (tree / "accounts").rename(tree / "moved")
    (tree / "accounts").write_text("")
    found = read_tree(tree)
    assert (found.accounts, len(found.renewals)) == ((), 2)
    assert found.notes == (f"Accounts cannot be read: {tree}/accounts: Not a directory",)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    """With a hint where the tree is."""
    with pytest.raises(ConfigError, match="not a folder of certbot") as caught:
        read_tree(tmp_path)
    assert caught.value.code == "ERR_ACME_CERTBOT"
    assert "/etc/letsencrypt" in (caught.value.hint or "")


@pytest.mark.parametrize("content", ["[]", '{"uri": "x", "body": null}', "[" * 100_000], ids=["list", "no body", "deep"])
def test_a_damaged_registration_is_noted(tmp_path: Path, content: str) -> None:
    """And the rest is taken over."""
    place = tmp_path / "accounts" / "ca.example" / "dir" / "a"
    place.mkdir(parents=True)
    (place / "private_key.json").write_text("{}")
    (place / "regr.json").write_text(content)
    assert ["cannot be used" in note for note in read_tree(tmp_path).notes] == [True]


@pytest.mark.parametrize(
    "content", ["renewalparams = x\n[renewalparams]\n[[webroot_map]]\n", "[renewalparams]\nserver = x\n[[webroot_map]]\n[[[x]]]\na = b\n"]
)
def test_sections_in_other_places_are_noted(tmp_path: Path, content: str) -> None:
    """A file that was edited by hand."""
    (tmp_path / "renewal").mkdir()
    (tmp_path / "renewal" / "a.conf").write_text(content)
    assert ["cannot be used" in note for note in read_tree(tmp_path).notes] == [True]
