"""The cascade itself: the bundle is whole and scores a frame, and the service, where there is one, runs."""

from __future__ import annotations

import time

from callm_edge.errors import UserError
from callm_jetson.checks.check import Check
from callm_jetson.machine import Machine

UNIT = "/etc/systemd/system/callm-edge.service"


def bundle(name: str) -> Check:
    """Every hash of the bundle, and one window of its stage 1 on the CPU."""
    import numpy as np

    from callm_edge.bundle import Bundle
    from callm_edge.stage1.scorer import SCORED, WINDOW, OrtScorer

    try:
        opened = Bundle.load(name)
        scorer = OrtScorer(opened.score_path)
    except UserError as error:
        return Check("bundle", "failed", ": ".join(part for part in (error.what, error.why) if part), error.fix)
    window = np.full((1, WINDOW, 256, 256), 127, np.uint8)
    scorer.score(window)
    began = time.perf_counter()
    scores = scorer.score(window)
    seconds = time.perf_counter() - began
    if not np.isfinite(scores.psnr_db).all():
        return Check("bundle", "failed", f"{opened.name} scores frame {SCORED} as no number", "Export it again")
    return Check("bundle", "ok", f"{opened.name} ({opened.hash[:8]}), one window on the CPU in {1000 * seconds:.0f} ms")


def service(machine: Machine) -> Check:
    """systemd's word on the service that `deploy` and `flash` install."""
    if not machine.at(UNIT).exists():
        return Check("service", "skipped", "callm-edge is not installed as a service here")
    state = machine.run("systemctl", "is-active", "callm-edge.service")[1].strip()
    if state == "active":
        return Check("service", "ok", "active")
    fix = "See why: journalctl --namespace callm-edge -u callm-edge -n 50"
    return Check("service", "failed", state or "systemd does not answer", fix)
