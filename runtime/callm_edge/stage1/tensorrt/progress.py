"""The progress of an engine build, which takes minutes on a Jetson: TensorRT reports phases, steps and nesting."""

from __future__ import annotations

import threading
from typing import Any, Protocol


class BuildProgress(Protocol):
    """Who wants to know. Called from TensorRT's threads, one call at a time."""

    def phase(self, name: str, parent: str | None, steps: int) -> None: ...

    def step(self, name: str, done: int) -> None: ...

    def finish(self, name: str) -> None: ...


class Quiet:
    """Nobody."""

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        pass

    def step(self, name: str, done: int) -> None:
        pass

    def finish(self, name: str) -> None:
        pass


class ProgressBars:
    """A bar per running phase, as tasks of a `rich.progress.Progress`."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._tasks: dict[str, tuple[Any, int]] = {}
        self._depth: dict[str, int] = {}

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        depth = self._depth[name] = self._depth.get(parent or "", -1) + 1
        self._tasks[name] = (self._bars.add_task("  " * depth + name, total=steps), steps)

    def step(self, name: str, done: int) -> None:
        if name in self._tasks:
            self._bars.update(self._tasks[name][0], completed=done)

    def finish(self, name: str) -> None:
        if name in self._tasks:  # phases may end before all their steps were reported
            task, steps = self._tasks.pop(name)
            self._bars.update(task, completed=steps)
            self._bars.remove_task(task)


def make_monitor(trt: Any, progress: BuildProgress) -> Any:
    """An IProgressMonitor that reports to `progress`; its `interrupted` holds what stopped the build, or None."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted: BaseException | None = None
            self._lock = threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._report(progress.phase, phase_name, parent_phase, int(num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._report(progress.step, phase_name, int(step) + 1)
            return self.interrupted is None

        def phase_finish(self, phase_name: str) -> None:
            self._report(progress.finish, phase_name)

        def _report(self, call: Any, *values: Any) -> None:
            # An exception, such as Ctrl-C's, must not fly through C++: it is kept, and the next step asks for the end.
            try:
                with self._lock:
                    call(*values)
            except BaseException as error:  # noqa: BLE001
                self.interrupted = self.interrupted or error

    return Monitor()
