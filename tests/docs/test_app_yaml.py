"""app.yaml: as shipped it changes nothing, it shows every setting, and its examples can be used as they stand."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import SOFTWARE_VERSION, Settings, load
from deploy.docs.describe import settings

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "app.yaml"
_SWITCHED_OFF = re.compile(r"^(\s*)#(?=\S)", re.MULTILINE)
_EMPTY_LIST = re.compile(r"^ +(stow|cstore|destinations): \[\]\n", re.MULTILINE)


def _with_examples(folder: Path) -> Path:
    """A copy in which everything that is switched off is switched on."""
    path = folder / "app.yaml"
    path.write_text(
        _SWITCHED_OFF.sub(r"\1", _EMPTY_LIST.sub("", SHIPPED.read_text(encoding="utf-8"))), encoding="utf-8"
    )
    return path


def _default(tmp_path: Path) -> Settings:
    empty = tmp_path / "empty.yaml"
    empty.write_text("interval: {}\n", encoding="utf-8")
    return load(empty, {})


def test_the_shipped_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(SHIPPED, {}) == _default(tmp_path)


def test_the_shipped_file_is_the_one_that_is_read_by_default(tmp_path: Path) -> None:
    assert load(None, {"INTERVAL_WEB__PORT": "8081"}).web.port == 8081
    assert load(None, {}) == _default(tmp_path)


def test_every_section_of_the_settings_stands_in_the_file() -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["interval"]
    assert set(shipped) == {setting.section for setting in settings()}


def test_every_setting_stands_in_the_file_with_its_default(tmp_path: Path) -> None:
    shown = yaml.safe_load(_with_examples(tmp_path).read_text(encoding="utf-8"))["interval"]
    missing = [setting.path for setting in settings() if not _has(shown, setting.path)]
    assert missing == []


def test_settings_that_are_switched_off_stand_at_their_default(tmp_path: Path) -> None:
    switched_on = load(_with_examples(tmp_path), {})
    default = _default(tmp_path)
    lists = {
        "receive.tls",
        "ris.tls",
        "priors.rules",
        "pacs.stow",
        "pacs.cstore",
        "notify.destinations",
        "patients.issuers",
    }
    scalars = [s.path for s in settings() if "[]" not in s.path and not any(s.path.startswith(name) for name in lists)]
    assert len(scalars) > 50
    differing = [path for path in scalars if _value(switched_on, path) != _value(default, path)]
    assert [path for path in differing if path != "node.state_dir"] == []


def test_the_examples_of_destinations_can_be_used_as_they_stand(tmp_path: Path) -> None:
    shown = load(_with_examples(tmp_path), {})
    assert [destination.name for destination in shown.pacs.destinations] == ["pacs", "archive"]
    assert [destination.name for destination in shown.notify.destinations] == ["ris"]
    assert shown.receive.tls is not None
    assert shown.ris.tls is not None
    assert [entry.issuer for entry in shown.patients.issuers] == ["HOSPITAL"]
    assert [rule.name for rule in shown.priors.rules] == ["chest film"]


def test_a_list_with_its_secrets_can_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "stow.json"
    secret.write_text(
        '[{"name": "pacs", "url": "https://pacs.example/dicom-web", "authentication": "bearer", "token": "t"}]'
    )
    assert load(SHIPPED, {"INTERVAL_PACS__STOW_FILE": str(secret)}).pacs.stow[0].token == "t"


@pytest.mark.parametrize("key", ["title", "version", "input-formats", "output-formats"])
def test_the_packager_finds_its_keys(key: str) -> None:
    assert yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["application"][key]


def test_the_packager_is_told_the_version_of_the_program() -> None:
    assert yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["application"]["version"] == SOFTWARE_VERSION


def _has(tree: Any, path: str) -> bool:
    for part in path.split("."):
        name, is_list = part.removesuffix("[]"), part.endswith("[]")
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name][0] if is_list else tree[name]
    return True


def _value(loaded: Settings, path: str) -> object:
    value: object = loaded
    for part in path.split("."):
        value = getattr(value, part)
    return value
