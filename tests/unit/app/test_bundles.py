"""Where bundles are looked for, and which one a node takes when nobody, or somebody, has chosen."""

from pathlib import Path

import pytest

from app.bundles import SHIPPED, bundle_folder, installed_bundles, read_selection, write_selection
from app.settings import load, sets_bundle
from models.shared.bundle_files import METADATA_FILE
from operators.domain.errors import ConfigError


def put_bundle(state_dir: Path, name: str) -> Path:
    folder = state_dir / "bundles" / name
    (folder / METADATA_FILE).parent.mkdir(parents=True)
    (folder / METADATA_FILE).write_text("{}", encoding="utf-8")
    return folder


def settings_in(folder: Path, encode: str = "") -> Path:
    path = folder / "interval.yaml"
    path.write_text(f"interval:\n  node:\n    state_dir: {folder}\n{encode}", encoding="utf-8")
    return path


def test_imported_bundles_stand_beside_those_that_ship(tmp_path: Path) -> None:
    folder = put_bundle(tmp_path, "imported")
    put_bundle(tmp_path, ".importing-x")
    (tmp_path / "bundles" / "no-bundle").mkdir()
    installed = installed_bundles(tmp_path)
    assert installed["imported"] == folder
    assert installed["interval-cxr-small"] == SHIPPED / "interval-cxr-small"
    assert not {".importing-x", "no-bundle"} & set(installed)


def test_an_imported_bundle_is_taken_before_a_shipped_one_of_its_name(tmp_path: Path) -> None:
    folder = put_bundle(tmp_path, "interval-cxr-small")
    assert bundle_folder("interval-cxr-small", tmp_path) == folder


def test_a_bundle_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no bundle called nonsense; installed: .*interval-cxr-small"):
        bundle_folder("nonsense", tmp_path / "nowhere")


def test_a_selection_lasts_and_gives_way_to_the_settings(tmp_path: Path) -> None:
    plain = settings_in(tmp_path)
    assert read_selection(tmp_path) is None
    assert load(plain, {}).encode.bundle == "interval-cxr-small"
    write_selection(tmp_path, "imported")
    assert load(plain, {}).encode.bundle == "imported"
    assert load(plain, {"INTERVAL_ENCODE__BUNDLE": "other"}).encode.bundle == "other"
    assert sets_bundle(plain, {"INTERVAL_ENCODE__BUNDLE": "other"})
    assert not sets_bundle(plain, {"INTERVAL_ENCODE__THREADS": "1"})
    named = settings_in(tmp_path, "  encode:\n    bundle: named\n")
    assert load(named, {}).encode.bundle == "named"
    assert sets_bundle(named, {})


def test_another_bundle_gives_drafts_another_identity(tmp_path: Path) -> None:
    plain = settings_in(tmp_path)
    before = load(plain, {}).configuration_digest
    write_selection(tmp_path, "imported")
    assert load(plain, {}).configuration_digest != before


def test_a_selection_that_cannot_be_written_or_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_selection(tmp_path / "file", "imported")
    assert read_selection(tmp_path / "file") is None
    (tmp_path / "selected_bundle").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_selection(tmp_path)
