"""Settings of the listener for HL7 messages, and whom they let in."""

from typing import Any

import pytest

from operators.domain.errors import ConfigError
from operators.domain.hl7.message import read_message
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.domain.tls_config import TlsConfig
from operators.ris.config import RisConfig
from operators.ris.judging import judge
from tests.support.adt import adt

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 65536},
        {"maximum_connections": 0},
        {"maximum_message_bytes": 10},
        {"message_timeout_s": 0.0},
        {"keep_days": -1.0},
        {"character_set": "KLINGON"},
        {"processing_ids": ()},
        {"processing_ids": ("X",)},
        {"senders": ("|",)},
        {"addresses": ("10.0.0.0/33",)},
        {"bind": "localhost"},
        {"enabled": True, "bind": EVERYWHERE},
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="ris:"):
        RisConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"addresses": ("10.0.0.0/8",)},
        {"tls": TlsConfig(certificate_path="a", key_path="b", ca_path="c")},
    ],
)
def test_an_open_address_needs_networks_or_client_certificates(settings: dict[str, Any]) -> None:
    assert RisConfig(enabled=True, bind=EVERYWHERE, **settings).enabled


def test_the_contracts_defaults() -> None:
    config = RisConfig()
    assert (config.enabled, config.bind, config.port) == (False, "127.0.0.1", 2575)


@pytest.mark.parametrize(
    ("addresses", "peer", "admitted"),
    [
        ((), "10.1.2.3", True),
        (("10.1.0.0/16",), "10.1.2.3", True),
        (("10.1.0.0/16",), "10.2.2.3", False),
        (("10.1.2.3", "fd00::/8"), "fd00::1", True),
        (("10.1.2.3",), "::ffff:10.1.2.3", True),
        (("10.1.2.3",), "fe80::1%eth0", False),
    ],
)
def test_addresses_say_who_may_connect(addresses: tuple[str, ...], peer: str, *, admitted: bool) -> None:
    assert RisConfig(addresses=addresses).admits(peer) is admitted


@pytest.mark.parametrize(
    ("senders", "taken"),
    [((), True), (("RIS",), True), (("RIS|MAIN",), True), (("RIS|OTHER",), False), (("PACS", "HIS"), False)],
)
def test_senders_say_whose_messages_are_taken(senders: tuple[str, ...], *, taken: bool) -> None:
    assert RisConfig(senders=senders).takes_from("RIS", "MAIN") is taken


@pytest.mark.parametrize(
    ("header", "settings", "reason"),
    [
        ({"msh_11": "T"}, {}, RefusalReason.PROCESSING_ID),
        ({"msh_11": "T^"}, {"processing_ids": ("P", "T")}, None),
        ({"msh_3": "HIS"}, {"senders": ("RIS",)}, RefusalReason.SENDER),
        ({"msh_9": "ORU^R01"}, {}, RefusalReason.MESSAGE_TYPE),
        ({}, {}, None),
    ],
)
def test_messages_are_judged_by_their_header(
    header: dict[str, str], settings: dict[str, Any], reason: RefusalReason | None
) -> None:
    message = read_message(adt(("1", "2"), **header).encode(), "ASCII")
    found = None
    try:
        judge(message.header, RisConfig(**settings), {"ADT"})
    except MessageRefusedError as refused:
        found = refused.reason
    assert found is reason
