"""Where the page is served, and to whom."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from callm_edge.errors import UsageError
from callm_edge.serving.auth import Keys, is_loopback

TOKEN_VARIABLE = "CALLM_EDGE_WEB_TOKEN"
MAKE_TOKEN = "openssl rand -hex 32 > FILE; chmod 600 FILE"


@dataclass(frozen=True)
class Listening:
    """host, port: where; port 0 is any free one. keys: tokens that open the page; None for anybody on this machine.

    certificate, certificate_key: PEM files, for https. hosts: names under which the page may be asked for, beside
    addresses, localhost and this machine's own name.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    keys: Keys | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    hosts: tuple[str, ...] = field(default=())

    @classmethod
    def parse(
        cls,
        address: str,
        token_file: Path | None = None,
        certificate: Path | None = None,
        certificate_key: Path | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Listening:
        """From [HOST:]PORT. Tokens come from the file, else from CALLM_EDGE_WEB_TOKEN.

        Raises UsageError for no address, for a token file that cannot be read or that others can read, where others
        could reach the page without a token, or where TLS is set up in half.
        """
        host, port = split_address(address)
        keys = None
        if token_file is not None:
            keys = Keys.read(token_file)
        elif token := os.environ.get(TOKEN_VARIABLE, "").strip():
            keys = Keys([token])
        if keys is None and not is_loopback(host):
            raise UsageError(
                f"Without a token the page is not served at {host}",
                "everybody who can reach this machine could look through its cameras",
                f"Name a token file (run: --web-token-file, web: --token-file): {MAKE_TOKEN}",
            )
        if (certificate is None) != (certificate_key is None):
            raise UsageError("TLS needs a certificate and its key", "only one of them was given")
        return cls(host, port, keys, certificate, certificate_key, hosts)

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    def bind(self) -> socket.socket:
        """A socket that listens. Raises UsageError where the address is taken or not this machine's."""
        try:
            family, kind, protocol, _, at = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            opened = socket.socket(family, kind, protocol)
            try:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                opened.bind(at)
                opened.listen(64)
            except BaseException:
                opened.close()
                raise
            return opened
        except OSError as error:
            raise UsageError(
                f"The page cannot be served at {self.host}:{self.port}",
                error.strerror or str(error),
                "Name another address, such as 127.0.0.1:8081; port 0 is any free one",
            ) from error


def split_address(text: str) -> tuple[str, int]:
    """(host, port) of [HOST:]PORT; without a host it is this machine alone. Raises UsageError."""
    host, colon, digits = text.strip().rpartition(":")
    if colon and not host or ":" in host and not (host.startswith("[") and host.endswith("]")):
        host = ""
        digits = ""
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
        raise UsageError(
            f"'{text}' is no address to serve the page at", "", "Give PORT or HOST:PORT, such as 8080 or 0.0.0.0:8080"
        )
    return host.strip("[]") or "127.0.0.1", int(digits)
