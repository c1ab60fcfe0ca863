"""Does quantizing the language model change what the branch answers? `python -m callm_bench.yes_no_agreement --help`.

Every clip of a set is asked the first question three times, with the same pictures and the same video former: through
the language model as it was, in torch with the weights of the device, and through the int4 decoder of the device.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from callm_edge.events.clip import Clip
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.device import DeviceBranch
from callm_edge.stage2.prompts import frames_message
from callm_edge.stage2.spec import LLM, Stage2Spec
from callm_edge.stage2.torch_model import MiniConfig, VideoLanguageModel
from callm_edge.stage2.view import ClipView
from callm_export.decoder_weights import fill_from_decoder
from callm_export.mini import smollm2_folder
from callm_export.vlm.clip_set import ClipRecord, ClipSet
from callm_export.vlm.clip_work import with_bar
from callm_export.vlm.former_weights import load_former
from callm_export.vlm.plaza_clips import balanced
from callm_export.vlm.threshold import balanced_accuracy, best_threshold

CONSOLE = Console(stderr=True, highlight=False)


def in_torch(llm: Path, quantized: bool, stage2: Path, clips: ClipSet, records: list[ClipRecord]) -> np.ndarray:
    """(N,) probabilities of yes. llm: Hugging Face folder. quantized: with the device's weights in its place."""
    spec = Stage2Spec.read(stage2)
    model = VideoLanguageModel.mini(llm, config=MiniConfig(crops=spec.crops))
    load_former(model, stage2)
    if quantized:
        fill_from_decoder(model.llm, stage2 / LLM)
    model.eval()
    encoder = ClipEncoder(stage2)  # the same features for all: those of the 8-bit graph

    def asked(record: ClipRecord) -> float:
        message = frames_message(record.times_s) if spec.message else ""
        prompt = model.template.prompt(model.tokenizer, spec.abnormal_question, message)
        view = ClipView(Clip.load(clips.path(record.name)), spec.crops)
        features = torch.from_numpy(encoder.features(view.pictures(), view.motion()))
        with torch.no_grad():
            return float(model.answer_probability(model.video_queries(features[None].float()), prompt)[0])

    return np.array(with_bar(f"torch, {'4 bits' if quantized else llm.name}", records, asked, CONSOLE))


def on_the_device(stage2: Path, clips: ClipSet, records: list[ClipRecord]) -> np.ndarray:
    """The same through the device's own files."""
    branch = DeviceBranch(stage2)

    def asked(record: ClipRecord) -> float:
        return branch.probability(Clip.load(clips.path(record.name)))

    return np.array(with_bar("device, int4", records, asked, CONSOLE))


def agreement(truth: np.ndarray, threshold: float, of: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of each side against the first one: the same answers at the threshold, and how far probabilities lie apart."""
    first = next(iter(of.values()))
    return {
        name: {
            "agreement": round(float(np.mean((found >= threshold) == (first >= threshold))), 4),
            "mean_difference": round(float(np.mean(np.abs(found - first))), 4),
            "balanced_accuracy": round(balanced_accuracy(truth, found >= threshold), 4),
            "at_its_best_threshold": round(balanced_accuracy(truth, found >= best_threshold(truth, found)), 4),
        }
        for name, found in of.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="clip set of callm-edge caption, held out")
    parser.add_argument("--count", type=int, default=200, help="how many of them, half abnormal")
    parser.add_argument("--stage2", type=Path, required=True, help="stage2 of a bundle")
    parser.add_argument("--before", type=Path, help="the language model as it was; SmolLM2's package by default")
    options = parser.parse_args()
    clips, before = ClipSet(options.clips), options.before or smollm2_folder()
    records = balanced(clips.records(), options.count)
    truth = np.array([record.abnormal for record in records])
    of = {
        "before, float32 in torch": in_torch(before, False, options.stage2, clips, records),
        "4 bits, in torch": in_torch(before, True, options.stage2, clips, records),
        "4 bits, on the device": on_the_device(options.stage2, clips, records),
    }
    found = agreement(truth, Stage2Spec.read(options.stage2).threshold, of)
    table = Table(title=f"Yes or no about {len(records)} clips", title_justify="left")
    table.add_column("language model")
    for heading in next(iter(found.values())):
        table.add_column(heading.replace("_", " "), justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{value}" for value in row.values()))
    CONSOLE.print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
