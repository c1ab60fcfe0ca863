"""The frames of an event as they lie on disk: pictures, scores and where the error was, enough to judge it again.

A clip is a zip file: one JPEG for each frame, named by its index, clip.json and, where its camera's usual ways are
known, ways.npy. Any program can open it.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.stage2.ways import Ways

SCHEMA = 2
READABLE = (1, SCHEMA)  # of the first, a frame has one peak or none
INDEX = "clip.json"
WAYS = "ways.npy"

Point = tuple[float, float]


@dataclass(frozen=True)
class ClipFrame:
    """One frame. index, time: as in Frame. jpeg: of the picture.

    score_db: what the threshold was held against, or None where its window was not scored. peaks: x, y of the error's
    largest places in pixels of the picture, the largest first; none where its window was not scored.
    """

    index: int
    time: float
    jpeg: bytes
    score_db: float | None = None
    peaks: tuple[Point, ...] = ()

    @property
    def peak(self) -> Point | None:
        """Where the error is largest."""
        return self.peaks[0] if self.peaks else None

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR. Raises UserError where the picture is damaged."""
        import cv2

        image = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR) if self.jpeg else None
        if image is None:
            raise UserError(f"Frame {self.index} of the clip is damaged", "it is no JPEG picture")
        return image


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    index: int
    time: float
    score_db: float | None
    peaks: tuple[Point, ...]

    @model_validator(mode="before")
    @classmethod
    def _first_schema(cls, row: Any) -> Any:
        if isinstance(row, dict) and "peak" in row:
            row = dict(row)
            peak = row.pop("peak")
            row["peaks"] = [] if peak is None else [peak]
        return row


class _Index(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: int
    event_id: str
    bundle_hash: str
    threshold_psnr_db: float
    frames: list[_Row]


@dataclass(frozen=True)
class Clip:
    """An event's stretch of footage with what came before and after it.

    bundle_hash: of the bundle that scored it. frames: in order of time, at least one. ways: what is usual where its
    camera looks, by that bundle; None where it does not know.
    """

    event_id: str
    bundle_hash: str
    threshold_psnr_db: float
    frames: tuple[ClipFrame, ...]
    ways: Ways | None = None

    @property
    def seconds(self) -> float:
        return self.frames[-1].time - self.frames[0].time

    def save(self, path: Path) -> None:
        """Write the zip file, atomically."""
        rows = [_Row(index=f.index, time=f.time, score_db=f.score_db, peaks=f.peaks) for f in self.frames]
        index = _Index(
            schema_version=SCHEMA,
            event_id=self.event_id,
            bundle_hash=self.bundle_hash,
            threshold_psnr_db=self.threshold_psnr_db,
            frames=rows,
        )
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as file:  # JPEG does not shrink any more
            file.writestr(INDEX, index.model_dump_json(indent=1))
            for frame in self.frames:
                file.writestr(_name(frame.index), frame.jpeg)
            if self.ways is not None:
                file.writestr(WAYS, self.ways.to_bytes(), zipfile.ZIP_DEFLATED)
        atomic.write_bytes(path, memory.getbuffer())

    @classmethod
    def load(cls, path: Path) -> Clip:
        """Read a clip. Raises UserError, naming the file, where it is none or is damaged."""
        try:
            with zipfile.ZipFile(path) as file:
                index = _Index.model_validate_json(file.read(INDEX))
                if index.schema_version not in READABLE:
                    raise UserError(
                        f"The clip {path} has schema {index.schema_version}",
                        f"this version reads up to schema {SCHEMA}",
                        "Update callm-edge",
                    )
                frames = tuple(
                    ClipFrame(row.index, row.time, file.read(_name(row.index)), row.score_db, row.peaks)
                    for row in index.frames
                )
                ways = Ways.from_bytes(file.read(WAYS)) if WAYS in file.namelist() else None
        except FileNotFoundError:
            raise UserError(f"There is no clip {path}", "", "It may have been deleted to save space") from None
        except (OSError, zipfile.BadZipFile, KeyError, ValidationError, ValueError) as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"The clip {path} cannot be read", why, "It is damaged, or no clip") from error
        if not frames:
            raise UserError(f"The clip {path} is empty", "it holds no frame")
        return cls(index.event_id, index.bundle_hash, index.threshold_psnr_db, frames, ways)


def _name(index: int) -> str:
    return f"{index:010d}.jpg"
