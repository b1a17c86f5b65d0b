"""`certs.read`, `certs.complete` and `Bundle`: chains in any order, missing intermediates, PKCS#12, PKCS#7 and DER."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

import pki
from tlsio import ConfigError, FetchError, UsageStateError, UsageTypeError, UsageValueError, certs
from tlsio.trust.signatures import Signed

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE = pki.PASSPHRASE.decode()


def with_issuer_url(name: str, issuer: pki.Identity, *urls: str, **more: object) -> pki.Identity:
    """Make a certificate that says where its issuer's is."""
    places = [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(url)) for url in urls]
    extensions: list[x509.ExtensionType] = [x509.AuthorityInformationAccess(places)]
    if more.pop("ca", False):
        extensions += [x509.BasicConstraints(ca=True, path_length=None), pki._key_usage(certificates=True)]
    return pki.leaf(name, issuer=issuer, names=["localhost"], extensions=extensions)


class TestRead:
    """Files in any order and form."""

    def test_every_order_is_put_right(self) -> None:
        """Leaf, intermediate and root are recognised by who issued whom."""
        parts = [pki.chained().cert_pem, pki.ca3().cert_pem, pki.ca1().cert_pem]
        for order in itertools.permutations(parts):
            bundle = certs.read(b"".join(order))
            assert bundle.chain == (pki.chained().certificate, pki.ca3().certificate)
            assert bundle.root == pki.ca1().certificate
            assert ("another order" in " ".join(bundle.notes)) == (list(order) != parts)

    def test_the_key_decides_which_is_the_leaf(self) -> None:
        """A file may hold the certificates of two servers."""
        both = pki.localhost().cert_pem + pki.wildcard().cert_pem
        assert certs.read(both, pki.wildcard().key_pem).certificate == pki.wildcard().certificate
        assert certs.read(both).certificate == pki.localhost().certificate

    def test_foreign_certificates_are_kept_apart(self) -> None:
        """They are named, and not sent."""
        bundle = certs.read(pki.localhost().cert_pem + pki.ca5().cert_pem)
        assert bundle.others == (pki.ca5().certificate,)
        assert any("ca5" in note and "does not belong" in note for note in bundle.notes)

    def test_duplicates_are_kept_once(self) -> None:
        """Concatenated files often have the same intermediate twice."""
        bundle = certs.read(pki.chained().chain_pem + pki.ca3().cert_pem)
        assert bundle.intermediates == (pki.ca3().certificate,)
        assert any("several times" in note for note in bundle.notes)

    def test_a_good_chain_has_no_notes(self) -> None:
        """Only what was changed or is missing is told."""
        assert certs.read(pki.chained().chain_pem + pki.ca1().cert_pem, pki.chained().key_pem).notes == ()

    def test_a_missing_issuer_is_told(self) -> None:
        """The usual mistake: the intermediate was forgotten."""
        [note] = certs.read(pki.missing_intermediate().cert_pem).notes
        assert '"CN=ca3,O=tlsio tests"' in note
        assert "not among the files" in note

    def test_of_a_renewed_ca_the_one_that_signed_is_chosen(self) -> None:
        """Two CAs with one name and two keys: only the signature tells."""
        old, new = pki.authority("renewed"), pki.authority("renewed")
        leaf = pki.leaf("localhost", issuer=new)
        assert certs.read(old.cert_pem + new.cert_pem + leaf.cert_pem).root == new.certificate

    def test_many_certificates_of_one_name_need_few_signature_checks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each may have issued each, by their names alone."""
        key = pki.ca1().key
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "one name")])
        life = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).not_valid_before(life[0]).not_valid_after(life[1])
        builder = builder.public_key(pki.localhost().key.public_key())
        made = [builder.serial_number(number).sign(key, pki.hashes.SHA256()) for number in range(1, 101)]
        checks = []
        monkeypatch.setattr(Signed, "is_by", lambda _self, spki: checks.append(spki))
        assert certs.read(certs.to_pem(*made)).certificate == made[0]
        assert len(checks) <= 8 * len(made)

    @pytest.mark.slow
    def test_the_number_of_certificates_is_bounded(self) -> None:
        """A thousand are read."""
        certificate = pki.localhost().cert_pem
        assert certs.read(certificate * 1000).certificate == pki.localhost().certificate
        with pytest.raises(ConfigError, match="more than 1000") as caught:
            certs.read(certificate * 1001)
        assert caught.value.code == "ERR_TLS_TOO_MANY_CERTIFICATES"

    def test_a_self_signed_certificate_is_a_leaf(self) -> None:
        """It has no root above it."""
        bundle = certs.read(pki.self_signed().cert_pem)
        assert (bundle.certificate, bundle.root, bundle.notes) == (pki.self_signed().certificate, None, ())

    def test_files_are_read(self, tmp_path: Path) -> None:
        """A path is given as such, and an error names the file."""
        (tmp_path / "server.crt").write_bytes(pki.localhost().cert_der)
        (tmp_path / "server.key").write_bytes(pki.localhost().encrypted_key_pem())
        bundle = certs.read(tmp_path / "server.crt", tmp_path / "server.key", passphrase=PASSPHRASE)
        assert bundle.certificate == pki.localhost().certificate
        with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
            certs.read(tmp_path / "missing.pem")

    def test_objects_are_read(self) -> None:
        """Those of `cryptography` too."""
        assert certs.read(pki.localhost().certificate, pki.localhost().key).key is not None

    @pytest.mark.parametrize("who", [pki.localhost, pki.localhost_rsa])
    def test_keys_in_der(self, who: object) -> None:
        """PKCS#8 without PEM around it."""
        assert certs.read(who().key_der, who().cert_der).certificate == who().certificate  # type: ignore[operator]

    def test_nothing_raises(self) -> None:
        """There is nothing to read."""
        with pytest.raises(UsageValueError):
            certs.read()

    def test_a_list_raises(self) -> None:
        """Files are arguments of their own."""
        with pytest.raises(UsageTypeError):
            certs.read([pki.localhost().cert_pem])  # type: ignore[arg-type]


