"""Where the page is served: this machine alone unless there is a token."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from callm_edge.errors import UsageError
from callm_edge.web.listening import TOKEN_VARIABLE, Listening, split_address

TOKEN = "0123456789abcdef-token"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def token_file(folder: Path, mode: int = 0o600, text: str = TOKEN) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0", ("127.0.0.1", 0)),
        (" 8080 ", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9000", ("::1", 9000)),
        ("edge.local:65535", ("edge.local", 65535)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", ":", ":80", "host:", "1:2:3", "::1", "80:x", "65536", "-1", "host:70000", "٣"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        split_address(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.0.7", "edge.local"])
def test_others_reach_it_only_with_a_token(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Without a token"):
        Listening.parse(f"{host}:8080")
    keys = Listening.parse(f"{host}:8080", token_file(tmp_path)).keys
    assert keys is not None
    assert keys.allow(f"Bearer {TOKEN}".encode())


def test_the_token_may_come_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert Listening.parse("0.0.0.0:80").keys is not None
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(UsageError, match="cannot be used"):
        Listening.parse("0.0.0.0:80")


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Others can read"):
        Listening.parse("8080", token_file(tmp_path, 0o644))
    with pytest.raises(UsageError, match="cannot be read"):
        Listening.parse("8080", tmp_path / "absent")


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TLS needs"):
        Listening.parse("8080", certificate=tmp_path / "cert.pem")


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with Listening(port=0).bind() as taken, pytest.raises(UsageError, match="cannot be served") as caught:
        Listening(port=taken.getsockname()[1]).bind()
    assert "Name another address" in caught.value.fix
    with pytest.raises(UsageError, match="cannot be served"):
        Listening(host="203.0.113.7", port=0).bind()


def test_the_recipe_for_a_token_makes_one(tmp_path: Path) -> None:
    from callm_edge.web.listening import MAKE_TOKEN

    try:
        subprocess.run(["sh", "-ec", MAKE_TOKEN.replace("FILE", str(tmp_path / "made"))], check=True)
    except subprocess.CalledProcessError:
        pytest.skip("openssl is not installed")
    assert Listening.parse("0.0.0.0:80", tmp_path / "made").keys is not None
