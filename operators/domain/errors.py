"""The error tree; the split answers one question: retry, park, or refuse to start.

    NodeError
    +-- TransientError    the same input may succeed later: retry with backoff
    +-- PermanentError    the same input will fail again: park the study with its reason
    +-- ConfigError       the installation is wrong: exit 2 (or 3 for a missing prerequisite)
        +-- PrerequisiteMissingError

An error carries a reason code and facts as attributes; its text is derived from them. Facts are technical (a peer's
name, a status, a transfer syntax): never a patient's name, id, date or text.
"""

from operators.domain.reasons import REASONS, ReasonCode


class NodeError(Exception):
    """Anything that stops a piece of work; `code` is from the documented list, `facts` are technical."""

    def __init__(self, code: ReasonCode, **facts: str | int | float) -> None:
        self.code = code
        self.facts = facts
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """One sentence for an admin, the facts in brackets."""
        listed = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        sentence = REASONS[self.code].sentence
        return f"{sentence[:-1]} ({listed})." if listed else sentence

    @property
    def action(self) -> str:
        """What an admin can do about it."""
        return REASONS[self.code].action


class TransientError(NodeError):
    """The same input may succeed later."""


class PermanentError(NodeError):
    """The same input will fail again."""


class ConfigError(NodeError):
    """The installation or a command's arguments are wrong."""

    def __init__(self, what: str, code: ReasonCode = ReasonCode.SETTING_INVALID) -> None:
        self.what = what
        super().__init__(code, what=what)

    @property
    def sentence(self) -> str:
        """The sentence given at the raise."""
        return self.what


class PrerequisiteMissingError(ConfigError):
    """A program, library or service that the command needs is not there."""

    def __init__(self, what: str) -> None:
        super().__init__(what, ReasonCode.PREREQUISITE_MISSING)
