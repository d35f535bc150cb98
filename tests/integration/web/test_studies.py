"""Studies on the pages and in the API: what is shown, retried and discarded, and what is refused."""

import re

import httpx
import pytest

from operators.domain.database import Pool, transaction
from tests.support.serving import BEARER, PARKED
from tests.support.working import job_of, put_revision, queued_jobs, revision_row

pytestmark = pytest.mark.peer


def form_token(client: httpx.Client, path: str = "/") -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def test_the_page_says_what_is_parked_why_and_what_to_do(admin: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of(), "parked", **PARKED)
    for path in ("/", "/studies/1.2.3"):
        page = admin.get(path).text
        assert PARKED["reason"] in page
        assert "Check View Position at the modality" in page
        assert "Retry" in page
        assert "Discard" in page


def test_names_cannot_bring_markup_into_a_page(admin: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of())
    with transaction(pool) as connection:
        connection.execute("UPDATE studies SET patient_name = '<script>alert(1)</script>'")
    for path in ("/", "/studies/1.2.3"):
        page = admin.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_a_form_of_the_session_retries_and_discards(admin: httpx.Client, pool: Pool) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    token = form_token(admin)
    answer = admin.post("/studies/1.2.3/discard", data={"form_token": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/studies/1.2.3")
    assert revision_row(pool, job)["state"] == "withdrawn"
    assert admin.post("/studies/1.2.3/retry", data={"form_token": token}).status_code == 303
    assert revision_row(pool, job)["state"] == "queued"
    assert len(queued_jobs(pool)) == 1


@pytest.mark.parametrize("wish", ["retry", "discard"])
@pytest.mark.parametrize("form", [{}, {"form_token": ""}, {"form_token": "0" * 64}])
def test_a_form_of_another_site_changes_nothing(
    admin: httpx.Client, pool: Pool, wish: str, form: dict[str, str]
) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    assert admin.post(f"/studies/1.2.3/{wish}", data=form).status_code == 403
    assert revision_row(pool, job)["state"] == "parked"


def test_a_session_reads_the_api_but_changes_need_the_token(admin: httpx.Client, pool: Pool) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    assert admin.get("/api/v1/studies").status_code == 200
    assert admin.post("/api/v1/studies/1.2.3/discard").status_code == 401
    assert revision_row(pool, job)["state"] == "parked"


def test_the_api_retries_discards_and_says_why_it_does_not(anybody: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of(), "parked", **PARKED)
    assert anybody.post("/api/v1/studies/1.2.3/retry", headers=BEARER).json() == {"status": "queued"}
    refused = anybody.post("/api/v1/studies/1.2.3/retry", headers=BEARER)
    assert refused.status_code == 409
    assert "its state is queued" in refused.text
    assert anybody.post("/api/v1/studies/1.2.3/discard", headers=BEARER).status_code == 409


def test_the_api_lists_and_filters(anybody: httpx.Client, pool: Pool) -> None:
    put_revision(pool, job_of("1.2.3"), "parked", **PARKED)
    put_revision(pool, job_of("1.2.4"), "queued")
    rows = anybody.get("/api/v1/studies", headers=BEARER).json()
    assert {row["study_uid"] for row in rows} == {"1.2.3", "1.2.4"}
    (row,) = anybody.get("/api/v1/studies?state=parked", headers=BEARER).json()
    assert (row["study_uid"], row["reason_code"], row["waits_for"]) == ("1.2.3", "no-readable-view", PARKED["reason"])
    assert len(anybody.get("/api/v1/studies?limit=1&offset=1", headers=BEARER).json()) == 1


@pytest.mark.parametrize("path", ["/api/v1/studies?state=lost", "/api/v1/studies?limit=0", "/api/v1/studies/abc"])
def test_a_question_that_cannot_be_meant_is_refused(anybody: httpx.Client, path: str) -> None:
    assert anybody.get(path, headers=BEARER).status_code == 422


def test_what_is_unknown_is_not_found(admin: httpx.Client) -> None:
    assert admin.get("/api/v1/studies/1.2.99").status_code == 404
    assert admin.get("/studies/1.2.99").status_code == 404
    assert admin.get("/studies/1.2.99/draft.pdf").status_code == 404


def test_the_api_describes_itself(anybody: httpx.Client) -> None:
    described = anybody.get("/openapi.json").json()
    assert {"/api/v1/studies", "/api/v1/studies/{study_uid}", "/healthz"} <= set(described["paths"])