class TestReadErrors:
    """What bad input gets."""

    @pytest.mark.parametrize(
        ("content", "hint"),
        [
            (pki.localhost().cert_pem[:300], "cut off"),
            (pki.localhost().cert_der[:300], "cut off"),
            (b"\0\1\2\3", "neither PEM nor DER"),
            (b"<html><body>404</body></html>", "HTML page"),
            (b"ssh-ed25519 AAAAC3Nza", "SSH public key"),
            (b"  \n", "empty"),
            (b"-----BEGIN PGP MESSAGE-----\nAAAA\n-----END PGP MESSAGE-----\n", "OpenPGP"),
            (pki.localhost().cert_pem.replace(b"MII", b"!!!", 1), "damaged"),
        ],
    )
    def test_unreadable_content_is_explained(self, tmp_path: Path, content: bytes, hint: str) -> None:
        """The sentence names the file, and what it looks like."""
        (tmp_path / "server.pem").write_bytes(content)
        with pytest.raises(ConfigError, match=r"server\.pem") as caught:
            certs.read(tmp_path / "server.pem")
        assert caught.value.code == "ERR_TLS_UNREADABLE_FILE"
        assert hint in (caught.value.hint or "")

    @pytest.mark.parametrize("passphrase", [None, "wrong"])
    def test_a_wrong_passphrase_is_told(self, passphrase: str | None) -> None:
        """A missing one has another hint than a wrong one."""
        with pytest.raises(ConfigError) as caught:
            certs.read(pki.localhost().cert_pem, pki.localhost().encrypted_key_pem(), passphrase=passphrase)
        assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"
        assert ("give its passphrase=" in (caught.value.hint or "")) == (passphrase is None)

    def test_a_key_without_its_certificate_is_told(self) -> None:
        """Both pins are shown, so that the right key can be looked for."""
        with pytest.raises(ConfigError, match="different pairs") as caught:
            certs.read(pki.localhost().cert_pem, pki.client().key_pem)
        assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"

    def test_a_key_alone_is_no_bundle(self) -> None:
        """There is no certificate."""
        with pytest.raises(ConfigError) as caught:
            certs.read(pki.localhost().key_pem)
        assert caught.value.code == "ERR_TLS_NO_CERTIFICATE"

    def test_two_keys_are_refused(self) -> None:
        """Which one is meant is unclear."""
        pairs = [pki.localhost().cert_pem, pki.localhost().key_pem, pki.client().cert_pem, pki.client().key_pem]
        with pytest.raises(ConfigError) as caught:
            certs.read(*pairs)
        assert caught.value.code == "ERR_TLS_SEVERAL_KEYS"

    def test_a_second_key_of_a_ca_does_not_matter(self) -> None:
        """The leaf's is meant."""
        bundle = certs.read(pki.ca1().key_pem, pki.ca1().cert_pem, pki.localhost().cert_pem, pki.localhost().key_pem)
        assert bundle.certificate == pki.localhost().certificate


