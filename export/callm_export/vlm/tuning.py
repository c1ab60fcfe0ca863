"""Tuning the trained part of the branch on instructions, with the frozen encoder's features cached.

As in the paper only the video Q-Former, its queries, the frame positions and the projection learn; encoder and language
model stay as they are. AdamW (0.9, 0.999), weight decay 0.05 but for biases and norms, cosine after a warm-up.

A former that starts from scratch gives the language model noise at first, and a step through it is dear on a CPU. So
the first epochs do without it: a linear head on the mean of the queries learns to tell the kinds apart, and another one
what each crop shows, where the truth about the clip says so. The heads stay during the rest as second losses, and are
thrown away at the end.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from callm_edge.errors import UserError
from callm_edge.stage2.motion import FLOW
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, frames_message
from callm_edge.stage2.torch_model import VideoLanguageModel
from callm_edge.stage2.torch_model.efficientnet import CELL_CHANNELS
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer, VideoFormer
from callm_export.checkpoint import Checkpoint, Progress
from callm_export.instructions import example
from callm_export.instructions.example import IGNORED
from callm_export.vlm.features import Features, elsewhere, mirrored
from callm_export.vlm.lessons import Lesson, pictures_of
from callm_export.vlm.packing import Packed, pack
from callm_export.vlm.threshold import balanced_accuracy, best_threshold

CHECKPOINT_SECONDS = 60.0
PLACE_STD = 0.5  # of untrained positions
ONE_WAY = "against-flow"  # which way is wrong is the scene's: mirrored, only its usual ways could tell
NORMAL = "normal"


@dataclass(frozen=True)
class TuneRecipe:
    """How to tune.

    head_epochs: passes with the kinds' head alone. epochs: passes through the language model after them.
    head_batch, batch: clips of a step. instructions: of each of
    them in a step. head_rate, learning_rate, last_rate: of AdamW; the first for head_epochs, the
    others where the cosine begins and ends. (The paper's 3e-5 to 1e-5 go on from weights that were trained on a million
    clips.) warm_up: share of all steps with a rising rate. head_weight: of the heads' losses
    beside the language model's; crop_weight: of the crops' among them.
    guided: share of clips that show crops elsewhere than at stage 1's peaks. noise: of what the encoder sees, in parts
    of its standard deviation. strange: how far that and motion are moved as if the scene were another (`elsewhere`).
    mirrored: share of clips with left and right exchanged, but for those whose fault is their way where the camera's
    usual ways are not known. still: share of clips whose motion is not told, as it is not known of pictures from
    elsewhere. unmapped: share of them whose camera's usual ways are not told.
    message: whether the prompt tells the frames' times. kept: share of the weights at the start in those at the end
    (`keep`). validation_clips: at most, after an epoch.
    """

    head_epochs: int = 20
    epochs: int = 4
    head_batch: int = 16
    batch: int = 8
    instructions: int = 3
    head_rate: float = 5e-4
    learning_rate: float = 5e-4
    last_rate: float = 2e-5
    weight_decay: float = 0.05
    warm_up: float = 0.05
    head_weight: float = 1.0
    crop_weight: float = 0.5
    guided: float = 0.5
    noise: float = 0.1
    strange: float = 0.4
    mirrored: float = 0.5
    still: float = 0.1
    unmapped: float = 0.1
    message: bool = False
    kept: float = 0.0
    seed: int = 0
    validation_clips: int = 80


def tune_recipe(**changes: Any) -> TuneRecipe:
    """The recipe with the given fields changed where they are not None."""
    return replace(TuneRecipe(), **{key: value for key, value in changes.items() if value is not None})


@dataclass(frozen=True)
class Step:
    """What the progress bar shows. stage: 'kinds' or 'answers'; left_s: seconds to go, from the pace so far."""

    stage: str
    done: float
    loss: float
    left_s: float


def frozen_dtype(name: str | None) -> torch.dtype:
    """Of the frozen language model. name: of the dtype; None for the fastest.

    That is bfloat16 where the processor multiplies in it. Elsewhere it is imitated, at an eighteenth of the speed.
    """
    name = name or ("bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32")
    found: torch.dtype = getattr(torch, name)
    return found


def speak_up(former: VideoFormer) -> None:
    """Let an untrained former's positions be nearly as loud as what lies there, which has 1 after its norm.

    Of 0.02, as transformers begin with, order in time and place drowns, and is learnt late.
    """
    embeddings = [former.frame_position.weight]
    if isinstance(former, MiniVideoFormer):
        embeddings += [former.place, former.kind.weight, former.from_motion.weight]
    for embedding in embeddings:
        nn.init.normal_(embedding, std=PLACE_STD)


def weights_mark(module: nn.Module) -> str:
    """Tells weights apart, by one in a few thousand of them: all would take longer than the first steps."""
    parts = (value.flatten()[::4099].float().numpy().tobytes() for value in module.state_dict().values())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@torch.no_grad()
def keep(module: nn.Module, start: dict[str, Tensor], share: float) -> None:
    """Let weights be `share` of those at the start and else their own: between the two lies much of what both know.

    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    for name, value in module.named_parameters():
        value.lerp_(start[name], share)


