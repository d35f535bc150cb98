"""Sign-in by one static token: a bearer header for the API, a signed session cookie for the pages.

The cookie holds an expiry and its HMAC under a key derived from the token, so nothing is stored and a new token ends
all sessions. Changes need the session's own form token besides the cookie, which is SameSite=Strict.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

COOKIE = "interval_session"
SESSION = timedelta(hours=8)


class SignIn:
    """Checks tokens and sessions of one configured token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._key = hashlib.sha256(b"interval session\x1f" + self._token).digest()

    def accepts_token(self, presented: str) -> bool:
        """Whether the presented token is the configured one, in constant time."""
        return hmac.compare_digest(presented.encode(), self._token)

    def accepts_bearer(self, header: str | None) -> bool:
        """Whether an Authorization header carries the token (RFC 6750 2.1)."""
        scheme, _, presented = (header or "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts_token(presented.strip())

    def session(self, now: datetime) -> str:
        """Return a session cookie's value, good for eight hours."""
        expires = str(int((now + SESSION).timestamp()))
        return f"{expires}.{self._sign('session', expires)}"

    def accepts_session(self, cookie: str | None, now: datetime) -> bool:
        """Whether a cookie is one of ours and not expired."""
        expires, _, signature = (cookie or "").partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign("session", expires).encode())
        return genuine and expires.isdecimal() and int(expires) > now.timestamp()

    def form_token(self, cookie: str) -> str:
        """Return the token that forms of this session carry."""
        return self._sign("form", cookie)

    def accepts_form(self, cookie: str, presented: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(presented.encode(), self.form_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\x1f{text}".encode(), hashlib.sha256).hexdigest()
