"""Training the autoencoder on normal footage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from callm_edge.errors import UserError
from callm_export.autoencoder import SCORED, SIZE, WINDOW, Autoencoder, normalise
from callm_export.checkpoint import Checkpoint, Progress, save_weights
from callm_export.footage import Footage
from callm_export.pseudo_anomalies import PseudoAnomalies, find_movers
from callm_export.score import score_frame

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Recipe:
    """How to train.

    loss: 'window', MSE over all 16 frames, or 'frame9', MSE over the frame that is scored, at half the cost.
    learning_rate: of Adam; constant, or falling to 0 along a cosine after a short warm-up when `cosine`.
    pseudo: mix in pseudo-anomalies (pseudo_anomalies.py).
    gain: random brightness of a window, +- this fraction.
    epoch_windows: windows of an epoch at most, drawn anew for each: an hour of footage costs no more than minutes.
    crop, crop_share: the first `crop_share` of the epochs see squares of `crop` pixels, mostly around movement, in
        batches of as many pixels; the rest see whole frames, which also settles the statistics of BatchNorm.
    validation_windows: held-out windows that are scored after each epoch, at most.
    """

    epochs: int = 60
    batch: int = 4
    learning_rate: float = 1e-3
    cosine: bool = True
    loss: str = "frame9"
    pseudo: bool = True
    gain: float = 0.1
    epoch_windows: int = 2500
    crop: int = 128
    crop_share: float = 0.7
    seed: int = 0
    validation_windows: int = 48


RECIPES = {
    # As published: plain reconstruction of the whole window (CALLM and Astrid et al.: Adam 1e-4, batch 4, 60 epochs).
    "paper": Recipe(
        learning_rate=1e-4,
        cosine=False,
        loss="window",
        pseudo=False,
        gain=0.0,
        epoch_windows=1 << 31,
        crop=SIZE,
        crop_share=0.0,
    ),
    "pseudo": Recipe(),
}


@dataclass(frozen=True)
class Step:
    """What the progress bar shows. loss: of this step; left_s: seconds to go, from the pace so far."""

    epoch: int
    epochs: int
    done: float
    loss: float
    left_s: float


class Training:
    """One run: a folder with footage, checkpoint and the weights of every epoch.

    Raises UserError where `resume` finds a checkpoint of another network or recipe.
    """

    def __init__(self, folder: Path, footage: Footage, preset: str, recipe: Recipe, data: str, resume: bool) -> None:
        self.folder, self.preset, self.recipe = folder, preset, recipe
        self.train, self.held_out = footage.split()
        torch.manual_seed(recipe.seed)
        self.model = Autoencoder.preset(preset).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.model.parameters(), recipe.learning_rate)
        self.checkpoint = Checkpoint(folder)
        self.progress = Progress(0, 0, [])
        self.record: dict[str, Any] = {
            "preset": preset,
            "channels": list(self.model.channels),
            "recipe": asdict(recipe),
            "data": data,
            "clips": list(self.train.names),
            "held_out_clips": list(self.held_out.names),
            "frames": self.train.frames,
        }
        if resume and self.checkpoint.exists():
            known = self.checkpoint.record()
            for key in ("preset", "recipe", "clips"):
                if known.get(key) != self.record[key]:
                    raise UserError(
                        f"The run in {folder} cannot be resumed",
                        f"its {key} is {known.get(key)}, you ask for {self.record[key]}",
                        "Repeat the settings it was started with, or choose another --out folder",
                    )
            self.progress = self.checkpoint.load(self.model, self.optimizer)
        movers = find_movers(self.train, np.random.default_rng(recipe.seed)) if recipe.pseudo else None
        self.pseudo = PseudoAnomalies(movers) if movers else None
        self.starts = [
            (which, start) for which, clip in enumerate(self.train.clips) for start in range(len(clip) - WINDOW + 1)
        ]

    def crop(self, epoch: int) -> int:
        """Side in pixels of the squares that epoch `epoch` sees."""
        return self.recipe.crop if epoch < round(self.recipe.epochs * self.recipe.crop_share) else SIZE

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Indices into `starts`, shuffled by seed and epoch, so that a resumed epoch goes on in the same order."""
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(len(self.starts))[
            : self.recipe.epoch_windows
        ]
        size = self.recipe.batch * (SIZE // self.crop(epoch)) ** 2
        return [order[i : i + size] for i in range(0, max(1, len(order) - size + 1), size)]

    def sample(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One training sample: input (16, S, S) and target (16, S, S) or, for the loss 'frame9', (1, S, S), uint8."""
        rng = np.random.default_rng((self.recipe.seed, epoch, int(index)))
        which, start = self.starts[index]
        clip, size = self.train.clips[which], self.crop(epoch)
        normal = np.asarray(clip[start : start + WINDOW])
        y, x = _place(normal, size, rng)
        window = normal[:, y : y + size, x : x + size]
        target = window
        kind = self.pseudo.kind(rng) if self.pseudo else ""
        if kind == "skip" and self.pseudo:
            window, gone = self.pseudo.skipped(clip[:, y : y + size, x : x + size], start, rng)
            target = np.broadcast_to(gone, window.shape)
        elif kind and self.pseudo:
            window = self.pseudo.paste(window, kind, rng, top=y)
            target = window if kind == "walker" else target
        if self.recipe.gain:
            gain = rng.uniform(1 - self.recipe.gain, 1 + self.recipe.gain)
            table = np.clip(np.round(np.arange(256) * gain), 0, 255).astype(np.uint8)
            window, target = table[window], table[target]
        return window, target if self.recipe.loss == "window" else target[SCORED : SCORED + 1]

    def loss(self, window: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """MSE of inputs (B, 1, 16, S, S) against targets (B, 1, 16 or 1, S, S), both in [-1, 1]."""
        with torch.autocast("cpu", torch.bfloat16):
            output = self.model(window) if self.recipe.loss == "window" else self.model.scored_frame(window)
        return torch.nn.functional.mse_loss(output.float(), target)

    def rate(self, epoch: int, part: float) -> float:
        """Learning rate at `part` (0..1) of epoch `epoch`: half an epoch of warm-up, then a half cosine to 0."""
        at = epoch + part
        if not self.recipe.cosine:
            return self.recipe.learning_rate
        warm = min(1.0, (at + 0.02) / 0.5)
        return self.recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * at / self.recipe.epochs))

    def run(self, on_step: Callable[[Step], None], on_epoch: Callable[[dict[str, float]], None]) -> Path:
        """Train to the end; returns the path of the final weights."""
        pixels = [self.crop(epoch) ** 2 for epoch in range(self.recipe.epochs)]
        began, worked = time.monotonic(), 0.0
        saved = began
        for epoch in range(self.progress.epoch, self.recipe.epochs):
            batches = self.batches(epoch)
            losses: list[float] = []
            for step in range(self.progress.step, len(batches)):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate(epoch, step / len(batches))
                losses.append(self._step([self.sample(epoch, int(i)) for i in batches[step]]))
                self.progress.step = step + 1
                worked += pixels[epoch] / len(batches)
                left = sum(pixels[epoch:]) - pixels[epoch] * (step + 1) / len(batches)
                seconds = time.monotonic() - began
                on_step(Step(epoch, self.recipe.epochs, 1 - left / sum(pixels), losses[-1], seconds * left / worked))
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.checkpoint.save(self.model, self.optimizer, self.progress, self.record)
                    saved = time.monotonic()
            summary = {"epoch": epoch + 1, "loss": float(np.mean(losses)) if losses else math.nan, **self.validate()}
            self.progress = Progress(epoch + 1, 0, [*self.progress.history, summary])
            save_weights(self.model, self.weights(epoch + 1), {"preset": self.preset})
            self.checkpoint.save(self.model, self.optimizer, self.progress, self.record)
            saved = time.monotonic()
            on_epoch(summary)
        return self.weights(self.recipe.epochs)

    def weights(self, epoch: int) -> Path:
        """Where the weights after `epoch` epochs are kept."""
        return self.folder / "weights" / f"epoch-{epoch:03d}.safetensors"

    def _step(self, samples: list[tuple[np.ndarray, np.ndarray]]) -> float:
        self.model.train()
        window, target = (normalise(torch.from_numpy(np.stack(part)))[:, None] for part in zip(*samples, strict=True))
        loss = self.loss(window.contiguous(memory_format=torch.channels_last_3d), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError("Training diverged", f"the loss became {value}", "Lower --learning-rate and start again")
        return value

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Held-out footage: mean PSNR of normal windows, and how well a pasted mover is told from a window without."""
        self.model.eval()
        rng = np.random.default_rng(self.recipe.seed)
        starts = [(c, s) for c, clip in enumerate(self.held_out.clips) for s in range(0, len(clip) - WINDOW + 1, 2)]
        count = min(self.recipe.validation_windows, len(starts))
        chosen = [starts[i] for i in sorted(rng.choice(len(starts), count, replace=False))]
        normal: list[float] = []
        tiles: list[float] = []
        labels: list[int] = []
        for which, start in chosen:
            window = np.array(self.held_out.clips[which][start : start + WINDOW])
            for label, frames in self._variants(window, rng):
                x = normalise(torch.from_numpy(frames))[None, None].contiguous(memory_format=torch.channels_last_3d)
                with torch.autocast("cpu", torch.bfloat16):
                    output = self.model.scored_frame(x)
                score = score_frame(output[:, 0, 0].float(), x[:, 0, SCORED])
                tiles.append(float(score.patch_mse))
                labels.append(label)
                if not label:
                    normal.append(float(score.psnr_db))
        result = {"held_out_psnr_db": float(np.mean(normal))}
        if len(set(labels)) == 2:
            result["held_out_pseudo_auc"] = float(roc_auc_score(labels, tiles))
        return result

    def _variants(self, window: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        yield 0, window
        if self.pseudo:
            yield 1, self.pseudo.paste(window, "mover", rng)


def recipe(name: str, **changes: Any) -> Recipe:
    """A recipe by name with the given fields changed where they are not None."""
    return replace(RECIPES[name], **{key: value for key, value in changes.items() if value is not None})


def _place(window: np.ndarray, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top left corner of a square: three times in four around a pixel that changes within the window."""
    room = SIZE - size
    if room == 0:
        return 0, 0
    if rng.random() < 0.75:
        moving = np.flatnonzero(np.abs(window[SCORED].astype(np.int16) - window[0]) > 25)
        if len(moving):
            y, x = divmod(int(moving[rng.integers(len(moving))]), SIZE)
            y, x = (v - size // 2 + int(rng.integers(-size // 3, size // 3 + 1)) for v in (y, x))
            return int(np.clip(y, 0, room)), int(np.clip(x, 0, room))
    return int(rng.integers(room + 1)), int(rng.integers(room + 1))
