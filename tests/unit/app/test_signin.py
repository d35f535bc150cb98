"""Sign-in by a static token: what opens, what does not."""

from datetime import UTC, datetime, timedelta

import pytest

from app.web.signin import SESSION, SignIn

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_session_opens_until_it_expires() -> None:
    signin = SignIn("correct horse")
    cookie = signin.session(NOW)
    assert signin.accepts_session(cookie, NOW + SESSION - timedelta(seconds=1))
    assert not signin.accepts_session(cookie, NOW + SESSION + timedelta(seconds=1))


@pytest.mark.parametrize(
    "cookie", [None, "", "9999999999", "9999999999.", ".", "abc.def", "9999999999.0000", "\uff11.\uff12"]
)
def test_what_we_did_not_sign_opens_nothing(cookie: str | None) -> None:
    assert not SignIn("correct horse").accepts_session(cookie, NOW)


def test_a_new_token_ends_all_sessions() -> None:
    cookie = SignIn("old").session(NOW)
    assert not SignIn("new").accepts_session(cookie, NOW)


def test_a_later_expiry_cannot_be_written_into_a_cookie() -> None:
    signin = SignIn("correct horse")
    expires, signature = signin.session(NOW).split(".")
    assert not signin.accepts_session(f"{int(expires) + 1}.{signature}", NOW)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic correct horse", "Bearer wrong", "correct horse"]
)
def test_only_the_bearer_token_opens_the_api(header: str | None) -> None:
    signin = SignIn("correct horse")
    assert not signin.accepts_bearer(header)
    assert signin.accepts_bearer("bearer correct horse")


def test_a_form_of_another_session_is_refused() -> None:
    signin = SignIn("correct horse")
    mine, other = signin.session(NOW), signin.session(NOW + timedelta(seconds=1))
    assert signin.accepts_form(mine, signin.form_token(mine))
    assert not signin.accepts_form(mine, signin.form_token(other))
