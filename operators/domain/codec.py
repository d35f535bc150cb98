"""Messages to JSON values and back, for the columns that keep them."""

from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_json(kind: type[T], value: T) -> str:
    """JSON text of a message of that kind."""
    return _adapter(kind).dump_json(value).decode()


def to_plain(kind: type[T], value: T) -> Any:
    """Return the message as dicts, lists and scalars that JSON knows."""
    return _adapter(kind).dump_python(value, mode="json")


def from_plain(kind: type[T], plain: Any) -> T:
    """Return the message that `plain` describes. Raises pydantic.ValidationError when it is not one."""
    value: T = _adapter(kind).validate_python(plain)
    return value
