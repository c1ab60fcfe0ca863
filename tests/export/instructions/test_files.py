"""The three forms of instruction files, read and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import UserError
from callm_edge.stage2.prompts import Turn
from callm_export.instructions import Instruction, read_instructions, write_instructions
from callm_export.instructions.instruction import DESCRIBE

SAMPLES = json.loads((Path(__file__).parents[2] / "goldens/videollama_tiny/text_goldens.json").read_text())["samples"]

words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
# What stands around the picture's tag is no part of the question.
questions = words.map(lambda text: text.replace("<image>", "").strip("\n"))
turns = st.lists(st.builds(Turn, questions, words), min_size=1, max_size=4).map(tuple)
videos = st.builds(Instruction, st.just("a/b.mp4"), st.just("Video"), turns)
pictures = st.builds(Instruction, words, st.just("Image"), turns, st.booleans())


def wrote(folder: Path, content: object) -> Path:
    path = folder / "instructions.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instructions")


def test_the_published_samples(tmp_path: Path) -> None:
    llava, videochat = read_instructions(wrote(tmp_path, [SAMPLES["llava"], SAMPLES["videochat"]]))
    assert llava == Instruction(
        "000000033471.jpg",
        "Image",
        (
            Turn("What is happening in this picture?", "This is abnormal. A cyclist should not be there."),
            Turn("Why?", "The walkway is for pedestrians only."),
        ),
    )
    assert (videochat.media, videochat.medium, len(videochat.turns)) == ("a/b.mp4", "Video", 2)


def test_minigpt4(tmp_path: Path) -> None:
    found = read_instructions(wrote(tmp_path, {"annotations": [{"image_id": 7, "caption": "A dog."}]}))
    assert found == [Instruction("7", "Image", (Turn(DESCRIBE["Image"], "A dog."),), caption_only=True)]
    write_instructions(tmp_path / "b.json", found, "minigpt4")
    assert json.loads((tmp_path / "b.json").read_text()) == {"annotations": [{"image_id": "7", "caption": "A dog."}]}
    assert read_instructions(tmp_path / "b.json") == found


@given(st.lists(st.one_of(videos, pictures), max_size=4))
def test_llava_comes_back(folder: Path, instructions: list[Instruction]) -> None:
    write_instructions(folder / "llava.json", instructions, "llava")
    found = read_instructions(folder / "llava.json")
    assert [(i.media, i.turns) for i in found] == [(i.media, i.turns) for i in instructions]
    assert [i.media_last for i in found] == [i.media_last for i in instructions]


@given(st.lists(videos, max_size=4))
def test_videochat_comes_back(folder: Path, instructions: list[Instruction]) -> None:
    write_instructions(folder / "videochat.json", instructions, "videochat")
    assert read_instructions(folder / "videochat.json") == instructions


def test_the_picture_may_stand_last(tmp_path: Path) -> None:
    sentence = [{"from": "human", "value": "What is it?\n<image>"}, {"from": "gpt", "value": "A dog."}]
    found = read_instructions(wrote(tmp_path, [{"image": "a.jpg", "conversations": sentence}]))[0]
    assert found.media_last
    assert found.turns == (Turn("What is it?", "A dog."),)


def test_what_a_form_cannot_hold_is_named(tmp_path: Path) -> None:
    picture = Instruction("a.jpg", "Image", (Turn("What is it?", "A dog."),))
    with pytest.raises(UserError, match=r"a\.jpg.*'videochat'.*picture"):
        write_instructions(tmp_path / "a.json", [picture], "videochat")
    with pytest.raises(UserError, match=r"a\.jpg.*'minigpt4'"):
        write_instructions(tmp_path / "a.json", [picture], "minigpt4")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": 1}, "neither a list"),
        ([1], "Record 0.*not an object"),
        ([SAMPLES["videochat"], {"text": "x"}], "Record 1.*only 'text'"),
        ([{"video": "a.mp4", "QA": []}], "'QA'"),
        ([{"video": "a.mp4", "QA": [{"q": "x"}]}], "'a' is missing"),
        ([{"image": "a.jpg", "conversations": [{"from": "human", "value": "x"}]}], "take turns"),
        ([{"image": "a.jpg", "conversations": []}], "nothing is asked"),
        ([{"conversations": []}], "'image' is missing"),
    ],
)
def test_malformed_records_are_named(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_instructions(wrote(tmp_path, content))


def test_absent_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_instructions(tmp_path / "none.json")
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(UserError, match="not JSON"):
        read_instructions(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not JSON"):
        read_instructions(tmp_path / "a.json")


def test_an_instruction_needs_answers() -> None:
    with pytest.raises(ValueError, match="answer"):
        Instruction("a.jpg", "Image", (Turn("What?"),))
