"""callm-edge tune: what it refuses before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.errors import UsageError  # noqa: E402
from callm_export.commands.tune import tune  # noqa: E402


def test_nothing_to_keep_of(tmp_path: Path) -> None:
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--keep", "0.5"]
    with pytest.raises(UsageError, match="--start"):
        CliRunner().invoke(tune, arguments, catch_exceptions=False)
