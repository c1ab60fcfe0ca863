"""VideoLanguageModel: pictures of a clip -> answers in words. One class for `video-llama` and `mini`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from callm_edge.errors import UserError
from callm_edge.stage2.llama_tokenizer import load_tokenizer
from callm_edge.stage2.prompts import NO, YES, Prompt, Template, TextTokenizer, placeholder_runs, template
from callm_edge.stage2.torch_model import saving
from callm_edge.stage2.torch_model.config import MiniConfig, VideoLlamaConfig
from callm_edge.stage2.torch_model.frame_encoder import EvaQFormer, LiteGrid
from callm_edge.stage2.torch_model.language_model import cache_arguments, load_llm
from callm_edge.stage2.torch_model.parts import lite0_weights
from callm_edge.stage2.torch_model.published import PublishedFiles, load_encoder, load_former
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer, VideoFormer
from callm_edge.stage2.torch_model.weights import Misfits, read_checkpoint, shapes

IGNORED = -100  # label of a token that is not learnt


class VideoLanguageModel(nn.Module):
    """Frozen frame encoder, trained video former, frozen language model.

    config: sizes. template: how questions are wrapped. tokenizer: of the language model, or None where only ids are
    used. llm_folder: where the language model came from. placeholder: id that stands for a video query in `token_ids`:
    the first that the tokenizer does not give out.
    """

    def __init__(
        self,
        config: VideoLlamaConfig | MiniConfig,
        frame_encoder: EvaQFormer | LiteGrid,
        video_former: VideoFormer,
        llm: Any,
        template: Template,
        tokenizer: TextTokenizer | None = None,
        llm_folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.config, self.template, self._tokenizer, self._llm_folder = config, template, tokenizer, llm_folder
        self.frame_encoder, self.video_former, self.llm = frame_encoder, video_former, llm
        vocabulary = int(llm.config.vocab_size)
        if tokenizer is not None and tokenizer.size > vocabulary:
            raise UserError(
                f"The tokenizer has {tokenizer.size} tokens, the language model {vocabulary}",
                "the tokenizer belongs to another model",
                "Use the language model's own tokenizer",
            )
        self.placeholder = tokenizer.size if tokenizer is not None else vocabulary
        self.frame_encoder.requires_grad_(False)
        self.llm.requires_grad_(False)
        self.eval()

    @classmethod
    def from_published(
        cls,
        files: PublishedFiles,
        *,
        template_name: str = "v2",
        config: VideoLlamaConfig | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> VideoLanguageModel:
        """Video-LLaMA from its released files, on the CPU. dtype: of the frozen parts; the trained one is float32.

        template_name: 'v2' for LLaMA-2-chat, 'v1' for Vicuna, 'v0' for the first release.
        Raises UserError that names every missing, unexpected and misshapen tensor of all the files at once.
        """
        config = config or VideoLlamaConfig()
        wrapping, tokenizer, misfits = template(template_name), load_tokenizer(files.llm), Misfits()
        llm = load_llm(files.llm, dtype, misfits)
        former = VideoFormer(config.video, int(llm.config.hidden_size))
        with torch.device("meta"):  # a thousand million weights need not be drawn at random first
            encoder = EvaQFormer(config)
        load_encoder(encoder, files, dtype, misfits)
        if files.trained is not None:
            load_former(former, files.trained, misfits)
        misfits.check("Video-LLaMA")
        return cls(config, encoder, former, llm, wrapping, tokenizer, files.llm)

    @classmethod
    def mini(
        cls,
        llm: Path,
        *,
        config: MiniConfig | None = None,
        encoder_weights: Path | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> VideoLanguageModel:
        """`mini` above the language model of folder `llm` (SmolLM2-135M-Instruct), its video former untrained.

        encoder_weights: EfficientNet-Lite0's; None takes them from the installed registry package.
        dtype: of the language model. Raises UserError, MissingExtraError.
        """
        config, misfits = config or MiniConfig(), Misfits()
        model = load_llm(llm, dtype, misfits)
        encoder, path = LiteGrid(config.image), encoder_weights or lite0_weights()
        found = {f"net.{key}": value for key, value in read_checkpoint(path).items() if not key.startswith("_fc.")}
        misfits.compare(path.name, shapes(encoder.state_dict()), found)
        misfits.check("mini")
        encoder.load_state_dict(found)
        former = MiniVideoFormer(config.video, int(model.config.hidden_size), encoder.cells, config.crops)
        former.match_scale(model.get_input_embeddings().weight)
        return cls(config, encoder, former, model, template("chatml"), load_tokenizer(llm), llm)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> VideoLanguageModel:
        """What `save` wrote, on the CPU; `llm/` may meanwhile hold the quantized language model.

        dtype: of the language model. Raises UserError, MissingExtraError.
        """
        record, misfits = saving.read_record(folder), Misfits()
        llm = load_llm(folder / saving.LLM, dtype, misfits)
        misfits.check("the language model")
        config, width = record.config, int(llm.config.hidden_size)
        encoder: EvaQFormer | LiteGrid
        former: VideoFormer
        if isinstance(config, MiniConfig):
            encoder = LiteGrid(config.image)
            former = MiniVideoFormer(config.video, width, encoder.cells, config.crops)
        else:
            encoder, former = EvaQFormer(config), VideoFormer(config.video, width)
        wrapping, tokenizer = template(record.template), load_tokenizer(folder / saving.LLM)
        model = cls(config, encoder, former, llm, wrapping, tokenizer, folder / saving.LLM)
        saving.fill(model.frame_encoder, folder / saving.ENCODER)
        model.load_trained(folder / saving.FORMER)
        return model

    def save(self, folder: Path) -> None:
        """Write all parts to `folder`: see `load`. A quantized language model's own folder is copied."""
        saving.save_model(self, folder, self._llm_folder)

    def save_trained(self, path: Path) -> None:
        """Write the trained part alone, as safetensors, atomically."""
        saving.save_trained(self, path)

    def load_trained(self, path: Path, to_begin_with: bool = False) -> None:
        """Fill the trained part. Raises UserError that names all that does not fit.

        to_begin_with: training goes on from there, so that it may have been taught another number of crops.
        """
        saving.load_trained(self, path, to_begin_with)

    @property
    def tokenizer(self) -> TextTokenizer:
        if self._tokenizer is None:
            raise UserError("This model has no tokenizer", "it was put together without one", "Use token ids")
        return self._tokenizer

    @property
    def device(self) -> torch.device:
        return self.video_former.query_tokens.device

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """What tuning changes, by name: video Q-Former, queries, frame positions, projection. All else is frozen."""
        return dict(self.video_former.named_parameters())

    def train(self, mode: bool = True) -> VideoLanguageModel:
        """Training mode for the trained part alone: dropout in frozen parts would be noise."""
        super().train(False)
        self.video_former.train(mode)
        return self

    @torch.no_grad()
    def encode_frames(self, pictures: Tensor) -> Tensor:
        """(B, P, S, S, 3) RGB, 0..255 -> features (B, P, tokens, width). Frozen: worth caching.

        P: `config.pictures`, all frames in time and then, for `mini` with crops, those of the same frames by rank.
        """
        if pictures.ndim != 5 or tuple(pictures.shape[2:]) != (self.config.image, self.config.image, 3):
            side = self.config.image
            raise ValueError(f"pictures are {tuple(pictures.shape)}, not (B, P, {side}, {side}, 3)")
        features: Tensor = self.frame_encoder(pictures.flatten(0, 1).to(self.device))
        return features.unflatten(0, pictures.shape[:2])

    def video_queries(self, features: Tensor) -> Tensor:
        """Features of `encode_frames` (B, P, tokens, width) -> (B, 32, llm_width). Differentiable."""
        weight = self.video_former.projection.weight
        queries: Tensor = self.video_former(features.to(weight.device, weight.dtype))
        return queries

    def inputs_embeds(self, video_queries: Tensor, token_ids: Tensor) -> Tensor:
        """(B, 32, W) and (B, T) ids with 32 consecutive placeholders a row -> (B, T, W).

        Raises UserError where a row has more, fewer, or scattered placeholders.
        """
        count = video_queries.shape[1]
        for row, ids in enumerate(token_ids.tolist()):
            runs = [length for _, length in placeholder_runs(ids, self.placeholder)]
            if runs != [count]:
                raise UserError(
                    f"Instruction {row} of the batch has placeholders in runs of {runs}",
                    f"the video needs {count}, one after another",
                    "Was it cut? Shorten the text around the video",
                )
        at_video = token_ids == self.placeholder
        embeds: Tensor = self.llm.get_input_embeddings()(token_ids.masked_fill(at_video, 0))
        return embeds.masked_scatter(at_video[..., None], video_queries.to(embeds.dtype))

    def logits(self, video_queries: Tensor, token_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, 32, W) and (B, T) ids -> (B, T, vocabulary). attention_mask: (B, T), needed only for left padding."""
        embeds = self.inputs_embeds(video_queries, token_ids)
        return cast(Tensor, self.llm(inputs_embeds=embeds, attention_mask=attention_mask).logits)

    def loss(
        self, video_queries: Tensor, token_ids: Tensor, labels: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Mean negative log likelihood (nats) of the labels that are not -100, each given the tokens before it.

        video_queries: (B, 32, W). token_ids, labels: (B, T) int64, padded on the right; the padding needs label -100.
        """
        embeds = self.inputs_embeds(video_queries, token_ids)
        hidden = self.llm.base_model(inputs_embeds=embeds, attention_mask=attention_mask).last_hidden_state
        targets = labels[:, 1:]
        learnt = targets != IGNORED
        # The vocabulary is the widest layer: only labelled positions pay for it.
        logits = self.llm.get_output_embeddings()(hidden[:, :-1][learnt])
        return F.cross_entropy(logits.float(), targets[learnt])

    def prompt_embeds(self, video_queries: Tensor, prompt: Prompt) -> Tensor:
        """(B, 32, W) -> (B, T, W): the prompt's tokens around each clip's queries."""
        table = self.llm.get_input_embeddings()
        before, after = (
            table(torch.tensor([ids], dtype=torch.int64, device=table.weight.device))
            for ids in (prompt.before, prompt.after)
        )
        batch = video_queries.shape[0]
        middle = video_queries.to(before.device, before.dtype)
        return torch.cat([before.expand(batch, -1, -1), middle, after.expand(batch, -1, -1)], dim=1)

    @torch.no_grad()
    def answer_probability(self, video_queries: Tensor, prompt: Prompt, answers: tuple[str, str] = (YES, NO)) -> Tensor:
        """(B, 32, W) -> (B,) float32 in 0..1: the first answer's probability against the second's.

        An answer's probability is the product of its tokens'; P(yes) / (P(yes) + P(no)).
        """
        embeds, table = self.prompt_embeds(video_queries, prompt), self.llm.get_input_embeddings()
        sums = []
        for answer in answers:
            ids = torch.tensor(self.template.answer_ids(self.tokenizer, answer), device=embeds.device)
            # All but the last token are read too, so that each is scored given those before it.
            said = table(ids[:-1])[None].expand(embeds.shape[0], -1, -1)
            out = self.llm(inputs_embeds=torch.cat([embeds, said], dim=1), logits_to_keep=len(ids))
            scores = out.logits[:, -len(ids) :].float().log_softmax(-1)
            sums.append(scores.gather(-1, ids[None, :, None].expand(embeds.shape[0], -1, 1)).sum((1, 2)))
        return (sums[0] - sums[1]).sigmoid()

    @torch.no_grad()
    def token_stream(self, video_queries: Tensor, prompt: Prompt, max_tokens: int = 128) -> Iterator[list[int]]:
        """(B, 32, W) -> the next token of every clip, step by step, greedy, until all have stopped or `max_tokens`.

        A clip that has stopped goes on giving tokens; `generate` cuts them.
        """
        cache = cache_arguments(self.llm)
        step = self.llm(inputs_embeds=self.prompt_embeds(video_queries, prompt), logits_to_keep=1, **cache)
        said: list[list[int]] = [[] for _ in range(video_queries.shape[0])]
        stopped = [False] * len(said)
        for count in range(max_tokens):
            tokens = step.logits[:, -1].argmax(-1)
            ids = [int(token) for token in tokens.tolist()]
            for clip, token in enumerate(ids):
                said[clip].append(token)
                stopped[clip] = stopped[clip] or _stop(said[clip], prompt) > 0
            yield ids
            if all(stopped) or count + 1 == max_tokens:
                return
            step = self.llm(input_ids=tokens[:, None], **cache)

    def generate(self, video_queries: Tensor, prompt: Prompt, max_tokens: int = 128) -> list[list[int]]:
        """(B, 32, W) -> each clip's answer as token ids, greedy, without its stop tokens."""
        said: list[list[int]] = [[] for _ in range(video_queries.shape[0])]
        stopped = [False] * len(said)
        for tokens in self.token_stream(video_queries, prompt, max_tokens):
            for clip, token in enumerate(tokens):
                if stopped[clip]:
                    continue
                said[clip].append(token)
                ending = _stop(said[clip], prompt)
                if ending:
                    stopped[clip] = True
                    del said[clip][-ending:]
        return said

    def text_stream(self, video_queries: Tensor, prompt: Prompt, max_tokens: int = 128) -> Iterator[str]:
        """(1, 32, W) -> the answer in pieces as they come; no piece holds a part of a stop or half a character."""
        said: list[int] = []
        shown = ""
        for (token,) in self.token_stream(video_queries, prompt, max_tokens):
            said.append(token)
            free = said[: len(said) - (_stop(said, prompt) or _begun(said, prompt))]
            text = self.tokenizer.decode(free)
            if len(text) > len(shown) and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
        # What might have become a stop did not.
        text = self.tokenizer.decode(said[: len(said) - _stop(said, prompt)])
        if len(text) > len(shown):
            yield text[len(shown) :]

    def answers(self, video_queries: Tensor, prompt: Prompt, max_tokens: int = 128) -> list[str]:
        """(B, 32, W) -> each clip's answer in words."""
        found = self.generate(video_queries, prompt, max_tokens)
        return [self.template.cleaned(self.tokenizer.decode(ids)) for ids in found]


def _stop(said: Sequence[int], prompt: Prompt) -> int:
    """Length of the stop sequence with which `said` ends; 0 where it goes on."""
    return next((len(stop) for stop in prompt.stops if stop and tuple(said[-len(stop) :]) == stop), 0)


def _begun(said: Sequence[int], prompt: Prompt) -> int:
    """Length of the longest tail of `said` with which a stop sequence begins."""
    tails = (
        length
        for stop in prompt.stops
        for length in range(1, min(len(stop), len(said) + 1))
        if tuple(said[-length:]) == stop[:length]
    )
    return max(tails, default=0)
