"""Settings of the models commands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """How bundles are brought in.

    Attributes
    ----------
    training_python
        Python that has requirements-train.txt, for `models import`; none: that of .venv-train beside the code.
    """

    training_python: str = ""
