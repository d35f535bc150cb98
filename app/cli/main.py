"""The command line: parse, run one command, turn the error tree into exit codes.

0 pass, 1 a criterion failed, 2 usage or configuration, 3 a prerequisite is missing, 4 refused input.
"""

import argparse
import sys
from collections.abc import Sequence

from app import logs
from app.cli import models, node, patients, report, selftest, studies
from operators.domain.errors import ConfigError, NodeError, PermanentError, TransientError
from operators.domain.reasons import ReasonCode

_PREREQUISITES = (ReasonCode.PREREQUISITE_MISSING, ReasonCode.PORT_IN_USE)


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; return its exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    logs.configure(chosen.log_level.upper())
    try:
        return int(chosen.run(chosen))
    except NodeError as error:
        print(f"interval: {error.sentence} {error.action}", file=sys.stderr)
        return exit_code(error)


def exit_code(error: NodeError) -> int:
    """Return the exit code that an error ends a command with."""
    if error.code in _PREREQUISITES or isinstance(error, TransientError):
        return 3
    if isinstance(error, ConfigError):
        return 2
    return 4 if isinstance(error, PermanentError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Interval, a comparative-reading node.")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in (node, studies, patients, models, report, selftest):
        family.add_to(commands)
    return parser
