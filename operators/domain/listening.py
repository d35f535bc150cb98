"""The one way to a listening socket: an address and a port enter, a socket or one clear sentence leaves."""

import errno
import socket
import time

from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode

_BACKLOG = 128
_BIND_AGAIN_S = 3.0


def bind(address: str, port: int, *, what: str, again_s: float = _BIND_AGAIN_S) -> socket.socket:
    """Return a listening socket for `what` (as an admin is told); a taken port is tried again for `again_s`.

    Listeners of a parent that was killed let go of the port within moments.

    Raises ConfigError with PORT_IN_USE when the port stays taken, or when the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    deadline_s = time.monotonic() + again_s
    while True:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address, port))
        except OSError as exc:
            listening.close()
            if exc.errno != errno.EADDRINUSE:
                raise ConfigError(f"The {what}: {address} cannot be listened on.") from exc
            if time.monotonic() >= deadline_s:
                raise ConfigError(f"The {what} {port} on {address} is taken.", ReasonCode.PORT_IN_USE) from exc
            time.sleep(0.1)
        else:
            listening.listen(_BACKLOG)
            return listening
