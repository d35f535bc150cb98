"""ADT messages as a RIS sends them, and a client that speaks MLLP by the hl7 package."""

from collections.abc import Sequence

import hl7
from hl7.client import MLLPClient

from app.postgres.ports import LOOPBACK


def adt(
    *pairs: tuple[str, str],
    event: str = "A40",
    control_id: str = "MSG1",
    charset: str = "",
    version: str = "2.5.1",
    **header: str,
) -> str:
    """A message that merges: pairs of PID-3 and MRG-1, each as a CX field; `header` holds MSH fields, as msh_3."""
    msh = {
        3: "RIS",
        4: "MAIN",
        5: "INTERVAL",
        7: "20260301120000",
        9: f"ADT^{event}",
        10: control_id,
        11: "P",
        12: version,
        18: charset,
    } | {int(name.removeprefix("msh_")): value for name, value in header.items()}
    first = "|".join(["MSH", "^~\\&", *(msh.get(number, "") for number in range(3, 21))]).rstrip("|")
    lines = [first, f"EVN|{event}|20260301120000"]
    for surviving, going in pairs:
        lines += [f"PID|1||{surviving}||Σμιθ^Planted" if charset else f"PID|1||{surviving}||Smith^Planted"]
        lines += ["PD1||||", f"MRG|{going}", "PV1|1|N"]
    return "\r".join(lines) + "\r"


def send(port: int, *messages: str | bytes, encoding: str = "utf-8") -> list[hl7.Message]:
    """Send messages on one connection by the hl7 package's client; return the acknowledgements as it parses them."""
    with MLLPClient(LOOPBACK, port, encoding=encoding) as client:
        client.socket.settimeout(20)
        return [unwrapped(client.send_message(message)) for message in messages]


def unwrapped(block: bytes) -> hl7.Message:
    """Return the message of one whole block, as the hl7 package reads it."""
    assert block.startswith(b"\x0b"), block
    assert block.endswith(b"\x1c\r"), block
    return hl7.parse(block[1:-2].decode("utf-8"))


def codes(acknowledgements: Sequence[hl7.Message]) -> list[str]:
    """Return MSA-1 of each."""
    return [str(message.segment("MSA")[1]) for message in acknowledgements]
