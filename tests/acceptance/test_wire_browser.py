"""The pages in a real browser: sign-in by the form, styles and forms that the content security policy lets through."""

from collections.abc import Iterator

import pytest

from tests.acceptance.ohif_browser import Browser
from tests.acceptance.wire import Wire
from tests.support.peers import require

pytestmark = [pytest.mark.peer, pytest.mark.acceptance]

_LONGEST_S = 20.0


@pytest.fixture(scope="module")
def browser(wire: Wire) -> Iterator[Browser]:
    """A browser that has signed in by the form."""
    require("chromium")
    with Browser(width_px=1360, height_px=900) as opened:
        opened.go(f"{wire.node.url}/studies/{wire.uid('greek')}")
        assert opened.wait_for("document.querySelectorAll('#token').length", _LONGEST_S), "the sign-in page"
        opened.evaluate(f"document.querySelector('#token').value = '{wire.node.token}'")
        assert opened.click_text(".signin button", "Sign in")
        assert opened.wait_for("document.querySelectorAll('nav.states').length", _LONGEST_S), "the studies"
        yield opened


def test_studies_are_listed_with_style(browser: Browser) -> None:
    assert browser.evaluate("document.querySelectorAll('tbody tr').length") > 5
    assert browser.evaluate("getComputedStyle(document.querySelector('th')).textAlign") == "left"
    assert "Yamada, Tarou (山田, 太郎; やまだ, たろう)" in browser.evaluate("document.body.innerText")


def test_study_leads_to_its_draft(browser: Browser, wire: Wire) -> None:
    assert browser.click_text("td a", "Παπαδόπουλος")
    assert browser.wait_for("document.querySelectorAll('.sentence').length", _LONGEST_S)
    shown = browser.evaluate("document.body.innerText")
    for sentence in wire.detail("greek")["comparison"]["sentences"]:
        assert sentence["text"] in shown
    assert "draft, not verified" in shown
    assert browser.evaluate("document.querySelector('a.button').getAttribute('href')").endswith("/draft.pdf")


def test_parked_study_is_retried_by_a_click(browser: Browser, wire: Wire) -> None:
    browser.go(f"{wire.node.url}/studies/{wire.uid('absurd')}")
    assert browser.wait_for("document.querySelectorAll('.waits').length", _LONGEST_S)
    before = wire.last_job()
    assert browser.click_text("form button", "Retry")
    wire.wait_for_jobs_after(before)
    wire.wait_for_end(wire.node, ["absurd"])
    assert wire.detail("absurd")["study"]["state"] == "parked"


def test_signing_out_ends_the_session(browser: Browser, wire: Wire) -> None:
    assert browser.click_text("header button", "Sign out")
    assert browser.wait_for("document.querySelectorAll('#token').length", _LONGEST_S)
    browser.go(f"{wire.node.url}/studies/{wire.uid('greek')}")
    assert browser.wait_for("document.querySelectorAll('#token').length", _LONGEST_S)
