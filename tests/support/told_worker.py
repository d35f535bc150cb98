"""A worker for tests of tests.bench.turns: `fast` and `slow` calls, and `fail`; writes its last answers to a file."""

import json
import sys
import time
from pathlib import Path

from tests.bench.turns import work


def _slow() -> str:
    time.sleep(0.05)
    return "slow"


def _fail() -> str:
    sys.exit(7)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(work({"fast": lambda: "fast", "slow": _slow, "fail": _fail})))
