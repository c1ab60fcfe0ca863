"""Who judges: what is asked for, what is there, and where the key comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_edge.bundle import Bundle
from callm_edge.config.settings import Stage2Settings
from callm_edge.errors import BundleError, UsageError
from callm_edge.stage2.choose import KEY_VARIABLE, open_branch, remote_server
from callm_edge.stage2.remote import Server

SERVER = Server("http://127.0.0.1:9/v1", "mini")


@pytest.mark.parametrize(
    ("name", "server", "wanted"),
    [
        ("auto", None, "device"),
        ("device", SERVER, "device"),
        ("auto", SERVER, "router"),
        ("remote", SERVER, "router"),
        ("off", SERVER, None),
    ],
)
def test_who_answers(tiny_cascade: Bundle, name: str, server: Server | None, wanted: str | None) -> None:
    make = open_branch(tiny_cascade, name, 1, server)
    assert (make().name if make else None) == wanted


def test_a_bundle_without_stage_2(tiny_bundle: Bundle) -> None:
    assert open_branch(tiny_bundle) is None
    assert open_branch(tiny_bundle, "auto", server=SERVER) is not None
    with pytest.raises(BundleError, match="has no stage 2"):
        open_branch(tiny_bundle, "device")
    with pytest.raises(UsageError, match="no server"):
        open_branch(tiny_bundle, "remote")


def test_private_needs_a_server(tiny_cascade: Bundle) -> None:
    with pytest.raises(UsageError, match="no server"):
        open_branch(tiny_cascade, private=True)
    make = open_branch(tiny_cascade, "remote", 1, SERVER, private=True)
    assert make is not None
    assert make().name == "router"


def test_private_with_a_bundle_that_only_scores_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no vision half"):
        open_branch(tiny_bundle, server=SERVER, private=True)


def test_the_key_comes_from_a_file_that_nobody_else_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "from-variable")

    def key(file: str | None = None) -> str:
        settings = Stage2Settings(remote="http://gpu/v1", remote_key_file=tmp_path / file if file else None)
        server = remote_server(settings)
        assert server is not None
        return server.key

    assert remote_server(Stage2Settings()) is None
    assert key() == "from-variable"
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "key").chmod(0o600)
    assert key("key") == "from-file"
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(UsageError, match="Others can read") as error:
        key("key")
    assert "from-file" not in str(error.value)
    with pytest.raises(UsageError, match="cannot be read"):
        key("none")
