"""What became of a camera's view, apart from anomalies in it: a change of its scene, for everybody who is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

NORMAL, LIGHT, DEFOCUSED, MOVED, COVERED = "normal", "light", "defocused", "moved", "covered"
KINDS = (NORMAL, LIGHT, DEFOCUSED, MOVED, COVERED)  # from the mildest to the worst


@dataclass(frozen=True)
class SceneChange:
    """A camera's scene is of another kind than before.

    kind, before: of KINDS. since: when that began, seconds, as in Frame.time. strength: how far it is beyond what is
    allowed, which is 1; 0 for normal. adopted: it is normal because this view is the new reference, and not because
    the old one came back.
    """

    source: str
    kind: str
    before: str
    since: float
    strength: float
    adopted: bool = False

    def to_json(self) -> str:
        """The `scene` line of `run --json` (a contract: other programs read it)."""
        return json.dumps({"type": "scene", **asdict(self)})
