"""A folder of images, read as a film."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

from callm_edge.errors import SourceError
from callm_edge.sources.recorded import RecordedSource
from callm_edge.sources.source import Frame
from callm_edge.sources.uri import is_image


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key under which numbers inside names count by value: '2.jpg' before '10.jpg', '02.jpg' beside '2.jpg'."""
    parts = re.split(r"([0-9]+)", name)
    # Odd places hold the numbers. Texts and numbers never meet at one place, so they need no order among themselves.
    key = [(1, int(part), "") if place % 2 else (0, 0, part.casefold()) for place, part in enumerate(parts)]
    return key, name


class FolderSource(RecordedSource):
    """The images of the folder ``path`` in natural order, (H, W) if they have no colour, else (H, W, 3) BGR, uint8.

    fps: how fast the images follow each other; the time of a frame is its index divided by it, seconds.
    """

    def __init__(self, path: Path | str, *, fps: float = 25.0, name: str = "") -> None:
        if fps <= 0:
            raise ValueError("fps must be above 0")
        super().__init__(name or str(path))
        self.path = Path(path)
        self.fps: float = fps

    def _read(self) -> Generator[Frame, None, None]:
        try:
            files = sorted((p for p in self.path.iterdir() if is_image(p)), key=lambda p: natural_key(p.name))
        except OSError as error:
            raise SourceError(f"The folder '{self.name}' cannot be read", error.strerror or str(error)) from None
        if not files:
            raise SourceError(f"The folder '{self.name}' holds no images", "", "Give a folder with images in it")
        import cv2
        import numpy as np

        # OpenCV writes its complaints straight to stderr; ours name the file.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        for index, file in enumerate(files):
            try:
                encoded = np.fromfile(file, np.uint8)
                # From memory, because cv2.imread pads a cut-off JPEG with gray and calls it good. ANYCOLOR keeps gray
                # pictures gray, drops alpha, brings 16 bits down to 8 and minds the EXIF orientation.
                image = cv2.imdecode(encoded, cv2.IMREAD_ANYCOLOR) if encoded.size else None
                why = "it is damaged or no image" if encoded.size else "the file is empty"
            except (OSError, cv2.error) as error:
                image, why = None, (isinstance(error, OSError) and error.strerror) or "it is damaged or no image"
            if image is None:
                raise SourceError(f"The image '{file}' cannot be read", why, "Replace it or take it out of the folder")
            yield Frame(index, index / self.fps, image)
