"""A bundle that cannot be used is a matter of the installation, named before any study is taken."""

from pathlib import Path

import pytest

from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode
from operators.encode.config import EncodeConfig
from operators.encode.loading import open_encoder


def test_missing_bundle_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        open_encoder(EncodeConfig(bundle="nowhere"), tmp_path)
    assert refused.value.code is ReasonCode.BUNDLE_UNUSABLE
    assert "nowhere" in refused.value.sentence


def test_damaged_bundle_is_refused_naming_the_file(tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "SHA256SUMS").write_text("not a list of hashes\n", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        open_encoder(EncodeConfig(bundle="damaged"), tmp_path)
    assert "SHA256SUMS" in refused.value.sentence
