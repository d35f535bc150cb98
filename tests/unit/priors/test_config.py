from typing import Any

import pytest

from operators.domain.errors import ConfigError
from operators.priors.config import PriorsConfig, RelevanceRule


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": "ftp://pacs/"}, "priors.url"),
        ({"url": "pacs:8042/dicom-web"}, "priors.url"),
        ({"url": "http:///dicom-web"}, "priors.url"),
        ({"authentication": "digest"}, "priors.authentication"),
        ({"authentication": "basic", "username": "node"}, "priors.password"),
        ({"authentication": "bearer"}, "priors.token"),
        ({"client_key": "key.pem"}, "priors.client_certificate"),
        ({"connect_timeout_s": 0.0}, "priors.connect_timeout_s"),
        ({"page_size": 0}, "priors.page_size"),
        ({"max_priors": 0}, "max_priors"),
        ({"give_up_after_s": -1.0}, "priors.give_up_after_s"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PriorsConfig(**settings)
    assert named in caught.value.sentence


@pytest.mark.parametrize(
    "facts",
    [{"modalities": ()}, {"prior_modalities": ()}, {"name": ""}, {"max_age_days": -1}, {"max_images": 0}],
)
def test_a_rule_that_can_choose_nothing_is_refused(facts: dict[str, Any]) -> None:
    rule: dict[str, Any] = {"name": "x", "modalities": ("CT",), "prior_modalities": ("CT",)}
    with pytest.raises(ConfigError):
        RelevanceRule(**{**rule, **facts})
