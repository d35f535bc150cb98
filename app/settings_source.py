"""A tree of plain dataclasses from a mapping: types converted, unknown keys refused, secrets read from files.

Environment variables override the file: INTERVAL_<SECTION>__<KEY>, deeper keys by further double underscores; a name
that ends in _FILE gives a file whose text is the value. Lists and mappings are written as JSON.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from operators.domain.errors import ConfigError

T = TypeVar("T")
PREFIX = "INTERVAL_"
_FILE = "_FILE"


def overlay(section: Mapping[str, Any], environment: Mapping[str, str], known: type) -> dict[str, Any]:
    """Return the section with the environment's values put over it. Raises ConfigError for an unknown variable."""
    merged = json.loads(json.dumps(section, default=str))
    for name in sorted(environment):
        if name.startswith(PREFIX):
            _put(merged, name, environment[name], known)
    return typing.cast("dict[str, Any]", merged)


def build(kind: type[T], plain: Mapping[str, Any], where: str = "interval") -> T:
    """Return `kind` made of the mapping.

    Raises ConfigError naming the first key that is unknown, missing or of the wrong type. The value itself is not
    repeated: it may be a secret.
    """
    _refuse_unknown(kind, plain, where)
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}.{at}: {first['msg']}" if at else f"{where}: {first['msg']}") from exc


def _put(merged: dict[str, Any], name: str, value: str, known: type) -> None:
    keys = name.removeprefix(PREFIX).lower().split("__")
    if name.endswith(_FILE) and not _knows(known, keys):
        keys[-1] = keys[-1].removesuffix(_FILE.lower())
        value = secret_in(name, value)
    if not _knows(known, keys):
        raise ConfigError(f"{name}: there is no such setting")
    target = merged
    for key in keys[:-1]:
        if target.get(key) is None:  # an empty section of the file
            target[key] = {}
        target = target[key]
        if not isinstance(target, dict):
            raise ConfigError(f"{name}: what stands in the settings file there is no section")
    target[keys[-1]] = _scalar(value)


def secret_in(name: str, path: str) -> str:
    """Return the text of the file that a variable names. Raises ConfigError naming the variable."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"{name}: the file cannot be read ({type(exc).__name__})") from exc


def _scalar(value: str) -> Any:
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _knows(kind: Any, keys: list[str]) -> bool:
    for key in keys:
        inner = _dataclass_in(kind)
        if inner is None:
            return _is_mapping(kind)
        hints = typing.get_type_hints(inner)
        if key not in hints:
            return False
        kind = hints[key]
        if _is_mapping(kind):
            return True
    return True


def _refuse_unknown(kind: Any, plain: Any, where: str) -> None:
    inner = _dataclass_in(kind)
    if inner is not None and isinstance(plain, Mapping):
        hints = typing.get_type_hints(inner)
        for key, value in plain.items():
            if key not in hints:
                raise ConfigError(f"{where}.{key}: there is no such setting")
            _refuse_unknown(hints[key], value, f"{where}.{key}")
        return
    element = typing.get_args(kind)
    if isinstance(plain, Mapping) and _is_mapping(kind):
        for name, value in plain.items():
            _refuse_unknown(element[1], value, f"{where}.{name}")
    elif isinstance(plain, list | tuple) and element:
        for index, value in enumerate(plain):
            _refuse_unknown(element[0], value, f"{where}.{index}")


def _dataclass_in(kind: Any) -> type | None:
    """Return the dataclass that a type is, or that an optional type holds; None for a union of several."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return kind
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        found = [part for part in typing.get_args(kind) if dataclasses.is_dataclass(part)]
        return typing.cast("type", found[0]) if len(found) == 1 else None
    return None


def _is_mapping(kind: Any) -> bool:
    return typing.get_origin(kind) in (dict, Mapping)
