"""`python -m app COMMAND`: signals are held back before anything else is imported, then the command runs."""

import sys

from app import signals

signals.block()

from app import logs  # noqa: E402 - the signals come first
from app.cli.main import main  # noqa: E402 - numpy and its threads come in with the commands

logs.hold_tracebacks()

sys.exit(main(sys.argv[1:]))
