"""Settings of the web role."""

from dataclasses import dataclass, field

from operators.domain.errors import ConfigError

SHORTEST_TOKEN = 16
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Where the pages are served.

    Without a `token`, one is made at the first start and kept in the file web_token of the state folder; an address
    that is not loopback is refused unless `token` is set. `viewer_url` is a template with {study_uid} for links to the
    hospital's viewer. /metrics is open on a loopback address and needs the token elsewhere.
    """

    port: int = 8080
    bind: str = "127.0.0.1"
    token: str = field(default="", repr=False)
    viewer_url: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError("web.port: must be between 1 and 65535")
        if not self.is_loopback and not self.token:
            raise ConfigError("web.bind: an address that is not loopback needs web.token (or INTERVAL_WEB__TOKEN_FILE)")
        if self.token and len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(f"web.token: at least {SHORTEST_TOKEN} characters are needed")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the pages."""
        return self.bind in _LOOPBACK
