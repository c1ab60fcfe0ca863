"""What several tests share."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from callm_edge.bundle import Bundle, Decision
from callm_edge.stage2.llama_tokenizer import LlamaTokenizer

# Started in the background by a shell, tests would pass on to their children that Ctrl-C is ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads of torch wait by spinning: those of two workers slow each other down several times over.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def ped2() -> Path:
    """UCSD Ped2, which stands beside the checkout on the developers' machines and may not be shipped."""
    folder = SHARED / "data" / "ped2"
    if not folder.is_dir():
        pytest.skip("the Ped2 data set is not beside this checkout (../shared/data/ped2)")
    return folder


@pytest.fixture
def walkers() -> np.ndarray:
    """(60, 256, 256) uint8: dark upright blobs that walk over a textured ground."""
    rng = np.random.default_rng(0)
    ground = rng.normal(150, 4, (256, 256)).clip(0, 255)
    frames = np.repeat(ground[None], 60, axis=0)
    for y, x, speed in ((60, 20, 1.0), (120, 200, -0.8), (170, 80, 0.6), (200, 150, -1.0)):
        for t in range(60):
            left = round(x + speed * t)
            frames[t, y : y + 24, max(left, 0) : max(left + 8, 0)] = 60
    return frames.astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tiny_bundle is a copy of: the export takes a second, and a hundred tests want one."""
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    import torch

    from callm_export.autoencoder import Autoencoder
    from callm_export.exporting import export_stage1, write_bundle

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    export_stage1(Autoencoder((2, 2, 2, 2)), folder)
    return write_bundle(folder, "tiny", "2-2-2-2", {"fps": 25}, Decision(threshold_psnr_db=5.0), {}).folder


@pytest.fixture
def tiny_bundle(tmp_path: Path, tiny_bundle_folder: Path) -> Bundle:
    """A bundle with an untrained two-channel network: real files, real hashes, meaningless scores."""
    return Bundle.load(str(shutil.copytree(tiny_bundle_folder, tmp_path / "tiny")))


@pytest.fixture(scope="session")
def llama_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `tokenizer.model` that cuts the golden texts exactly as LLaMA's own.

    It holds each of LLaMA's pieces that occurs in those texts, at its id and rank, and fillers at the other ids: byte
    pair encoding can only ever use pieces that occur in the text.
    """
    pytest.importorskip("sentencepiece", reason="the extra 'vlm' is not installed")
    proto = pytest.importorskip("sentencepiece.sentencepiece_model_pb2", reason="protobuf is not installed")
    pieces = {
        int(at): piece for at, piece in json.loads((GOLDENS / "videollama_tiny/llama_pieces.json").read_text()).items()
    }
    model = proto.ModelProto()
    unknown, control, byte = 2, 3, 6
    vocabulary, first_piece = 32000, 259
    for at in range(vocabulary):
        if at < 3:
            model.pieces.add(piece=("<unk>", "<s>", "</s>")[at], score=0, type=control if at else unknown)
        elif at < first_piece:
            model.pieces.add(piece=f"<0x{at - 3:02X}>", score=0, type=byte)
        else:
            piece = pieces.get(at, f"\ue000{at}")
            # LLaMA merges runs of spaces last of all, so that a word keeps the space before it.
            model.pieces.add(piece=piece, score=-1e9 if set(piece) == {"▁"} and len(piece) > 1 else first_piece - at)
    model.trainer_spec.model_type, model.trainer_spec.vocab_size = 2, vocabulary
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    path = tmp_path_factory.mktemp("llama") / "tokenizer.model"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def llama(llama_model: Path) -> LlamaTokenizer:
    return LlamaTokenizer(llama_model)


@pytest.fixture
def write_branch() -> Callable[..., Path]:
    """See tiny_branch.write_branch."""
    return _module("tiny_branch").write_branch


@pytest.fixture
def branch_folder(tmp_path: Path, write_branch: Callable[..., Path]) -> Path:
    return write_branch(tmp_path / "stage2", width=64)


@pytest.fixture
def tiny_cascade(tiny_bundle: Bundle, write_branch: Callable[..., Path]) -> Bundle:
    """The tiny bundle with a branch, and a threshold that everything is below: all footage is one event."""
    write_branch(tiny_bundle.folder / "stage2", width=64, threshold=0.0)
    fields = tiny_bundle.manifest.model_dump(exclude={"schema_version", "files"})
    return Bundle.write(tiny_bundle.folder, **fields | {"decision": Decision(threshold_psnr_db=90.0)})


def _module(name: str) -> ModuleType:
    """A helper beside this file: tests are imported by path and have no packages."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
