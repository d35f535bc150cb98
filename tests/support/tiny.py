"""The small bundle of all four families, and how a node is given it."""

import shutil
from pathlib import Path

TINY = Path(__file__).parents[1] / "fixtures" / "bundles" / "tiny"


def install_tiny(state_dir: Path) -> str:
    """Put the bundle among the installed ones of a node, before it starts; return its name for `encode.bundle`."""
    shutil.copytree(TINY, state_dir / "bundles" / TINY.name, dirs_exist_ok=True)
    return TINY.name