def packed_loss(model: VideoLanguageModel, queries: Tensor, packed: Packed) -> Tensor:
    """Mean, over the answers of a packed batch, of the negative log likelihood (nats) of a token of each.

    queries: (B, 32, W).
    """
    embeds = model.inputs_embeds(queries, torch.from_numpy(packed.token_ids))
    unseen = torch.from_numpy(~packed.sees)[:, None]
    mask = torch.zeros(unseen.shape, dtype=embeds.dtype).masked_fill_(unseen, torch.finfo(embeds.dtype).min)
    positions = torch.from_numpy(packed.positions)
    hidden = model.llm.base_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    targets = torch.from_numpy(packed.labels)[:, 1:]
    learnt = targets != IGNORED
    # The vocabulary is the widest layer: only labelled positions pay for it.
    logits = model.llm.get_output_embeddings()(hidden[:, :-1][learnt])
    weights = torch.from_numpy(packed.weights)[:, 1:][learnt]
    return (weights * F.cross_entropy(logits.float(), targets[learnt], reduction="none")).sum() / weights.sum()


class _Learner(nn.Module):
    """What learns, under one name for checkpoints: the former, and the head that is thrown away."""

    def __init__(self, former: VideoFormer, width: int, kinds: int) -> None:
        super().__init__()
        self.former = former
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, kinds)
        crops = isinstance(former, MiniVideoFormer) and former.crops
        self.crop_head = nn.Linear(former.projection.in_features, kinds) if crops else None

    def kinds(self, queries: Tensor) -> Tensor:
        """(B, 32, W) -> (B, kinds) logits."""
        logits: Tensor = self.head(self.norm(queries.mean(1)))
        return logits

    def crop_kinds(self, features: Tensor) -> Tensor | None:
        """(B, pictures, tokens, width) -> (B, crops, kinds) logits of each by its pooled features, if any."""
        former = self.former
        if self.crop_head is None or not isinstance(former, MiniVideoFormer):
            return None
        frames = features.shape[1] // (1 + former.crops)
        crops = features[:, frames:, former.cells :, :CELL_CHANNELS].flatten(2)
        logits: Tensor = self.crop_head(F.gelu(former.norm(former.from_pooled(crops))))
        return logits


