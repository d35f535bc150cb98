"""Free TCP ports on loopback for servers that must find the same port again after a restart."""

import random
import socket
from pathlib import Path

from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode

LOOPBACK = "127.0.0.1"
_LOWEST = 12000
_DEFAULT_EPHEMERAL = 32768
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int) -> bool:
    """Return whether a server could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on.

    It lies below the range from which the system serves outgoing connections: a port from that range may be taken by
    any client while its server is down, even by the client that waits for the server.
    Raises ConfigError when none of many ports tried is free.
    """
    below = _ephemeral_start()
    candidates = range(_LOWEST, below) if below > _LOWEST + 1000 else range(20000, 60000)
    for port in random.SystemRandom().sample(candidates, 200):
        if is_free(port):
            return port
    raise ConfigError("No free port was found on 127.0.0.1.", ReasonCode.PORT_IN_USE)


def _ephemeral_start() -> int:
    try:
        return int(_RANGE_FILE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_EPHEMERAL
