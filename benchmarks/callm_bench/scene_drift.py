"""How soon is a tampered camera told, and how often one that is not? `python -m callm_bench.scene_drift [--seeds 20]`.

Each seed is a day on the plaza with every anomaly. Its first two thirds warm the alarm up and must raise none; then the
rest is shown once as it is and once tampered with in each way.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from callm_edge.decision.scene_drift import EVERY_S, SceneDrift
from callm_edge.events.scene import COVERED, DEFOCUSED, LIGHT, MOVED, SceneChange
from callm_edge.plaza import ANOMALIES, Plaza
from callm_edge.sources.source import Frame

FIRST_SEED = 40_000  # apart from those of training, evaluation and calibration


def shifted(image: np.ndarray) -> np.ndarray:
    size = image.shape[1], image.shape[0]
    by_12 = np.array([[1, 0, 12], [0, 1, 0]], np.float32)
    return cv2.warpAffine(image, by_12, size, borderMode=cv2.BORDER_REPLICATE)


def mirrored(image: np.ndarray) -> np.ndarray:
    return cv2.flip(image, 1)


def blurred(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 3, image.shape)  # a sensor's, which no lens blurs
    return np.clip(cv2.GaussianBlur(image, (0, 0), 6) + noise, 0, 255).astype(np.uint8)


def black(image: np.ndarray) -> np.ndarray:
    return np.full_like(image, 4)


def hand(image: np.ndarray) -> np.ndarray:
    blob = cv2.ellipse(np.full_like(image, 60), (300, 200), (250, 160), 20, 0, 360, (70, 90, 130), -1)
    return cv2.GaussianBlur(blob, (0, 0), 25)


def halved(image: np.ndarray) -> np.ndarray:
    return image // 2


TAMPERS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "shifted by 12 px of 640": (MOVED, shifted),
    "mirrored, which looks alike": (MOVED, mirrored),
    "blurred, sigma 6 px of 640": (DEFOCUSED, blurred),
    "black": (COVERED, black),
    "a hand": (COVERED, hand),
    "half of the light": (LIGHT, halved),
}


def changes(drift: SceneDrift, images: Sequence[np.ndarray], start_s: float) -> list[SceneChange]:
    found = (drift.push(Frame(0, start_s + EVERY_S * at, image)) for at, image in enumerate(images))
    return [change for change in found if change]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each day")
    options = parser.parse_args()
    delays: dict[str, list[float]] = {name: [] for name in TAMPERS}
    told = dict.fromkeys(TAMPERS, 0)
    false, costs_ms = 0, []
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        at = seed % len(ANOMALIES)
        plaza = Plaza(seed, ANOMALIES[at:] + ANOMALIES[:at], options.seconds)
        every = round(EVERY_S * plaza.fps)
        images = [image for image, _ in plaza.frames_at(range(0, plaza.frames, every))]
        split = len(images) * 2 // 3
        start_s = split * EVERY_S
        drift = SceneDrift("plaza")
        began = time.thread_time()
        false += len(changes(drift, images[:split], 0.0))
        costs_ms.append(1000 * (time.thread_time() - began) / split)
        for name, (kind, tamper) in TAMPERS.items():
            found = changes(copy.deepcopy(drift), [tamper(image) for image in images[split:]], start_s)
            if found and found[0].kind == kind:
                told[name] += 1
                delays[name].append(found[0].since - start_s)
        false += len(changes(drift, images[split:], start_s))
    hold_s = drift._limits.hold_s
    table = Table("tampered", "told as", "of", "begins after, median", "at most", "reported after, at most")
    for name, (kind, _) in TAMPERS.items():
        late = delays[name] or [float("nan")]
        told_as = f"{kind} {told[name]}"
        table.add_row(
            name,
            told_as,
            str(options.seeds),
            f"{np.median(late):.1f} s",
            f"{max(late):.1f} s",
            f"{max(late) + hold_s:.1f} s",
        )
    console = Console(highlight=False, width=120)
    console.print(table)
    minutes = options.seeds * options.seconds / 60
    console.print(f"{false} alarms in {minutes:.0f} minutes that nobody tampered with")
    cost_ms = float(np.median(costs_ms))
    console.print(f"{cost_ms:.2f} ms of a core for a frame that is looked at, {cost_ms / every:.2f} ms for each frame")


if __name__ == "__main__":
    main()
