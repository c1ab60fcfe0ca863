"""`callm-edge export` on a bundle that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from callm_edge.bundle import Bundle
from callm_edge.errors import BundleError
from callm_edge.stage2.device import DeviceBranch
from callm_export.commands.export import export


def test_a_branch_is_put_into_a_bundle(tiny_bundle: Bundle, write_branch: Callable[..., Path], tmp_path: Path) -> None:
    branch = write_branch(tmp_path / "branch", 64)
    result = CliRunner().invoke(export, ["--stage2", str(branch), "--out", str(tiny_bundle.folder)])
    assert result.exit_code == 0, result.output
    stage2 = Bundle.load(tiny_bundle.folder).stage2_path
    assert stage2 is not None
    DeviceBranch(stage2, 1)


def test_a_branch_whose_parts_do_not_fit_stays_out(
    tiny_bundle: Bundle, write_branch: Callable[..., Path], tmp_path: Path
) -> None:
    branch = write_branch(tmp_path / "branch", 48)
    result = CliRunner().invoke(export, ["--stage2", str(branch), "--out", str(tiny_bundle.folder)])
    assert isinstance(result.exception, BundleError)
    assert Bundle.load(tiny_bundle.folder).stage2_path is None
