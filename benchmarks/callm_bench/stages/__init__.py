"""Stages of the cascade, each by itself and the whole: every module lists what can be measured of its part."""

from __future__ import annotations

from callm_bench.setting import Setting
from callm_bench.stage import Stage


def every_stage(setting: Setting) -> list[Stage]:
    """In the order of a frame's way. The whole runs apart (stages.whole): it needs the machine for itself."""
    from callm_bench.stages import frame, offload, stage1, verdict

    return [
        *frame.before_stage1(setting),
        *stage1.stages(setting),
        *frame.after_stage1(setting),
        *verdict.stages(setting),
        *offload.stages(setting),
    ]