class TestComplete:
    """Missing intermediates, fetched."""

    async def test_a_missing_intermediate_is_fetched(self) -> None:
        """In DER, as CAs serve it."""
        leaf = with_issuer_url("leaf", pki.ca3(), "http://ca.test/ca3.cer")
        asked = []

        async def fetch(url: str) -> bytes:
            asked.append(url)
            return pki.ca3().cert_der

        bundle = await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)
        assert (bundle.intermediates, bundle.root) == ((pki.ca3().certificate,), None)
        assert asked == ["http://ca.test/ca3.cer"]
        assert any("was fetched" in note for note in bundle.notes)

    async def test_the_search_ends_at_the_root(self) -> None:
        """A root that is fetched is not sent."""
        middle = with_issuer_url("middle", pki.ca1(), "http://ca.test/root", ca=True)
        leaf = replace(with_issuer_url("leaf", middle, "http://ca.test/middle"), intermediates=())
        files = {"http://ca.test/root": pki.ca1().cert_pem, "http://ca.test/middle": certs.read(middle.cert_pem).to_pkcs7(pem=False)}

        async def fetch(url: str) -> bytes:
            return files[url]

        bundle = await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)
        assert (bundle.intermediates, bundle.root) == ((middle.certificate,), pki.ca1().certificate)

    async def test_another_certificate_is_refused(self) -> None:
        """Only what signed the certificate is its issuer, whatever its name."""
        leaf = with_issuer_url("leaf", pki.ca3(), "http://ca.test/ca3.cer")

        async def fetch(url: str) -> bytes:
            return pki.authority("ca3", issuer=pki.ca1()).cert_der

        with pytest.raises(ConfigError, match="is not the issuer") as caught:
            await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)
        assert caught.value.code == "ERR_TLS_ISSUER_UNAVAILABLE"

    async def test_a_failed_fetch_is_raised(self) -> None:
        """It stays what it was."""
        leaf = with_issuer_url("leaf", pki.ca3(), "http://ca.test/ca3.cer")

        async def fetch(url: str) -> bytes:
            raise ConnectionRefusedError(111, "refused")

        with pytest.raises(ConnectionRefusedError):
            await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)

    @pytest.mark.parametrize("failure", [
        FetchError("http://ca.test/ca3.cer has the status 404"),
        UsageValueError("a URL of ldap"),
        TimeoutError("too slow"),
        UnicodeError("label too long"),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n",
        b"<html>",
    ])  # fmt: skip
    async def test_after_a_failure_the_next_url_is_tried(self, failure: Exception | bytes) -> None:
        """Of whatever kind; if all fail, each cause is told."""
        first, second = "http://ca.test/first.cer", "http://ca.test/second.cer"
        leaf = certs.read(with_issuer_url("leaf", pki.ca3(), first, second).cert_pem)
        answers = {first: failure, second: pki.ca3().cert_der}

        async def fetch(url: str) -> bytes:
            answer = answers[url]
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert (await certs.complete(leaf, fetch=fetch)).intermediates == (pki.ca3().certificate,)
        answers[second] = FetchError("the second failed")
        with pytest.raises(ConfigError, match=f"{first}: .*; {second}: the second failed") as caught:
            await certs.complete(leaf, fetch=fetch)
        assert caught.value.code == "ERR_TLS_ISSUER_UNAVAILABLE"

    @pytest.mark.parametrize("place", [3, 4])
    async def test_four_urls_of_a_certificate_are_tried(self, place: int) -> None:
        """A certificate may name thousands, and each takes until the timeout."""
        urls = [f"http://ca.test/{number}.cer" for number in range(1000)]
        asked = []

        async def fetch(url: str) -> bytes:
            asked.append(url)
            if url == urls[place]:
                return pki.ca3().cert_der
            raise FetchError("nothing there")

        leaf = certs.read(with_issuer_url("leaf", pki.ca3(), *urls).cert_pem)
        if place < 4:
            assert (await certs.complete(leaf, fetch=fetch)).intermediates == (pki.ca3().certificate,)
        else:
            with pytest.raises(ConfigError, match="996 more are not tried") as caught:
                await certs.complete(leaf, fetch=fetch)
            assert caught.value.code == "ERR_TLS_ISSUER_UNAVAILABLE"
        assert asked == urls[:4]

    async def test_all_requests_are_bounded(self) -> None:
        """Eight certificates are fetched, whatever is above, and four URLs of each are tried."""
        made, files, calls = pki.ca1(), dict[str, bytes](), 0
        for level in range(10):
            place = f"http://ca.test/{level}"
            files[f"{place}/3"] = made.cert_der
            made = with_issuer_url(f"level {level}", made, *(f"{place}/{number}" for number in range(4)), ca=True)

        async def fetch(url: str) -> bytes:
            nonlocal calls
            calls += 1
            if url not in files:
                raise FetchError("nothing there")
            return files[url]

        bundle = await certs.complete(certs.read(made.cert_pem), fetch=fetch)
        assert (len(bundle.intermediates), bundle.root, calls) == (8, None, 32)

    async def test_a_mistake_of_the_fetch_function_is_raised(self) -> None:
        """It is not a failure of the server."""
        leaf = with_issuer_url("leaf", pki.ca3(), "http://ca.test/a", "http://ca.test/b")

        async def fetch(_url: str) -> bytes:
            raise AttributeError("a bug")

        with pytest.raises(AttributeError):
            await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)

    async def test_keys_are_not_taken_from_what_was_fetched(self) -> None:
        """A server that chooses a key or a PKCS#12 chooses how long reading it takes."""
        leaf = with_issuer_url("leaf", pki.ca3(), "http://ca.test/ca3")
        damaged_key = b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
        answers = [damaged_key + pki.ca3().cert_pem, certs.read(pki.ca3().cert_pem).to_pfx(None)]

        async def fetch(_url: str) -> bytes:
            return answers.pop(0)

        assert (await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)).intermediates == (pki.ca3().certificate,)
        with pytest.raises(ConfigError, match="is not the issuer"):
            await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)

    async def test_an_empty_answer_is_refused(self) -> None:
        """It is not a mistake of the caller."""
        leaf = with_issuer_url("leaf", pki.ca3(), "http://ca.test/ca3.cer")

        async def fetch(url: str) -> bytes:
            return b""

        with pytest.raises(ConfigError, match=r"http://ca\.test/ca3\.cer"):
            await certs.complete(certs.read(leaf.cert_pem), fetch=fetch)

    async def test_a_loop_of_issuers_ends(self) -> None:
        """CAs that have signed each other name each other for ever."""
        urls = {"a": "http://ca.test/a", "b": "http://ca.test/b"}
        first, second = pki.authority("a"), pki.authority("b")
        a = with_issuer_url("a", replace(second), urls["b"], ca=True)
        b = replace(with_issuer_url("b", replace(first), urls["a"], ca=True), key=second.key)
        count = 0

        async def fetch(url: str) -> bytes:
            nonlocal count
            count += 1
            return a.cert_der if url == urls["a"] else b.cert_der

        with pytest.raises(ConfigError):
            await certs.complete(certs.read(with_issuer_url("leaf", first, urls["a"]).cert_pem), fetch=fetch)
        assert count <= 8

    async def test_a_complete_chain_fetches_nothing(self) -> None:
        """There is no URL, or the root is there."""

        async def fetch(url: str) -> bytes:
            raise AssertionError(url)

        bundle = certs.read(pki.localhost().cert_pem, pki.ca1().cert_pem)
        assert await certs.complete(bundle, fetch=fetch) == bundle


