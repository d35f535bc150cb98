"""Settings that cannot be are refused at the start."""

from typing import Any

import pytest

from operators.domain.errors import ConfigError
from operators.domain.tls_config import TlsConfig
from operators.receive.config import ReceiveConfig, SpoolConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"ae_title": ""},
        {"ae_title": "   "},
        {"ae_title": "SEVENTEEN_CHARS_X"},
        {"calling_ae_titles": ("A\\B",)},
        {"called_ae_titles": ("Ä",)},
        {"processes": 0},
        {"maximum_associations": 0},
        {"maximum_associations": 201},
        {"maximum_pdu_bytes": 100},
        {"network_timeout_s": 0.0},
        {"tick_s": -1.0},
        {"port": 65536},
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="receive"):
        ReceiveConfig(**settings)


@pytest.mark.parametrize(
    "settings", [{"keep_days": -1.0}, {"refuse_below_mib": 10, "purge_below_mib": 5}, {"sweep_every_s": 0.0}]
)
def test_a_wrong_spool_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"receive\.spool"):
        SpoolConfig(**settings)


def test_client_certificates_need_an_authority() -> None:
    with pytest.raises(ConfigError, match="ca_path"):
        TlsConfig(certificate_path="a", key_path="b")


def test_the_contracts_defaults() -> None:
    config = ReceiveConfig()

    assert (config.ae_title, config.bind, config.port) == ("INTERVAL", "127.0.0.1", 11112)
