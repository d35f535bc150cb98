"""Settings of the notify stage."""

from pathlib import Path
from typing import Any

import pytest

from operators.domain.errors import ConfigError
from operators.notify.config import NotifyConfig, ResultStatus, TlsFiles
from tests.unit.notify.drafts import destination


@pytest.mark.parametrize(
    ("wishes", "what"),
    [
        ({"name": "my ris"}, "name"),
        ({"host": ""}, "host"),
        ({"host": "a b"}, "host"),
        ({"port": 0}, "port"),
        ({"ack_timeout_s": 0.0}, "ack_timeout_s"),
        ({"character_set": "UTF-8"}, "character_set"),
        ({"processing_id": "X"}, "processing_id"),
        ({"draft_notice": " "}, "draft_notice"),
        ({"service_code": ""}, "service_code"),
        ({"character_set": "ASCII", "draft_notice": "Entwurf, nicht geprüft"}, "ASCII"),
    ],
)
def test_wrong_setting_is_refused_by_name(wishes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        destination(**wishes)


def test_two_destinations_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="same name"):
        NotifyConfig(destinations=(destination(), destination(port=1)))


def test_key_without_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match="certificate"):
        TlsFiles(key_file=Path("key.pem"))


def test_key_password_is_not_printed() -> None:
    assert "hush" not in repr(TlsFiles(key_password="hush"))


def test_status_p_gives_a_warning_that_names_the_destination() -> None:
    quiet, loud = destination(), destination(name="archive", result_status=ResultStatus.P)

    (warning,) = NotifyConfig(destinations=(quiet, loud)).warnings()

    assert "archive" in warning
    assert "VERIFIED" in warning
