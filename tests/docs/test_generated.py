"""Generated documentation: up to date, and every setting, metric and document of the code stands in it."""

import re
from pathlib import Path

import pytest

from app.overview import STATES
from app.settings_source import PREFIX
from deploy.docs.describe import SET_BY_THE_NODE, settings, supplement
from deploy.docs.generate import BLOCKS, FROM_THE_MACHINE, pages, rendered
from operators.deliver import cstore
from tests.docs.pages import ROOT

DOCS = ROOT / "deploy" / "docs"


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    assert written == rendered(written, skip=FROM_THE_MACHINE), "run: python -m deploy.docs.generate"


def test_every_block_that_can_be_made_stands_on_a_page() -> None:
    written = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert set(re.findall(r"<!-- generated: ([a-z0-9-]+) -->", written)) == set(BLOCKS)


def test_a_block_that_nothing_makes_is_an_error() -> None:
    with pytest.raises(KeyError):
        rendered("<!-- generated: nonsense -->\n<!-- end -->")


def test_a_stale_block_is_replaced_and_the_rest_stays() -> None:
    page = "before\n<!-- generated: rejections -->\nstale\n<!-- end -->\nafter\n"
    made = rendered(page)
    assert made.startswith("before\n")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "stale" not in made
    assert BLOCKS["rejections"]() in made


def test_every_setting_is_described() -> None:
    assert [setting.path for setting in settings() if not setting.meaning] == []


def test_every_number_with_a_unit_in_its_name_has_its_unit() -> None:
    suffixes = ("_s", "_days", "_mib", "_bytes", "_px", "_cosine", "_prob")
    assert [setting.path for setting in settings() if setting.path.endswith(suffixes) and not setting.unit] == []


def test_the_supplement_speaks_of_settings_that_exist() -> None:
    assert set(supplement()) - {setting.path for setting in settings()} == set()


def test_what_the_node_sets_itself_is_no_setting() -> None:
    assert {setting.path for setting in settings()} & SET_BY_THE_NODE == set()


def test_secrets_are_marked_as_such() -> None:
    secrets = {setting.path for setting in settings() if setting.is_secret}
    assert {"web.token", "priors.password", "pacs.stow[].token"} <= secrets
    named = re.compile(r"(password|token)$")
    assert {setting.path for setting in settings() if named.search(setting.path)} == secrets


def test_environment_names_follow_the_rule() -> None:
    by_path = {setting.path: setting.variable for setting in settings()}
    assert by_path["receive.spool.keep_days"] == f"{PREFIX}RECEIVE__SPOOL__KEEP_DAYS"
    assert by_path["pacs.stow[].url"] == ""


def test_every_metric_is_explained() -> None:
    code = (ROOT / "app" / "web" / "health.py").read_text(encoding="utf-8")
    counters = set(re.findall(r'CounterMetricFamily\(\s*"(interval_[a-z_]+)"', code))
    metrics = set(re.findall(r'MetricFamily\(\s*"(interval_[a-z_]+)"', code))
    assert counters
    exposed = {f"{metric}_total" if metric in counters else metric for metric in metrics}
    operations = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(interval_[a-z_]+)`", operations, re.MULTILINE)) == exposed


def test_the_conformance_statement_lists_every_class_that_is_sent() -> None:
    table = BLOCKS["documents"]()
    sent = {str(uid) for uid in cstore._SOP_CLASSES}
    assert set(re.findall(r"`([0-9.]+)`", table)) == sent


def test_every_state_is_explained() -> None:
    operations = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert [state for state in STATES if f"\n| {state} |" not in operations] == []
