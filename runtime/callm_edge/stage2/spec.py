"""stage2.json: how the branch of a bundle is to be asked, and how it came to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from callm_edge import atomic
from callm_edge.errors import BundleError
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, EXPLAIN_QUESTION, TEMPLATES, YES, Turn

SPEC = "stage2.json"
VISION, FORMER, LLM = "vision.onnx", "former.onnx", "llm"  # what lies beside it
SCHEMA = 1


class Stage2Spec(BaseModel):
    """What stage2.json holds.

    template: name of the prompt template. threshold: a clip is abnormal from this probability of 'yes' on, calibrated
    on clips that were neither learnt nor tested on. abnormal_question, explain_question: the two questions.
    crops: of each frame that the branch was taught to look at. message: whether the prompt says when the frames were
    taken (prompts.frames_message). max_tokens: of an explanation. training: the plain record of how the trained part
    came to be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    template: str = "chatml"
    threshold: float = Field(0.5, ge=0, le=1, allow_inf_nan=False)
    abnormal_question: str = Field(ABNORMAL_QUESTION, min_length=1)
    explain_question: str = Field(EXPLAIN_QUESTION, min_length=1)
    crops: int = Field(1, ge=0)
    message: bool = False
    max_tokens: int = Field(48, ge=1)
    training: dict[str, Any] = {}

    @field_validator("template")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in TEMPLATES:
            raise ValueError(f"there is no template '{name}', only {', '.join(TEMPLATES)}")
        return name

    @property
    def answered_yes(self) -> Turn:
        """What was said before the second question is asked."""
        return Turn(self.abnormal_question, f"{YES}.")

    @classmethod
    def read(cls, folder: Path) -> Stage2Spec:
        """Of a bundle's stage2 folder. Raises BundleError where it is absent, damaged, or of another schema."""
        path = folder / SPEC
        try:
            spec = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BundleError(f"{folder} holds no video-language branch", f"{SPEC}: {error.strerror}") from error
        except (ValidationError, UnicodeDecodeError) as error:
            raise BundleError(f"{path} cannot be read", str(error), "Copy the bundle again") from error
        if spec.schema_version != SCHEMA:
            raise BundleError(
                f"{path} has schema {spec.schema_version}",
                f"this version of callm-edge reads schema {SCHEMA}",
                "Tune again with this version, or update callm-edge",
            )
        return spec

    def write(self, folder: Path) -> None:
        """Write stage2.json, atomically."""
        atomic.write_text(folder / SPEC, self.model_dump_json(indent=1) + "\n")
