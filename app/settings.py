"""The settings of one installation: app.yaml and the environment in, one frozen tree out.

This module alone reads the environment. Each stage declares its own part; unknown keys are errors.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import TypeAdapter

from app.bundles import read_selection
from app.models_config import ModelsConfig
from app.settings_source import PREFIX, build, overlay, secret_in
from app.web.config import WebConfig
from app.work_config import WorkConfig
from operators.assemble.config import AssembleConfig
from operators.compare.config import CompareConfig
from operators.deliver.config import DeliverConfig
from operators.domain.errors import ConfigError
from operators.domain.ids import UUID_ROOT, digest
from operators.encode.config import EncodeConfig
from operators.notify.config import NotifyConfig
from operators.patients.config import PatientsConfig
from operators.priors.config import PriorsConfig
from operators.receive.config import ReceiveConfig
from operators.report.config import ReportConfig
from operators.retrieve.config import RetrieveConfig
from operators.ris.config import RisConfig

DEFAULT_FILE = Path(__file__).resolve().parent.parent / "app.yaml"
SECTION = "interval"
SOFTWARE_VERSION = "0.1.0"

_SAYING = ("node", "encode", "compare", "report")
"""Sections that can change what a draft says: their digest enters its identity."""
_DERIVED = (("report", "configuration_digest"), ("notify", "enabled"), ("pacs", "enabled"))


class DeliverMode(StrEnum):
    """Whether drafts leave. OFF is shadow mode: everything is computed and shown, nothing is sent."""

    OFF = "off"
    DRAFT = "draft"


def _state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/interval")
    return Path.home() / ".local" / "share" / "interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """The node itself.

    Attributes
    ----------
    state_dir
        Folder of the spool, the embedded database, imported bundles and the generated web token.
    uid_root
        Root of all UIDs the node gives; 2.25 (UUIDs) needs no registration.
    institution, station_name, device_serial_number
        As they stand in the equipment modules of the node's objects.
    timezone
        IANA name of the zone that dates and times in drafts are written in.
    """

    state_dir: Path = field(default_factory=_state_dir)
    uid_root: str = UUID_ROOT
    institution: str = ""
    station_name: str = "INTERVAL"
    device_serial_number: str = "1"
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as exc:
            raise ConfigError(f"node.timezone: {self.timezone} is not a time zone") from exc

    @property
    def spool_dir(self) -> Path:
        """Folder of received objects and fetched priors."""
        return self.state_dir / "spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an installation may choose. `deliver` is off or draft; `database_url` comes from DATABASE_URL."""

    deliver: DeliverMode = DeliverMode.DRAFT
    node: NodeConfig = field(default_factory=NodeConfig)
    receive: ReceiveConfig = field(default_factory=ReceiveConfig)
    assemble: AssembleConfig = field(default_factory=AssembleConfig)
    priors: PriorsConfig = field(default_factory=PriorsConfig)
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    retrieve: RetrieveConfig = field(default_factory=RetrieveConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    pacs: DeliverConfig = field(default_factory=DeliverConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    ris: RisConfig = field(default_factory=RisConfig)
    patients: PatientsConfig = field(default_factory=PatientsConfig)
    work: WorkConfig = field(default_factory=WorkConfig)
    web: WebConfig = field(default_factory=WebConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    database_url: str = field(default="", repr=False)

    @property
    def configuration_digest(self) -> str:
        """Digest of the settings that can change what a draft says."""
        parts = (TypeAdapter(type(section)).dump_json(section).decode() for section in self._saying())
        return digest(*parts)

    def _saying(self) -> tuple[object, ...]:
        without = {
            "node": replace(self.node, state_dir=Path("-")),
            "report": replace(self.report, configuration_digest=""),
        }
        return tuple(without.get(name, getattr(self, name)) for name in _SAYING)


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a file and the environment; of the environment alone when no file is there by default.

    Raises ConfigError naming the key or file that is wrong.
    """
    environment = _environment() if environment is None else environment
    plain = _merged(path, environment)
    plain["deliver"] = _mode(plain.get("deliver", DeliverMode.DRAFT.value))
    _refuse_derived(plain)
    settings = _with_selection(build(Settings, plain), plain)
    return replace(
        settings,
        database_url=_database_url(environment),
        report=replace(settings.report, configuration_digest=settings.configuration_digest),
        notify=replace(settings.notify, enabled=settings.deliver is DeliverMode.DRAFT),
        pacs=replace(settings.pacs, enabled=settings.deliver is DeliverMode.DRAFT),
    )


def sets_bundle(path: Path | None = None, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the file or the environment sets `encode.bundle`, which then outranks `models select`.

    Raises ConfigError.
    """
    return _sets_bundle(_merged(path, _environment() if environment is None else environment))


def _merged(path: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    section = _read(path or DEFAULT_FILE, required=path is not None)
    return overlay(section, {name: value for name, value in environment.items() if name.startswith(PREFIX)}, Settings)


def _sets_bundle(plain: Mapping[str, Any]) -> bool:
    encode = plain.get("encode")
    return isinstance(encode, Mapping) and "bundle" in encode


def _with_selection(settings: Settings, plain: Mapping[str, Any]) -> Settings:
    """Put in the bundle that `models select` chose, where nothing else says which."""
    selected = None if _sets_bundle(plain) else read_selection(settings.node.state_dir)
    return settings if selected is None else replace(settings, encode=replace(settings.encode, bundle=selected))


def _database_url(environment: Mapping[str, str]) -> str:
    if "DATABASE_URL_FILE" in environment and not environment.get("DATABASE_URL"):
        return secret_in("DATABASE_URL_FILE", environment["DATABASE_URL_FILE"])
    return environment.get("DATABASE_URL", "")


def _refuse_derived(plain: Mapping[str, Any]) -> None:
    """Refuse what the node works out by itself."""
    if "database_url" in plain:
        raise ConfigError("interval.database_url: the database is given by the environment variable DATABASE_URL")
    for section, key in _DERIVED:
        if isinstance(plain.get(section), Mapping) and key in plain[section]:
            raise ConfigError(f"interval.{section}.{key}: there is no such setting")


def child_environment(database_url: str) -> dict[str, str]:
    """Return the environment of a role's process: ours, with the database to use."""
    return {**_environment(), "DATABASE_URL": database_url}


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - the one place


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigError(f"the settings file {path} does not exist") from None
        return {}
    except (OSError, yaml.YAMLError) as exc:
        raise ConfigError(f"the settings file {path} cannot be read ({type(exc).__name__})") from exc
    section = loaded.get(SECTION) if isinstance(loaded, dict) else None
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ConfigError(f"{SECTION}: must hold settings by name")
    return cast("dict[str, Any]", section)


def _mode(value: object) -> str:
    # YAML 1.1 reads a bare `off` as false.
    return DeliverMode.OFF.value if value is False else str(value)
