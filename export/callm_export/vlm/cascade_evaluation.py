"""How well stage 2 judges clips: yes or no, and what it says is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Branch
from callm_export.metrics import auc
from callm_export.vlm.clip_set import ClipRecord, ClipSet
from callm_export.vlm.wording import named_kinds


@dataclass(frozen=True)
class Judged:
    """A clip and what was said of it."""

    record: ClipRecord
    verdict: Verdict

    @property
    def named(self) -> bool | None:
        """Whether the explanation names the clip's kind, and no other; None where the truth knows no kind."""
        if self.record.kind is None:
            return None
        return self.verdict.abnormal and named_kinds(self.verdict.explanation) == (self.record.kind,)


@dataclass(frozen=True)
class CascadeEvaluation:
    """Of a data set. clips: with both normal and abnormal ones."""

    dataset: str
    bundle: str
    clips: tuple[Judged, ...]

    @property
    def hit_rate(self) -> float:
        """Share of the abnormal clips that were judged abnormal."""
        return float(np.mean([judged.verdict.abnormal for judged in self.clips if judged.record.abnormal]))

    @property
    def false_positive_rate(self) -> float:
        """Share of the normal clips that were judged abnormal."""
        return float(np.mean([judged.verdict.abnormal for judged in self.clips if not judged.record.abnormal]))

    @property
    def balanced_accuracy(self) -> float:
        return (self.hit_rate + 1 - self.false_positive_rate) / 2

    @property
    def auc(self) -> float:
        """Area under the curve of P(yes): how well clips are told apart by it, whatever the threshold."""
        truth = np.array([judged.record.abnormal for judged in self.clips])
        found = auc(truth, -np.array([judged.verdict.probability for judged in self.clips]))
        assert found is not None  # there are clips of both classes
        return found

    @property
    def named_right(self) -> float | None:
        """Share of the abnormal clips whose explanation names the right kind; a missed clip names none.

        None where the truth knows no kinds.
        """
        named = [judged.named for judged in self.clips if judged.record.abnormal and judged.named is not None]
        return float(np.mean(named)) if named else None

    @property
    def named_right_of_found(self) -> float | None:
        """The same among the abnormal clips that were judged abnormal."""
        named = [
            judged.named
            for judged in self.clips
            if judged.record.abnormal and judged.verdict.abnormal and judged.named is not None
        ]
        return float(np.mean(named)) if named else None

    def by_kind(self) -> dict[str, tuple[int, int, int]]:
        """Of each kind of abnormal clip: how many, how many judged abnormal, how many named rightly."""
        rows: dict[str, tuple[int, int, int]] = {}
        for judged in self.clips:
            if judged.record.abnormal:
                many, found, named = rows.get(judged.record.kind or "abnormal", (0, 0, 0))
                row = many + 1, found + judged.verdict.abnormal, named + bool(judged.named)
                rows[judged.record.kind or "abnormal"] = row
        return dict(sorted(rows.items()))

    def median_ms(self) -> dict[str, float]:
        """Median of each step over the clips that have it, and of all steps of clips that were explained."""
        steps: dict[str, list[float]] = {}
        for judged in self.clips:
            for step, spent in judged.verdict.ledger_ms.items():
                steps.setdefault(step, []).append(spent)
        return {step: round(float(np.median(spent)), 1) for step, spent in steps.items()}

    def to_dict(self) -> dict[str, object]:
        """The output for machines. Rates are 0..1."""
        return {
            "dataset": self.dataset,
            "bundle": self.bundle,
            "balanced_accuracy": round(self.balanced_accuracy, 6),
            "hit_rate": round(self.hit_rate, 6),
            "false_positive_rate": round(self.false_positive_rate, 6),
            "auc": round(self.auc, 6),
            "named_right": None if self.named_right is None else round(self.named_right, 6),
            "named_right_of_found": None if self.named_right_of_found is None else round(self.named_right_of_found, 6),
            "clips": len(self.clips),
            "kinds": {kind: list(row) for kind, row in self.by_kind().items()},
            "median_ms": self.median_ms(),
        }


def judge_clips(
    dataset: str,
    bundle: str,
    branch: Branch,
    clips: ClipSet,
    records: Iterable[ClipRecord],
    progress: Callable[[Judged], None] = lambda _: None,
) -> CascadeEvaluation:
    """Ask `branch` about every clip. progress: is told of each as it comes.

    Raises UserError where the clips are of one class only.
    """
    found = []
    for record in records:
        judged = Judged(record, branch.judge(Clip.load(clips.path(record.name))))
        found.append(judged)
        progress(judged)
    truth = np.array([judged.record.abnormal for judged in found], bool)
    if not len(found) or truth.all() or not truth.any():
        raise UserError(f"The clips of {dataset} are of one class only", f"{truth.sum()} of {len(found)} are abnormal")
    return CascadeEvaluation(dataset, bundle, tuple(found))
