"""Where the pages are served and by which token: what is refused, and how a made token is kept."""

import stat
from pathlib import Path

import pytest

from app.roles.web import token_path, web_token
from app.settings import NodeConfig, Settings
from app.web.config import WebConfig
from operators.domain.errors import ConfigError

TOKEN = "sixteen characters and more"
OUTSIDE = ["0.0.0.0", "::", "10.1.2.3", "node.example"]  # noqa: S104 - refused is what they are


@pytest.mark.parametrize("bind", OUTSIDE)
def test_an_address_that_others_reach_needs_a_token(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"needs web\.token"):
        WebConfig(bind=bind)
    assert not WebConfig(bind=bind, token=TOKEN).is_loopback


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "localhost"])
def test_a_loopback_address_needs_none(bind: str) -> None:
    assert WebConfig(bind=bind).is_loopback


def test_a_short_token_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="at least 16") as refused:
        WebConfig(token="secret-word")
    assert "secret-word" not in str(refused.value)
    assert TOKEN not in repr(WebConfig(token=TOKEN))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=r"web\.port"):
        WebConfig(port=port)


def test_a_made_token_is_long_kept_and_for_the_node_alone(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "state")
    token = web_token(settings)
    assert len(token) >= 32
    assert stat.S_IMODE(token_path(settings).stat().st_mode) == 0o600
    assert web_token(settings) == token


def test_what_a_start_cut_short_left_does_not_open_the_new_token_to_others(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    left = token_path(settings).with_suffix(".part")
    left.touch(mode=0o644)
    left.chmod(0o644)
    web_token(settings)
    assert stat.S_IMODE(token_path(settings).stat().st_mode) == 0o600
    assert not left.exists()


@pytest.mark.parametrize("kept", [b"", b"\n", b"short\n", b"\xff\xfe"])
def test_a_file_without_a_token_lets_nobody_in(tmp_path: Path, kept: bytes) -> None:
    settings = settings_in(tmp_path)
    token_path(settings).write_bytes(kept)
    with pytest.raises(ConfigError, match="holds no token"):
        web_token(settings)


def test_a_token_that_is_set_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, TOKEN)
    assert web_token(settings) == TOKEN
    assert list(tmp_path.iterdir()) == []


def settings_in(state_dir: Path, token: str = "") -> Settings:
    return Settings(node=NodeConfig(state_dir=state_dir), web=WebConfig(token=token))