class TestWrite:
    """What is written can be read again."""

    def test_pem_has_the_leaf_first(self) -> None:
        """And the key in front, if asked."""
        bundle = certs.read(pki.ca1().cert_pem, pki.ca3().cert_pem, pki.chained().cert_pem, pki.chained().key_pem)
        assert bundle.to_pem() == pki.chained().chain_pem
        assert bundle.to_pem(root=True) == pki.chained().chain_pem + pki.ca1().cert_pem
        assert bundle.to_pem(key=True).startswith(b"-----BEGIN PRIVATE KEY-----")
        locked = bundle.to_pem(key=True, passphrase="secret")
        assert locked.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert certs.read(locked, passphrase="secret").chain == bundle.chain

    @pytest.mark.parametrize("passphrase", ["secret", "pässwörd", None])
    def test_pfx(self, passphrase: str | None) -> None:
        """Key, chain and root come back; the encryption is AES-256."""
        bundle = certs.read(pki.chained().chain_pem, pki.ca1().cert_pem, pki.chained().key_pem)
        pfx = bundle.to_pfx(passphrase, friendly_name="server", root=True)
        again = certs.read(pfx, passphrase=passphrase)
        assert (again.chain, again.root, again.notes) == (bundle.chain, bundle.root, ())
        [item] = certs.inspect(pfx, passphrase=passphrase)
        assert item.facts["ciphers"] == (("AES-256",) if passphrase else ())

    def test_a_pfx_without_a_key_is_a_truststore(self) -> None:
        """Java reads it as trusted certificates."""
        pfx = certs.read(pki.ca1().cert_pem).to_pfx("secret", friendly_name="root")
        assert certs.read(pfx, passphrase="secret").certificate == pki.ca1().certificate

    @pytest.mark.parametrize("pem", [True, False])
    def test_pkcs7(self, pem: bool) -> None:  # noqa: FBT001
        """The chain in one file, without a key."""
        bundle = certs.read(pki.chained().chain_pem, pki.ca1().cert_pem)
        again = certs.read(bundle.to_pkcs7(pem=pem, root=True))
        assert (again.chain, again.root) == (bundle.chain, bundle.root)

    def test_der(self) -> None:
        """The leaf alone."""
        assert certs.read(pki.chained().chain_pem).to_der() == pki.chained().cert_der

    def test_what_is_missing_is_told(self) -> None:
        """No root, no key."""
        bundle = certs.read(pki.chained().chain_pem)
        for call in (lambda: bundle.to_pem(key=True), lambda: bundle.to_pem(root=True), lambda: bundle.to_pkcs7(root=True)):
            with pytest.raises(UsageStateError):
                call()

    @pytest.mark.parametrize("passphrase", ["", b"", "a\0b"])
    def test_a_doubtful_passphrase_raises(self, passphrase: str | bytes) -> None:
        """An empty one is a variable that was not set; programs in C stop at a null character."""
        bundle = certs.read(pki.localhost().cert_pem, pki.localhost().key_pem)
        for call in (lambda: bundle.to_pfx(passphrase), lambda: bundle.to_pem(key=True, passphrase=passphrase)):
            with pytest.raises(UsageValueError):
                call()

    def test_a_passphrase_of_pem_has_a_longest_size(self) -> None:
        """That of `cryptography`."""
        bundle = certs.read(pki.localhost().cert_pem, pki.localhost().key_pem)
        assert certs.load_key(bundle.to_pem(key=True, passphrase="x" * 1023), "x" * 1023)
        with pytest.raises(UsageValueError, match="at most 1023 bytes"):
            bundle.to_pem(key=True, passphrase="x" * 1024)

    def test_ed25519(self) -> None:
        """Other kinds of keys are written and read too."""
        who = pki.leaf("localhost", key=pki.ed25519.Ed25519PrivateKey.generate())
        pfx = certs.read(who.cert_pem, who.key_pem).to_pfx("secret")
        assert certs.match_key(pfx, who.cert_pem, passphrase="secret")

    def test_no_secret_in_the_repr(self) -> None:
        """The key is not shown."""
        assert "key" not in repr(certs.read(pki.localhost().cert_pem, pki.localhost().key_pem))


