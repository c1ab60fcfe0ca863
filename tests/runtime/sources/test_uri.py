from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import SourceError, UsageError, UserError
from callm_edge.plaza import ANOMALIES
from callm_edge.sources.uri import CameraUri, CsiUri, FileUri, FolderUri, PlazaUri, StreamUri, parse_uri, redact


def test_a_file_and_a_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "a b.mp4").write_bytes(b"x")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "1.JPG").write_bytes(b"x")
    file, folder = str(tmp_path / "a b.mp4"), str(tmp_path / "clip")
    assert parse_uri(file) == FileUri(Path(file), file)
    assert parse_uri("file://" + file) == FileUri(Path(file), file)
    assert parse_uri(folder) == FolderUri(Path(folder), folder)


@pytest.mark.parametrize(("text", "device"), [("0", 0), (" 12 ", 12), ("/dev/video3", "/dev/video3")])
def test_a_camera(text: str, device: int | str) -> None:
    assert parse_uri(text) == CameraUri(device)


def test_a_csi_camera() -> None:
    assert parse_uri("csi:0") == CsiUri("csi:0", 0, 1280, 720, 30, 0)
    text = "csi:1?width=1920&height=1080&fps=60&flip=2"
    assert parse_uri(text) == CsiUri(text, 1, 1920, 1080, 60, 2)


@pytest.mark.parametrize("url", ["rtsp://h/x", "RTSPS://u:p@h:554/x?a=1", "http://h", "https://[::1]:8/x.m3u8"])
def test_a_stream(url: str) -> None:
    assert parse_uri(url) == StreamUri(url)


def test_the_plaza() -> None:
    assert parse_uri("test:plaza") == PlazaUri("test:plaza")
    first, second = ANOMALIES[:2]
    text = f"test:plaza?seed=7&anomaly={first},{second}&seconds=1.5"
    assert parse_uri(text) == PlazaUri(text, 7, (first, second), 1.5)
    everything = parse_uri("test:plaza?anomaly=all")
    assert isinstance(everything, PlazaUri)
    assert everything.anomalies == tuple(ANOMALIES)
    nothing = parse_uri("test:plaza?anomaly=none")
    assert isinstance(nothing, PlazaUri)
    assert nothing.anomalies == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty", "rtsp://"]),
        ("rtps://h/x", ["'rtps' is not supported", "'rtsp'"]),
        ("ftp://u:secret@h/x", ["'ftp' is not supported", "***@h/x"]),
        ("rtsp://", ["no host"]),
        ("csi:", ["connector", "csi:0"]),
        ("csi:0?widht=3", ["knows no 'widht'", "'width'"]),
        ("csi:0?flip=8", ["flip is '8'", "from 0 to 7"]),
        ("test:plazza", ["no test scene 'plazza'", "'plaza'"]),
        ("test:plaza?sead=1", ["knows no 'sead'", "'seed'"]),
        ("test:plaza?seed=-1", ["seed is '-1'"]),
        ("test:plaza?seed=1&seed=2", ["twice"]),
        ("test:plaza?seconds=nan", ["seconds is 'nan'"]),
        ("test:plaza?seconds=0", ["seconds is '0'"]),
        ("test:plaza?anomaly=cyclst", ["no anomaly 'cyclst'", "'cyclist'"]),
        ("test:plaza?anomaly=", ["no anomaly ''"]),
    ],
)
def test_what_names_nothing_is_refused_with_the_nearest_right_thing(text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_uri(text)
    for part in parts:
        assert part in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_path_names_what_was_looked_for_and_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "plaza_north.mp4").touch()
    (tmp_path / "Door.avi").touch()
    with pytest.raises(UsageError) as caught:
        parse_uri(str(tmp_path / "plaza_nort.mp4"))
    assert str(tmp_path / "plaza_nort.mp4") in caught.value.why
    assert f"Did you mean '{tmp_path / 'plaza_north.mp4'}'?" in caught.value.fix
    with pytest.raises(UsageError, match=r"Door\.avi"):
        parse_uri(str(tmp_path / "door.mp4"))
    with pytest.raises(UsageError, match=f"there is no folder {tmp_path / 'nowhere'}"):
        parse_uri(str(tmp_path / "nowhere" / "deep" / "x.mp4"))
    with pytest.raises(UsageError, match="not a folder"):
        parse_uri(str(tmp_path / "Door.avi" / "x.mp4"))


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="empty"):
        parse_uri(str(tmp_path))
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._1.jpg").touch()
    with pytest.raises(SourceError, match="none of its 2 entries"):
        parse_uri(str(tmp_path))
    (tmp_path / "Test001").mkdir()
    with pytest.raises(SourceError, match="Test001"):
        parse_uri(str(tmp_path))


@given(st.text(max_size=60) | st.from_regex(r"\A(test:plaza\?|csi:|rtsp://|file://|/|~)[ -~]{0,30}\Z"))
def test_any_text_is_understood_or_refused_in_words(text: str) -> None:
    refusal = ""
    try:
        target = parse_uri(text)
    except UserError as error:
        refusal = error.fix or error.why
    else:
        assert isinstance(target, (FileUri, FolderUri, CameraUri, CsiUri, StreamUri, PlazaUri))
        return
    assert refusal


@given(st.integers(0, 10**18 - 1), st.lists(st.sampled_from(ANOMALIES), unique=True), st.floats(0.04, 1e6))
def test_a_plaza_reads_back_what_was_written(seed: int, names: list[str], seconds: float) -> None:
    target = parse_uri(f"test:plaza?anomaly={','.join(names) or 'none'}&seconds={seconds!r}&seed={seed}")
    assert isinstance(target, PlazaUri)
    assert (target.seed, target.anomalies, target.seconds) == (seed, tuple(names), seconds)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.1:554/h264", "rtsp://***@10.0.0.1:554/h264"),
        ("rtsp://admin:p@ss/w#r?d@cam/x", "rtsp://***@cam/x"),
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://cam/live@2", "rtsp://cam/live@2"),
        ("http://cam/v?user=bob&pwd=hunter2&ch=1", "http://cam/v?user=***&pwd=***&ch=1"),
        ("0", "0"),
        ("/tmp/a@b.mp4", "/tmp/a@b.mp4"),
    ],
)
def test_redact(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@given(st.text("abcXYZ0123456789@/?#:;&=% ", min_size=1), st.sampled_from(["", "/live", "/live?ch=1"]))
def test_redact_never_shows_a_password(password: str, path: str) -> None:
    secret = f"<{password}>"
    assert secret not in redact(f"rtsp://admin:{secret}@cam:554{path}")
    assert redact(f"rtsp://admin:{secret}@cam:554{path}") == f"rtsp://***@cam:554{path}"
