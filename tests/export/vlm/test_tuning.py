"""Tuning: it learns, only what it should, and goes on after a kill as if nothing had been."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.prompts import template  # noqa: E402
from callm_edge.stage2.torch_model import MiniConfig, VideoLanguageModel  # noqa: E402
from callm_edge.stage2.torch_model.config import VideoFormerConfig  # noqa: E402
from callm_edge.stage2.torch_model.frame_encoder import LiteGrid  # noqa: E402
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer  # noqa: E402
from callm_export.vlm.clip_set import ClipRecord  # noqa: E402
from callm_export.vlm.features import Features  # noqa: E402
from callm_export.vlm.lessons import Lesson, instructions_of  # noqa: E402
from callm_export.vlm.tuning import TuneRecipe, Tuning, frozen_dtype, speak_up, weights_mark  # noqa: E402

from .conftest import record_of  # noqa: E402

RECIPE = TuneRecipe(head_epochs=3, epochs=2, head_batch=4, batch=4, head_rate=3e-3, learning_rate=3e-3, noise=0.05)
PLAIN = replace(RECIPE, noise=0.0, strange=0.0, mirrored=0.0, still=0.0, unmapped=0.0, guided=0.0)  # as it is seen
KINDS = ["cyclist", None] * 6


class Letters:
    """A token for each character of ASCII, and three special ones."""

    size = 131
    special = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")

    def encode(self, text: str, special: bool = True) -> list[int]:
        return [min(ord(letter), 127) for letter in text]

    def decode(self, ids: Any) -> str:
        return "".join(chr(token) for token in ids if token < 128)

    def id(self, token: str) -> int:
        return 128 + self.special.index(token)


class Drawn:
    """Features that tell the kind in every crop."""

    def load(self, record: ClipRecord) -> np.ndarray:
        return drawn(record.name, record.abnormal)


@functools.cache
def drawn(name: str, abnormal: bool) -> np.ndarray:
    rng = np.random.default_rng(list(name.encode()))
    features = rng.standard_normal((40, 53, 338)).astype(np.float16)
    features[..., 320:] = 0.1 * np.abs(features[..., 320:])  # hardly anything moves
    if abnormal:
        features[8:, :, :160] += 2
    features.setflags(write=False)
    return features


def tiny_mini(crops: int = 3) -> VideoLanguageModel:
    torch.manual_seed(0)
    config = MiniConfig(
        crops=crops, video=VideoFormerConfig(hidden=32, layers=1, heads=2, feed_forward=32, positions=8, dropout=0.1)
    )
    llm = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=132,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=True,
        )
    )
    former = MiniVideoFormer(config.video, 32, 49, crops)
    former.match_scale(llm.get_input_embeddings().weight)
    speak_up(former)
    return VideoLanguageModel(config, LiteGrid(), former, llm, template("chatml"), Letters())


def tuning(
    folder: Path,
    recipe: TuneRecipe = RECIPE,
    resume: bool = False,
    crops: int = 3,
    model: VideoLanguageModel | None = None,
) -> Tuning:
    features = cast(Features, Drawn())
    records = [record_of(f"clip{at}", kind) for at, kind in enumerate(KINDS)]
    said = instructions_of(records)
    lessons = [(Lesson(record, tuple(one for one in said if one.media == record.name)), features) for record in records]
    held = [(Lesson(record_of(f"held{at}", kind), ()), features) for at, kind in enumerate(KINDS)]
    return Tuning(folder, model or tiny_mini(crops), lessons, held, recipe, resume)


def trained(run: Tuning) -> dict[str, Any]:
    return {key: value.clone() for key, value in run.model.video_former.state_dict().items()}


def test_it_learns_to_tell_kinds_apart(tmp_path: Path) -> None:
    run = tuning(tmp_path, replace(RECIPE, head_epochs=12))
    frozen = {key: value.clone() for key, value in run.model.llm.state_dict().items()}
    before = trained(run)
    run.run()
    history = run.progress.history
    assert len(history) == 14
    assert history[11]["loss"] < 0.7 * history[0]["loss"]
    assert history[11]["right_kinds"] >= 0.9  # on clips that were not learnt
    assert 0 <= history[-1]["threshold"] <= 1
    assert {"balanced_accuracy", "loss", "epoch"} <= history[-1].keys()
    for key, value in run.model.llm.state_dict().items():
        assert torch.equal(frozen[key], value), key
    changed = [key for key, value in trained(run).items() if not torch.equal(before[key], value)]
    assert {"query_tokens", "projection.weight", "frame_position.weight"} <= set(changed)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [2, 13])
def test_killed_and_resumed_is_the_same(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tuning(tmp_path / "whole")
    whole.run()
    monkeypatch.setattr("callm_export.vlm.tuning.CHECKPOINT_SECONDS", 0.0)
    steps = 0

    def kill(_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == after:
            raise KilledError

    with pytest.raises(KilledError):
        tuning(tmp_path / "cut").run(on_step=kill)
    again = tuning(tmp_path / "cut", resume=True)
    assert (again.progress.epoch, again.progress.step) != (0, 0)
    again.run()
    found = trained(again)
    for key, value in trained(whole).items():
        assert torch.allclose(found[key], value, atol=1e-6), key
    assert len(again.progress.history) == len(whole.progress.history)


def test_a_share_of_the_start_is_kept(tmp_path: Path) -> None:
    recipe = replace(RECIPE, head_epochs=1, epochs=0)
    free, kept = tuning(tmp_path / "free", recipe), tuning(tmp_path / "kept", replace(recipe, kept=0.25))
    start = trained(free)
    free.run()
    kept.run()
    again = tuning(tmp_path / "kept", replace(recipe, kept=0.25), resume=True)
    again.run()  # nothing is left to do
    for key, value in trained(free).items():
        wanted = 0.25 * start[key] + 0.75 * value
        assert torch.allclose(trained(kept)[key], wanted, atol=1e-6), key
        assert torch.allclose(trained(again)[key], wanted, atol=1e-6), key
    other = tiny_mini()
    with torch.no_grad():
        other.video_former.query_tokens += 1
    with pytest.raises(UserError, match="cannot be resumed"):
        tuning(tmp_path / "kept", replace(recipe, kept=0.25), resume=True, model=other)


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    run = tuning(tmp_path)
    run._save()
    with pytest.raises(UserError, match="cannot be resumed"):
        tuning(tmp_path, replace(RECIPE, batch=2), resume=True)


def test_other_weights_of_the_language_model(tmp_path: Path) -> None:
    """They may not take over in the middle; to a run that is complete a decoder may be added."""
    recipe = replace(RECIPE, head_epochs=0, epochs=1)
    run = tuning(tmp_path, recipe)
    run._save()
    other = tiny_mini()
    with torch.no_grad():
        other.llm.get_input_embeddings().weight += 0.01
    with pytest.raises(UserError, match=r"other weights of the language model.*--decoder"):
        tuning(tmp_path, recipe, resume=True, model=other)
    again = tuning(tmp_path, recipe, resume=True)
    again.run()
    complete = tuning(tmp_path, recipe, resume=True, model=other)
    assert complete.record["language_model"] == run.record["language_model"] != weights_mark(other.llm)


@pytest.mark.parametrize(("has_it", "chosen"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_frozen_part_is_in_what_the_processor_is_fast_in(
    has_it: bool, chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it)
    assert frozen_dtype(None) == chosen
    assert frozen_dtype("bfloat16") == torch.bfloat16, "whoever names one gets it"


@pytest.mark.parametrize(("still", "told"), [(0.0, 12), (0.5, None), (1.0, 0)])
def test_of_a_share_of_the_clips_motion_is_not_told(tmp_path: Path, still: float, told: int | None) -> None:
    run = tuning(tmp_path, replace(RECIPE, still=still, noise=0.0))
    features, _ = run._features(run.lessons, [np.random.default_rng(at) for at in range(len(run.lessons))])
    moving = (features[..., 320:] != 0).flatten(1).any(1)
    assert (features[..., :320] != 0).flatten(1).any(1).all()
    assert 0 < int(moving.sum()) < 12 if told is None else int(moving.sum()) == told


def test_noise_leaves_what_lies_still(tmp_path: Path) -> None:
    """As loud as of what the encoder sees, it would drown motion, which is nothing in most cells."""
    features: dict[float, torch.Tensor] = {}
    for noise in (0.0, 0.5):
        run = tuning(tmp_path, replace(PLAIN, noise=noise))
        features[noise], _ = run._features(run.lessons, [np.random.default_rng(0) for _ in run.lessons])
    assert torch.equal(features[0.0][..., 320:], features[0.5][..., 320:])
    assert 0.4 < float((features[0.0] - features[0.5])[..., :320].std() / features[0.0][..., :320].std()) < 0.6


@pytest.mark.parametrize("field", ["strange", "mirrored"])
def test_clips_are_seen_as_elsewhere(tmp_path: Path, field: str) -> None:
    before, after = (
        run._features(run.lessons, [np.random.default_rng(0) for _ in run.lessons])[0]
        for run in (tuning(tmp_path, PLAIN), tuning(tmp_path, replace(PLAIN, **{field: 1.0})))
    )
    assert (before != after).flatten(1).any(1).all()


def test_who_goes_the_wrong_way_is_mirrored_with_the_usual_ways(tmp_path: Path) -> None:
    """Which way is wrong is the scene's: in the mirror nobody else could know."""
    changed = {}
    for kind in ("against-flow", "runner"):
        lessons = [(Lesson(record_of("one", kind), ()), cast(Features, Drawn()))]
        for unmapped in (0.0, 1.0):
            before, after = (
                tuning(tmp_path, replace(recipe, unmapped=unmapped))._features(lessons, [np.random.default_rng(0)])[0]
                for recipe in (PLAIN, replace(PLAIN, mirrored=1.0))
            )
            changed[kind, unmapped] = not torch.equal(before, after)
            assert bool(before[..., 328:].any()) is not bool(unmapped), "some hear of no usual ways"
    assert changed == {
        ("against-flow", 0.0): True,
        ("against-flow", 1.0): False,
        ("runner", 0.0): True,
        ("runner", 1.0): True,
    }


def test_full_frames_alone(tmp_path: Path) -> None:
    run = tuning(tmp_path, replace(RECIPE, head_epochs=1, epochs=1), crops=0)
    run.run()
    assert len(run.progress.history) == 2


def test_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to learn"):
        Tuning(tmp_path, tiny_mini(), [], [], RECIPE, False)


def test_divergence_is_told(tmp_path: Path) -> None:
    run = tuning(tmp_path)
    with torch.no_grad():
        run.model.video_former.projection.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="diverged"):
        run.run()
