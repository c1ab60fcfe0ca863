"""The model in torch as an engine: Video-LLaMA and `mini` on a GPU, or on the CPU where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from callm_edge.serving.conversation import Conversation
from callm_edge.serving.engine import Asking, Reply
from callm_edge.serving.errors import ApiError
from callm_edge.serving.generation import Continuation, Sampling, generate
from callm_edge.stage2.pictures import with_crops

if TYPE_CHECKING:
    from callm_edge.stage2.torch_model import VideoLanguageModel


class TorchEngine:
    """See Engine. model: loaded; it is moved to `device`, 'cuda', 'cpu' or the like; None is a GPU if there is one."""

    def __init__(self, model: VideoLanguageModel, device: str | None = None) -> None:
        import torch

        self._torch = torch
        self._model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.side = model.config.image
        self.width = int(model.llm.config.hidden_size)
        self._context = int(model.llm.config.max_position_embeddings)
        self._crops = model.config.pictures // model.config.frames - 1
        self._asking = Asking(model.template, model.tokenizer, message=False)

    @classmethod
    def load(cls, folder: Path) -> TorchEngine:
        """What VideoLanguageModel.save wrote: half precision on a GPU, single on the CPU. Raises what its `load` does.

        Raises MissingExtraError where torch is not installed.
        """
        from callm_edge.stage2.torch_model import VideoLanguageModel

        model_class = VideoLanguageModel  # asked for first: it says which extra is missing
        import torch

        return cls(model_class.load(folder, torch.float16 if torch.cuda.is_available() else torch.float32))

    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See Engine.encode. The pictures of all clips go through the vision encoder as one batch."""
        torch = self._torch
        seen = [with_crops(clip, self._crops) for clip in clips]
        with torch.inference_mode():
            features = self._model.encode_frames(torch.from_numpy(np.concatenate(seen))[None])
            of_each = features.split([len(clip) for clip in seen], dim=1)
            return [self._model.video_queries(one)[0].float().cpu().numpy() for one in of_each]

    def reply(self, video: np.ndarray, talk: Conversation, sampling: Sampling, cancelled: Callable[[], bool]) -> Reply:
        """See Engine.reply."""
        torch = self._torch
        prompt = self._asking.prompt(talk)
        length = len(prompt.before) + len(video) + len(prompt.after)
        if length >= self._context:
            why = f"A prompt of {length} tokens is too long; the model reads {self._context}"
            raise ApiError(400, why, "context_length_exceeded", "messages")
        with torch.inference_mode():
            embeds = self._model.prompt_embeds(torch.from_numpy(video)[None], prompt)
            sequence = _Sequence(self._model.llm, embeds, self._context - length)
        return Reply(length, generate(sequence, self._asking.tokenizer, sampling, prompt.stops, cancelled))


class _Sequence(Continuation):
    """embeds: (1, T, W), the prompt. room: tokens that the model can read beyond it."""

    def __init__(self, llm: Any, embeds: Any, room: int) -> None:
        from callm_edge.stage2.torch_model.language_model import cache_arguments

        self._llm, self._room, self._cache = llm, room, cache_arguments(llm)
        self._logits = self._read(inputs_embeds=embeds, logits_to_keep=1)

    @property
    def logits(self) -> np.ndarray:
        return self._logits

    @property
    def room(self) -> int:
        return self._room

    def push(self, token: int) -> None:
        import torch

        with torch.inference_mode():
            self._logits = self._read(input_ids=torch.tensor([[token]], device=self._llm.device))
        self._room -= 1

    def _read(self, **given: Any) -> np.ndarray:
        logits: np.ndarray = self._llm(**given, **self._cache).logits[0, -1].float().cpu().numpy()
        return logits
