"""What the video-language branch is tuned on: instructions read, written, made of weak captions, and turned to ids."""

from callm_export.instructions.example import Example, collate, example
from callm_export.instructions.files import read_instructions, write_instructions
from callm_export.instructions.instruction import Instruction
from callm_export.instructions.pseudo import ANOMALIES, Clip, pseudo_instructions

__all__ = [
    "ANOMALIES",
    "Clip",
    "Example",
    "Instruction",
    "collate",
    "example",
    "pseudo_instructions",
    "read_instructions",
    "write_instructions",
]
