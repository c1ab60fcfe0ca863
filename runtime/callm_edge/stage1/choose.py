"""Which backend of stage 1 a bundle runs with on this machine."""

from __future__ import annotations

from callm_edge.bundle import Bundle
from callm_edge.errors import BundleError, UsageError
from callm_edge.names import nearest
from callm_edge.stage1.backend import Backend

BACKENDS = ("auto", "shared", "onnxruntime")


def open_backend(bundle: Bundle, name: str = "auto", threads: int = 0) -> Backend:
    """Open a backend by name; 'auto' takes the fastest that is here.

    shared: CPU, work shared between neighbouring windows. onnxruntime: CPU, every window anew.
    threads: of one call on the CPU; 0 is one per core. Raises UsageError, BundleError.
    """
    if name not in BACKENDS:
        raise UsageError(
            f"There is no backend '{name}'", f"backends are {', '.join(BACKENDS)}", nearest(name, BACKENDS)
        )
    shared = bundle.shared_path
    if name == "shared" and shared is None:
        raise BundleError(
            f"The bundle '{bundle.name}' has no shared graphs", "it was exported by an older version", "Export it again"
        )
    if name in ("auto", "shared") and shared is not None:
        from callm_edge.stage1.shared import SharedWork

        return SharedWork(shared, threads)
    from callm_edge.stage1.scorer import OrtScorer

    return OrtScorer(bundle.score_path, threads)
