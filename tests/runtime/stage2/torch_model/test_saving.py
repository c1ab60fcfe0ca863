"""The branch on disk: what is saved answers the same, and what does not fit is named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.errors import MissingExtraError, UserError  # noqa: E402
from callm_edge.stage2.torch_model import VideoLanguageModel  # noqa: E402


@pytest.fixture(scope="module")
def saved(tiny: VideoLanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "branch"
    tiny.save(folder)
    return folder


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (1, 8, 56, 56, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def answer(model: VideoLanguageModel, pictures: torch.Tensor) -> tuple[float, list[int]]:
    queries = model.video_queries(model.encode_frames(pictures))
    prompt = model.template.prompt(model.tokenizer, "What happens?")
    return model.answer_probability(queries, prompt).item(), model.generate(queries, prompt, 8)[0]


def test_what_is_loaded_answers_the_same(tiny: VideoLanguageModel, saved: Path, pictures: torch.Tensor) -> None:
    loaded = VideoLanguageModel.load(saved)
    assert loaded.template.name == "v1"
    assert answer(loaded, pictures) == answer(tiny, pictures)
    assert isinstance(loaded.answers(loaded.video_queries(loaded.encode_frames(pictures)), _prompt(loaded), 5)[0], str)


def test_the_trained_part_alone(tiny: VideoLanguageModel, saved: Path, tmp_path: Path) -> None:
    loaded = VideoLanguageModel.load(saved)
    with torch.no_grad():
        for parameter in loaded.trainable_parameters().values():
            parameter.zero_()
    loaded.save_trained(tmp_path / "tuned.safetensors")
    tuned = VideoLanguageModel.load(saved)
    tuned.load_trained(tmp_path / "tuned.safetensors")
    assert all(not parameter.any() for parameter in tuned.trainable_parameters().values())
    tuned.load_trained(saved / "video_former.safetensors")
    assert all(torch.equal(p, tiny.trainable_parameters()[key]) for key, p in tuned.trainable_parameters().items())


def test_a_trained_part_of_another_model_is_refused(tiny: VideoLanguageModel, saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(saved / "video_former.safetensors")
    config = tiny.config.model_dump(mode="json")
    save_file(state, str(tmp_path / "a.safetensors"), {"config": json.dumps(config | {"frames": 16})})
    with pytest.raises(UserError, match="frames is 16, not 8"):
        tiny.load_trained(tmp_path / "a.safetensors")
    del state["query_tokens"]
    save_file(state, str(tmp_path / "a.safetensors"), {"config": json.dumps(config)})
    with pytest.raises(UserError, match="missing: query_tokens"):
        tiny.load_trained(tmp_path / "a.safetensors")
    save_file(state, str(tmp_path / "a.safetensors"))
    with pytest.raises(UserError, match="does not say"):
        tiny.load_trained(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        tiny.load_trained(tmp_path / "a.safetensors")


@pytest.mark.parametrize("absent", ["model.json", "frame_encoder.safetensors", "video_former.safetensors"])
def test_an_incomplete_folder_is_named(saved: Path, tmp_path: Path, absent: str) -> None:
    shutil.copytree(saved, tmp_path / "branch")
    (tmp_path / "branch" / absent).unlink()
    with pytest.raises(UserError, match=absent):
        VideoLanguageModel.load(tmp_path / "branch")


def test_another_schema_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "branch")
    record = json.loads((saved / "model.json").read_text())
    (tmp_path / "branch/model.json").write_text(json.dumps(record | {"schema_version": 9}))
    with pytest.raises(UserError, match="schema 9"):
        VideoLanguageModel.load(tmp_path / "branch")


def test_a_quantized_model_without_gptqmodel_names_the_extra(saved: Path, tmp_path: Path) -> None:
    try:
        import gptqmodel  # noqa: F401
    except ModuleNotFoundError:
        shutil.copytree(saved, tmp_path / "branch")
        path = tmp_path / "branch/llm/config.json"
        settings = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
        path.write_text(json.dumps(settings))
        with pytest.raises(MissingExtraError, match="quantize"):
            VideoLanguageModel.load(tmp_path / "branch")
    else:
        pytest.skip("gptqmodel is installed")


@pytest.mark.slow
def test_the_large_path_from_end_to_end(saved: Path, tmp_path: Path, pictures: torch.Tensor) -> None:
    """Save, quantize, load, answer."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    gptqmodel = pytest.importorskip("gptqmodel", reason="the extra 'quantize' (gptqmodel) is not installed")
    shutil.copytree(saved, tmp_path / "branch")
    settings = gptqmodel.QuantizeConfig(bits=4, group_size=16)
    llm = gptqmodel.GPTQModel.load(str(saved / "llm"), settings)
    ids = torch.randint(3, 300, (16, 64), generator=torch.Generator().manual_seed(0))
    llm.quantize([{"input_ids": row.tolist(), "attention_mask": [1] * 64} for row in ids], batch_size=1)
    shutil.rmtree(tmp_path / "branch/llm")
    llm.save(str(tmp_path / "branch/llm"))
    for name in ("tokenizer.json",):
        shutil.copyfile(saved / "llm" / name, tmp_path / "branch/llm" / name)
    model = VideoLanguageModel.load(tmp_path / "branch")
    probability, tokens = answer(model, pictures)
    wanted, _ = answer(VideoLanguageModel.load(saved), pictures)
    assert probability == pytest.approx(wanted, abs=0.2)
    assert len(tokens) == 8
    model.save(tmp_path / "again")
    assert answer(VideoLanguageModel.load(tmp_path / "again"), pictures) == (probability, tokens)


def _prompt(model: VideoLanguageModel) -> object:
    return model.template.prompt(model.tokenizer, "What happens?")
