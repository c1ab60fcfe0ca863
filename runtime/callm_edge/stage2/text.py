"""Text in and out of the language model on the device: tokenizer, embedding table, text from a token stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from callm_edge.errors import BundleError

TOKENIZER = "tokenizer.json"
EMBEDDING = "embedding.npy"
EMBEDDING_SCALES = "embedding_scales.npy"
EMBEDDING_ZEROS = "embedding_zeros.npy"


class Tokenizer:
    """A `tokenizer.json` of the Hugging Face kind. path: the file. size: tokens it knows.

    Raises BundleError where the file is absent or no tokenizer.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Backend

        if not path.is_file():
            raise BundleError(f"{path} is missing", "the language model cannot read text without it", "Copy it again")
        try:
            self._backend = Backend.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise BundleError(f"{path} is not a tokenizer", str(error), "Copy it again") from error
        self.size = self._backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids; nothing is added around them.

        special: whether `<|im_start|>` and the like in the text are tokens. False for words of a user, who must not be
        able to end a turn.
        """
        self._backend.encode_special_tokens = not special
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""
        return self._backend.decode(list(ids), skip_special_tokens=True)

    def id(self, token: str) -> int:
        """Id of one token by its text. Raises BundleError where there is none."""
        found = self._backend.token_to_id(token)
        if found is None:
            raise BundleError(
                f"The tokenizer has no token {token!r}", "it belongs to another model", "Use the model's own files"
            )
        return int(found)

    def stream(self) -> TextStream:
        """A new, empty text."""
        return TextStream(self)


class TextStream:
    """Turns tokens into text as they come: a character of several tokens waits until it is whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers.decoders import DecodeStream

        self._backend = tokenizer._backend
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """The text that `token` completes, often one word with its space; '' where none."""
        return self._stream.step(self._backend, int(token)) or ""


class EmbeddingTable:
    """The token embeddings, read row by row from mapped files.

    Two forms: float16 rows, or unsigned integers of 4 or 8 bits in blocks along the width, each with a float16 scale
    and an unsigned zero point: ``x = scale * (q - zero)``. The second is the very matrix that the decoder's output
    layer multiplies with (ONNX Runtime's MatMulNBits layout), so tied embeddings lie on disk once.

    rows, width: shape of the table. Raises BundleError where the files do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        self._table = _mapped(folder / EMBEDDING)
        self._scales: np.ndarray | None = None
        if self._table.dtype == np.float16 and self._table.ndim == 2:
            self.rows, self.width = self._table.shape
            return
        self._scales, self._zeros = _mapped(folder / EMBEDDING_SCALES), _mapped(folder / EMBEDDING_ZEROS)
        if self._table.ndim != 3 or self._table.dtype != np.uint8 or self._scales.shape != self._table.shape[:2]:
            raise BundleError(
                f"The embedding table in {folder} does not fit its scales",
                f"{self._table.dtype} {self._table.shape} and {self._scales.dtype} {self._scales.shape}",
                "Copy the folder again",
            )
        self.rows, blocks, blob = self._table.shape
        # Zero points are packed as the values are: two to a byte at 4 bits.
        self._bits = 8 if self._zeros.shape == (self.rows, blocks) else 4
        if self._bits == 4 and self._zeros.shape != (self.rows, (blocks + 1) // 2):
            raise BundleError(
                f"The embedding table in {folder} does not fit its zero points",
                f"{self._table.shape} and {self._zeros.shape}",
                "Copy the folder again",
            )
        self.width = blocks * blob * 8 // self._bits

    def __call__(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(T,) token ids -> (T, width) float32."""
        rows = np.asarray(ids, np.int64).reshape(-1)
        if rows.size and not 0 <= int(rows.min()) <= int(rows.max()) < self.rows:
            raise BundleError(
                f"Token {int(rows.max())} is outside of the {self.rows} embeddings",
                "the tokenizer belongs to another model",
                "Use the model's own tokenizer",
            )
        if self._scales is None:
            return self._table[rows].astype(np.float32)
        values, zeros = self._table[rows], self._zeros[rows]
        if self._bits == 4:
            values, zeros = _nibbles(values), _nibbles(zeros)[:, : self._scales.shape[1]]
        centred = values.astype(np.float32) - zeros[:, :, None]
        return (centred * self._scales[rows].astype(np.float32)[:, :, None]).reshape(len(rows), self.width)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """Two values of each byte, the low half first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], 2 * packed.shape[-1])


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} is no array", str(error), "Copy it again") from error
