"""The wire that all acceptance tests look into, played once a session."""

from collections.abc import Iterator

import pytest

from tests.acceptance.wire import Wire, require_programs
from tests.support.peers import open_folder


@pytest.fixture(scope="session")
def wire() -> Iterator[Wire]:
    """PACS, RIS and two nodes, everything sent and worked off."""
    require_programs()
    with open_folder() as folder:
        played = Wire(folder)
        try:
            played.start()
            played.play()
            yield played
        finally:
            played.stop()
