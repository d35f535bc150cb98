"""Orthanc as the PACS: the program with its data in a folder, and its own REST interface for looking into it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from app.postgres.ports import LOOPBACK, free_port
from tests.support.peers.process import PeerProcess
from tests.support.peers.programs import path_of

_REST_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """One instance in the archive; `orthanc_id` is Orthanc's own name for it."""

    orthanc_id: str
    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    modality: str


class OrthancArchive:
    """The archive's content over Orthanc's REST interface. Raises httpx.HTTPError when it is away or refuses."""

    def __init__(self, url: str, credentials: tuple[str, str] | None = None) -> None:
        self.url = url
        self._credentials = credentials

    def statistics(self) -> dict[str, Any]:
        """Return Orthanc's counts: CountPatients, CountStudies, CountSeries, CountInstances and sizes."""
        found: dict[str, Any] = self._ask("GET", "/statistics").json()
        return found

    def study_uids(self) -> list[str]:
        """Return the Study Instance UIDs in the archive."""
        studies = self._ask("GET", "/studies?expand").json()
        return sorted(study["MainDicomTags"]["StudyInstanceUID"] for study in studies)

    def instances(self, study_uid: str | None = None) -> list[StoredInstance]:
        """Return the instances of a study, or all of the archive."""
        query = {"StudyInstanceUID": study_uid} if study_uid is not None else {}
        found = self._find("Instance", query)
        return sorted((self._instance(orthanc_id) for orthanc_id in found), key=lambda one: one.sop_instance_uid)

    def download(self, instance: StoredInstance) -> bytes:
        """Return the DICOM file as it was stored."""
        return self._ask("GET", f"/instances/{instance.orthanc_id}/file").content

    def upload(self, content: bytes) -> str:
        """Store a DICOM file by REST (no DICOM association takes part); return Orthanc's name of the instance."""
        name: str = self._ask("POST", "/instances", content=content).json()["ID"]
        return name

    def send_study(self, study_uid: str, modality: str) -> int:
        """Send a study by C-STORE to a modality of the configuration; return how many instances were sent.

        Raises httpx.HTTPStatusError when the other side does not take them all.
        """
        done = self._ask("POST", f"/modalities/{modality}/store", content=json.dumps(self._find_study(study_uid)))
        sent: int = done.json()["InstancesCount"]
        return sent

    def add_modality(self, name: str, ae_title: str, port: int, host: str = LOOPBACK) -> None:
        """Make a further DICOM peer known, until the next start."""
        self._ask("PUT", f"/modalities/{name}", content=json.dumps([ae_title, host, port]))

    def delete_study(self, study_uid: str) -> None:
        """Delete a study."""
        for orthanc_id in self._find_study(study_uid):
            self._ask("DELETE", f"/studies/{orthanc_id}")

    def _find_study(self, study_uid: str) -> list[str]:
        return self._find("Study", {"StudyInstanceUID": study_uid})

    def _find(self, level: str, query: Mapping[str, str]) -> list[str]:
        asked = {"Level": level, "Query": dict(query), "CaseSensitive": True}
        found: list[str] = self._ask("POST", "/tools/find", content=json.dumps(asked)).json()
        return found

    def _instance(self, orthanc_id: str) -> StoredInstance:
        tags = self._ask("GET", f"/instances/{orthanc_id}/simplified-tags").json()
        return StoredInstance(
            orthanc_id=orthanc_id,
            sop_instance_uid=tags["SOPInstanceUID"],
            sop_class_uid=tags["SOPClassUID"],
            series_uid=tags["SeriesInstanceUID"],
            study_uid=tags["StudyInstanceUID"],
            modality=tags.get("Modality", ""),
        )

    def _ask(self, method: str, path: str, content: str | bytes | None = None) -> httpx.Response:
        answer = httpx.request(
            method, self.url + path, content=content, auth=self._credentials, timeout=_REST_TIMEOUT_S, trust_env=False
        )
        return answer.raise_for_status()


class Orthanc(PeerProcess):
    """A PACS on free ports: C-STORE, C-FIND and DICOMweb; `archive` looks into it.

    An instance that comes again is answered with success and kept as it was. Its data outlive `stop` and `kill`.
    `users`: name to password, asked for over HTTP. `modalities`: name to (AE title, port), for `archive.send_study`.
    `settings`: further settings of Orthanc, which win.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "ORTHANC",
        users: Mapping[str, str] | None = None,
        modalities: Mapping[str, tuple[str, int]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder.resolve() / "orthanc.log")
        self._folder = folder.resolve()
        self.ae_title = ae_title
        self.dicom_port = free_port()
        self.http_port = free_port()
        self.users = dict(users or {})
        self._modalities = dict(modalities or {})
        self._settings = dict(settings or {})
        self.archive = OrthancArchive(self.url, next(iter(self.users.items()), None))

    @property
    def url(self) -> str:
        """The address of the REST interface."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def dicom_web_url(self) -> str:
        """The address of QIDO-RS, WADO-RS and STOW-RS."""
        return f"{self.url}/dicom-web"

    def start(self) -> Self:
        """Write the configuration and start. Raises PeerNotReadyError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._configuration_path.write_text(json.dumps(self.configuration(), indent=1), encoding="utf-8")
        return super().start()

    def command(self) -> Sequence[str]:
        """Return the command line."""
        return [path_of("Orthanc"), str(self._configuration_path)]

    def is_ready(self) -> bool:
        """Return whether REST answers."""
        try:
            self.archive.statistics()
        except httpx.HTTPError:
            return False
        return True

    def configuration(self) -> dict[str, Any]:
        """Return Orthanc's configuration."""
        data = str(self._folder / "data")
        return {
            "Name": self.ae_title,
            "StorageDirectory": data,
            "IndexDirectory": data,
            "Plugins": [path_of("libOrthancDicomWeb.so")],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "UnknownSopClassAccepted": True,
            "OverwriteInstances": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "DicomModalities": {name: [title, LOOPBACK, port] for name, (title, port) in self._modalities.items()},
            "DicomScuTimeout": 30,
            "HttpTimeout": 30,
            "DefaultEncoding": "Utf8",
            "TcpNoDelay": True,
            "KeepAlive": True,
            "StableAge": 2,
            "SaveJobs": False,
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "Host": f"{LOOPBACK}:{self.http_port}",
                "Ssl": False,
                "QidoCaseSensitive": True,
            },
        } | self._settings

    @property
    def _configuration_path(self) -> Path:
        return self._folder / "orthanc.json"
