"""Weak supervision of footage: which clips are abnormal, and what captioners and people say of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from callm_edge.errors import UsageError, UserError
from callm_edge.events.clip import Clip
from callm_edge.stage2.pictures import crop
from callm_edge.stage2.view import ClipView
from callm_export.instructions import ANOMALIES
from callm_export.vlm.captioner import Captioner
from callm_export.vlm.clip_set import ClipRecord, ClipSet


def read_abnormal(path: Path) -> dict[str, str]:
    """What is abnormal in which footage, from a JSON object of names: a kind (`cyclist`) or a sentence.

    Raises UserError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read", error.strerror or str(error)) from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON", str(error)) from error
    if not isinstance(content, dict) or not all(isinstance(text, str) and text for text in content.values()):
        raise UserError(f"{path} is not as it should be", "expected is an object of texts", '{"test-01": "cyclist"}')
    return content


def told(records: Sequence[ClipRecord], abnormal: dict[str, str]) -> list[ClipRecord]:
    """Records that know what is wrong. abnormal: by group. Raises UsageError where a group is not there."""
    groups = {record.group for record in records}
    if unknown := sorted(set(abnormal) - groups):
        raise UsageError(
            f"There is no footage '{unknown[0]}'", "it is named as abnormal", f"Known are {', '.join(sorted(groups))}"
        )
    found = []
    for record in records:
        text = abnormal.get(record.group)
        if text is None:
            found.append(record)
            continue
        update = {"abnormal": True, "kind": text} if text in ANOMALIES else {"abnormal": True, "captions": (text,)}
        found.append(record.model_copy(update=update))
    return found


def captioned(clips: ClipSet, record: ClipRecord, captioner: Captioner) -> ClipRecord:
    """A record with captions of the middle frame and of the crop that stage 1 points at in it, behind those it has."""
    view = ClipView(Clip.load(clips.path(record.name)))
    middle = len(view.images) // 2
    pictures = [view.images[middle]]
    if peaks := view.peaks[middle]:
        pictures.append(crop(view.images[middle], peaks[0]))
    captions = dict.fromkeys((*record.captions, *captioner.captions(pictures)))
    return record.model_copy(update={"captions": tuple(captions)})
