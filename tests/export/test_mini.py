"""`mini` with its real parts, where their packages are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")
pytest.importorskip("gguf", reason="the extra 'vlm' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, TEMPLATES, Turn  # noqa: E402
from callm_edge.stage2.torch_model import VideoLanguageModel, parts  # noqa: E402
from callm_export.instructions import Instruction, collate, example  # noqa: E402
from callm_export.mini import load_mini, smollm2_folder  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> VideoLanguageModel:
    try:
        parts.lite0_weights()
        folder = smollm2_folder(tmp_path_factory.mktemp("cache"))
    except UserError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    return load_mini(llm=folder)


def test_it_answers(mini: VideoLanguageModel) -> None:
    pictures = torch.zeros(1, mini.config.pictures, 224, 224, 3, dtype=torch.uint8)  # a black clip
    queries = mini.video_queries(mini.encode_frames(pictures))
    assert queries.shape == (1, 32, 576)
    prompt = mini.template.prompt(mini.tokenizer, ABNORMAL_QUESTION)
    assert 0 < mini.answer_probability(queries, prompt).item() < 1
    assert mini.answers(queries, prompt, 8)[0]


def test_special_tokens_are_single(mini: VideoLanguageModel) -> None:
    assert mini.placeholder == mini.tokenizer.size == 49152
    assert TEMPLATES["chatml"].stops(mini.tokenizer) == ((2,), (0,))
    yes, no = (mini.template.answer_ids(mini.tokenizer, answer) for answer in ("Yes", "No"))
    assert len(yes) == len(no) == 1


def test_the_second_question_begins_with_the_first(mini: VideoLanguageModel) -> None:
    first = mini.template.prompt(mini.tokenizer, ABNORMAL_QUESTION)
    second = mini.template.prompt(mini.tokenizer, "Why?", history=[Turn(ABNORMAL_QUESTION, "Yes")])
    assert second.after[: len(first.after)] == first.after


def test_a_step_of_tuning(mini: VideoLanguageModel) -> None:
    clip = Instruction("a.mp4", "Video", (Turn(ABNORMAL_QUESTION, "Yes."), Turn("Why?", "Someone is running.")))
    batch = collate([example(clip, mini.template, mini.tokenizer)])
    features = torch.rand(1, 16, 53, 320)
    loss = mini.loss(
        mini.video_queries(features), torch.from_numpy(batch["token_ids"]), torch.from_numpy(batch["labels"])
    )
    gradients = torch.autograd.grad(loss, list(mini.trainable_parameters().values()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_the_language_model_speaks(mini: VideoLanguageModel) -> None:
    """The conversion keeps what it knows: without a video, as a text model."""
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([mini.tokenizer.encode(text)])
    with torch.no_grad():
        said = mini.llm.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "Paris" in mini.tokenizer.decode(said.tolist())


def test_the_conversion_is_kept(mini: VideoLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "callm-edge" / "SmolLM2-135M-Instruct"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert smollm2_folder() == folder
