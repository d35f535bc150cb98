"""A whole house on free ports: the node with its embedded database, Orthanc as the PACS, a RIS; all with their logs."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from app.postgres import EmbeddedPostgres
from app.postgres.ports import LOOPBACK, free_port
from tests.support.peers.dcmtk import Peer
from tests.support.peers.orthanc import Orthanc
from tests.support.peers.process import PeerProcess
from tests.support.peers.ris.process import RisProcess

TOKEN = "a token for tests only"
ENDED = ("done", "parked", "withdrawn")


class Node(PeerProcess):
    """`python -m app run` with a settings file of its own; `settings` are put over the test's defaults, per section."""

    ready_timeout_s = 90.0

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder / "node.log")
        self.folder = folder
        self.dicom_port = free_port()
        self.web_port = free_port()
        self.state_dir = folder / "state"
        self.config_path = folder / "interval.yaml"
        self.settings = settings
        self.token = str(settings.get("web", {}).get("token", TOKEN))

    @property
    def url(self) -> str:
        """The address of the pages."""
        return f"http://{LOOPBACK}:{self.web_port}"

    @property
    def peer(self) -> Peer:
        """Where senders send to."""
        return Peer(port=self.dicom_port, called="INTERVAL")

    def start(self) -> Self:
        """Write the settings and start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(yaml.safe_dump({"interval": self._merged()}), encoding="utf-8")
        return super().start()

    def command(self) -> Sequence[str]:
        """Return the command line."""
        return [sys.executable, "-m", "app", "run", "--config", str(self.config_path)]

    def is_ready(self) -> bool:
        """Return whether all roles say that they are up."""
        health = self.health()
        return health.get("status") == "ok" and {"receive", "work", "web"} <= set(health.get("roles", {}))

    def health(self) -> dict[str, Any]:
        """Return what /healthz says; {} when it does not answer."""
        try:
            found: dict[str, Any] = httpx.get(f"{self.url}/healthz", timeout=5.0, trust_env=False).json()
        except (httpx.HTTPError, json.JSONDecodeError):
            return {}
        return found

    def get(self, path: str) -> Any:
        """Return the JSON of an API path."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.get(self.url + path, headers=headers, timeout=30.0, trust_env=False).raise_for_status().json()

    def states(self) -> dict[str, str]:
        """Return each study's state."""
        return {row["study_uid"]: row["state"] for row in self.get("/api/v1/studies?limit=500")}

    def stop(self) -> None:
        """Stop the node, and its database if it was left behind."""
        super().stop()
        EmbeddedPostgres(self.state_dir / "postgres").stop()

    def _merged(self) -> dict[str, Any]:
        defaults: dict[str, dict[str, Any]] = {
            "node": {"state_dir": str(self.state_dir)},
            "receive": {"port": self.dicom_port},
            "assemble": {"quiet_s": 1.0, "settle_s": 0.5},
            "web": {"port": self.web_port, "token": self.token},
        }
        merged: dict[str, Any] = {name: dict(values) for name, values in defaults.items()}
        for name, values in self.settings.items():
            merged[name] = {**merged.get(name, {}), **values} if isinstance(values, Mapping) else values
        return merged


class House:
    """PACS, RIS and node, wired to each other. Use as a context manager; everything ends with it."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.pacs = Orthanc(folder / "pacs")
        self.ris = RisProcess(folder / "ris")
        wired: dict[str, Any] = {
            "priors": {"url": self.pacs.dicom_web_url},
            "pacs": {"stow": [{"name": "pacs", "url": self.pacs.dicom_web_url}]},
            "notify": {"destinations": [{"name": "ris", "host": LOOPBACK, "port": self.ris.port}]},
        }
        for name, values in (settings or {}).items():
            wired[name] = {**wired.get(name, {}), **values} if isinstance(values, Mapping) else values
        self.node = Node(folder / "node", wired)

    def __enter__(self) -> Self:
        self.pacs.start()
        self.ris.start()
        self.node.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.node.stop()
        self.ris.stop()
        self.pacs.stop()
