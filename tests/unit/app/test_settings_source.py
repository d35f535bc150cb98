"""Settings from a mapping and the environment: what is accepted, what is refused, and that secrets stay unsaid."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.settings_source import build, overlay
from operators.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    port: int = 1
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    peers: dict[str, Inner] = field(default_factory=dict)
    mode: str = "off"


def test_environment_overrides_the_file_and_is_converted() -> None:
    plain = overlay({"inner": {"port": 5}}, {"INTERVAL_INNER__PORT": "7", "OTHER": "x"}, Outer)
    assert build(Outer, plain).inner.port == 7


def test_environment_fills_a_section_that_is_empty_in_the_file() -> None:
    plain = overlay({"inner": None}, {"INTERVAL_INNER__PORT": "7"}, Outer)
    assert build(Outer, plain).inner.port == 7


def test_environment_below_what_is_no_section_is_an_error() -> None:
    with pytest.raises(ConfigError, match="INTERVAL_INNER__PORT"):
        overlay({"inner": 5}, {"INTERVAL_INNER__PORT": "7"}, Outer)


def test_lists_and_mappings_come_from_the_environment_as_json() -> None:
    environment = {"INTERVAL_NAMES": '["a", "b"]', "INTERVAL_PEERS__pacs__PORT": "9"}
    built = build(Outer, overlay({}, environment, Outer))
    assert built.names == ("a", "b")
    assert built.peers["pacs"].port == 9


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n", encoding="utf-8")
    built = build(Outer, overlay({}, {"INTERVAL_INNER__PASSWORD_FILE": str(secret)}, Outer))
    assert built.inner.password == "s3cret"


def test_a_secret_file_that_is_missing_is_named_by_its_variable() -> None:
    with pytest.raises(ConfigError, match="INTERVAL_INNER__PASSWORD_FILE"):
        overlay({}, {"INTERVAL_INNER__PASSWORD_FILE": "/nowhere/at/all"}, Outer)


@pytest.mark.parametrize("plain", [{"portt": 1}, {"inner": {"portt": 1}}, {"peers": {"pacs": {"portt": 1}}}])
def test_an_unknown_key_is_an_error_wherever_it_stands(plain: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="portt: there is no such setting"):
        build(Outer, plain)


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(ConfigError, match="INTERVAL_INNER__PORTT"):
        overlay({}, {"INTERVAL_INNER__PORTT": "1"}, Outer)


def test_a_wrong_type_is_named_by_its_key_and_its_value_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"interval\.inner\.port") as caught:
        build(Outer, {"inner": {"port": "hunter2"}})
    assert "hunter2" not in caught.value.sentence