class Tuning:
    """One run: a folder with the checkpoint. lessons: to learn; validation: to choose the threshold by.

    record["language_model"] tells the weights that it learns with from any others. Raises UserError where `resume`
    finds a checkpoint of another model, recipe or clips, of another start where a share of it is kept, or one with
    steps to go, begun with other such weights.
    """

    def __init__(
        self,
        folder: Path,
        model: VideoLanguageModel,
        lessons: Sequence[tuple[Lesson, Features]],
        validation: Sequence[tuple[Lesson, Features]],
        recipe: TuneRecipe,
        resume: bool,
    ) -> None:
        self.folder, self.model, self.recipe = folder, model, recipe
        self.lessons, self.validation = list(lessons), list(validation)
        if not self.lessons:
            raise UserError("There is nothing to learn", "the clip sets hold no clips", "Run callm-edge caption first")
        kinds = {_kind(lesson) for lesson, _ in (*self.lessons, *self.validation)}
        self.kinds = sorted(kinds | {NORMAL}, key=lambda kind: (kind != NORMAL, kind))
        torch.manual_seed(recipe.seed)
        width = model.video_former.projection.out_features
        self.learner = _Learner(model.video_former, width, len(self.kinds))
        self.optimizer = torch.optim.AdamW(_groups(self.learner, recipe.weight_decay), recipe.learning_rate)
        self.checkpoint = Checkpoint(folder)
        self.progress = Progress(0, 0, [])
        self.record: dict[str, Any] = {
            "recipe": asdict(recipe),
            "config": model.config.model_dump(mode="json"),
            "kinds": self.kinds,
            "clips": sorted(lesson.record.name for lesson, _ in self.lessons),
            "validation_clips": sorted(lesson.record.name for lesson, _ in self.validation),
            "language_model": weights_mark(model.llm),
            "start": weights_mark(model.video_former) if recipe.kept else None,
        }
        self._start = {name: value.clone() for name, value in model.video_former.state_dict().items()}
        if resume and self.checkpoint.exists():
            known = self.checkpoint.record()
            for key in ("recipe", "config", "kinds", "clips", "start"):
                if known.get(key) != self.record[key]:
                    raise UserError(
                        f"The run in {folder} cannot be resumed",
                        f"its {key} is {known.get(key)}, you ask for {self.record[key]}",
                        "Repeat the settings it was started with, or choose another --out folder",
                    )
            self.progress = self.checkpoint.load(self.learner, self.optimizer)
            mark = known.get("language_model", self.record["language_model"])
            if mark != self.record["language_model"] and self.progress.epoch < self._epochs:
                raise UserError(
                    f"The run in {folder} cannot be resumed",
                    "it began with other weights of the language model",
                    "Repeat the --llm and --decoder it was started with, or choose another --out folder",
                )
            self.record["language_model"] = mark

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Indices into `lessons`, shuffled by seed and epoch, so that a resumed epoch goes on in the same order."""
        size = self.recipe.head_batch if epoch < self.recipe.head_epochs else self.recipe.batch
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.lessons))
        return [order[at : at + size] for at in range(0, max(1, len(order) - size // 2), size)]

    def run(
        self,
        on_step: Callable[[Step], None] = lambda _: None,
        on_epoch: Callable[[dict[str, float]], None] = lambda _: None,
    ) -> None:
        """Go on to the end."""
        saved, began, done = time.monotonic(), time.monotonic(), 0
        for epoch in range(self.progress.epoch, self.recipe.head_epochs + self.recipe.epochs):
            stage = "kinds" if epoch < self.recipe.head_epochs else "answers"
            batches, losses = self.batches(epoch), []
            for number in range(self.progress.step, len(batches)):
                loss = self._step(epoch, number, batches)
                losses.append(loss)
                done += 1
                self.progress.step = number + 1
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
                share = (number + 1) / len(batches)
                on_step(Step(stage, (epoch + share) / self._epochs, loss, self._left(epoch, share, began, done)))
            summary: dict[str, float] = {"epoch": epoch + 1, "answers": stage == "answers"}
            summary["loss"] = round(float(np.mean(losses)), 5) if losses else math.nan
            summary |= self.validate(with_answers=stage == "answers")
            self.progress.history.append(summary)
            self.progress.epoch, self.progress.step = epoch + 1, 0
            self._save()
            saved = time.monotonic()
            on_epoch(summary)
        if self.recipe.kept:
            keep(self.model.video_former, self._start, self.recipe.kept)

    @property
    def _epochs(self) -> int:
        return self.recipe.head_epochs + self.recipe.epochs

    def _left(self, epoch: int, share: float, began: float, done: int) -> float:
        pace = (time.monotonic() - began) / max(done, 1)
        per_epoch = math.ceil(len(self.lessons) / self.recipe.batch)
        return pace * per_epoch * (self._epochs - epoch - share)

    def _step(self, epoch: int, number: int, batches: Sequence[np.ndarray]) -> float:
        recipe, answers = self.recipe, epoch >= self.recipe.head_epochs
        # Dropout too is the same after a resume.
        torch.manual_seed(hash((recipe.seed, epoch, number)) & 0x7FFFFFFF)
        self.model.train()
        chosen = [self.lessons[at] for at in batches[number]]
        rngs = [np.random.default_rng((recipe.seed, epoch, int(at))) for at in batches[number]]
        features, showing = self._features(chosen, rngs)
        queries = self.model.video_queries(features)
        targets = torch.tensor([self.kinds.index(_kind(lesson)) for lesson, _ in chosen])
        loss = F.cross_entropy(self.learner.kinds(queries), targets, label_smoothing=0.05)
        crops = self.learner.crop_kinds(features)
        if crops is not None:
            # A crop beside what is abnormal is a crop of something normal.
            seen = torch.where(torch.from_numpy(showing).flatten(1), targets[:, None], self.kinds.index(NORMAL))
            loss = loss + recipe.crop_weight * F.cross_entropy(crops.flatten(0, 1), seen.flatten())
        if answers:
            loss = recipe.head_weight * loss + self._answer_loss(queries, [lesson for lesson, _ in chosen], rngs)
        self._set_rate(epoch, number, len(batches))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError("Tuning diverged", f"the loss became {value}", "Lower --learning-rate and start again")
        return value

    def _features(
        self, chosen: Sequence[tuple[Lesson, Features]], rngs: Sequence[np.random.Generator]
    ) -> tuple[Tensor, np.ndarray]:
        rows, shown = [], []
        for (lesson, features), rng in zip(chosen, rngs, strict=True):
            row, showing = pictures_of(features.load(lesson.record), lesson.record, rng, self.recipe.guided)
            row = row[: self.model.config.pictures]
            if self.recipe.noise:
                seen = row[..., :CELL_CHANNELS]  # motion, mostly nothing and hardly above 1, would drown in as much
                seen += rng.standard_normal(seen.shape, np.float32) * (self.recipe.noise * seen.std())
            if self.recipe.strange:
                row = elsewhere(row, self.recipe.strange, rng)
            if rng.random() < self.recipe.unmapped:
                row[..., CELL_CHANNELS + FLOW :] = 0
            known = lesson.record.kind != ONE_WAY or row[..., CELL_CHANNELS + FLOW :].any()
            if known and rng.random() < self.recipe.mirrored:
                row = mirrored(row)
            if rng.random() < self.recipe.still:
                row[..., CELL_CHANNELS:] = 0
            rows.append(row)
            shown.append(showing[: self.model.config.pictures // len(lesson.record.frames) - 1])
        return torch.from_numpy(np.stack(rows)), np.stack(shown)

    def _answer_loss(self, queries: Tensor, lessons: Sequence[Lesson], rngs: Sequence[np.random.Generator]) -> Tensor:
        clips = []
        for lesson, rng in zip(lessons, rngs, strict=True):
            count = min(self.recipe.instructions, len(lesson.instructions))
            message = frames_message(lesson.record.times_s) if self.recipe.message else ""
            chosen = rng.choice(len(lesson.instructions), count, replace=False)
            clips.append(
                [example(lesson.instructions[at], self.model.template, self.model.tokenizer, message) for at in chosen]
            )
        return packed_loss(self.model, queries, pack(clips, self.model.placeholder))

    def _set_rate(self, epoch: int, number: int, steps: int) -> None:
        recipe = self.recipe
        if epoch < recipe.head_epochs:
            first, last = recipe.head_rate, recipe.head_rate * 0.2
            share = (epoch + number / steps) / recipe.head_epochs
        else:
            first, last = recipe.learning_rate, recipe.last_rate
            share = (epoch - recipe.head_epochs + number / steps) / recipe.epochs
        rate = last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
        if share < recipe.warm_up:
            rate = first * (share + 1 / (recipe.epochs * steps)) / recipe.warm_up if recipe.epochs else first
        for group in self.optimizer.param_groups:
            group["lr"] = min(rate, first)

    def validate(self, with_answers: bool) -> dict[str, float]:
        """Share of right kinds by the head, and of right yes/no answers at the best threshold, both per class."""
        chosen = self.validation[: self.recipe.validation_clips]
        if not chosen:
            return {}
        right: dict[str, list[bool]] = {}
        for (lesson, _), queries in zip(chosen, self._queries(chosen), strict=True):
            with torch.no_grad():
                found = self.kinds[int(self.learner.kinds(queries[None]).argmax())]
            right.setdefault(_kind(lesson), []).append(found == _kind(lesson))
        summary = {f"right_{kind}": round(float(np.mean(rows)), 4) for kind, rows in sorted(right.items())}
        summary["right_kinds"] = round(float(np.mean([np.mean(rows) for rows in right.values()])), 4)
        if with_answers:
            truth, probability = self.probabilities(chosen)
            if truth.any() and not truth.all():
                threshold = best_threshold(truth, probability)
                summary |= {
                    "threshold": threshold,
                    "balanced_accuracy": round(balanced_accuracy(truth, probability >= threshold), 4),
                }
        return summary

    def probabilities(self, chosen: Sequence[tuple[Lesson, Features]]) -> tuple[np.ndarray, np.ndarray]:
        """(N,) bool, abnormal in truth, and (N,) float, the probability of 'yes' to the cascade's first question."""
        truth, found = [], []
        for (lesson, _), queries in zip(chosen, self._queries(chosen), strict=True):
            message = frames_message(lesson.record.times_s) if self.recipe.message else ""
            prompt = self.model.template.prompt(self.model.tokenizer, ABNORMAL_QUESTION, message)
            truth.append(lesson.record.abnormal)
            found.append(float(self.model.answer_probability(queries[None], prompt)[0]))
        return np.array(truth), np.array(found)

    @torch.no_grad()
    def _queries(self, chosen: Sequence[tuple[Lesson, Features]]) -> Iterator[Tensor]:
        """(32, W) of each clip as the device sees it: no guided crops."""
        self.model.eval()
        pictures = self.model.config.pictures
        for lesson, features in chosen:
            row = np.asarray(features.load(lesson.record)[:pictures], np.float32)
            yield self.model.video_queries(torch.from_numpy(row)[None])[0]

    def _save(self) -> None:
        self.checkpoint.save(self.learner, self.optimizer, self.progress, self.record)


def _kind(lesson: Lesson) -> str:
    return (lesson.record.kind or "abnormal") if lesson.record.abnormal else NORMAL


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters with and without weight decay: vectors (biases, norms) have none."""
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
