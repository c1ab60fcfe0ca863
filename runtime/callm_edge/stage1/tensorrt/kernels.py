"""The two CUDA kernels of the GPU path, as the runtime needs them: one picture in, one window scored."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from callm_edge.errors import UserError
from callm_edge.stage1.ingest import SIZE


class Kernels(Protocol):
    """What a stream launches. Nothing is allocated and nothing waited for after `pictures` and construction."""

    workspace_bytes: int

    def records(self, picture: int, ring: int, shape: tuple[int, ...], count: int) -> np.ndarray:
        """Host records, one per ring slot 0..count-1, that tell `ingest` where the picture lies and where it goes."""
        ...

    def ingest(self, stream: Any, record: int) -> None:
        """Picture -> gray 256 x 256 at the record's slot and 16 slots on. record: device address."""
        ...

    def score(
        self, stream: Any, frame: int, reconstruction: int, workspace: int, numbers: int, flag: int, error_map: int
    ) -> None:
        """numbers: device address of mse, psnr_db, patch_mse and the threshold of the flag, (4,) float32."""
        ...


class FusedKernels:
    """The launchers of callm_kernels. max_row_bytes: of the widest picture row that will come."""

    def __init__(self, max_row_bytes: int, device: int = 0) -> None:
        from callm_kernels.errors import KernelError
        from callm_kernels.launchers.ingest import Ingest
        from callm_kernels.launchers.psnr_threshold import PsnrThreshold

        try:
            self._ingest = Ingest(device, size=SIZE, max_row_bytes=max_row_bytes)
            self._score = PsnrThreshold(device, height=SIZE, width=SIZE)
        except KernelError as error:
            raise UserError(error.what, error.why, error.fix) from error
        self.workspace_bytes = PsnrThreshold.workspace_bytes(1, SIZE, SIZE)

    def records(self, picture: int, ring: int, shape: tuple[int, ...], count: int) -> np.ndarray:
        """See Kernels.records."""
        from callm_kernels.launchers.ingest import CAMERA, describe
        from callm_kernels.pictures import Format

        height, width = shape[:2]
        kind = Format.BGR if len(shape) == 3 else Format.GRAY
        pitch = width * kind.pixel_bytes
        return np.array(
            [
                describe(picture=picture, ring=ring, pitch=pitch, width=width, height=height, format=kind, slot=slot)
                for slot in range(count)
            ],
            CAMERA,
        )

    def ingest(self, stream: Any, record: int) -> None:
        """See Kernels.ingest."""
        self._ingest.launch(stream, cameras=record, count=1)

    def score(
        self, stream: Any, frame: int, reconstruction: int, workspace: int, numbers: int, flag: int, error_map: int
    ) -> None:
        """See Kernels.score."""
        self._score.launch(
            stream,
            batch=1,
            frames=frame,
            frame_stride=SIZE * SIZE,
            reconstructions=reconstruction,
            reconstruction_stride=SIZE * SIZE,
            mse=numbers,
            psnr_db=numbers + 4,
            patch_mse=numbers + 8,
            thresholds_psnr_db=numbers + 12,
            workspace=workspace,
            flags=flag,
            error_map=error_map,
        )
