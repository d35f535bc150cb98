"""Where bundles are installed: the folder models/bundles beside the code, one folder a bundle."""

from pathlib import Path

from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode

FOLDER = Path(__file__).resolve().parent.parent / "models" / "bundles"


def installed_bundles() -> tuple[str, ...]:
    """Return the names of the installed bundles, sorted."""
    return tuple(sorted(path.name for path in FOLDER.iterdir() if (path / "configs" / "metadata.json").is_file()))


def bundle_folder(name: str) -> Path:
    """Return the folder of an installed bundle. Raises ConfigError naming those there are."""
    if name not in installed_bundles():
        there = ", ".join(installed_bundles()) or "none"
        raise ConfigError(
            f"encode.bundle: there is no bundle of that name; installed: {there}", ReasonCode.BUNDLE_UNUSABLE
        )
    return FOLDER / name
