"""Bundles: written, read back, and refused by name when anything is not as written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from callm_edge.bundle import BUILT_IN, MANIFEST, SCORE, WAYS, Bundle, Decision, built_in_names
from callm_edge.errors import BundleError, UsageError
from callm_edge.stage2.ways import Ways


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "stage1").mkdir(parents=True)
    (folder / SCORE).write_bytes(b"graph")
    Bundle.write(
        folder,
        name="mine",
        preset="edge",
        training={"data": "x"},
        decision=Decision(threshold_psnr_db=21.5),
        calibration={},
        licences={},
    )
    return folder


def change(folder: Path, **fields: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_written_and_read_back(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert (bundle.name, bundle.manifest.preset, bundle.decision.threshold_psnr_db) == ("mine", "edge", 21.5)
    assert bundle.score_path.read_bytes() == b"graph"


def test_an_engine_built_later_is_no_part_of_the_hashes(folder: Path) -> None:
    (folder / "engines").mkdir()
    (folder / "engines" / "a.engine").write_bytes(b"x")
    Bundle.load(folder)


def test_the_hash_changes_with_the_threshold(folder: Path) -> None:
    bundle = Bundle.load(folder)
    before = bundle.hash
    changed = bundle.with_decision(Decision(threshold_psnr_db=3.0), {"hours": 1})
    assert Bundle.load(folder).decision.threshold_psnr_db == 3.0
    assert changed.hash != before


def test_altered_file(folder: Path) -> None:
    (folder / SCORE).write_bytes(b"Graph")
    with pytest.raises(BundleError, match=r"stage1/score\.onnx.*sha256"):
        Bundle.load(folder)


def test_missing_file(folder: Path) -> None:
    (folder / SCORE).unlink()
    with pytest.raises(BundleError, match=r"stage1/score\.onnx.*missing"):
        Bundle.load(folder)


def test_unknown_schema_is_told_before_anything_else(folder: Path) -> None:
    change(folder, schema_version=99, something_new=True)
    with pytest.raises(BundleError, match="schema 99"):
        Bundle.load(folder)


def test_unknown_key(folder: Path) -> None:
    change(folder, treshold=1)
    with pytest.raises(BundleError, match="treshold"):
        Bundle.load(folder)


def test_file_outside_of_the_folder(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"")
    change(folder, files={"../secret": "0"})
    with pytest.raises(BundleError, match="outside"):
        Bundle.load(folder)


def test_no_score_graph(folder: Path) -> None:
    change(folder, files={})
    with pytest.raises(BundleError, match="names no"):
        Bundle.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": "x"}'])
def test_damaged_manifest(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Bundle.load(folder)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(tmp_path)


def test_a_name_that_is_none_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'plaza'"):
        Bundle.load("plazza")


def test_the_built_in_bundles_are_whole() -> None:
    assert built_in_names() == ["ped2", "plaza"]
    for name in built_in_names():
        bundle = Bundle.load(name)
        assert bundle.folder == BUILT_IN / name
        assert bundle.manifest.preset == "edge"
        assert bundle.manifest.calibration["hours"] > 0
        assert bundle.ways is not None


def test_a_branch_is_put_in_and_another_in_its_place(folder: Path, tmp_path: Path) -> None:
    before = Bundle.load(folder)
    was = before.hash
    assert before.stage2_path is None
    branch = tmp_path / "branch"
    (branch / "llm").mkdir(parents=True)
    (branch / "stage2.json").write_text("{}")
    (branch / "llm" / "decoder.bin").write_bytes(b"old")
    before.with_stage2(branch)
    (branch / "llm" / "decoder.bin").rename(branch / "llm" / "decoder2.bin")
    Bundle.load(folder).with_stage2(branch)
    after = Bundle.load(folder)
    assert after.stage2_path == folder / "stage2"
    assert {name for name in after.manifest.files if name.startswith("stage2")} == {
        "stage2/stage2.json",
        "stage2/llm/decoder2.bin",
    }
    assert after.decision == before.decision
    assert after.manifest.training == before.manifest.training
    assert after.hash != was


def test_the_usual_ways_are_a_part_of_it(folder: Path) -> None:
    before = Bundle.load(folder)
    was = before.hash
    assert before.ways is None
    for seed in (0, 1):
        ways = Ways(np.random.default_rng(seed).random((27, 48, 5), np.float32))
        Bundle.load(folder).with_ways(ways)
        after = Bundle.load(folder)
        assert after.ways == ways
        assert (after.decision, after.hash == was) == (before.decision, False)
    (folder / WAYS).write_bytes(b"none")
    with pytest.raises(BundleError, match=r"ways\.npy"):
        Bundle.load(folder)
    Bundle.write(folder, **after.manifest.model_dump(exclude={"schema_version", "files"}))
    with pytest.raises(BundleError, match="cannot be read"):
        _ = Bundle.load(folder).ways
