"""A certificate authority of one's own with a server's and a client's certificate for 127.0.0.1."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.peers.programs import path_of

_DAYS = "30"
_ALT_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsMaterial:
    """PEM files: who is trusted, and the key and certificate of either side."""

    ca: Path
    server_certificate: Path
    server_key: Path
    client_certificate: Path
    client_key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Return the names of the material that `make_tls` wrote there."""
        return cls(
            ca=folder / "ca.pem",
            server_certificate=folder / "server.pem",
            server_key=folder / "server.key",
            client_certificate=folder / "client.pem",
            client_key=folder / "client.key",
        )


def make_tls(folder: Path) -> TlsMaterial:
    """Write the material to `folder`; another call with another folder gives an authority that nobody here trusts."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", _DAYS, "-subj", "/CN=Test authority",
             "-keyout", ca_key, "-out", ca,
             "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
             )  # fmt: skip
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        _issue(folder, name, usage, ca, ca_key)
    return TlsMaterial.in_folder(folder)


def _issue(folder: Path, name: str, usage: str, ca: Path, ca_key: Path) -> None:
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(
        f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage={usage}\n"
        f"authorityKeyIdentifier=keyid\n{_ALT_NAMES}\n"
    )
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN=Test {name}",
             "-keyout", folder / f"{name}.key", "-out", request)  # fmt: skip
    _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", _DAYS,
             "-extfile", extensions, "-out", folder / f"{name}.pem")  # fmt: skip


def _openssl(*arguments: str | Path) -> None:
    subprocess.run([path_of("openssl"), *map(str, arguments)], check=True, capture_output=True)
