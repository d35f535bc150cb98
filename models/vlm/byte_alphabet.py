"""The alphabet of byte-level BPE (GPT-2's): one printable character for each byte."""

from __future__ import annotations


def byte_alphabet() -> dict[str, int]:
    """Byte of each character: printable bytes are themselves, the others follow from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
