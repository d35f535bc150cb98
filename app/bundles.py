"""Where bundles are installed, and which was chosen: a state folder and a name enter, a bundle's folder leaves.

Imported bundles lie in `<state_dir>/bundles`, one folder each; those that ship lie in models/bundles beside the code,
which may be read-only. Where both have a bundle of one name, the imported one is taken. `models select` writes the name
of its choice to `<state_dir>/selected_bundle`; it counts where neither the settings file nor the environment sets
`encode.bundle`.
"""

import os
from pathlib import Path

from models.shared.bundle_files import METADATA_FILE
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "bundles"
_IMPORTED = "bundles"
_SELECTED = "selected_bundle"


def imported_root(state_dir: Path) -> Path:
    """Return the folder that imported bundles are put in."""
    return state_dir / _IMPORTED


def installed_bundles(state_dir: Path) -> dict[str, Path]:
    """Return the folders of the installed bundles by name, sorted. Raises ConfigError where a folder cannot be read."""
    found: dict[str, Path] = {}
    for root in (SHIPPED, imported_root(state_dir)):
        found |= {path.name: path for path in bundles_in(root)}
    return dict(sorted(found.items()))


def bundles_in(root: Path) -> list[Path]:
    """Return the folders of bundles in `root`; what begins with a dot is being made. Raises ConfigError."""
    try:
        folders = [path for path in root.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise ConfigError(f"the bundles in {root} cannot be read ({type(exc).__name__})") from exc
    return [path for path in folders if (path / METADATA_FILE).is_file()]


def bundle_folder(name: str, state_dir: Path) -> Path:
    """Return the folder of an installed bundle. Raises ConfigError naming those there are."""
    installed = installed_bundles(state_dir)
    if name not in installed:
        there = ", ".join(installed) or "none"
        raise ConfigError(f"there is no bundle called {name}; installed: {there}", ReasonCode.BUNDLE_UNUSABLE)
    return installed[name]


def read_selection(state_dir: Path) -> str | None:
    """Return the name that `models select` wrote; None where nothing was selected. Raises ConfigError."""
    try:
        return (state_dir / _SELECTED).read_text(encoding="utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{state_dir / _SELECTED} cannot be read ({type(exc).__name__})") from exc


def write_selection(state_dir: Path, name: str) -> None:
    """Remember the choice for the next start. Raises ConfigError."""
    path = state_dir / _SELECTED
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        with beside.open("w", encoding="utf-8") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written ({type(exc).__name__})") from exc
