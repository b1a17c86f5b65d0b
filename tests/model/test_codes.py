"""Names and numbers of alerts and verify results."""

import ssl

import pytest

from tlsio.model import codes
from tlsio.model.errors import UsageValueError


def test_alert_names_are_the_rfcs() -> None:
    """The standard library knows most of them under the same names."""
    ours = {name.upper(): number for number, name in codes.ALERTS.items()}
    theirs = {item.name.removeprefix("ALERT_DESCRIPTION_").replace("CANCELLED", "CANCELED"): item.value for item in ssl.AlertDescription}
    assert theirs.items() <= ours.items()


def test_alert_by_number_and_back() -> None:
    """Unknown numbers keep their number; unknown names raise with the nearest."""
    assert codes.alert_name(116) == "certificate_required"
    assert codes.alert_name(200) == "alert 200"
    assert codes.alert_number("unrecognized_name") == 112
    with pytest.raises(UsageValueError, match="unrecognized_name"):
        codes.alert_number("unrecognised_name")


def test_verify_codes_are_nodes() -> None:
    """What Node does not name is UNSPECIFIED; the text stays OpenSSL's."""
    assert codes.x509_code(18) == "DEPTH_ZERO_SELF_SIGNED_CERT"
    assert codes.x509_code(66) == "UNSPECIFIED"
    assert codes.x509_text(66) == "EE certificate key too weak"
    assert codes.x509_text(999) == "certificate verification error 999"
    assert codes.X509_CODES.keys() <= codes.X509_TEXTS.keys()
