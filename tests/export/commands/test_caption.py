"""callm-edge caption on footage of a few frames, with a captioner that has learnt nothing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from callm_edge.errors import UsageError, UserError
from callm_export.commands.caption import caption
from callm_export.instructions import read_instructions
from callm_export.vlm.clip_set import ClipSet


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips in test/, of which '02' is normal, and two in train/: a square that moves over noise."""
    folder = tmp_path_factory.mktemp("footage")
    rng = np.random.default_rng(0)
    for clip in ("test/01", "test/02", "train/01", "train/02"):
        (folder / clip).mkdir(parents=True)
        for at in range(18):
            image = rng.integers(90, 110, (48, 64), dtype=np.uint8)
            image[10:20, at : at + 10] = 250
            cv2.imwrite(str(folder / clip / f"{at:03d}.jpg"), image)
    labels = {"01": np.array([0] * 6 + [1] * 12, np.uint8), "02": np.zeros(18, np.uint8)}
    np.savez(folder / "labels.npz", **labels)
    return folder


def run(*arguments: str | Path) -> dict[str, object]:
    result = CliRunner().invoke(caption, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_footage(tmp_path: Path, footage: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"test-01": "cyclist"}')
    report = run("--data", footage, "--out", tmp_path / "out", "--stretches", "2", "--abnormal", wrong, "--fps", "10")
    assert (report["clips"], report["abnormal"]) == (12, 3)
    clips = ClipSet(tmp_path / "out")
    first = clips.records()[0]
    assert (first.name, first.abnormal, first.kind, first.size) == ("test-01-00", True, "cyclist", (64, 48))
    assert first.frames == tuple(at * 18 // 8 for at in range(8))
    assert first.peaks[0] == ()  # no window scores the first frames
    assert len(first.peaks[4]) == 3
    said = read_instructions(tmp_path / "out" / "instructions.json")
    answers = {turn.answer for one in said if one.media == "test-01-01" for turn in one.turns}
    assert "Yes." in answers
    assert not any(turn.answer == "Yes." for one in said if one.media.startswith("train") for turn in one.turns)


def test_parts_and_a_second_run(tmp_path: Path, footage: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"test-01": "Someone is riding a bicycle."}')
    out = tmp_path / "out"
    given = ("--data", footage, "--out", out, "--stretches", "0", "--part", "1/2", "--abnormal", wrong)
    assert run(*given)["clips"] == 3  # the abnormal one, and every second of the normal ones
    before = {path: path.stat().st_mtime_ns for path in (out / "clips").iterdir()}
    assert run(*given)["clips"] == 3
    assert {path: path.stat().st_mtime_ns for path in (out / "clips").iterdir()} == before
    with pytest.raises(UserError, match="3/2"):
        run("--data", footage, "--out", out, "--part", "3/2")


def test_normal_footage_alone(tmp_path: Path, footage: Path) -> None:
    report = run("--data", footage / "train", "--out", tmp_path / "out", "--stretches", "1")
    assert (report["clips"], report["abnormal"]) == (4, 0)
    assert (
        run("--data", footage / "train", "--out", tmp_path / "few", "--stretches", "0", "--normal", "1")["clips"] == 1
    )


def test_labels_without_their_clips_are_no_normal_footage(tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", **{"01": np.ones(18, np.uint8)})
    with pytest.raises(UserError):
        run("--data", tmp_path, "--out", tmp_path / "out")


def test_nothing_says_what_is_wrong(tmp_path: Path, footage: Path) -> None:
    with pytest.raises(UserError, match="nothing says how"):
        run("--data", footage, "--out", tmp_path / "out", "--stretches", "0")


def test_a_captioner_says_it(tmp_path: Path, footage: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")
    folder = tmp_path / "captioner"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "people", "walk", "ride", "a", "bike", "on", "the", "way"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    pictures = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(pictures, tokenizer).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    captioner = transformers.BlipForConditionalGeneration(
        transformers.BlipConfig(
            text_config={**small, "vocab_size": len(words), "bos_token_id": 2, "sep_token_id": 3, "pad_token_id": 0},
            vision_config={**small, "image_size": 32, "patch_size": 16},
        )
    )
    with torch.no_grad():
        captioner.text_decoder.cls.predictions.bias[:5] = -100  # weights drawn at random may say nothing at all
    captioner.save_pretrained(folder)
    out = tmp_path / "out"
    run("--data", footage, "--out", out, "--stretches", "0", "--captioner", folder)
    captions = [record.captions for record in ClipSet(out).records()]
    assert all(found and set(" ".join(found).split()) <= set(words) for found in captions)


def test_no_captioner(tmp_path: Path, footage: Path) -> None:
    with pytest.raises(UserError, match="no captioner"):
        run("--data", footage, "--out", tmp_path / "out", "--captioner", tmp_path)


def test_a_kind_that_the_plaza_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no anomaly 'cyclst'"):
        run("--data", "plaza", "--out", tmp_path, "--kind", "cyclst", "--clips", "2")
