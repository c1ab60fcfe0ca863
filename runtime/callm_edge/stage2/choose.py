"""Who judges the events of a run."""

from __future__ import annotations

from collections.abc import Callable

from callm_edge.bundle import Bundle
from callm_edge.errors import BundleError
from callm_edge.stage2.branch import Branch


def open_branch(bundle: Bundle, name: str = "auto", threads: int = 0) -> Callable[[], Branch] | None:
    """What makes the branch, to be called in the thread that uses it; None for no stage 2.

    name: 'device'; 'off'; 'auto' is the device where the bundle has a branch. Raises BundleError where it must and has
    none.
    """
    folder = bundle.stage2_path
    if name == "off" or (name == "auto" and folder is None):
        return None
    if folder is None:
        raise BundleError(
            f"The bundle '{bundle.name}' has no stage 2",
            "it only scores frames",
            "Leave --stage2 away, or take a bundle with a video-language branch, such as plaza",
        )

    def make() -> Branch:
        from callm_edge.stage2.device import DeviceBranch

        return DeviceBranch(folder, threads)

    return make
