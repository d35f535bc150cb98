"""The settings as a reader sees them: the tree of dataclasses in app/settings.py enters, one description each leaves.

What a setting says comes from its class's docstring: the entry under Attributes, else a row of settings.csv beside this
file, else the clauses of the docstring that name it.
"""

import csv
import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.settings import Settings
from app.settings_source import PREFIX

SUPPLEMENT = Path(__file__).with_name("settings.csv")

SET_BY_THE_NODE = frozenset(
    {"database_url", "report.configuration_digest", "notify.enabled", "pacs.enabled"},
)
"""Fields of the tree that are no settings: the node fills them in from others."""

_MACHINE_DEFAULTS = {
    "node.state_dir": "`/var/lib/interval` for root, else `~/.local/share/interval`",
    "priors.rules": "`chest film`, `chest CT`, `brain MR`, and ultrasound of breast, thyroid and abdomen",
}

_UNITS = {
    "_s": "seconds",
    "_days": "days",
    "_mib": "MiB",
    "_bytes": "bytes",
    "_px": "pixels",
    "_cosine": "cosine, -1 to 1",
    "_prob": "probability, 0 to 1",
    "_share": "share, 0 to 1",
    "_rows": "rows",
    "_images": "images",
    "_ae_titles": "AE titles",
    "ae_title": "AE title",
    "_ae": "AE title",
    "port": "TCP port",
    "threads": "threads",
    "_associations": "associations",
    "_connections": "connections",
    "processes": "processes",
    "_attempts": "attempts",
    "concurrency": "studies",
    "_series_number": "series number",
}

_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "file"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `path` is as in app.yaml below `interval:`; `[]` stands for an entry of a list.

    `variable` is empty within a list, which is given as a whole; `default` is Markdown.
    """

    path: str
    variable: str
    kind: str
    unit: str
    default: str
    meaning: str
    is_secret: bool

    @property
    def section(self) -> str:
        """First part of the path."""
        return self.path.split(".", 1)[0].removesuffix("[]")


def settings() -> tuple[Setting, ...]:
    """Every setting of an installation, in the order of the code."""
    return tuple(_walk(Settings, "", supplement()))


def supplement() -> dict[str, str]:
    """Return what settings.csv says, by the setting's path."""
    with SUPPLEMENT.open(encoding="utf-8", newline="") as file:
        return {row["setting"]: row["meaning"] for row in csv.DictReader(file)}


def _walk(kind: type, prefix: str, extra: Mapping[str, str]) -> Iterator[Setting]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        path = f"{prefix}{field.name}"
        if path in SET_BY_THE_NODE:
            continue
        hint = hints[field.name]
        inner, is_list = _inside(hint)
        if inner is None or is_list or _is_optional(hint):
            yield _setting(kind, field, path, hint, extra)
        if inner is not None:
            yield from _walk(inner, f"{path}[]." if is_list else f"{path}.", extra)


def _setting(kind: type, field: "dataclasses.Field[Any]", path: str, hint: Any, extra: Mapping[str, str]) -> Setting:
    return Setting(
        path=path,
        variable="" if "[]" in path else PREFIX + path.upper().replace(".", "__"),
        kind=_kind(hint),
        unit=_unit(field.name, hint),
        default=_MACHINE_DEFAULTS.get(path) or _default(field),
        meaning=_attributes(kind).get(field.name) or extra.get(path) or _clauses(kind, field.name),
        is_secret=not field.repr,
    )


def _inside(hint: Any) -> tuple[type | None, bool]:
    """Return the dataclass that a setting holds, or that each entry of its list is."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return hint, False
    arguments = typing.get_args(hint)
    is_list = typing.get_origin(hint) is tuple
    for argument in arguments:
        if dataclasses.is_dataclass(argument) and isinstance(argument, type):
            return argument, is_list
    return None, is_list and False


def _is_optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)


def _kind(hint: Any) -> str:
    if isinstance(hint, typing.NewType):
        return _kind(hint.__supertype__)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in hint)
    if hint in _KINDS:
        return _KINDS[hint]
    inner, is_list = _inside(hint)
    if inner is not None:
        return "list of entries" if is_list else "section, absent by default"
    arguments = [argument for argument in typing.get_args(hint) if argument not in (type(None), Ellipsis)]
    named = _kind(arguments[0])
    return f"list: {named}" if typing.get_origin(hint) is tuple else named


def _unit(name: str, hint: Any) -> str:
    if _inside(hint)[0] is not None:
        return ""
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "must be given"


def _shown(value: object) -> str:
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(_shown(part) for part in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _attributes(kind: type) -> dict[str, str]:
    """Texts under Attributes of a numpy docstring, by name; several names may share one text."""
    _, found, listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes\n----------\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in listed.splitlines() if found else ():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(",")]
        else:
            texts |= {name: f"{texts.get(name, '')} {line.strip()}".strip() for name in names}
    return texts


def _clauses(kind: type, name: str) -> str:
    """Clauses of a docstring that name a field in backquotes; `service_*` names all that begin so."""
    prose = inspect.cleandoc(kind.__doc__ or "").partition("Attributes\n----------\n")[0]
    clauses = re.split(r"(?<=[.;])\s+", " ".join(prose.split()))
    said = [clause for clause in clauses if _names(clause, name)]
    return " ".join(said).rstrip(";")


def _names(clause: str, name: str) -> bool:
    named = re.findall(r"`([a-z_]+)(\*?)`", clause)
    return any(name == text or (star and name.startswith(text)) for text, star in named)
