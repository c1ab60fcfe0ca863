"""`callm-edge export` on a bundle that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from callm_edge.bundle import Bundle
from callm_edge.errors import BundleError, UserError
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


def test_the_usual_ways_of_normal_footage_are_put_in(tiny_bundle: Bundle) -> None:
    def put_in(*seconds: int) -> Result:
        footage = [word for one in seconds for word in ("--ways", f"test:plaza?seed=5&seconds={one}")]
        return CliRunner().invoke(export, [*footage, "--out", str(tiny_bundle.folder)])

    short = put_in(3).exception
    assert isinstance(short, UserError)
    assert "8 pairs of frames" in short.why
    assert Bundle.load(tiny_bundle.folder).ways is None
    result = put_in(20, 21)
    assert result.exit_code == 0, result.output
    assert Bundle.load(tiny_bundle.folder).ways is not None
