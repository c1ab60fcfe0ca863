"""Weak captions: a frozen captioner of a local folder, asked about single frames, as the paper does with BLIP-2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from callm_edge.errors import MissingExtraError, UserError


class Captioner:
    """A BLIP-2 or another captioner that transformers knows, from a Hugging Face folder. Nothing is downloaded.

    max_tokens: of a caption. Raises MissingExtraError, UserError.
    """

    def __init__(self, folder: Path, max_tokens: int = 30) -> None:
        try:
            import torch
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ModuleNotFoundError as error:
            raise MissingExtraError("vlm", "A captioner", (error.name or "").split(".")[0]) from error
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} is no captioner", "it has no config.json", "Give a Hugging Face model folder")
        self._torch, self._max_tokens = torch, max_tokens
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UserError(f"The captioner in {folder} cannot be read", str(error).splitlines()[0]) from error

    def captions(self, images: Sequence[np.ndarray]) -> list[str]:
        """A caption of each (H, W, 3) BGR uint8 image, equal ones once."""
        found = []
        for image in images:
            inputs = self._processor(images=cv2.cvtColor(image, cv2.COLOR_BGR2RGB), return_tensors="pt")
            with self._torch.inference_mode():
                ids = self._model.generate(**inputs, max_new_tokens=self._max_tokens, do_sample=False)
            found.append(self._processor.batch_decode(ids, skip_special_tokens=True)[0].strip())
        return list(dict.fromkeys(caption for caption in found if caption))