class TestOldPfx:
    """PKCS#12 of other times and programs."""

    def test_rc2_is_read_and_told(self) -> None:
        """Through OpenSSL's legacy provider, which connections do not have."""
        bundle = certs.read(pki.legacy_pfx(), passphrase=PASSPHRASE)
        assert bundle.certificate == pki.agent1().certificate
        assert any("RC2-40" in note and "outdated" in note for note in bundle.notes)

    def test_without_the_provider_the_error_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What to install, or to do instead."""

        def open_without(material: object, work: object, *, legacy: bool) -> object:
            return pkcs12_module_open(material, work, legacy=False)

        from tlsio.certs import pkcs12  # noqa: PLC0415

        pkcs12_module_open = pkcs12.open_pfx
        monkeypatch.setattr(pkcs12, "open_pfx", open_without)
        monkeypatch.setattr(pkcs12, "has_legacy_algorithms", lambda: False)
        with pytest.raises(ConfigError, match="RC2-40") as caught:
            certs.read(pki.legacy_pfx(), passphrase=PASSPHRASE)
        assert caught.value.code == "ERR_CRYPTO_UNSUPPORTED_OPERATION"
        assert "legacy.so" in (caught.value.hint or "")

    def test_without_mac(self) -> None:
        """It is read, and told that nothing proves it unchanged."""
        bundle = certs.read(pki.pfx_without_mac(), passphrase=PASSPHRASE)
        assert bundle.certificate == pki.localhost().certificate
        assert any("no MAC" in note for note in bundle.notes)

    @pytest.mark.parametrize(("passphrase", "hint"), [(None, "set passphrase="), ("wrong", "passphrase is wrong")])
    def test_a_wrong_passphrase(self, passphrase: str | None, hint: str) -> None:
        """As everywhere."""
        with pytest.raises(ConfigError) as caught:
            certs.read(pki.localhost().pfx(), passphrase=passphrase)
        assert hint in (caught.value.hint or "")

    def test_a_context_still_refuses_rc2(self) -> None:
        """What is read here is no reason for a server to use it."""
        import tlsio  # noqa: PLC0415

        certs.read(pki.legacy_pfx(), passphrase=PASSPHRASE)
        with pytest.raises(ConfigError):
            tlsio.create_secure_context(pfx=pki.legacy_pfx(), passphrase=PASSPHRASE)


class TestMatchKey:
    """Does this key belong to this certificate: an answer that helps."""

    def test_a_match(self) -> None:
        """It is true, and shows the pin."""
        match = certs.match_key(pki.localhost().key_pem, pki.localhost().cert_pem)
        assert match
        assert (match.position, match.hint) == (0, None)

    def test_another_kind_of_key(self) -> None:
        """RSA beside EC: from different times."""
        match = certs.match_key(pki.localhost_rsa().key_pem, pki.localhost().cert_pem)
        assert not match
        assert "RSA 2048" in match.explanation
        assert "EC P-256" in match.explanation

    def test_the_other_certificate_of_the_file(self) -> None:
        """The chain is in the wrong order."""
        match = certs.match_key(pki.chained().key_pem, pki.ca3().cert_pem + pki.chained().cert_pem)
        assert not match
        assert match.position == 1
        assert "number 2" in match.explanation

    def test_another_pair(self) -> None:
        """Both pins are shown."""
        match = certs.match_key(pki.client().key, pki.localhost().certificate)
        assert match.explanation.count("sha256/") == 2

    def test_a_request(self) -> None:
        """Before the certificate is there."""
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

        who = pki.localhost()
        request = x509.CertificateSigningRequestBuilder().subject_name(who.certificate.subject).sign(who.key, hashes.SHA256())
        assert certs.match_key(who.key_pem, request.public_bytes(pki.PEM))

    def test_a_pfx(self) -> None:
        """It has both."""
        assert certs.match_key(pki.localhost().pfx(), pki.localhost().cert_pem, passphrase=PASSPHRASE)

    @pytest.mark.parametrize("swap", [True, False])
    def test_swapped_files(self, swap: bool) -> None:  # noqa: FBT001
        """The error says so."""
        key, certificate = pki.localhost().key_pem, pki.localhost().cert_pem
        with pytest.raises(ConfigError) as caught:
            certs.match_key(certificate if swap else key, key)
        assert caught.value.code == ("ERR_TLS_NO_KEY" if swap else "ERR_TLS_NO_CERTIFICATE")
        assert "swapped" in (caught.value.hint or "")


def test_expired_certificates_are_ordered_too() -> None:
    """Order is not validity."""
    assert pki.expired().certificate.not_valid_after_utc < dt.datetime.now(dt.UTC)
    assert certs.read(pki.ca1().cert_pem, pki.expired().cert_pem).certificate == pki.expired().certificate
