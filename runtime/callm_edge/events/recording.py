"""What `run --record` leaves behind for one source: annotated video, score plot, and the scores as a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from callm_edge import atomic
from callm_edge.bundle import Decision
from callm_edge.cascade import DEFAULT_FPS, ScoredFrame
from callm_edge.decision.box import peak_box
from callm_edge.events.annotate import AnnotatedVideo
from callm_edge.events.event import Event
from callm_edge.events.score_plot import plot_scores
from callm_edge.sources import Source
from callm_edge.sources.plaza import PlazaSource


class Recording:
    """Writes NAME.mp4 as frames come, and NAME.png and NAME.csv at the end, into `folder`; NAME is the source's.

    A run that is interrupted still gets its files; only a killed one leaves none.
    """

    def __init__(self, folder: Path, source: Source, decision: Decision) -> None:
        self.folder, self._source, self._decision = folder, source, decision
        self._name = re.sub(r"[^A-Za-z0-9._-]+", "_", source.name).strip("._") or "source"
        self._video: AnnotatedVideo | None = None
        self._rows: list[tuple[int, float, float, float]] = []
        self._events: list[Event] = []

    def __enter__(self) -> Recording:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def frame(self, scored: ScoredFrame) -> None:
        """Add the next scored frame."""
        image = scored.frame.image
        size = (image.shape[1], image.shape[0])
        if self._video is None:
            fps = self._source.fps or DEFAULT_FPS
            path = self.folder / f"{self._name}.mp4"
            self._video = AnnotatedVideo(path, fps, size, self._decision.statistic == "tile").__enter__()
        box = peak_box(scored.error_map, size) if scored.flagged else None
        self._video.write(
            image,
            scored.score_db,
            self._decision.threshold_psnr_db,
            scored.error_map,
            scored.flagged,
            box,
            scored.event_active,
            f"{self._source.name} · frame {scored.frame.index}",
        )
        self._rows.append((scored.frame.index, scored.frame.time, scored.statistic_db, scored.score_db))

    def event(self, event: Event) -> None:
        """Add an event that ended."""
        self._events.append(event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is None:
            return
        # An interruption ends the footage; what was seen until then is as good as any.
        broken = kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit, GeneratorExit))
        self._video.__exit__(kind if broken else None, error if broken else None, trace if broken else None)
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(("frame", "time_s", f"{self._decision.statistic}_psnr_db", "smoothed_psnr_db"))
        writer.writerows((i, f"{t:.3f}", f"{raw:.4f}", f"{smooth:.4f}") for i, t, raw, smooth in self._rows)
        atomic.write_text(self.folder / f"{self._name}.csv", table.getvalue())
        plot_scores(
            self.folder / f"{self._name}.png",
            [row[1] for row in self._rows],
            [row[3] for row in self._rows],
            self._decision.threshold_psnr_db,
            self._events,
            self._truth(),
            self._source.name,
        )

    def _truth(self) -> Sequence[tuple[float, float]] | None:
        """(first, last) second of each abnormal stretch, where the source knows it, as the plaza does."""
        if not isinstance(self._source, PlazaSource) or self._source.live:
            return None
        plaza = self._source.plaza
        return [(start / plaza.fps, (end - 1) / plaza.fps) for _, start, end in plaza.schedule]
