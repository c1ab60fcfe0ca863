"""A tuning run from clip sets to what a bundle's stage2 folder holds of it, behind progress bars."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from callm_edge import __version__, atomic
from callm_edge.events.clip import Clip
from callm_edge.stage2.device import DeviceBranch
from callm_edge.stage2.spec import FORMER, LLM, VISION, Stage2Spec
from callm_edge.stage2.torch_model import VideoLanguageModel
from callm_export.vlm.clip_set import ClipSet
from callm_export.vlm.clip_work import with_bar
from callm_export.vlm.features import Features
from callm_export.vlm.lessons import Lesson, read_lessons
from callm_export.vlm.threshold import LET_PASS, balanced_accuracy, best_threshold, normal_threshold
from callm_export.vlm.tuning import Step, Tuning, weights_mark
from callm_export.vlm.vision_export import export_encoder, export_former

Lessons = list[tuple[Lesson, Features]]
STAGE2 = "stage2"
WEIGHTS = "video_former.safetensors"


def prepared(folders: Sequence[Path], vision: Path, threads: int, gray: float, console: Console) -> Lessons:
    """Lessons of clip sets with the features of their clips, computed where they are not there yet.

    gray: share of the clips that are seen in gray.
    """
    found: Lessons = []
    for folder in folders:
        clips = ClipSet(folder)
        lessons, features = read_lessons(clips), Features(clips, vision, threads, gray)
        records = [lesson.record for lesson in lessons]
        with_bar(f"Features of {folder.name}", records, features.prepare, console)
        found += [(lesson, features) for lesson in lessons]
    return found


def tune_with_progress(tuning: Tuning, console: Console, as_json: bool) -> None:
    """Tune to the end; the bar shows loss and time left, and loss.png grows with every epoch."""
    progress = tuning.progress
    if progress.epoch or progress.step:
        console.print(f"Going on at epoch {progress.epoch + 1}, step {progress.step + 1}")
    columns = (
        TextColumn("Learning {task.fields[stage]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  loss {task.fields[loss]:.4f}  {task.fields[left]} left"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0, stage="", loss=0.0, left="?")

        def on_step(step: Step) -> None:
            left = f"{step.left_s / 60:.0f} min"
            bar.update(task, completed=step.done, stage=step.stage, loss=step.loss, left=left)

        def on_epoch(summary: dict[str, float]) -> None:
            plot_history(tuning.folder / "loss.png", tuning.progress.history)
            if as_json:
                click.echo(json.dumps({"type": "epoch", **summary}))
            else:
                console.print("  ".join(f"{key} {value:.4g}" for key, value in summary.items()))

        tuning.run(on_step, on_epoch)


def finish(
    tuning: Tuning, data: Sequence[str], llm: str, console: Console, decoder: Path | None = None
) -> dict[str, Any]:
    """Write the trained part, its ONNX graph and stage2.json, with the threshold that suits the validation clips.

    decoder: the language model as the device runs it, `llm` of a bundle's stage2. Where it is given, it gets into the
    folder too, and the threshold is chosen by the device's own answers, which 4 bits move.
    """
    folder = tuning.folder
    model: VideoLanguageModel = tuning.model
    model.save_trained(folder / WEIGHTS)
    difference = export_former(model, folder / STAGE2 / FORMER)
    as_on_device = decoder is not None and tuning.record["language_model"] == weights_mark(model.llm)
    spec = Stage2Spec(
        template=model.template.name,
        threshold=0.5,
        crops=model.config.pictures // model.config.frames - 1,
        message=tuning.recipe.message,
        training={
            "data": list(data),
            "language_model": llm,
            "learnt_with": "the device's weights of it" if as_on_device else "its own weights",
            "recipe": tuning.record["recipe"],
            "clips": len(tuning.lessons),
            "abnormal_clips": sum(lesson.record.abnormal for lesson, _ in tuning.lessons),
            "history": tuning.progress.history,
            "made_with": f"callm-edge {__version__}",
        },
    )
    spec.write(folder / STAGE2)
    if decoder:
        shutil.copytree(decoder, folder / STAGE2 / LLM, dirs_exist_ok=True)
        truth, probability = _device_probabilities(tuning, folder / STAGE2, console)
    else:
        truth, probability = tuning.probabilities(tuning.validation)
    calibration: dict[str, Any] = {"clips": len(truth), "by": "device" if decoder else "torch"}
    threshold = spec.threshold
    if truth.any() and not truth.all():
        threshold = best_threshold(truth, probability)
        calibration["balanced_accuracy"] = round(balanced_accuracy(truth, probability >= threshold), 4)
    elif len(truth) and not truth.any():
        threshold = normal_threshold(probability)
        calibration["normal_let_pass"] = LET_PASS
        console.print(f"[yellow]All validation clips are normal:[/] the threshold lets {LET_PASS:.0%} of them pass")
    else:
        console.print("[yellow]The threshold stays 0.5:[/] there are no normal validation clips")
    training = {**spec.training, "calibration": calibration}
    spec = spec.model_copy(update={"threshold": threshold, "training": training})
    spec.write(folder / STAGE2)
    return {
        "threshold": round(spec.threshold, 6),
        "validation_clips": len(truth),
        "validation_balanced_accuracy": calibration.get("balanced_accuracy"),
        "former_difference": difference,
        "stage2": str(folder / STAGE2),
    }


def _device_probabilities(tuning: Tuning, folder: Path, console: Console) -> tuple[np.ndarray, np.ndarray]:
    branch = DeviceBranch(folder, torch.get_num_threads())

    def asked(pair: tuple[Lesson, Features]) -> float:
        lesson, features = pair
        return branch.probability(Clip.load(features.clips.path(lesson.record.name)))

    found = with_bar("Calibrating", tuning.validation, asked, console)
    return np.array([lesson.record.abnormal for lesson, _ in tuning.validation]), np.array(found)


def write_encoder(model: VideoLanguageModel, folder: Path) -> Path:
    """vision.onnx of a run, written once: features are known by its hash."""
    path = folder / STAGE2 / VISION
    if not path.exists():
        export_encoder(model, path)
    return path


def plot_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Loss of every epoch, and what was right on validation clips."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    epochs = [row["epoch"] for row in history]
    figure, left = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    left.plot(epochs, [row["loss"] for row in history], color="black", label="loss")
    left.set(xlabel="epoch", ylabel="loss (nats)")
    right = left.twinx()
    for key, colour in (("right_kinds", "tab:blue"), ("balanced_accuracy", "tab:orange")):
        known = [(row["epoch"], row[key]) for row in history if key in row]
        if known:
            right.plot(*np.array(known).T, color=colour, marker=".", label=key.replace("_", " "))
    right.set(ylabel="share of validation clips", ylim=(0, 1.02))
    first_answers = next((row["epoch"] for row in history if row["answers"]), None)
    if first_answers is not None:
        left.axvline(first_answers - 0.5, color="gray", linestyle=":", label="answers begin")
    figure.legend(loc="outside upper center", ncols=4)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)
