"""`config check` and `config show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from callm_edge.commands.config import config
from callm_edge.config.read import read_settings
from callm_edge.errors import UserError

GOOD = """
[[camera]]
name = "gate"
source = "rtsp://admin:s3cret@cam/1?token=s3cret"
bundle = "ped2"

[sinks.mqtt]
host = "broker"
password_file = "mqtt.password"

[[sinks.webhook]]
url = "https://hooks.example.org/services/s3cret"
"""


def write(folder: Path, text: str) -> str:
    (folder / "mqtt.password").write_text("hunter2\n")
    (folder / "mqtt.password").chmod(0o600)
    (folder / "c.toml").write_text(text)
    return str(folder / "c.toml")


def test_a_good_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(config, ["check", write(tmp_path, GOOD)], catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/c.toml is good: 1 camera\n")


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('bundle = "ped2"', 'bundle = "pad2"', "Did you mean 'ped2'"),
        ("[sinks", 'backend = "tensort"\n[sinks', "Did you mean 'tensorrt'"),
        ("rtsp://", "rstp://", "Did you mean 'rtsp'"),
        ("mqtt.password", "other.password", "No such file"),
        ("[sinks.mqtt]", "[sinks.mqt]", "Did you mean 'mqtt'"),
    ],
)
def test_what_is_not_there_is_named_with_what_was_meant(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    result = CliRunner().invoke(config, ["check", write(tmp_path, GOOD.replace(right, wrong, 1))])
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)
    assert result.exception.exit_code == 2
    assert "s3cret" not in str(result.exception)


def test_show_is_a_configuration_with_every_default_and_no_password(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    shown = CliRunner().invoke(config, ["show", path], catch_exceptions=False).output
    assert "s3cret" not in shown
    assert "hunter2" not in shown
    (tmp_path / "again.toml").write_text(shown)
    again = read_settings(tmp_path / "again.toml")
    assert again.camera[0].source == "rtsp://***@cam/1?token=***"
    assert again.sinks.mqtt == read_settings(Path(path)).sinks.mqtt
    assert again.sinks.webhook[0].url == "https://hooks.example.org/***"
    as_json = json.loads(CliRunner().invoke(config, ["show", path, "--json"], catch_exceptions=False).output)
    assert as_json["sinks"]["mqtt"]["port"] == 1883
