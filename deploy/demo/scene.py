"""The play itself: a house and DICOM files in, the follow-up's study carried to `done`.

A modality sends to the PACS and to the node, as in a hospital; dcmtk's dcmsend is that modality.
"""

import secrets
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
import pydicom

from deploy.demo.films import Film, Role
from deploy.demo.telling import Telling
from tests.support.house import ENDED, House
from tests.support.peers import Peer, dcmsend

_POLL_S = 0.1
_LONGEST_S = 150.0
_STATES = {
    "receiving": "its images come in",
    "assembling": "no more images come: it is put together",
    "queued": "it is complete and waits for its turn",
    "working": "priors are fetched, both films are read and compared",
    "delivering": "the draft is written and goes to the PACS and the RIS",
    "done": "the PACS has stored the draft and the RIS has acknowledged it",
    "parked": "it was put aside",
    "withdrawn": "it was withdrawn",
}


class DemoFailedError(Exception):
    """The main job did not come to its end; the text says where and why."""


def make_house(folder: Path, out: Path) -> House:
    """Return the house, not started: state and logs below `folder`, the node's settings file in `out`."""
    settings: dict[str, Any] = {
        "node": {"institution": "Interval demonstration"},
        "web": {"token": secrets.token_urlsafe(18)},
    }
    house = House(folder, settings)
    house.node.config_path = out.resolve() / "interval.yaml"
    return house


def start(house: House, tell: Telling) -> None:
    """Start PACS, RIS and node side by side. Raises PeerNotReadyError."""
    peers = {
        house.pacs: f"The PACS is up: Orthanc, DICOM port {house.pacs.dicom_port}, DICOMweb {house.pacs.dicom_web_url}",
        house.ris: f"The RIS is up: MLLP port {house.ris.port}",
        house.node: f"The node is up: DICOM port {house.node.dicom_port}, pages at {house.node.url}",
    }
    with ThreadPoolExecutor(len(peers)) as starters:
        started = {starters.submit(peer.start): said for peer, said in peers.items()}
        for future in as_completed(started):
            future.result()
            tell(started[future])


def fill(house: House, paths: Mapping[Film, Path], tell: Telling) -> None:
    """Put all earlier films into the PACS, those of other patients into the node too, and wait for their drafts."""
    others = [path for film, path in paths.items() if film.role is Role.ARCHIVE]
    prior = [path for film, path in paths.items() if film.role is Role.PRIOR]
    tell(f"{len(others) + len(prior)} earlier studies go into the PACS by C-STORE, one of them the prior")
    _send([*prior, *others], Peer(port=house.pacs.dicom_port, called=house.pacs.ae_title))
    tell(f"{len(others)} of them, of other patients, go to the node too: its index shall hold cases to find")
    _send(others, house.node.peer)
    _wait_for(house, {_study_uid(path) for path in others}, tell)


def send_follow_up(house: House, path: Path, tell: Telling) -> float:
    """Send the current film and wait until its study is done; return the seconds it took."""
    began_s = time.monotonic()
    tell("The follow-up film is taken: the modality sends it to the PACS and to the node by C-STORE (dcmsend)")
    _send([path], Peer(port=house.pacs.dicom_port, called=house.pacs.ae_title, calling="MODALITY"))
    _send([path], Peer(port=house.node.dicom_port, called="INTERVAL", calling="MODALITY"))
    _follow(house, _study_uid(path), tell)
    return time.monotonic() - began_s


def _send(paths: list[Path], peer: Peer) -> None:
    outcome = dcmsend(paths, peer)
    if not outcome.all_stored:
        reasons = sorted({one.reason for one in outcome.files if one.status != 0})
        raise DemoFailedError(f"C-STORE to {peer.called} was not answered with success: {'; '.join(reasons)}.")


def _wait_for(house: House, study_uids: Iterable[str], tell: Telling) -> None:
    wanted, told = set(study_uids), -1
    ends_s = time.monotonic() + _LONGEST_S
    while True:
        states = {uid: state for uid, state in _states(house).items() if uid in wanted}
        done = list(states.values()).count("done")
        if done != told:
            told = done
            tell(f"The node has read {done} of {len(wanted)}")
        if done == len(wanted):
            return
        _refuse_end(house, states, ends_s)
        time.sleep(_POLL_S)


def _follow(house: House, study_uid: str, tell: Telling) -> None:
    told = ""
    ends_s = time.monotonic() + _LONGEST_S
    while told != "done":
        state = _states(house).get(study_uid, "")
        if state and state != told:
            told = state
            tell(f"The study is {state}: {_STATES[state]}")
        _refuse_end(house, {study_uid: state}, ends_s)
        time.sleep(_POLL_S)


def _states(house: House) -> dict[str, str]:
    try:
        return house.node.states()
    except httpx.HTTPError as exc:
        raise DemoFailedError(f"The node's API does not answer ({type(exc).__name__}).") from exc


def _refuse_end(house: House, states: Mapping[str, str], ends_s: float) -> None:
    """Raise DemoFailedError for a study that ended otherwise than done, or when the time is over."""
    for study_uid, state in states.items():
        if state in ENDED and state != "done":
            reason = house.node.get(f"/api/v1/studies/{study_uid}")["study"]["waits_for"]
            raise DemoFailedError(f"A study is {state} instead of done: {reason}")
    if time.monotonic() > ends_s:
        raise DemoFailedError(f"Not done after {_LONGEST_S:.0f} s; states: {', '.join(sorted(set(states.values())))}.")


def _study_uid(path: Path) -> str:
    return str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
