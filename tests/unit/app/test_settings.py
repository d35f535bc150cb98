"""The settings of one installation: what is derived, refused and told apart."""

from pathlib import Path

import pytest

from app.settings import DeliverMode, load
from operators.domain.errors import ConfigError


def test_a_bare_off_in_yaml_is_shadow_mode_for_every_destination(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text("interval:\n  deliver: off\n", encoding="utf-8")
    settings = load(path, {})
    assert settings.deliver is DeliverMode.OFF
    assert not settings.notify.enabled
    assert not settings.pacs.enabled


def test_the_database_url_may_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://somewhere/interval\n", encoding="utf-8")
    assert load(None, {"DATABASE_URL_FILE": str(secret)}).database_url == "postgresql://somewhere/interval"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERVAL_REPORT__CONFIGURATION_DIGEST", "x"),
        ("INTERVAL_NOTIFY__ENABLED", "true"),
        ("INTERVAL_DATABASE_URL", "x"),
    ],
)
def test_what_the_node_derives_cannot_be_set(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        load(None, {name: value})


def test_a_password_does_not_change_what_a_draft_is_called() -> None:
    plain, other = load(None, {}), load(None, {"INTERVAL_PRIORS__MAX_PRIORS": "5"})
    assert plain.configuration_digest == other.configuration_digest


def test_a_threshold_changes_what_a_draft_is_called() -> None:
    plain, other = load(None, {}), load(None, {"INTERVAL_COMPARE__PRESENT_FROM_PROB": "0.6"})
    assert plain.configuration_digest != other.configuration_digest
    assert other.report.configuration_digest == other.configuration_digest


def test_a_settings_file_that_is_named_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "nowhere.yaml", {})
