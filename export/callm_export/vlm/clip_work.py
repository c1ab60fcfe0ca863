"""Making clip sets behind progress bars: the steps that the commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from callm_edge.bundle import Bundle
from callm_edge.errors import UsageError
from callm_edge.plaza import ANOMALIES
from callm_edge.stage1.choose import open_backend
from callm_edge.stage1.scorer import OrtScorer
from callm_export.vlm.clip_set import ClipSet
from callm_export.vlm.footage_clips import Footage, FootageClips, data_set
from callm_export.vlm.plaza_clips import DRAFT, PlazaClips, day, days_for

Item = TypeVar("Item")
Result = TypeVar("Result")


def with_bar(what: str, items: Sequence[Item], work: Callable[[Item], Result], console: Console) -> list[Result]:
    """`work` of every item, behind a bar that counts them."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(items))
        found = []
        for item in items:
            found.append(work(item))
            bar.advance(task)
    return found


def draw_plaza(
    clips: ClipSet,
    split: str,
    count: int,
    bundle: str,
    console: Console,
    first: int = 0,
    kinds: Sequence[str] = ANOMALIES,
) -> None:
    """Draw days of the plaza, from day `first` on, until there are `count` clips; complete days are kept.

    kinds: of their anomalies. Raises UsageError for one that the plaza does not have.
    """
    if split == DRAFT:
        drawing = PlazaClips(clips, None)
    else:
        opened = Bundle.load(bundle)
        drawing = PlazaClips(clips, OrtScorer(opened.score_path, 1), opened.name, opened.ways)
    known = clips.groups()

    def work(number: int) -> None:
        today = day(split, number, kinds)
        if today.group not in known:
            drawing.draw(today)

    with_bar("Drawing days", range(first, first + days_for(split, count)), work, console)


def cut_footage(
    clips: ClipSet,
    folder: Path,
    part: str | None,
    stretches: int,
    normal: int | None,
    bundle: str,
    fps: float | None,
    console: Console,
) -> None:
    """Cut clips of a data set; complete ones are kept. part: 'K/N' or None. Raises UserError."""
    footage = part_of(data_set(folder, normal), part)
    opened = Bundle.load(bundle)
    fps = fps or opened.manifest.training.get("fps")
    cutting = FootageClips(clips, open_backend(opened, "auto"), opened.name, fps, stretches, opened.ways)
    known = clips.groups()

    def work(one: Footage) -> None:
        if one.name not in known:
            cutting.cut(one)

    with_bar("Cutting clips", footage, work, console)


def part_of(footage: Sequence[Footage], part: str | None) -> list[Footage]:
    """The K-th of N parts, abnormal and normal clips dealt out in turn, each by itself. Raises UsageError."""
    if part is None:
        return list(footage)
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"'{part}' is no part", "expected is K/N with K from 1 to N", "Such as: --part 1/2")
    which, parts = int(match[1]) - 1, int(match[2])
    kinds = [[one for one in footage if one.abnormal is abnormal] for abnormal in (True, False)]
    return [one for kind in kinds for one in kind[which::parts]]
