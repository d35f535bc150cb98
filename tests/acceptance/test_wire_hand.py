"""The admin's hand: nothing is shown without a token; parked studies are retried and discarded by API, page and CLI."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.wire import Wire
from tests.support.peers.process import wait_until

pytestmark = [pytest.mark.peer, pytest.mark.acceptance]

ROOT = Path(__file__).resolve().parents[2]


def closed_to_strangers(wire: Wire) -> list[str]:
    uid = wire.uid("greek")
    return ["/", f"/studies/{uid}", f"/studies/{uid}/draft.pdf", "/api/v1/studies", f"/api/v1/studies/{uid}"]


@pytest.fixture
def browser(wire: Wire) -> Iterator[httpx.Client]:
    """A browser that has signed in by the form."""
    with httpx.Client(base_url=wire.node.url, trust_env=False, timeout=30.0) as client:
        assert client.post("/signin", data={"token": wire.node.token}).status_code == 303
        yield client


def attempts_of(wire: Wire, name: str) -> str:
    return f"{wire.last_job()} {wire.detail(name)['study']['state']}"


def parks_again(wire: Wire, name: str, before: str) -> bool:
    """Whether a retried study gets a new job and is parked again with its reason."""
    return wait_until(lambda: _is_parked_anew(wire, name, before), 60.0)


def _is_parked_anew(wire: Wire, name: str, before: str) -> bool:
    now = attempts_of(wire, name)
    return now != before and now.endswith(" parked")


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer not the token at all"}, {"Cookie": "interval_session=1.2"}]
)
def test_nothing_is_shown_without_the_token(headers: dict[str, str], wire: Wire) -> None:
    for path in closed_to_strangers(wire):
        answer = wire.ask(path, **headers)
        assert answer.status_code == (401 if path.startswith("/api") else 303)
        assert "WIRE-greek" not in answer.text
        assert answer.headers.get("location", "/signin") == "/signin"


@pytest.mark.parametrize("wish", ["retry", "discard"])
def test_nothing_is_changed_without_the_token(wish: str, wire: Wire, browser: httpx.Client) -> None:
    uid, before = wire.uid("short"), attempts_of(wire, "short")
    url = wire.node.url
    assert httpx.post(f"{url}/api/v1/studies/{uid}/{wish}", trust_env=False).status_code == 401
    assert httpx.post(f"{url}/studies/{uid}/{wish}", trust_env=False).status_code == 303
    assert browser.post(f"/studies/{uid}/{wish}").status_code == 403  # a session, but no token of its form
    assert browser.post(f"/api/v1/studies/{uid}/{wish}").status_code == 401  # a session is not enough to change
    assert attempts_of(wire, "short") == before


def test_wrong_token_does_not_sign_in(wire: Wire) -> None:
    answer = httpx.post(f"{wire.node.url}/signin", data={"token": "not the token at all"}, trust_env=False)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_health_and_metrics_answer_strangers_and_name_no_patient(wire: Wire) -> None:
    assert wire.ask("/healthz").json()["status"] == "ok"
    metrics = wire.ask("/metrics")
    assert 'interval_studies{state="done"}' in metrics.text
    assert "WIRE" not in metrics.text


def test_pages_show_studies_drafts_and_what_waits(wire: Wire, browser: httpx.Client) -> None:
    listed = browser.get("/").text
    assert "Παπαδόπουλος, Γιώργος" in listed
    assert "The image claims a size that cannot be right" in listed
    page = browser.get(f"/studies/{wire.uid('greek')}").text
    assert "draft, not verified" in page
    for sentence in wire.detail("greek")["comparison"]["sentences"]:
        assert sentence["text"].replace("'", "&#39;") in page
    assert browser.get("/studies/1.2.3").status_code == 404


def test_parked_study_is_retried_and_discarded_by_api(wire: Wire) -> None:
    uid, before = wire.uid("absurd-api"), attempts_of(wire, "absurd-api")
    assert changed(wire, uid, "retry") == 202
    assert parks_again(wire, "absurd-api", before)
    assert changed(wire, uid, "discard") == 202
    row = wire.detail("absurd-api")["study"]
    assert (row["state"], row["reason_code"]) == ("withdrawn", "discarded")
    assert changed(wire, uid, "discard") == 409


def changed(wire: Wire, uid: str, wish: str) -> int:
    """Return the status that the API answers a wish with."""
    headers = {"Authorization": f"Bearer {wire.node.token}"}
    return httpx.post(f"{wire.node.url}/api/v1/studies/{uid}/{wish}", headers=headers, trust_env=False).status_code


def test_parked_study_is_retried_and_discarded_on_its_page(wire: Wire, browser: httpx.Client) -> None:
    path = f"/studies/{wire.uid('absurd-page')}"
    before = attempts_of(wire, "absurd-page")
    assert submit(browser, path, "retry").headers["location"] == path
    assert parks_again(wire, "absurd-page", before)
    assert submit(browser, path, "discard").headers["location"] == path
    page = browser.get(path).text
    assert "An admin discarded the study." in page
    assert f'action="{path}/discard"' not in page


def submit(browser: httpx.Client, path: str, wish: str) -> httpx.Response:
    """Submit the form that the page has for a wish."""
    page = browser.get(path).text
    form = page[page.index(f'action="{path}/{wish}"') :]
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', form)
    assert token
    answer = browser.post(f"{path}/{wish}", data={"form_token": token[1]})
    assert answer.status_code == 303
    return answer


def test_parked_study_is_retried_and_discarded_by_command(wire: Wire) -> None:
    uid, before = wire.uid("absurd-cli"), attempts_of(wire, "absurd-cli")
    listed = json.loads(command(wire, "list", "--state", "parked", "--json").stdout)
    assert uid in {row["study_uid"] for row in listed}
    assert json.loads(command(wire, "retry", "--json", uid).stdout) == {"study_uid": uid, "done": "retry"}
    assert parks_again(wire, "absurd-cli", before)
    assert "claims a size" in command(wire, "show", uid).stdout
    assert command(wire, "discard", uid).returncode == 0
    assert wire.detail("absurd-cli")["study"]["state"] == "withdrawn"
    refused = command(wire, "discard", uid)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "withdrawn" in refused.stderr


def command(wire: Wire, verb: str, *arguments: str) -> Any:
    """Run `python -m app studies VERB` against the node."""
    line = [sys.executable, "-m", "app", "studies", verb, "--config", str(wire.node.config_path), *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)
