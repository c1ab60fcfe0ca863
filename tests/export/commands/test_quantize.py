"""`callm-edge quantize` on a checkpoint that is GPTQ already, and on what is no model."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.decoder import Decoder  # noqa: E402
from callm_export.commands.quantize import quantize  # noqa: E402

GOLDENS = Path(__file__).parents[2] / "goldens"


def test_a_gptq_checkpoint_is_exported_and_measured(tmp_path: Path) -> None:
    runpy.run_path(str(GOLDENS / "make_tiny_decoder.py"))["make_checkpoint"](tmp_path / "tiny")
    (tmp_path / "held.txt").write_text("the thing\n\nanother thing")
    arguments = [
        "--llm",
        tmp_path / "tiny",
        "--out",
        tmp_path / "out",
        "--held-out",
        tmp_path / "held.txt",
        "--json",
    ]
    result = CliRunner().invoke(quantize, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["quantization"]["method"] == "gptq"
    assert report["quantization"]["table_bits"] == 4
    size = sum(file.stat().st_size for file in (tmp_path / "out" / "llm").iterdir())
    assert report["llm_mb"] == pytest.approx(size / 1e6, abs=0.01)
    perplexity = report["perplexity"]["held.txt"]
    assert perplexity["before"] is None
    assert perplexity["after"] > 1
    assert "MB" in result.stderr
    assert Decoder(tmp_path / "out" / "llm", threads=1).spec.layers == 2


def test_no_model_at_all(tmp_path: Path) -> None:
    for llm in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="neither"):
            CliRunner().invoke(quantize, ["--llm", str(llm), "--out", str(tmp_path / "out")], catch_exceptions=False)
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(UserError, match="no GGUF|broken"):
        CliRunner().invoke(
            quantize, ["--llm", str(tmp_path / "broken.gguf"), "--out", str(tmp_path / "out")], catch_exceptions=False
        )
