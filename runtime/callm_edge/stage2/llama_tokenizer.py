"""The tokenizer of LLaMA and Vicuna, from their own `tokenizer.model`.

sentencepiece itself reads it: conversions to `tokenizer.json` rank merges of white space otherwise and give other ids
for some texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from callm_edge.errors import MissingExtraError, UserError
from callm_edge.stage2.prompts import TextTokenizer

MODEL = "tokenizer.model"
JSON = "tokenizer.json"


class LlamaTokenizer:
    """sentencepiece with LLaMA's habits. size: pieces; the video placeholder takes the next id.

    Raises UserError where the file is absent or no sentencepiece model, MissingExtraError without sentencepiece.
    """

    def __init__(self, path: Path) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ModuleNotFoundError as error:
            raise MissingExtraError("vlm", "LLaMA's tokenizer", "sentencepiece") from error
        if not path.is_file():
            raise UserError(
                f"There is no tokenizer at {path}", "no such file", "Copy the language model's folder again"
            )
        try:
            self._backend = SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"{path} is not a sentencepiece model", str(error).splitlines()[0], "Copy it again"
            ) from error
        self.size: int = self._backend.get_piece_size()

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids, nothing added around them.

        special: whether '<s>' and '</s>' in the text are tokens; the text between them is then encoded apart.
        """
        if not special:
            return list(self._backend.encode(text))
        ids: list[int] = []
        for number, sentence in enumerate(text.split("<s>")):
            ids += [self.id("<s>")] if number else []
            for place, piece in enumerate(sentence.split("</s>")):
                ids += [self.id("</s>")] if place else []
                ids += self._backend.encode(piece)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens and ids outside of the vocabulary are left out."""
        known = [int(i) for i in ids if 0 <= i < self.size and not self._backend.is_control(int(i))]
        return str(self._backend.decode(known))

    def id(self, token: str) -> int:
        """Id of one piece. Raises UserError where there is none."""
        found = int(self._backend.piece_to_id(token))
        if found == self._backend.unk_id() and token != self._backend.id_to_piece(found):
            raise UserError(
                f"The tokenizer has no token {token!r}", "it belongs to another model", "Use the model's own files"
            )
        return found


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer of a Hugging Face folder: `tokenizer.model` where there is one, else `tokenizer.json`."""
    if (folder / MODEL).is_file():
        return LlamaTokenizer(folder / MODEL)
    from callm_edge.stage2.text import Tokenizer

    return Tokenizer(folder / JSON)
