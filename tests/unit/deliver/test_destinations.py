from pathlib import Path

import pytest

from operators.deliver.config import CStoreDestination, DeliverConfig, DicomTls, OutboxConfig, StowDestination
from operators.deliver.cstore import CStoreSender
from operators.deliver.senders import pacs_senders
from operators.deliver.stage import DeliverStage
from operators.deliver.stow import StowSender
from operators.domain.drafts import DocumentKind
from operators.domain.errors import ConfigError
from operators.domain.ids import AeTitle, Destination
from tests.support.comparisons import comparison
from tests.support.drafts import draft_of

STOW = StowDestination(name=Destination("web"), url="http://127.0.0.1:1/dicom-web")
STORE = CStoreDestination(
    name=Destination("old"),
    host="127.0.0.1",
    port=104,
    called_ae=AeTitle("PACS"),
    kinds=(DocumentKind.PDF,),
)
BOTH = DeliverConfig(stow=(STOW,), cstore=(STORE,))


def test_each_destination_gets_the_documents_it_takes(tmp_path: Path) -> None:
    entries = DeliverStage(BOTH)(draft_of(comparison(tmp_path))).entries
    assert [(entry.destination, entry.document.kind) for entry in entries] == [
        ("web", DocumentKind.SR),
        ("web", DocumentKind.PDF),
        ("old", DocumentKind.PDF),
    ]


def test_shadow_mode_addresses_nothing_and_opens_nothing(tmp_path: Path) -> None:
    shadow = DeliverConfig(enabled=False, stow=(STOW,), cstore=(STORE,))
    draft = draft_of(comparison(tmp_path))
    dispatches = DeliverStage(shadow)(draft)
    assert dispatches.entries == ()
    assert dispatches.draft is draft
    assert pacs_senders(shadow) == {}


def test_every_destination_has_a_sender() -> None:
    senders = pacs_senders(BOTH)
    assert isinstance(senders[STOW.name], StowSender)
    assert isinstance(senders[STORE.name], CStoreSender)


def test_two_destinations_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="same name"):
        DeliverConfig(stow=(STOW, STOW))


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://host/"},
        {"url": "host:8042"},
        {"name": Destination(" ")},
        {"kinds": ()},
        {"kinds": (DocumentKind.ORU,)},
        {"authentication": "digest"},
        {"authentication": "basic", "username": "u"},
        {"authentication": "bearer"},
        {"client_key": Path("key.pem")},
        {"connect_timeout_s": 0.0},
    ],
)
def test_stow_destination_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    facts: dict[str, object] = {"name": Destination("web"), "url": "http://host/dicom-web", **wrong}
    with pytest.raises(ConfigError):
        StowDestination(**facts)  # type: ignore[arg-type] # the wrong values are the point


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0},
        {"host": ""},
        {"called_ae": AeTitle("A" * 17)},
        {"called_ae": AeTitle("  ")},
        {"calling_ae": AeTitle("ÄRZTE")},
        {"answer_timeout_s": -1.0},
    ],
)
def test_cstore_destination_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    facts: dict[str, object] = {
        "name": Destination("old"),
        "host": "127.0.0.1",
        "port": 104,
        "called_ae": AeTitle("PACS"),
        **wrong,
    }
    with pytest.raises(ConfigError):
        CStoreDestination(**facts)  # type: ignore[arg-type] # the wrong values are the point


@pytest.mark.parametrize(
    "wrong", [{"first_wait_s": 0.0}, {"longest_wait_s": 0.5}, {"lease_s": 1.0}, {"most_attempts": 0}, {"poll_s": 0.0}]
)
def test_impatience_that_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        OutboxConfig(**wrong)  # type: ignore[arg-type] # mypy cannot tell which of the two number types a key wants


def test_certificate_file_that_is_not_there_is_refused_at_start(tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    with pytest.raises(ConfigError):
        StowSender(StowDestination(name=Destination("web"), url="https://host/dicom-web", ca_file=gone))
    tls = CStoreDestination(
        name=Destination("old"), host="h", port=2762, called_ae=AeTitle("PACS"), tls=DicomTls(ca_file=gone)
    )
    with pytest.raises(ConfigError):
        CStoreSender(tls)


def test_secrets_do_not_show_in_the_settings_text() -> None:
    of = StowDestination(
        name=Destination("web"), url="http://h/", authentication="basic", username="u", password="swordfish"
    )
    assert "swordfish" not in repr(of)
