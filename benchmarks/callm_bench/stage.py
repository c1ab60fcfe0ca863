"""What is measured: a stage opens to a call that does its work once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

Call = Callable[[], object]


class SkipError(Exception):
    """This stage cannot be measured here; the text says why. It is listed with that reason, and never guessed."""


@dataclass(frozen=True)
class Stage:
    """One thing to be timed.

    name: as tables, charts and comparisons give it. open: gets ready and returns the call; what must be closed goes on
    the stack; raises SkipError, or UserError where a part of the installation is missing. unit, count: what one call
    works through, such as 4 frames. note: what somebody who compares the figure has to know.
    """

    name: str
    open: Callable[[ExitStack], Call]
    unit: str = "frame"
    count: int = 1
    note: str = ""


def ready(call: Call) -> Callable[[ExitStack], Call]:
    """The `open` of a stage that needs no getting ready."""
    return lambda stack: call
