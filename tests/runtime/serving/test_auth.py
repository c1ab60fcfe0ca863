"""Who may ask, and that nobody hears a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_edge.errors import UsageError
from callm_edge.serving.auth import Keys, is_loopback

KEY = "a-key-of-good-length"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_each_key_of_the_file_opens(tmp_path: Path) -> None:
    keys = Keys.read(write(tmp_path / "keys", f"# of the gate\n{KEY}\n\n  {KEY}-2  \n"))
    assert len(keys) == 2
    for header in (f"Bearer {KEY}", f"bearer {KEY}-2", f"BEARER  {KEY}"):
        assert keys.allow(header.encode())
    for header in ("", KEY, f"Basic {KEY}", "Bearer ", f"Bearer {KEY}x", "Bearer # of the gate", "Bearer é"):
        assert not keys.allow(header.encode("latin-1"))
    assert not keys.allow(None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError, match="chmod 600"):
        Keys.read(write(tmp_path / "keys", KEY, mode))


def test_no_error_and_no_dump_shows_a_key(tmp_path: Path) -> None:
    for text in ("short-secret", "secret with spaces in it", "# nothing", "geheim-schlüssel-secret"):
        with pytest.raises(UsageError) as caught:
            Keys.read(write(tmp_path / "keys", text))
        assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    assert KEY not in repr(vars(Keys([KEY])))
    with pytest.raises(UsageError, match="cannot be read"):
        Keys.read(tmp_path / "absent")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "gpu.local", "", "localhost.evil.example")))
