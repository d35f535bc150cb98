"""Real peers on loopback: a PACS, a RIS, DICOM senders and receivers, a database, certificates."""

from app.postgres.ports import free_port
from tests.support.peers.database import fresh_postgres
from tests.support.peers.dcmtk import FileOutcome, Peer, StoreOutcome, dcmsend, echoscu, findscu, storescu
from tests.support.peers.folders import open_folder
from tests.support.peers.orthanc import Orthanc, OrthancArchive, StoredInstance
from tests.support.peers.process import PeerNotReadyError
from tests.support.peers.programs import require, require_or_exit
from tests.support.peers.ris import Answer, RisMessage, RisPeer, RisProcess
from tests.support.peers.storescp import Storescp
from tests.support.peers.tls import TlsMaterial, make_tls

__all__ = [
    "Answer",
    "FileOutcome",
    "Orthanc",
    "OrthancArchive",
    "Peer",
    "PeerNotReadyError",
    "RisMessage",
    "RisPeer",
    "RisProcess",
    "StoreOutcome",
    "StoredInstance",
    "Storescp",
    "TlsMaterial",
    "dcmsend",
    "echoscu",
    "findscu",
    "free_port",
    "fresh_postgres",
    "make_tls",
    "open_folder",
    "require",
    "require_or_exit",
    "storescu",
]
