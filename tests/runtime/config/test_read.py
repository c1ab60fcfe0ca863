"""A configuration as people write it, and what they are told of their mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from callm_edge.config.cameras import Cameras
from callm_edge.config.flags import with_flags
from callm_edge.config.read import parsed, read_settings
from callm_edge.config.settings import RunSettings
from callm_edge.errors import UsageError

GOOD = """
bundle = "plaza"
threshold = 20.5
headless = true
json = true
record = "out"

[[camera]]
name = "gate"
source = "test:plaza?seed=3&seconds=2"
bundle = "ped2"
threshold = 18
schedule = ["mon-fri 08:00-18:00"]

  [[camera.ignore]]
  name = "road"
  box = [0, 0, 100, 40]

  [[camera.ignore]]
  polygon = [[0, 0], [50, 0], [0, 50]]

  [camera.decision]
  gap_s = 2.0

[[camera]]
source = "test:plaza?seconds=3"

[stage2]
use = "off"

[retention]
max_days = 30

[sinks.mqtt]
host = "broker.local"
device = "box"

[[sinks.webhook]]
url = "https://example.org/hook"

[sinks.prometheus]
port = 9200
"""


DOCS = Path(__file__).resolve().parents[3] / "docs"


def write(folder: Path, text: str) -> Path:
    path = folder / "callm-edge.toml"
    path.write_text(text)
    return path


def test_everything_is_read_and_reaches_the_cameras(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, GOOD))
    assert (settings.as_json, settings.headless, settings.record) == (True, True, tmp_path / "out")
    assert settings.sinks.mqtt is not None
    assert settings.sinks.mqtt.discovery == "homeassistant"
    assert settings.retention.limits().max_age_s == 30 * 86400
    opened = Cameras(settings.model_copy(update={"backend": "onnxruntime"}))
    gate, other = opened.cameras
    assert (gate.source.name, gate.bundle, gate.decision.threshold_psnr_db, gate.decision.gap_s) == (
        *("gate", "ped2", 18.0),
        2.0,
    )
    assert (other.source.name, other.bundle, other.decision.threshold_psnr_db) == (
        "test:plaza?seconds=3",
        "plaza",
        20.5,
    )
    assert other.decision.gap_s == opened.bundles["plaza"].decision.gap_s
    assert opened.judge.name == "plaza"


@pytest.mark.parametrize(
    ("mistake", "right", "said"),
    [
        ("threshold = 20.5", "treshold = 20.5", "line 3: there is no key 'treshold'. Did you mean 'threshold'?"),
        ("schedule = [", "shedule = [", "line 13: there is no key 'camera[1].shedule'. Did you mean 'schedule'?"),
        ("  polygon", "  poligon", "line 20: there is no key 'camera[1].ignore[2].poligon'. Did you mean 'polygon'?"),
        ("gap_s", "gap", "line 23: there is no key 'camera[1].decision.gap'. Did you mean 'gap_s'?"),
        ("[stage2]", "[stage3]", "line 28: there is no key 'stage3'. Did you mean 'stage2'?"),
        ('use = "off"', 'use = "none"', "line 29: 'stage2.use': input should be 'auto', 'device', 'remote' or 'off'"),
        ("mon-fri", "mon-fry", "line 13: 'camera[1].schedule': 'fry' in 'mon-fry 08:00-18:00' is no day"),
        ("[0, 0, 100, 40]", "[0, 0, 100]", "line 17: 'camera[1].ignore[1].box[4]' is missing"),
        ("port = 9200", "port = 0", "line 42: 'sinks.prometheus.port': input should be greater than or equal to 1"),
        ('host = "broker.local"', "", "line 34: 'sinks.mqtt.host' is missing"),
        ("threshold = 18", 'threshold = "low"', "line 12: 'camera[1].threshold': input should be a valid number"),
        ('source = "test:plaza?seconds=3"', 'name = "b"', "line 25: 'camera[2]': a camera has either a source or a"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_right_key(
    tmp_path: Path, mistake: str, right: str, said: str
) -> None:
    path = write(tmp_path, GOOD.replace(mistake, right, 1))
    with pytest.raises(UsageError) as error:
        read_settings(path)
    assert str(path) in error.value.what
    assert said in error.value.why


def test_all_mistakes_at_once_and_no_password_among_them(tmp_path: Path) -> None:
    text = '[[camera]]\nsource = "rtsp://u:s3cret@cam/1"\nstride = 99\n[[camera]]\nsurce = "rtsp://u:s3cret@cam/2"\n'
    with pytest.raises(UsageError) as error:
        read_settings(write(tmp_path, text))
    assert "2 mistakes" in error.value.what
    assert "line 3: 'camera[1].stride'" in error.value.why
    assert "line 5: there is no key 'camera[2].surce'. Did you mean 'source'?" in error.value.why
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("text", ["bundle = ", "[[camera]\n", "a = 1\na = 2\n"])
def test_what_is_no_toml(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"is no TOML: .*(line|end of document)"):
        read_settings(write(tmp_path, text))


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"")
    settings = read_settings(write(tmp_path, '[[camera]]\nsource = "film.mp4"\n[sinks.jsonl]\nfile = "e.jsonl"\n'))
    assert settings.camera[0].source == str(tmp_path / "film.mp4")
    assert settings.camera[0].name == "film.mp4"
    assert settings.sinks.jsonl is not None
    assert settings.sinks.jsonl.file == tmp_path / "e.jsonl"


def test_a_source_from_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "gate.url"
    secret.write_text("rtsp://u:s3cret@cam/1\n")
    settings = read_settings(write(tmp_path, '[[camera]]\nname = "gate"\nsource_file = "gate.url"\n'))
    secret.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        Cameras(settings)
    secret.chmod(0o600)
    opened = Cameras(settings.model_copy(update={"backend": "onnxruntime"}))
    assert opened.cameras[0].source.name == "gate"


def test_flags_win_over_the_file_and_variables_do_not_win_over_a_camera(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, GOOD))
    typed = with_flags(settings, {"threshold": 15.0, "as_json": False, "stage2": "device"}, {"threshold"})
    assert (typed.threshold, typed.camera[0].threshold, typed.as_json) == (15.0, None, False)
    assert typed.stage2.use == "device"
    variable = with_flags(settings, {"bundle": "/opt/bundle"})
    assert (variable.bundle, variable.camera[0].bundle, variable.camera[1].bundle) == ("/opt/bundle", "ped2", None)
    alone = with_flags(RunSettings(), {"sources": ("test:plaza",), "cameras": ("0",)})
    assert [camera.source for camera in alone.camera] == ["0", "test:plaza"]


@examples_of(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.text("[]{}=.,#\"'\n\\ 0-a\0é", max_size=3), st.integers(0, 4))
def test_a_slip_of_the_finger_is_a_sentence_or_a_configuration(at: int, typed: str, lost: int) -> None:
    text = GOOD[:at] + typed + GOOD[at + lost :]
    found, said = None, ""
    try:
        found = parsed(text, Path("slip.toml"))
    except UsageError as error:
        said = error.what
    assert isinstance(found, RunSettings) or "slip.toml" in said


@pytest.mark.parametrize("page", ["config.md", "sinks.md"])
def test_every_example_of_the_documentation_is_valid(page: str) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert examples
    for example in examples:
        parsed(example, Path(page))
