"""Searches at a server that pages and decodes as it likes: every answer is found, or the search is incomplete."""

from collections.abc import Iterator

import pytest

from tests.support.scripted_web import Answer, ScriptedServer, answering, archive_of, rows, running, study_row


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    yield from running()


def test_no_content_is_no_study(server: ScriptedServer) -> None:
    server.answer = answering(204)
    answers = archive_of(server).find_studies("P-1")
    assert (answers.candidates, answers.is_complete) == ((), True)


def test_pages_are_read_until_one_brings_nothing_new(server: ScriptedServer) -> None:
    every = [study_row(f"1.2.{number}") for number in range(130)]

    def capped(path: str, query: dict[str, list[str]]) -> Answer:
        offset = int(query["offset"][0])
        return rows(every[offset : offset + 60])

    server.answer = capped
    answers = archive_of(server, page_size=100).find_studies("P-1")
    assert len(answers.candidates) == 130
    assert answers.is_complete
    assert answers.candidates[0].modalities == ("DX", "SR")


def test_a_server_that_ignores_the_offset_does_not_hold_the_search_up(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row(f"1.2.{number}") for number in range(80)])
    answers = archive_of(server, page_size=50).find_studies("P-1")
    assert (len(answers.candidates), answers.is_complete) == (80, True)


def test_more_answers_than_are_looked_at_make_the_search_incomplete(server: ScriptedServer) -> None:
    def endless(path: str, query: dict[str, list[str]]) -> Answer:
        offset = int(query["offset"][0])
        return rows([study_row(f"1.2.{offset + number}") for number in range(10)])

    server.answer = endless
    assert not archive_of(server, page_size=10, max_answers=40).find_studies("P-1").is_complete


def test_queries_are_percent_encoded_and_attributes_are_named(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row("1.2.1", "A B/C+1&2")])
    archive_of(server).find_studies("A B/C+1&2")
    query = server.requests[0][0].partition("?")[2]
    assert "PatientID=A%20B%2FC%2B1%262" in query
    assert "includefield=IssuerOfPatientID" in query
    assert len(server.requests) == 1


def test_an_id_that_the_server_may_not_have_decoded_is_asked_for_by_wildcard(server: ScriptedServer) -> None:
    def literal(path: str, query: dict[str, list[str]]) -> Answer:
        asked = server.requests[-1][0].partition("PatientID=")[2].partition("&")[0]
        return rows([study_row("1.2.1", "AB 12"), study_row("1.2.2", "ABC12")] if asked == "AB*12" else [])

    server.answer = literal
    answers = archive_of(server).find_studies("AB 12")
    assert [candidate.patient.patient_id for candidate in answers.candidates] == ["AB 12", "ABC12"]


def test_an_id_of_hardly_more_than_wildcards_leaves_the_search_incomplete(server: ScriptedServer) -> None:
    answers = archive_of(server).find_studies("王小明")
    assert (answers.candidates, answers.is_complete) == ((), False)
    assert len(server.requests) == 1


def test_an_id_that_the_server_cannot_write_leaves_the_search_incomplete(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row("1.2.1", "-1234")])
    assert not archive_of(server).find_studies("王-1234").is_complete
    server.answer = lambda path, query: rows([study_row("1.2.1", "Ä-12345")])
    assert archive_of(server).find_studies("王-1234").is_complete


def test_answers_with_uids_that_are_none_are_dropped(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row("../../etc"), study_row(".."), {}, study_row("1.2.1")])
    assert [candidate.study_uid for candidate in archive_of(server).find_studies("P-1").candidates] == ["1.2.1"]
