"""AUC over the epochs of a training run: `python -m callm_bench.auc_over_epochs --run DIR --data FOLDER`.

For looking at a training after it: the weights that ship are those of the last epoch, whatever the test labels say.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnx
from rich.console import Console

from callm_edge.bundle import Decision
from callm_edge.stage1.scorer import OrtScorer
from callm_export.checkpoint import Checkpoint
from callm_export.evaluation import Evaluation, judge, score_clip
from callm_export.evaluation_plots import plot_auc_over_epochs
from callm_export.ground_truth import labelled_clips
from callm_export.onnx_graph import score_graph
from callm_export.published import load_autoencoder


def evaluate(weights: Path, data: str, fps: float | None) -> Evaluation:
    """Judge one epoch's weights; no threshold is needed for an AUC."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "score.onnx"
        onnx.save(score_graph(load_autoencoder(weights)), str(path))
        scorer = OrtScorer(path)
        judged = []
        for clip in labelled_clips(data, fps):
            scores = score_clip(clip.source, scorer, fps, clip.name, lambda: None)
            judged.append((scores, clip.truth(scores.peaks, scores.frames, scores.size)))
    return judge(Path(data).name, weights.stem, Decision(), judged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--data", required=True, help="labelled test set, as for `callm-edge evaluate`")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("out/auc_over_epochs.png"))
    options = parser.parse_args()
    last = int(Checkpoint(options.run).record()["epoch"])
    epochs = sorted({*range(options.every, last + 1, options.every), last})
    console = Console(highlight=False)
    results: list[dict[str, object]] = []
    for epoch in epochs:
        weights = options.run / "weights" / f"epoch-{epoch:03d}.safetensors"
        results.append(evaluate(weights, options.data, options.fps).to_dict())
        console.print(f"epoch {epoch}: paper {results[-1]['auc_paper']}, live {results[-1]['auc_live']}")
    paper, live = ([float(str(result[key])) for result in results] for key in ("auc_paper", "auc_live"))
    plot_auc_over_epochs(options.out, epochs, paper, live)


if __name__ == "__main__":
    main()
